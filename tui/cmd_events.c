/* SPDX-License-Identifier: BSD-2-Clause */
/* events: page after page, as a table or in the API's formats. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/fmt.h"
#include "tui/cmd.h"
#include "tui/view.h"

enum {
	PAGE_ROWS = 1000,
	DEFAULT_ROWS = 100,
};

enum format {
	FORMAT_TABLE,
	FORMAT_JSON,
	FORMAT_NDJSON,
	FORMAT_CSV,
};

static const char *const media_types[] = {
	[FORMAT_TABLE] = "application/json",
	[FORMAT_JSON] = "application/json",
	[FORMAT_NDJSON] = "application/x-ndjson",
	[FORMAT_CSV] = "text/csv",
};

static void add_event(struct kms_table *table, const cJSON *event)
{
	const cJSON *flag;
	struct kms_buf flags;

	kms_buf_init(&flags, 512);
	for (flag = kms_json_first(kms_json_member(event, "flags")); flag; flag = flag->next) {
		kms_buf_addf(&flags, "%s%s", flags.used_bytes ? " " : "",
			     cJSON_IsString(flag) ? flag->valuestring : "");
	}
	kms_table_cell(table, "%" PRIu64, kms_json_number(event, "seq"));
	kms_table_cell(table, "%.6f", (double)kms_json_number(event, "time_ns") / 1e9);
	kms_table_cell(table, "%s", kms_json_text(event, "kind"));
	kms_table_cell(table, "%s", kms_json_text(event, "address"));
	kms_table_cell(table, "%" PRIu64, kms_json_number(event, "size"));
	kms_table_cell(table, "%s", kms_json_text(event, "cache"));
	kms_table_cell(table, "%" PRIu64, kms_json_number(event, "target"));
	kms_table_cell(table, "%" PRIu64, kms_json_number(event, "thread"));
	kms_table_cell(table, "%" PRIu64, kms_json_number(event, "stack_id"));
	kms_table_cell(table, "%s", kms_buf_text(&flags));
	kms_buf_deinit(&flags);
}

static int print_table(struct kms_cli *cli, const struct kms_view_values *values,
		       const struct kms_reply *reply)
{
	static const char *const heads[] = {">SEQ",   ">TIME/s", "KIND",    "ADDRESS",
					    ">SIZE",  "CACHE",   ">TARGET", ">THREAD",
					    ">STACK", "FLAGS",   NULL};
	cJSON *document = cJSON_ParseWithLength(reply->body, reply->body_bytes);
	struct kms_table table;
	struct kms_text text;
	const cJSON *event;

	if (!document) {
		kms_cli_error(cli, "the answer is not JSON");
		return KMS_EXIT_FAILED;
	}
	kms_table_init(&table, heads);
	for (event = kms_json_first(kms_json_member(document, "items")); event; event = event->next)
		add_event(&table, event);
	cJSON_Delete(document);
	kms_text_init(&text, cli);
	text.color &= !values->no_color;
	kms_table_print(&table, &text, 0);
	kms_text_print(&text, cli->out);
	return KMS_EXIT_OK;
}

/* A page as it came; of CSV the first page alone keeps its heading. */
static void print_raw(struct kms_cli *cli, const struct kms_reply *reply, bool skip_heading)
{
	const char *body = reply->body;
	const char *line = skip_heading ? strchr(body, '\n') : NULL;

	if (line)
		body = line + 1;
	kms_cli_write(cli->out, body, reply->body_bytes - (size_t)(body - reply->body));
}

/* The request of a page of @rows rows: the filters, and where it goes on. */
static char *page_request(const struct kms_view_values *values, uint64_t rows, const char *next)
{
	const char *cursor = next ? strstr(next, "cursor=") : NULL;
	char limit[24];
	char target[24];

	snprintf(limit, sizeof(limit), "%" PRIu64, rows < PAGE_ROWS ? rows : PAGE_ROWS);
	snprintf(target, sizeof(target), "%" PRIu64, values->target.value);
	return kms_view_target(
		"/api/v1/events",
		(const char *[]){"limit", limit, "target", values->target.given ? target : NULL,
				 "address", values->address, "from", values->from, "to", values->to,
				 "kind", values->kind, "site", values->site, "order",
				 values->order > 0 ? "desc" : NULL, "cursor",
				 cursor ? cursor + 7 : NULL, NULL});
}

/* Pages until the limit is reached or there are no more. */
static int print_pages(struct kms_cli *cli, const struct kms_view_values *values,
		       struct kms_client *client, enum format format)
{
	uint64_t left = values->limit.given ? values->limit.value : DEFAULT_ROWS;
	struct kms_reply reply = {0};
	struct kms_err err = KMS_ERR_INIT;
	bool first = true;
	char *request;
	char next[sizeof(reply.next)] = "";
	int status = KMS_EXIT_OK;

	do {
		request = page_request(values, left, first ? NULL : next);
		if (!request) {
			kms_cli_error(cli, "the request is too long");
			return KMS_EXIT_USAGE;
		}
		if (kms_client_get(client, request, media_types[format], &reply, &err) < 0)
			status = kms_cli_fail(cli, &err, kms_view_status(&err));
		else if (format == FORMAT_TABLE)
			status = print_table(cli, values, &reply);
		else
			print_raw(cli, &reply, format == FORMAT_CSV && !first);
		memcpy(next, reply.next, sizeof(next));
		free(reply.body);
		free(request);
		left -= left < PAGE_ROWS ? left : PAGE_ROWS;
		first = false;
	} while (status == KMS_EXIT_OK && left && next[0] && !ferror(cli->out));
	return status;
}

int kms_cmd_events(struct kms_cli *cli, void *v, char **args, int n_args)
{
	const struct kms_view_values *values = v;
	enum format format = FORMAT_TABLE;
	struct kms_client *client;
	int status;

	if (values->format >= 0)
		format = (enum format)values->format;
	else if (values->json)
		format = FORMAT_JSON;
	if (format == FORMAT_JSON && values->limit.given && values->limit.value > PAGE_ROWS) {
		kms_cli_error(cli, "--json is one page of at most %d events; use --format ndjson",
			      PAGE_ROWS);
		return KMS_EXIT_USAGE;
	}
	status = kms_view_open(cli, args, n_args, &client);
	if (status)
		return status;
	status = print_pages(cli, values, client, format);
	kms_client_close(client);
	return status;
}
