/* SPDX-License-Identifier: BSD-2-Clause */
/* sql: a query on a trace, or on the trace of a live session. */
#include <stdlib.h>
#include <string.h>

#include "tui/cmd.h"
#include "tui/view.h"

enum {
	TABLE_ROWS = 2000, /* on a terminal: so many rows are aligned, then it is plain */
	LINE_LIMIT_BYTES = 64 << 20,
};

struct sql_values {
	bool fail_if_rows;
	bool header;
	bool no_color;
};

#define AT(member) offsetof(struct sql_values, member)

static const struct kms_opt options[] = {
	KMS_ROW_FLAG("header", 0, AT(header),
		     "column names first, also when stdout is no terminal"),
	KMS_ROW_FLAG("fail-if-rows", 0, AT(fail_if_rows),
		     "exit 3 if the query gives a row: for CI"),
	KMS_ROW_FLAG("no-color", 0, AT(no_color), "no colours (NO_COLOR does the same)"),
	KMS_ROW_END,
};

/* Where rows go. */
struct printer {
	struct kms_cli *cli;
	const struct sql_values *values;
	size_t rows;
	bool aligned;           /* collecting a table */
	struct kms_table table; /* valid if aligned and rows > 0 */
	const char *heads[KMS_TABLE_COLUMNS + 1];
	char *names[KMS_TABLE_COLUMNS];
};

static bool is_number(const char *value)
{
	value += *value == '-';
	return *value && value[strspn(value, "0123456789.eE+-")] == '\0';
}

/* The first row decides which columns are right-aligned. */
static void begin_table(struct printer *p, size_t n, const char *const *names,
			const char *const *values)
{
	size_t length;

	for (size_t i = 0; i < n; i++) {
		length = strlen(names[i]) + 2;
		p->names[i] = malloc(length);
		if (p->names[i])
			snprintf(p->names[i], length, "%s%s",
				 values[i] && is_number(values[i]) ? ">" : "", names[i]);
		p->heads[i] = p->names[i] ? p->names[i] : "?";
	}
	p->heads[n] = NULL;
	kms_table_init(&p->table, p->heads);
}

static void end_table(struct printer *p)
{
	struct kms_text text;

	if (!p->aligned || p->rows == 0)
		return;
	kms_text_init(&text, p->cli);
	text.color &= !p->values->no_color;
	kms_table_print(&p->table, &text, 0);
	kms_text_print(&text, p->cli->out);
	for (size_t i = 0; i < KMS_TABLE_COLUMNS; i++)
		free(p->names[i]);
}

/* What is written for a character that would break a line of fields. */
static const char *escape_of(char c)
{
	switch (c) {
	case '\t':
		return "\\t";
	case '\n':
		return "\\n";
	case '\r':
		return "\\r";
	default:
		return "\\\\";
	}
}

/* A line of tab-separated fields. NULL is empty; a terminal gets no control characters. */
static void print_line(const struct kms_cli *cli, size_t n, const char *const *fields)
{
	struct kms_buf line;
	const char *c;
	size_t length;

	kms_buf_init(&line, LINE_LIMIT_BYTES);
	for (size_t i = 0; i < n; i++) {
		if (i)
			kms_buf_add_char(&line, '\t');
		for (c = fields[i] ? fields[i] : ""; *c; c += length) {
			length = strcspn(c, "\t\n\r\\");
			if (cli->out_is_terminal)
				kms_buf_add_printable(&line, c, length);
			else
				kms_buf_add(&line, c, length);
			if (c[length])
				kms_buf_add_str(&line, escape_of(c[length++]));
		}
	}
	kms_buf_add_char(&line, '\n');
	kms_cli_write(cli->out, kms_buf_text(&line), line.used_bytes);
	kms_buf_deinit(&line);
}

static int take_row(void *arg, size_t n, const char *const *names, const char *const *values)
{
	struct printer *p = arg;

	if (p->rows == 0)
		p->aligned = p->cli->out_is_terminal && n <= KMS_TABLE_COLUMNS;
	if (p->rows == 0 && p->aligned)
		begin_table(p, n, names, values);
	else if (p->rows == 0 && (p->values->header || p->cli->out_is_terminal))
		print_line(p->cli, n, names);
	if (p->aligned && p->rows == TABLE_ROWS) {
		end_table(p);
		p->aligned = false;
	}
	p->rows++;
	if (!p->aligned)
		print_line(p->cli, n, values);
	for (size_t i = 0; p->aligned && i < n; i++)
		kms_table_cell(&p->table, "%s", values[i] ? values[i] : "");
	return ferror(p->cli->out) ? 1 : 0;
}

/* The trace behind a source: of a session, what it writes. */
static int trace_path(struct kms_cli *cli, const struct kms_source *source, char *path,
		      size_t path_bytes)
{
	struct kms_client *client;
	struct kms_err err = KMS_ERR_INIT;
	cJSON *stats = NULL;
	int ret;

	if (source->kind == KMS_SOURCE_FILE)
		return snprintf(path, path_bytes, "%s", source->path) > 0 ? 0 : KMS_EXIT_FAILED;
	if (source->kind == KMS_SOURCE_URL) { /* its trace may be on another machine */
		kms_cli_error(cli, "needs a trace file or a session, not a URL");
		return KMS_EXIT_USAGE;
	}
	ret = kms_client_open(cli->hooks, source, &client, &err);
	if (ret == 0) {
		ret = kms_client_json(client, "/api/v1/stats", &stats, &err);
		kms_client_close(client);
	}
	if (ret < 0)
		return kms_cli_fail(cli, &err, kms_view_status(&err));
	snprintf(path, path_bytes, "%s", kms_json_text(kms_json_member(stats, "snapshot"), "file"));
	cJSON_Delete(stats);
	return 0;
}

static int run_sql(struct kms_cli *cli, void *v, char **args, int n_args)
{
	const struct sql_values *values = v;
	struct printer printer = {.cli = cli, .values = values};
	const struct kms_sql_sink sink = {take_row, &printer};
	struct kms_err err = KMS_ERR_INIT;
	struct kms_source source;
	char path[PATH_MAX];
	int status;

	if (kms_source_pick(cli->hooks, n_args > 1 ? args[1] : NULL, &source, &err) < 0)
		return kms_cli_fail(cli, &err, KMS_EXIT_FAILED);
	status = trace_path(cli, &source, path, sizeof(path));
	if (status)
		return status;
	status = cli->hooks->sql(path, args[0], &sink, &err);
	end_table(&printer);
	if (status < 0)
		return kms_cli_fail(cli, &err, KMS_EXIT_FAILED);
	return values->fail_if_rows && printer.rows ? KMS_EXIT_FINDINGS : KMS_EXIT_OK;
}

static const char help[] =
	"Tables: events rings targets sites caches guard leaks faults samples marks audit.\n"
	"When stdout is no terminal: tab-separated, no header; \\t \\n \\r \\\\ in a field are escaped.\n"
	"Examples:\n"
	"  kmemscope sql 'SELECT kind, count(*) FROM events GROUP BY kind'\n"
	"  kmemscope sql --fail-if-rows 'SELECT * FROM faults' run.kms\n";

const struct kms_command kms_command_sql = {
	.name = "sql",
	.summary = "a query on the trace",
	.args = "QUERY [SESSION|FILE.kms]",
	.more = help,
	.min_args = 1,
	.max_args = 2,
	.stop_at_argument = false,
	.usage_status = KMS_EXIT_USAGE,
	.options = options,
	.values_bytes = sizeof(struct sql_values),
	.run = run_sql,
};
