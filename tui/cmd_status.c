/* SPDX-License-Identifier: BSD-2-Clause */
/* status, version, help, and what comes later */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/fmt.h"
#include "tui/cmd.h"
#include "tui/view.h"

enum {
	STATUS_TIMEOUT_MS = 3000, /* a session that is slower is shown as not answering */
};

/* What is asked of one session; NULL where it did not answer. */
struct answer {
	const struct kms_source *session;
	cJSON *stats;
	cJSON *targets;
};

static void ask(struct kms_cli *cli, struct answer *answer)
{
	struct kms_client *client;

	if (kms_client_open(cli->hooks, answer->session, &client, NULL) < 0)
		return;
	kms_client_set_timeout(client, STATUS_TIMEOUT_MS);
	if (kms_client_json(client, "/api/v1/stats", &answer->stats, NULL) == 0)
		(void)kms_client_json(client, "/api/v1/targets?limit=1000", &answer->targets, NULL);
	kms_client_close(client);
}

static const cJSON *first_target(const struct answer *answer)
{
	return cJSON_GetArrayItem(kms_json_member(answer->targets, "items"), 0);
}

/* "running", "stopped (fault 3)" */
static void add_state(struct kms_table *table, const cJSON *target)
{
	const cJSON *stop = kms_json_member(target, "stop");
	uint64_t fault = kms_json_number(stop, "fault");

	if (!cJSON_IsObject(stop))
		kms_table_cell(table, "%s", kms_json_text(target, "state"));
	else if (fault)
		kms_table_cell(table, "stopped (%s %" PRIu64 ")", kms_json_text(stop, "reason"),
			       fault);
	else
		kms_table_cell(table, "stopped (%s)", kms_json_text(stop, "reason"));
}

static bool is_daemon(const struct answer *answer)
{
	return strcmp(answer->session->name, "daemon") == 0;
}

/* Targets of one run follow each other. */
static uint64_t count_files(const cJSON *targets)
{
	const cJSON *target;
	const char *last = "";
	uint64_t n = 0;

	cJSON_ArrayForEach(target, kms_json_member(targets, "items"))
	{
		const char *file = kms_json_text(target, "file");

		n += *file && strcmp(file, last) != 0;
		last = file;
	}
	return n;
}

/* "traces: 3 files": a daemon puts them into one folder, unless a run named another. */
static void add_files(struct kms_table *table, const struct answer *answer)
{
	const char *file = kms_json_text(first_target(answer), "file");
	const char *slash = strrchr(file, '/');
	uint64_t n = count_files(answer->targets);
	char text[PATH_MAX + 48] = "";

	if (n == 1)
		snprintf(text, sizeof(text), "%s", file);
	else if (n)
		snprintf(text, sizeof(text), "%.*s: %" PRIu64 " files",
			 slash ? (int)(slash - file) : 0, file, n);
	kms_table_cell(table, "%s", text);
}

/* Who it is, and how it is. */
static void add_who(struct kms_table *table, const struct answer *answer)
{
	const cJSON *target = first_target(answer);
	uint64_t pid =
		is_daemon(answer) ? (uint64_t)answer->session->pid : kms_json_number(target, "pid");

	kms_table_cell(table, "%s", answer->session->name);
	kms_table_cell(table, "%" PRIu64, pid);
	if (!answer->stats)
		kms_table_cell(table, "no answer");
	else if (is_daemon(answer))
		kms_table_cell(table, "running");
	else
		add_state(table, target);
	kms_table_cell(table, "%" PRIu64, kms_json_number(answer->targets, "total"));
}

static void add_row(struct kms_table *table, const struct answer *answer)
{
	const cJSON *ring = kms_json_member(answer->stats, "ring");

	add_who(table, answer);
	kms_table_cell(table, "%s",
		       kms_fmt_bytes(kms_json_number(answer->stats, "live_bytes")).text);
	kms_table_cell(table, "%s", kms_fmt_rate(kms_json_number(ring, "stored")).text);
	kms_table_cell(table, "%s", kms_fmt_rate(kms_json_number(ring, "lost")).text);
	kms_table_cell(table, "%" PRIu64, kms_json_number(answer->stats, "faults"));
	if (is_daemon(answer)) {
		add_files(table, answer);
		kms_table_cell(table, "kmemscope daemon");
		return;
	}
	kms_table_cell(table, "%s",
		       kms_json_text(kms_json_member(answer->stats, "snapshot"), "file"));
	kms_table_cell(table, "%s", kms_json_text(first_target(answer), "command"));
}

static void print_table(struct kms_cli *cli, const struct kms_view_values *values,
			const struct answer *answers, size_t n)
{
	static const char *const heads[] = {"SESSION", ">PID",    "STATE", ">TARGETS",
					    ">LIVE",   ">EVENTS", ">LOST", ">FAULTS",
					    "TRACE",   "COMMAND", NULL};
	struct kms_table table;
	struct kms_text text;

	if (n == 0) {
		kms_cli_error(cli, "no live session; `kmemscope run -- PROGRAM` starts one");
		return;
	}
	kms_table_init(&table, heads);
	for (size_t i = 0; i < n; i++)
		add_row(&table, &answers[i]);
	kms_text_init(&text, cli);
	text.color &= !values->no_color;
	kms_table_print(&table, &text, 0);
	kms_text_print(&text, cli->out);
}

/* {"items": [{"session", "socket", "tracer_pid", "stats", "targets"}]}, stats and targets as the API gives them */
static void print_json(struct kms_cli *cli, struct answer *answers, size_t n)
{
	cJSON *document = cJSON_CreateObject();
	cJSON *items = cJSON_AddArrayToObject(document, "items");
	cJSON *item;
	char *text;

	for (size_t i = 0; i < n; i++) {
		item = cJSON_CreateObject();
		cJSON_AddStringToObject(item, "session", answers[i].session->name);
		cJSON_AddStringToObject(item, "socket", answers[i].session->path);
		cJSON_AddNumberToObject(item, "tracer_pid", answers[i].session->pid);
		cJSON_AddItemToObject(item, "stats",
				      answers[i].stats ? answers[i].stats : cJSON_CreateNull());
		cJSON_AddItemToObject(item, "targets",
				      answers[i].targets ? answers[i].targets : cJSON_CreateNull());
		answers[i].stats = answers[i].targets = NULL; /* the document's now */
		cJSON_AddItemToArray(items, item);
	}
	text = cJSON_PrintUnformatted(document);
	if (text)
		fprintf(cli->out, "%s\n", text);
	free(text);
	cJSON_Delete(document);
}

int kms_cmd_status(struct kms_cli *cli, void *v, char **args, int n_args)
{
	const struct kms_view_values *values = v;
	struct kms_sessions sessions;
	struct answer *answers;
	struct kms_err err = KMS_ERR_INIT;

	(void)args;
	(void)n_args;
	if (kms_sessions_list(cli->hooks, &sessions, &err) < 0) {
		kms_sessions_deinit(&sessions);
		return kms_cli_fail(cli, &err, KMS_EXIT_FAILED);
	}
	answers = calloc(sessions.n + 1, sizeof(*answers));
	for (size_t i = 0; answers && i < sessions.n; i++) {
		answers[i].session = &sessions.item[i];
		ask(cli, &answers[i]);
	}
	if (!answers)
		kms_cli_error(cli, "out of memory");
	else if (values->json)
		print_json(cli, answers, sessions.n);
	else
		print_table(cli, values, answers, sessions.n);
	for (size_t i = 0; answers && i < sessions.n; i++) {
		cJSON_Delete(answers[i].stats);
		cJSON_Delete(answers[i].targets);
	}
	kms_sessions_deinit(&sessions);
	free(answers);
	return answers ? KMS_EXIT_OK : KMS_EXIT_FAILED;
}

int kms_cmd_version(struct kms_cli *cli, void *v, char **args, int n_args)
{
	const struct kms_view_values *values = v;
	const struct kms_hooks *hooks = cli->hooks;
	const char *library = hooks->library_path();
	cJSON *document;
	char *text;

	(void)args;
	(void)n_args;
	if (!values->json) {
		fprintf(cli->out, "kmemscope %s\nschema    %u\nlibrary   %s\nfeatures  %s\n",
			hooks->version, hooks->schema_version, library ? library : "not found",
			hooks->features);
		return KMS_EXIT_OK;
	}
	document = cJSON_CreateObject();
	cJSON_AddStringToObject(document, "version", hooks->version);
	cJSON_AddNumberToObject(document, "schema", hooks->schema_version);
	if (library)
		cJSON_AddStringToObject(document, "library", library);
	else
		cJSON_AddNullToObject(document, "library");
	cJSON_AddStringToObject(document, "features", hooks->features);
	text = cJSON_PrintUnformatted(document);
	if (text)
		fprintf(cli->out, "%s\n", text);
	free(text);
	cJSON_Delete(document);
	return text ? KMS_EXIT_OK : KMS_EXIT_FAILED;
}

int kms_cmd_help(struct kms_cli *cli, void *v, char **args, int n_args)
{
	const struct kms_command *command;

	(void)v;
	if (n_args == 0) {
		kms_cli_overview(cli, cli->out);
		return KMS_EXIT_OK;
	}
	command = kms_cli_find(args[0]);
	if (!command) {
		kms_cli_error(cli, "there is no command %s; `kmemscope help` lists them", args[0]);
		return KMS_EXIT_USAGE;
	}
	kms_cli_usage(cli, command, cli->out);
	return KMS_EXIT_OK;
}

int kms_cmd_later(struct kms_cli *cli, void *v, char **args, int n_args)
{
	(void)v;
	(void)args;
	(void)n_args;
	kms_cli_error(cli, "comes with version 0.2");
	return KMS_EXIT_USAGE;
}
