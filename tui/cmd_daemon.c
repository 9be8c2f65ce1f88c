/* SPDX-License-Identifier: BSD-2-Clause */
/* daemon: many targets, one API, a file for each run. */
#include <string.h>

#include "base/buf.h"
#include "tui/cmd.h"
#include "tui/http_options.h"

struct daemon_values {
	const char *dir;
	bool quiet;
	struct kms_http_options http;
};

#define AT(member) offsetof(struct daemon_values, member)

static const struct kms_opt options[] = {
	KMS_ROW_TEXT("dir", 0, AT(dir), "FOLDER", "where traces go (the current folder)"),
	KMS_HTTP_OPTIONS(struct daemon_values),
	KMS_ROW_FLAG("quiet", 'q', AT(quiet), "print nothing of our own but errors"),
	KMS_ROW_END,
};

/* What the callbacks get. */
struct daemon_call {
	struct kms_cli *cli;
	const struct daemon_values *values;
};

static void say_line(void *arg, const char *line)
{
	struct daemon_call *call = arg;
	struct kms_buf text;

	if (call->values->quiet)
		return;
	kms_buf_init(&text, 1 << 16);
	kms_buf_add_printable(&text, line, strlen(line));
	fprintf(call->cli->err, "kmemscope daemon: %s\n", kms_buf_text(&text));
	(void)fflush(call->cli->err); /* nobody is left to be told */
	kms_buf_deinit(&text);
}

static void say_started(void *arg, const char *socket_path, const char *url)
{
	struct daemon_call *call = arg;

	if (call->values->quiet)
		return;
	fprintf(call->cli->err,
		"kmemscope daemon: API socket %s\n"
		"kmemscope daemon: programs join by `kmemscope run --daemon -- PROGRAM`, or with "
		"KMEMSCOPE_SOCKET=%s\n",
		socket_path, socket_path);
	if (url)
		fprintf(call->cli->err, "kmemscope daemon: page %s\n", url);
	(void)fflush(call->cli->err); /* as above */
}

static int run_daemon(struct kms_cli *cli, void *v, char **args, int n_args)
{
	struct daemon_call call = {.cli = cli, .values = v};
	const struct kms_daemon_request request = {
		.folder = call.values->dir,
		.http = call.values->http,
		.started = say_started,
		.say = say_line,
		.arg = &call,
	};
	struct kms_err err = KMS_ERR_INIT;

	(void)args;
	(void)n_args;
	if (cli->hooks->daemon(&request, &err) < 0)
		return kms_cli_fail(cli, &err, KMS_EXIT_FAILED);
	return KMS_EXIT_OK;
}

static const char help[] =
	"Runs in the foreground until SIGTERM or ^C; then traces are finished and the programs go on.\n"
	"A user has one. Each run has a file of its own, kmemscope.PROG.PID.kms. A run that has ended\n"
	"stays visible for 10 minutes, at most 16 of them; then it is in its file only.\n"
	"Programs join:\n"
	"  kmemscope run --daemon -- ./server\n"
	"  KMEMSCOPE_SOCKET=SOCKET LD_PRELOAD=LIBRARY ./server      # `kmemscope version` names the library\n"
	"Processes and guests that run already are taken by request, and by the next daemon again:\n"
	"  kmemscope attach --daemon pid:4711\n"
	"  kmemscope attach --daemon qemu:pid:4712\n"
	"The views show all of them, or one:\n"
	"  kmemscope leaks daemon\n"
	"  kmemscope leaks --target 3 daemon                        # `kmemscope targets daemon` lists them\n";

const struct kms_command kms_command_daemon = {
	.name = "daemon",
	.summary = "trace many programs, one API over all of them",
	.args = "",
	.more = help,
	.min_args = 0,
	.max_args = 0,
	.usage_status = KMS_EXIT_USAGE,
	.options = options,
	.values_bytes = sizeof(struct daemon_values),
	.run = run_daemon,
};
