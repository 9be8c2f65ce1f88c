/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * kmemscope db: the prompt as lines. What a line means is the API's business (POST /api/v1/db); here it is read,
 * sent, and its answer printed, by pages on a terminal.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "tui/cmd.h"
#include "tui/pager.h"
#include "tui/prompt.h"
#include "tui/text.h"
#include "tui/tty_line.h"
#include "tui/view.h"

struct db_values {
	struct kms_opt_list lines; /* -e */
	struct kms_opt_number target;
};

#define AT(member) offsetof(struct db_values, member)

static const struct kms_opt options[] = {
	KMS_ROW_LIST("exec", 'e', AT(lines), "LINE", "run LINE, then the next -e, and end"),
	KMS_ROW_NUMBER("target", 0, AT(target), "N", 1, UINT32_MAX,
		       "lines are about target N (see `kmemscope targets`)"),
	KMS_ROW_END,
};

/* The prompt's other end, and how the last line went. */
struct prompt {
	struct kms_cli *cli;
	struct kms_client *client;
	bool interactive; /* both ends are terminals: prompts and pages */
	bool leave;
	int status; /* of the last line */
	int lines;  /* of a page; 0 none */
	char text[64];
	char session[KMS_PROMPT_SESSION_BYTES];
};

static int take_answer(struct prompt *p, const struct kms_reply *reply)
{
	cJSON *json = cJSON_ParseWithLength(reply->body, reply->body_bytes);
	const char *output = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "output"));
	const char *error = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "error"));
	const char *prompt = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, "prompt"));
	const cJSON *lines = cJSON_GetObjectItemCaseSensitive(json, "lines");

	if (!output) {
		cJSON_Delete(json);
		return -EBADMSG;
	}
	if (cJSON_IsNumber(lines))
		p->lines = lines->valueint;
	kms_page(p->cli->out, output, error, p->interactive ? p->lines : 0);
	snprintf(p->text, sizeof(p->text), "%s", prompt ? prompt : "db> ");
	p->leave = cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "stop"));
	p->status = error ? KMS_EXIT_FAILED : KMS_EXIT_OK;
	cJSON_Delete(json);
	return 0;
}

/* Sends a line and prints the answer. False: there is nobody to ask any more; said. */
static bool send_line(struct prompt *p, const char *line, const char *target)
{
	struct kms_err err = KMS_ERR_INIT;
	struct kms_reply reply;
	char *body = kms_prompt_body(line, strcspn(line, "\r\n"), p->session);
	int ret;

	if (!body) {
		kms_cli_error(p->cli, "out of memory");
		p->status = KMS_EXIT_FAILED;
		return false;
	}
	ret = kms_client_request(p->client, "POST", target, body, &reply, &err);
	free(body);
	if (ret == -EREMOTEIO) { /* the line itself is no good: too long, no text */
		kms_page(p->cli->out, "", err.text, 0);
		p->status = KMS_EXIT_FAILED;
		return true;
	}
	if (ret == 0 && take_answer(p, &reply) < 0)
		ret = kms_err_set(&err, -EBADMSG, "the answer is none of a prompt");
	if (ret < 0) {
		p->status = kms_cli_fail(p->cli, &err, kms_view_status(&err));
		return false;
	}
	free(reply.body);
	(void)fflush(p->cli->out); /* a failure stays with the stream */
	return true;
}

/* A terminal's height is a page, until somebody sets $lines. */
static void begin_pages(struct prompt *p, const char *target)
{
	struct winsize size;
	char line[64];

	if (!p->interactive || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0 || size.ws_row == 0)
		return;
	snprintf(line, sizeof(line), "set $lines = 0t%u", (unsigned int)size.ws_row);
	(void)send_line(p, line, target); /* without it a page has ddb's 24 lines */
}

static void read_pipe(struct prompt *p, const char *target)
{
	char *line = NULL;
	size_t room = 0;
	ssize_t n;

	while (!p->leave && (n = getline(&line, &room, stdin)) >= 0) {
		if (strlen(line) != (size_t)n) {
			kms_page(p->cli->out, "", "Bad character: byte 0x00", 0);
			p->status = KMS_EXIT_FAILED;
		} else if (!send_line(p, line, target)) {
			break;
		}
	}
	free(line);
}

static void read_terminal(struct prompt *p, const char *target)
{
	struct kms_tty *tty = malloc(sizeof(*tty)); /* a line and its history are large */
	char line[KMS_LINE_BYTES];

	if (!tty) {
		kms_cli_error(p->cli, "out of memory");
		p->status = KMS_EXIT_FAILED;
		return;
	}
	kms_tty_init(tty, p->cli->out);
	begin_pages(p, target);
	while (!p->leave && kms_tty_read(tty, p->text, line) == 0)
		if (!send_line(p, line, target))
			break;
	kms_tty_deinit(tty);
	free(tty);
}

static void run_lines(struct prompt *p, const struct kms_opt_list *lines, const char *target)
{
	for (size_t i = 0; i < lines->n && !p->leave; i++)
		if (!send_line(p, lines->item[i], target))
			return;
}

static int run_db(struct kms_cli *cli, void *v, char **args, int n_args)
{
	const struct db_values *values = v;
	struct prompt p = {.cli = cli, .text = "db> "};
	char target[64] = "/api/v1/db";
	int status = kms_view_open(cli, args, n_args, &p.client);

	if (status)
		return status;
	if (values->target.given)
		snprintf(target, sizeof(target), "/api/v1/db?target=%llu",
			 (unsigned long long)values->target.value);
	p.interactive = !values->lines.n && cli->out_is_terminal && isatty(STDIN_FILENO);
	kms_prompt_name(p.session);
	if (values->lines.n)
		run_lines(&p, &values->lines, target);
	else if (p.interactive)
		read_terminal(&p, target);
	else
		read_pipe(&p, target);
	kms_client_close(p.client);
	return p.status;
}

static const char help[] =
	"Without -e lines are read: at the prompt on a terminal, else from stdin.\n"
	"Numbers are hexadecimal, 0t30000 is decimal; `help` at the prompt lists the commands.\n"
	"The exit status is the last line's: 0, or 1 for an error, which is printed on stdout.\n"
	"Examples:\n"
	"  kmemscope db -e 'w kmem_guard_depth 0t30000'\n"
	"  kmemscope db -e 'show guard' -e findleaks app.4711\n";

const struct kms_command kms_command_db = {
	.name = "db",
	.summary = "a prompt in ddb's language: look, and change the allocator while it runs",
	.args = "[SESSION|FILE.kms]",
	.more = help,
	.min_args = 0,
	.max_args = 1,
	.stop_at_argument = false,
	.usage_status = KMS_EXIT_USAGE,
	.options = options,
	.values_bytes = sizeof(struct db_values),
	.run = run_db,
};
