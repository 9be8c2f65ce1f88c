/* SPDX-License-Identifier: BSD-2-Clause */
/* The commands that show one document: leaks faults caches guard stats targets sites stacks */
#include "tui/cmd.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/suppress.h"
#include "tui/view.h"

enum {
	SUPPRESSED_ROWS = 100, /* as without suppressions */
};

/* One call of a view. */
struct call {
	struct kms_cli *cli;
	const struct kms_view_values *values;
	const char *path;          /* of the list or document */
	const char *default_limit; /* NULL: none */
	bool sum;                  /* text shows sums over the targets */
	bool takes_limit, takes_target;
	kms_show_fn *show;
};

/* The request of a call: --limit and the like as parameters. */
static char *request_of(const struct call *call)
{
	const struct kms_view_values *values = call->values;
	char limit[24];
	char target[24];
	char min_bytes[24];
	const char *pairs[] = {
		"target",    call->takes_target ? kms_opt_text(&values->target, target) : NULL,
		"limit",     call->takes_limit ? kms_opt_text(&values->limit, limit) : NULL,
		"min_bytes", kms_opt_text(&values->min_bytes, min_bytes),
		"sum",       call->sum && !values->json ? "1" : NULL,
		NULL,
	};

	if (call->takes_limit && !pairs[3] && !values->json)
		pairs[3] = call->default_limit;
	return kms_view_target(call->path, pairs);
}

/* Asks, prints, and leaves the document in *document for what follows. Returns an exit status. */
static int show(const struct call *call, struct kms_client *client, cJSON **document)
{
	struct kms_err err = KMS_ERR_INIT;
	struct kms_reply reply;
	char *target = request_of(call);
	int ret;

	*document = NULL;
	if (!target) {
		kms_cli_error(call->cli, "the request is too long");
		return KMS_EXIT_FAILED;
	}
	ret = kms_client_get(client, target, NULL, &reply, &err);
	free(target);
	if (ret < 0)
		return kms_cli_fail(call->cli, &err, kms_view_status(&err));
	*document = cJSON_ParseWithLength(reply.body, reply.body_bytes);
	if (*document)
		kms_view_print(call->cli, call->values, &reply, *document, call->show);
	else
		kms_cli_error(call->cli, "the answer is not JSON");
	free(reply.body);
	return *document ? kms_view_strict(call->values, *document) : KMS_EXIT_FAILED;
}

/* Opens, shows, closes. */
static int view(const struct call *call, char **args, int n_args)
{
	struct kms_client *client;
	cJSON *document;
	int status = kms_view_open(call->cli, args, n_args, &client);

	if (status)
		return status;
	status = show(call, client, &document);
	cJSON_Delete(document);
	kms_client_close(client);
	return status;
}

int kms_cmd_stats(struct kms_cli *cli, void *values, char **args, int n_args)
{
	struct call call = {.cli = cli,
			    .values = values,
			    .path = "/api/v1/stats",
			    .takes_target = true,
			    .show = kms_show_stats};

	return view(&call, args, n_args);
}

int kms_cmd_guard(struct kms_cli *cli, void *values, char **args, int n_args)
{
	struct call call = {.cli = cli,
			    .values = values,
			    .path = "/api/v1/guard",
			    .takes_target = true,
			    .show = kms_show_guard};

	return view(&call, args, n_args);
}

int kms_cmd_targets(struct kms_cli *cli, void *values, char **args, int n_args)
{
	struct call call = {.cli = cli,
			    .values = values,
			    .path = "/api/v1/targets",
			    .takes_limit = true,
			    .default_limit = "1000",
			    .show = kms_show_targets};

	return view(&call, args, n_args);
}

int kms_cmd_caches(struct kms_cli *cli, void *values, char **args, int n_args)
{
	struct call call = {.cli = cli,
			    .values = values,
			    .path = "/api/v1/caches",
			    .takes_limit = true,
			    .default_limit = "1000",
			    .takes_target = true,
			    .sum = true,
			    .show = kms_show_caches};

	return view(&call, args, n_args);
}

int kms_cmd_sites(struct kms_cli *cli, void *values, char **args, int n_args)
{
	struct call call = {.cli = cli,
			    .values = values,
			    .path = "/api/v1/sites",
			    .takes_limit = true,
			    .default_limit = "30",
			    .takes_target = true,
			    .show = kms_show_sites};

	return view(&call, args, n_args);
}

/* A part of a path that comes from the user. */
static int id_path(struct kms_cli *cli, const char *list, const char *id, char *path, size_t bytes)
{
	if (id[strspn(id, "0123456789abcdefABCDEFx")] == '\0' &&
	    snprintf(path, bytes, "%s/%s", list, id) < (int)bytes)
		return 0;
	kms_cli_error(cli, "\"%s\" is no id; ids are digits, as the list prints them", id);
	return KMS_EXIT_USAGE;
}

int kms_cmd_stacks(struct kms_cli *cli, void *values, char **args, int n_args)
{
	char path[128];
	struct call call = {.cli = cli, .values = values, .path = path, .show = kms_show_stack};
	int status = id_path(cli, "/api/v1/stacks", args[0], path, sizeof(path));

	return status ? status : view(&call, args + 1, n_args - 1);
}

/* The status for findings: what the user asked for, else 3. */
static int findings_status(const struct kms_view_values *values)
{
	return values->error_exitcode.given ? (int)values->error_exitcode.value : KMS_EXIT_FINDINGS;
}

static int judge_faults(const struct kms_view_values *values, const cJSON *document)
{
	if (values->error_exitcode.given && kms_json_number(document, "total") > 0)
		return findings_status(values);
	return KMS_EXIT_OK;
}

/* Suspects are findings where their bytes together are above the threshold. */
static int judge_leaks(const struct call *call, struct kms_client *client)
{
	const struct kms_view_values *values = call->values;
	struct kms_err err = KMS_ERR_INIT;
	char text[24];
	cJSON *leaks;
	char *target;
	int status = KMS_EXIT_OK;
	int ret;

	if (!values->leak_threshold.given && !values->error_exitcode.given)
		return KMS_EXIT_OK;
	target = kms_view_target(call->path,
				 (const char *[]){"limit", "1", "target",
						  kms_opt_text(&values->target, text), NULL});
	ret = target ? kms_client_json(client, target, &leaks, &err) : -1;
	free(target);
	if (ret < 0)
		return kms_cli_fail(call->cli, &err, kms_view_status(&err));
	if (kms_json_number(leaks, "suspect_bytes") > values->leak_threshold.value)
		status = findings_status(values);
	cJSON_Delete(leaks);
	return status;
}

/* Shows one item by its id; @wanted is what the list would be. */
static int view_item(const struct call *wanted, char **args, int n_args)
{
	char path[128];
	struct call call = *wanted;
	int status = id_path(call.cli, call.path, call.values->id, path, sizeof(path));

	call.path = path;
	call.takes_limit = false;
	return status ? status : view(&call, args, n_args);
}

/* Prints and judges what is left when the suppressed ones are out. */
static int show_unsuppressed(const struct call *call, const struct kms_suppressions *suppressions,
			     struct kms_client *client)
{
	const struct kms_view_values *values = call->values;
	struct kms_err err = KMS_ERR_INIT;
	struct kms_reply reply = {0};
	char *request = request_of(call);
	const struct kms_suppressions_ask ask = {
		.request = request,
		.limit = values->limit.given ? values->limit.value : SUPPRESSED_ROWS,
		.keep = values->all,
	};
	cJSON *document = NULL;
	int status;

	if (!request)
		status = kms_err_set(&err, -ENOMEM, "the request is too long");
	else
		status = kms_suppressions_leaks(suppressions, client, &ask, &document, &err);
	free(request);
	if (status < 0)
		return kms_cli_fail(call->cli, &err, kms_view_status(&err));
	reply.body = values->json ? cJSON_PrintUnformatted(document) : NULL;
	reply.body_bytes = reply.body ? strlen(reply.body) : 0;
	kms_view_print(call->cli, values, &reply, document, call->show);
	free(reply.body);
	status = kms_view_strict(values, document);
	if ((values->leak_threshold.given || values->error_exitcode.given) &&
	    kms_json_number(document, "suspect_bytes") > values->leak_threshold.value)
		status = findings_status(values);
	cJSON_Delete(document);
	return status;
}

static int leaks_unsuppressed(struct call *call, char **args, int n_args)
{
	struct kms_suppressions *suppressions = NULL;
	struct kms_err err = KMS_ERR_INIT;
	struct kms_client *client;
	int status;

	call->takes_limit = false; /* all are asked for */
	if (kms_suppressions_load(call->values->suppressions, &suppressions, &err) < 0)
		return kms_cli_fail(call->cli, &err, KMS_EXIT_FAILED);
	status = kms_view_open(call->cli, args, n_args, &client);
	if (status == 0) {
		status = show_unsuppressed(call, suppressions, client);
		kms_client_close(client);
	}
	kms_suppressions_free(suppressions);
	return status;
}

int kms_cmd_leaks(struct kms_cli *cli, void *values, char **args, int n_args)
{
	struct call call = {.cli = cli,
			    .values = values,
			    .path = "/api/v1/leaks",
			    .takes_limit = true,
			    .default_limit = "20",
			    .takes_target = true,
			    .show = kms_show_leaks};
	struct kms_client *client;
	cJSON *document;
	int status;
	int judged = KMS_EXIT_OK;

	if (call.values->id) {
		call.show = kms_show_leak;
		return view_item(&call, args, n_args);
	}
	if (call.values->suppressions)
		return leaks_unsuppressed(&call, args, n_args);
	status = kms_view_open(cli, args, n_args, &client);
	if (status)
		return status;
	status = show(&call, client, &document);
	if (document)
		judged = judge_leaks(&call, client);
	cJSON_Delete(document);
	kms_client_close(client);
	return judged ? judged : status;
}

int kms_cmd_faults(struct kms_cli *cli, void *values, char **args, int n_args)
{
	struct call call = {.cli = cli,
			    .values = values,
			    .path = "/api/v1/faults",
			    .takes_limit = true,
			    .default_limit = "100",
			    .takes_target = true,
			    .show = kms_show_faults};
	struct kms_client *client;
	cJSON *document;
	int status;
	int judged = KMS_EXIT_OK;

	if (call.values->id) {
		call.show = kms_show_fault;
		call.takes_target = false;
		return view_item(&call, args, n_args);
	}
	status = kms_view_open(cli, args, n_args, &client);
	if (status)
		return status;
	status = show(&call, client, &document);
	if (document)
		judged = judge_faults(values, document);
	cJSON_Delete(document);
	kms_client_close(client);
	return judged ? judged : status;
}
