/* SPDX-License-Identifier: BSD-2-Clause */
/* run: a program under trace. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "tui/beside.h"
#include "tui/cmd.h"
#include "tui/http_options.h"
#include "tui/summary.h"
#include "tui/suppress.h"

enum {
	SETTING_BYTES = 48, /* of the settings we make ourselves */
	OUR_SETTINGS = 2,
};

struct run_values {
	const char *output;
	const char *log;
	const char *suppressions;
	bool debug;
	bool quiet;
	bool daemon;
	bool top;
	bool no_color;
	struct kms_opt_number guard_depth;
	struct kms_opt_list set;
	int on_full;     /* index of drop|wait */
	int follow_fork; /* index of yes|no */
	struct kms_opt_number error_exitcode;
	struct kms_opt_number leak_threshold;
	struct kms_http_options http;
};

#define AT(member) offsetof(struct run_values, member)

static const struct kms_opt options[] = {
	KMS_ROW_TEXT("output", 'o', AT(output), "FILE", "trace file (kmemscope.PROG.PID.kms)"),
	KMS_ROW_FLAG("debug", 'd', AT(debug),
		     "stop the program before its main function; c at the db prompt lets it go on"),
	KMS_ROW_FLAG("quiet", 'q', AT(quiet), "print nothing of our own but errors"),
	KMS_ROW_TEXT("log", 0, AT(log), "FILE", "what we print goes to FILE, not to stderr"),
	KMS_ROW_NUMBER("guard-depth", 0, AT(guard_depth), "N", 0, 1 << 24,
		       "guard pages, and reuse only after N frees: use after free is caught"),
	KMS_ROW_LIST("set", 0, AT(set), "VAR=VALUE", "start value of a variable; may be repeated"),
	KMS_ROW_CHOICE("on-full", 0, AT(on_full), "drop|wait",
		       "what the program does when the tracer is behind (wait)"),
	KMS_ROW_CHOICE("follow-fork", 0, AT(follow_fork), "yes|no",
		       "trace the processes that it starts too (yes)"),
	KMS_ROW_NUMBER("error-exitcode", 0, AT(error_exitcode), "N", 1, 255,
		       "exit with N if there are findings: faults, or leaks over the threshold"),
	KMS_ROW_SIZE("leak-threshold", 0, AT(leak_threshold), "BYTES",
		     "leak suspects above so many bytes together are a finding"),
	KMS_ROW_TEXT("suppressions", 0, AT(suppressions), "FILE",
		     "known leaks, no findings: lines leak:PATTERN as of LeakSanitizer"),
	KMS_ROW_FLAG("top", 0, AT(top),
		     "the live screen while it runs; what the program prints goes to a file"),
	KMS_ROW_FLAG("daemon", 0, AT(daemon), "the running `kmemscope daemon` is the tracer"),
	KMS_HTTP_OPTIONS(struct run_values),
	KMS_ROW_FLAG("no-color", 0, AT(no_color), "no colours (NO_COLOR does the same)"),
	KMS_ROW_END,
};

/* One call of run; the callbacks get it. */
struct run {
	struct kms_cli *cli;
	const struct run_values *values;
	FILE *log; /* where our lines go */
	struct kms_suppressions *suppressions;
	struct kms_beside beside; /* --top */
	char **argv;
	struct kms_run_info info;
	const char **settings;
	size_t n_settings;
	char own[OUR_SETTINGS][SETTING_BYTES];
};

static void say_line(void *arg, const char *line)
{
	struct run *run = arg;
	struct kms_buf text;

	if (run->values->quiet)
		return;
	kms_buf_init(&text, 1 << 16);
	kms_buf_add_printable(&text, line, strlen(line));
	fprintf(run->log, "kmemscope: %s\n", kms_buf_text(&text));
	(void)fflush(run->log); /* the end says what could not be written */
	kms_buf_deinit(&text);
}

static void say_started(void *arg)
{
	struct run *run = arg;
	char line[2 * PATH_MAX + 64];

	snprintf(line, sizeof(line), "tracing pid %d into %s", (int)run->info.pid, run->info.file);
	say_line(run, line);
	if (run->info.socket[0]) {
		snprintf(line, sizeof(line), "API socket %s", run->info.socket);
		say_line(run, line);
	}
	if (run->info.url[0]) {
		snprintf(line, sizeof(line), "page %s", run->info.url);
		say_line(run, line);
	}
	if (run->values->debug)
		say_line(run, "the program stands before its main function; "
			      "kmemscope db -e c lets it go on");
}

/* Under --top the screen begins once there is something to ask. */
static void say_to_screen(void *arg)
{
	struct run *run = arg;

	say_started(arg);
	kms_beside_started(&run->beside, &run->info);
}

static void add_setting(struct run *run, const char *setting)
{
	run->settings[run->n_settings++] = setting;
}

/* Our own options first: a --set of the same variable wins. */
static int make_settings(struct run *run)
{
	const struct run_values *values = run->values;

	run->settings = calloc(values->set.n + OUR_SETTINGS, sizeof(*run->settings));
	if (!run->settings)
		return -ENOMEM;
	if (values->guard_depth.given) {
		snprintf(run->own[0], SETTING_BYTES, "kmem_guard_depth=%" PRIu64,
			 values->guard_depth.value);
		add_setting(run, run->own[0]);
	}
	if (values->on_full >= 0) {
		snprintf(run->own[1], SETTING_BYTES, "kmem_on_full=%d", values->on_full);
		add_setting(run, run->own[1]);
	}
	for (size_t i = 0; i < values->set.n; i++)
		add_setting(run, values->set.item[i]);
	return 0;
}

/* Before the program starts: a mistake in the file must not cost a run. */
static int load_suppressions(struct run *run)
{
	struct kms_err err = KMS_ERR_INIT;

	if (!run->values->suppressions ||
	    kms_suppressions_load(run->values->suppressions, &run->suppressions, &err) == 0)
		return 0;
	return kms_cli_fail(run->cli, &err, -1);
}

static int open_log(struct run *run)
{
	run->log = run->cli->err;
	if (!run->values->log)
		return 0;
	run->log = fopen(run->values->log, "we");
	if (run->log)
		return 0;
	kms_cli_error(run->cli, "cannot write to --log %s: %m", run->values->log);
	return -1;
}

static void close_log(struct run *run)
{
	if (run->values->log && fclose(run->log) != 0)
		kms_cli_error(run->cli, "cannot write to --log %s: %m", run->values->log);
}

/* Asks the trace what happened, says it, and gives findings their status. */
static int conclude(struct run *run, int status)
{
	const struct run_values *values = run->values;
	struct kms_err err = KMS_ERR_INIT;
	struct kms_summary summary;

	if (values->quiet && !values->error_exitcode.given)
		return status;
	if (kms_summary_load(run->cli, &run->info, run->suppressions, &summary, &err) < 0)
		kms_cli_error(run->cli, "the trace cannot be read back: %s", err.text);
	if (!values->quiet)
		kms_summary_print(run->cli, &run->info, &summary, run->log);
	if (values->error_exitcode.given &&
	    kms_summary_has_findings(&summary, &values->leak_threshold))
		status = (int)values->error_exitcode.value;
	kms_summary_deinit(&summary);
	return status;
}

static int execute(struct run *run, char **argv)
{
	struct kms_err err = KMS_ERR_INIT;
	const struct kms_run_request request = {
		.argv = argv,
		.output = run->values->output,
		.settings = run->settings,
		.n_settings = run->n_settings,
		.first_only = run->values->follow_fork == 1,
		.by_daemon = run->values->daemon,
		.http = run->values->http,
		.stopped = run->values->debug,
		.info = &run->info,
		.started = run->values->top ? say_to_screen : say_started,
		.say = say_line,
		.arg = run,
	};
	int status = run->cli->hooks->run(&request, &err);

	if (err.code)
		return kms_cli_fail(run->cli, &err, status);
	run->cli->err = run->log;
	if (run->info.tracer_lost && run->values->quiet) /* else it was said when it happened */
		kms_cli_error(run->cli,
			      "the tracer was lost: the trace ends before the program did");
	if (run->info.store_failed)
		kms_cli_error(run->cli, "%s could not be written to the end", run->info.file);
	return conclude(run, status);
}

/* In the child beside the screen: what is said goes where the screen prints it later. */
static int execute_beside(void *arg)
{
	struct run *run = arg;

	if (!run->values->log)
		run->log = run->cli->err;
	return execute(run, run->argv);
}

static int execute_with_screen(struct run *run)
{
	int status = kms_beside_check(run->cli);

	if (status)
		return KMS_RUN_EXIT_FAILED;
	run->beside.cli = run->cli;
	run->beside.work = execute_beside;
	run->beside.arg = run;
	if (run->values->output)
		snprintf(run->beside.output, sizeof(run->beside.output), "%s.out",
			 run->values->output);
	return kms_beside_run(&run->beside);
}

/* The daemon has a port, or none, whatever a run wishes. */
static bool fits_daemon(const struct run *run)
{
	if (!run->values->daemon || !run->values->http.where)
		return true;
	kms_cli_error(run->cli,
		      "--http goes with a tracer of our own; the daemon's port is that of "
		      "`kmemscope daemon --http`");
	return false;
}

static int run_program(struct kms_cli *cli, void *v, char **args, int n_args)
{
	struct run *run = calloc(1, sizeof(*run)); /* two paths: too much for a stack */
	int status = KMS_RUN_EXIT_FAILED;
	FILE *err = cli->err;

	(void)n_args;
	if (!run) {
		kms_cli_error(cli, "out of memory");
		return status;
	}
	run->cli = cli;
	run->values = v;
	run->info.wait_status = -1;
	cli->color &= !run->values->no_color;
	if (!fits_daemon(run)) {
		free(run);
		return status;
	}
	if (load_suppressions(run) == 0 && open_log(run) == 0) {
		run->argv = args;
		if (make_settings(run) < 0)
			kms_cli_error(cli, "out of memory");
		else if (run->values->top)
			status = execute_with_screen(run);
		else
			status = execute(run, args);
		cli->err = err;
		close_log(run);
	}
	kms_suppressions_free(run->suppressions);
	free(run->settings);
	free(run);
	return status;
}

static const char help[] =
	"The exit status is the program's own, or 128 + its signal; 125, 126 and 127 are ours:\n"
	"we failed, the program cannot be executed, there is none. --error-exitcode N wins.\n"
	"While it runs:  kmemscope leaks        afterwards:  kmemscope leaks FILE.kms\n"
	"--top: who leaves the screen leaves the program running. Of its streams, those that are the\n"
	"terminal are exchanged: input for /dev/null, output for kmemscope.PID.out or TRACE.out.\n"
	"--http prints an address that logs one browser in, once; scripts send the header\n"
	"Authorization: Bearer TOKEN, with the token in the file `token` beside the API socket\n"
	"(`token-read`: may change nothing).\n"
	"-d: set what you like first, then let it go:  kmemscope db -e 'w kmem_guard_depth 0t30000' -e c\n"
	"Examples:\n"
	"  kmemscope run -- ./server --port 8080\n"
	"  kmemscope run --http 0 -- ./server          # prints http://127.0.0.1:PORT/#token=...\n"
	"  kmemscope run --guard-depth 30000 --set kmem_poison=1 -- ./test_suite\n"
	"  kmemscope run -q --error-exitcode 9 --leak-threshold 64K -- ./test_suite   # in CI\n";

const struct kms_command kms_command_run = {
	.name = "run",
	.summary = "run a program under trace, no rebuild needed",
	.args = "-- PROGRAM [ARGS...]",
	.more = help,
	.min_args = 1,
	.max_args = -1,
	.stop_at_argument = true,
	.usage_status = KMS_RUN_EXIT_FAILED,
	.options = options,
	.values_bytes = sizeof(struct run_values),
	.run = run_program,
};
