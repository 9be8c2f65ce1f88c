/* SPDX-License-Identifier: BSD-2-Clause */
/* Marks and what sites gained between them: mark diff */
#include "tui/cmd.h"

#include <stdlib.h>
#include <string.h>

#include "tui/view.h"

int kms_cmd_mark(struct kms_cli *cli, void *values, char **args, int n_args)
{
	cJSON *body = cJSON_CreateObject();
	struct kms_client *client;
	char *text;
	int status;

	cJSON_AddStringToObject(body, "name", args[0]);
	text = cJSON_PrintUnformatted(body);
	cJSON_Delete(body);
	status = text ? kms_view_open(cli, args + 1, n_args - 1, &client) : KMS_EXIT_FAILED;
	if (!status) {
		status = kms_view_ask(cli, values, client,
				      &(struct kms_view_request){.method = "POST",
								 .target = "/api/v1/marks",
								 .body = text,
								 .show = kms_show_mark});
		kms_client_close(client);
	}
	cJSON_free(text);
	return status;
}

/* A mark of the user's as a parameter; the words for both ends of the run are none. */
static const char *mark_of(const char *word, const char *end)
{
	return strcmp(word, end) == 0 ? NULL : word;
}

int kms_cmd_diff(struct kms_cli *cli, void *values, char **args, int n_args)
{
	const struct kms_view_values *v = values;
	char limit[24], target[24];
	const char *pairs[] = {
		"a",      mark_of(args[0], "begin"),        "b",     mark_of(args[1], "now"),
		"target", kms_opt_text(&v->target, target), "limit", kms_opt_text(&v->limit, limit),
		NULL,
	};
	char *request = kms_view_target("/api/v1/diff", pairs);
	struct kms_client *client;
	int status;

	if (!request) {
		kms_cli_error(cli, "the names are too long");
		return KMS_EXIT_USAGE;
	}
	status = kms_view_open(cli, args + 2, n_args - 2, &client);
	if (!status) {
		status = kms_view_ask(cli, v, client,
				      &(struct kms_view_request){.method = "GET",
								 .target = request,
								 .show = kms_show_diff});
		kms_client_close(client);
	}
	free(request);
	return status;
}
