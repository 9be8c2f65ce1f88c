/* SPDX-License-Identifier: BSD-2-Clause */
/* Marks and what sites gained between them: mark diff */
#include "tui/cmd.h"

#include <stdbool.h>
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

/* Of two arguments: is the second a source, and no mark? A session's name might be either: then it is a mark. */
static bool is_source(const char *arg)
{
	size_t n = strlen(arg);

	return strchr(arg, '/') || (n > 4 && strcmp(arg + n - 4, ".kms") == 0);
}

int kms_cmd_diff(struct kms_cli *cli, void *values, char **args, int n_args)
{
	const struct kms_view_values *v = values;
	int n_marks = n_args < 2 || (n_args == 2 && is_source(args[1])) ? 1 : 2;
	char limit[24], target[24];
	const char *pairs[] = {
		"a",      mark_of(args[0], "begin"),
		"b",      n_marks > 1 ? mark_of(args[1], "now") : NULL,
		"target", kms_opt_text(&v->target, target),
		"limit",  kms_opt_text(&v->limit, limit),
		NULL,
	};
	char *request = kms_view_target("/api/v1/diff", pairs);
	struct kms_client *client;
	int status;

	if (!request) {
		kms_cli_error(cli, "the names are too long");
		return KMS_EXIT_USAGE;
	}
	status = kms_view_open(cli, args + n_marks, n_args - n_marks, &client);
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
