/* SPDX-License-Identifier: BSD-2-Clause */
/* demo: the emulated kernel, a process of its own, under trace; then what was found. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fmt.h"
#include "tui/beside.h"
#include "tui/cmd.h"
#include "tui/demo_qemu.h"
#include "tui/http_options.h"
#include "tui/term.h"
#include "tui/view.h"

enum {
	KERNEL_ARGS = 24,
};

struct demo_values {
	bool json;
	bool kernel_only;
	bool qemu;
	bool no_color;
	bool wait, forever, verbose;
	struct kms_opt_number seed, seconds, ops;
	const char *bugs;
	const char *journal;
	const char *output;
	struct kms_http_options http;
};

#define AT(member) offsetof(struct demo_values, member)

static const struct kms_opt options[] = {
	KMS_ROW_NUMBER("seed", 0, AT(seed), "N", 0, 0,
		       "what is done, and where; same seed, same calls (1)"),
	KMS_ROW_TEXT("bugs", 0, AT(bugs), "LIST",
		     "planted bugs, joined by commas; all or none (all)"),
	KMS_ROW_NUMBER("ops", 0, AT(ops), "N", 1000, 0, "operations of each driver"),
	KMS_ROW_NUMBER("seconds", 0, AT(seconds), "N", 0, 30,
		       "how long; 0: as fast as it goes (4)"),
	KMS_ROW_FLAG("wait", 0, AT(wait), "wait at the end until stdin is closed"),
	KMS_ROW_FLAG("forever", 0, AT(forever), "round after round, until killed"),
	KMS_ROW_FLAG("verbose", 0, AT(verbose), "the kernel's console on stderr"),
	KMS_ROW_TEXT("journal", 0, AT(journal), "FILE", "one JSON line for each bug carried out"),
	KMS_ROW_TEXT("output", 'o', AT(output), "FILE", "trace file (kmemscope.demo.PID.kms)"),
	KMS_ROW_FLAG("json", 0, AT(json), "bodies of /stats, /faults and /leaks as one object"),
	KMS_ROW_FLAG("kernel-only", 0, AT(kernel_only), "the kernel alone, not traced"),
	KMS_HTTP_OPTIONS(struct demo_values),
	KMS_ROW_FLAG("no-color", 0, AT(no_color), "no colours (NO_COLOR does the same)"),
	KMS_ROW_FLAG("qemu", 0, AT(qemu),
		     "the kernel in an emulated machine, attached to from outside"),
	KMS_ROW_END,
};

/* One call of demo. */
struct demo {
	struct kms_cli *cli;
	const struct demo_values *values;
	char self[PATH_MAX];
	char *argv[KERNEL_ARGS];
	size_t n_args;
	char number[3][24];
	char output[64];
	struct kms_run_info info;
	struct kms_beside beside;
	struct kms_demo_qemu machine;
	bool screen; /* a terminal is there */
};

static void add_arg(struct demo *demo, const char *arg)
{
	if (demo->n_args + 1 < KERNEL_ARGS)
		demo->argv[demo->n_args++] = (char *)arg; /* argv is not written to */
}

static void add_number(struct demo *demo, const char *name, const struct kms_opt_number *number,
		       char text[24])
{
	if (!number->given)
		return;
	snprintf(text, 24, "%" PRIu64, number->value);
	add_arg(demo, name);
	add_arg(demo, text);
}

/* Our own binary once more, as the kernel. */
static int make_argv(struct demo *demo)
{
	const struct demo_values *values = demo->values;
	ssize_t n = readlink("/proc/self/exe", demo->self, sizeof(demo->self) - 1);

	if (n < 0)
		return -errno;
	demo->self[n] = '\0';
	add_arg(demo, demo->self);
	add_arg(demo, "demo-kernel");
	add_number(demo, "--seed", &values->seed, demo->number[0]);
	add_number(demo, "--ops", &values->ops, demo->number[1]);
	add_number(demo, "--seconds", &values->seconds, demo->number[2]);
	if (values->bugs) {
		add_arg(demo, "--bugs");
		add_arg(demo, values->bugs);
	}
	if (values->journal) {
		add_arg(demo, "--journal");
		add_arg(demo, values->journal);
	}
	if (values->wait)
		add_arg(demo, "--wait");
	/* who looks at it says when it is enough, unless he said how long */
	if (values->forever || (demo->screen && !values->seconds.given && !values->wait))
		add_arg(demo, "--forever");
	if (values->verbose)
		add_arg(demo, "--verbose");
	return 0;
}

/* Says where the kernel can be watched while it runs. */
static void say_started(void *arg)
{
	const struct demo *demo = arg;

	fprintf(demo->cli->err,
		"kmemscope demo: an emulated kernel runs as pid %d%s, traced into %s\n",
		(int)demo->info.pid, demo->values->qemu ? " (QEMU)" : "", demo->info.file);
	if (demo->info.socket[0])
		fprintf(demo->cli->err, "kmemscope demo: API socket %s\n", demo->info.socket);
	if (demo->info.url[0])
		fprintf(demo->cli->err, "kmemscope demo: page %s\n", demo->info.url);
}

static void start_screen(void *arg)
{
	const struct demo *demo = arg;

	kms_beside_started(&demo->beside, &demo->info);
}

/* The name of the trace, unless it was given. */
static const char *output_of(struct demo *demo)
{
	if (demo->values->output)
		return demo->values->output;
	snprintf(demo->output, sizeof(demo->output), "kmemscope.demo.%d.kms", (int)getpid());
	return demo->output;
}

static void add_word(struct demo *demo, const char *name, const struct kms_opt_number *number)
{
	char *words = demo->machine.words;
	size_t n = strlen(words);

	if (number->given) /* cut only after hundreds of digits */
		snprintf(words + n, sizeof(demo->machine.words) - n, "%s=%" PRIu64 " ", name,
			 number->value);
}

/* The guest kernel's command line: what it has in common with the process. */
static int make_words(struct demo *demo, struct kms_err *err)
{
	const struct demo_values *values = demo->values;
	char *words = demo->machine.words;
	const char *bugs = values->bugs ? values->bugs : "all";
	size_t n;

	if (values->wait)
		return kms_err_set(err, -EINVAL, "--wait and --qemu do not go together");
	add_word(demo, "seed", &values->seed);
	add_word(demo, "ops", &values->ops);
	add_word(demo, "seconds", &values->seconds);
	n = strlen(words);
	if (strpbrk(bugs, " \t\n") || strlen(bugs) > sizeof(demo->machine.words) - n - 64)
		return kms_err_set(err, -EINVAL, "--bugs: no list of bugs");
	if (strcmp(bugs, "all") != 0)
		n += (size_t)snprintf(words + n, sizeof(demo->machine.words) - n, "bugs=%s ", bugs);
	/* as with the process: who looks at it says when it is enough */
	snprintf(words + n, sizeof(demo->machine.words) - n, "%s%s%s",
		 values->forever || (demo->screen && !values->seconds.given) ? "" : "once ",
		 values->verbose ? "verbose " : "", values->journal ? "journal" : "");
	return 0;
}

static int attach_to_machine(struct demo *demo, struct kms_err *err)
{
	const struct demo_values *values = demo->values;
	char target[40];
	const struct kms_attach_ask ask = {
		.guest = target,
		.kernel = demo->machine.kernel,
		.go = true,
		.output = output_of(demo),
		.settings = &(const char *){"kmem_on_full=1"},
		.n_settings = 1,
		.http = values->http,
		.info = &demo->info,
		.started = demo->screen ? start_screen : (values->json ? NULL : say_started),
		.arg = demo,
	};

	snprintf(target, sizeof(target), "qemu:pid:%d", (int)demo->machine.pid);
	return demo->cli->hooks->attach(&ask, err);
}

static int trace_machine(struct demo *demo)
{
	struct kms_err err = KMS_ERR_INIT;
	int status = KMS_EXIT_OK, ended;
	int result;

	demo->machine.console_fd = -1;
	demo->machine.verbose = demo->values->verbose && !demo->values->journal;
	result = make_words(demo, &err);
	if (!result)
		result = kms_demo_qemu_start(&demo->machine, &err);
	if (!result)
		result = attach_to_machine(demo, &err);
	ended = kms_demo_qemu_end(&demo->machine);
	if (result < 0)
		status = kms_cli_fail(demo->cli, &err, KMS_EXIT_FAILED);
	if (!status && WIFEXITED(ended) && WEXITSTATUS(ended)) {
		kms_cli_error(demo->cli, "the emulator ended with status %d", WEXITSTATUS(ended));
		status = KMS_EXIT_FAILED;
	}
	if (!status && demo->values->journal &&
	    kms_demo_qemu_journal(&demo->machine, demo->values->journal, &err) < 0)
		status = kms_cli_fail(demo->cli, &err, KMS_EXIT_FAILED);
	if (demo->machine.console_fd >= 0)
		(void)close(demo->machine.console_fd); /* only read from */
	return status;
}

static int trace_kernel(struct demo *demo)
{
	const struct demo_values *values = demo->values;
	struct kms_err err = KMS_ERR_INIT;
	struct kms_run_request request = {
		.argv = demo->argv,
		.http = values->http,
		.info = &demo->info,
		.started = demo->screen ? start_screen : (values->json ? NULL : say_started),
		.arg = demo,
	};
	int status;

	if (values->qemu)
		return trace_machine(demo);
	request.output = output_of(demo);
	status = demo->cli->hooks->run(&request, &err);
	if (err.code)
		return kms_cli_fail(demo->cli, &err, KMS_EXIT_FAILED);
	if (demo->screen && status == 128 + SIGTERM)
		status = 0; /* that is how one leaves the screen */
	if (status)
		kms_cli_error(demo->cli, "the kernel ended with status %d", status);
	return status ? KMS_EXIT_FAILED : KMS_EXIT_OK;
}

/* What a report consists of. */
static const struct part {
	const char *name, *path;
	kms_show_fn *show;
} parts[] = {
	{"stats",  "/api/v1/stats",             kms_show_stats },
	{"faults", "/api/v1/faults?limit=1000", kms_show_faults},
	{"leaks",  "/api/v1/leaks?limit=20",    kms_show_leaks },
};

enum {
	PART_STATS,
	PART_FAULTS,
	PART_LEAKS,
	PARTS,
};

/* The three bodies as members of one object, each as it is. */
static void print_json(const struct demo *demo, const struct kms_reply *replies)
{
	for (size_t i = 0; i < PARTS; i++) {
		fprintf(demo->cli->out, "%s\"%s\":", i ? "," : "{", parts[i].name);
		kms_cli_write(demo->cli->out, replies[i].body, replies[i].body_bytes);
	}
	fputs("}\n", demo->cli->out);
}

/* A line for each finding, at the end, where it stays on the screen. */
static void add_findings(struct kms_text *text, cJSON *const *documents)
{
	const cJSON *leak;
	uint64_t faults = kms_json_number(documents[PART_FAULTS], "total");
	uint64_t suspects = kms_json_number(documents[PART_LEAKS], "suspects");

	kms_text_style(text, KMS_STYLE_HEAD, "\n%" PRIu64 " finding%s\n", faults + suspects,
		       kms_plural(faults + suspects));
	kms_show_headlines(text, kms_json_member(documents[PART_FAULTS], "items"), 0);
	for (leak = kms_json_first(kms_json_member(documents[PART_LEAKS], "items")); leak;
	     leak = leak->next) {
		if (!kms_json_flag(leak, "suspect"))
			continue;
		kms_text_addf(text, "    LEAK: %s in %s blocks, allocated in ",
			      kms_fmt_bytes(kms_json_number(leak, "bytes")).text,
			      kms_fmt_count(kms_json_number(leak, "count")).text);
		kms_text_frame(text, kms_stack_caller(kms_json_member(leak, "stack")));
		kms_text_addf(text, "\n");
	}
}

static void print_text(const struct demo *demo, const struct kms_reply *replies)
{
	static const struct kms_view_values no_values;
	cJSON *documents[PARTS];
	struct kms_text text;

	kms_text_init(&text, demo->cli);
	for (size_t i = 0; i < PARTS; i++) {
		documents[i] = cJSON_ParseWithLength(replies[i].body, replies[i].body_bytes);
		if (i)
			kms_text_addf(&text, "\n");
		parts[i].show(&text, documents[i], &no_values);
	}
	add_findings(&text, documents);
	kms_text_addf(&text, "\nmore: kmemscope leaks|faults|caches|guard|sql ... ");
	kms_text_path(&text, demo->info.file);
	kms_text_addf(&text, "\n");
	kms_text_print(&text, demo->cli->out);
	for (size_t i = 0; i < PARTS; i++)
		cJSON_Delete(documents[i]);
}

static int report(struct demo *demo)
{
	struct kms_source source = {.kind = KMS_SOURCE_FILE};
	struct kms_reply replies[PARTS] = {0};
	struct kms_err err = KMS_ERR_INIT;
	struct kms_client *client;
	int ret;

	snprintf(source.path, sizeof(source.path), "%s", demo->info.file);
	ret = kms_client_open(demo->cli->hooks, &source, &client, &err);
	if (ret < 0)
		return kms_cli_fail(demo->cli, &err, KMS_EXIT_FAILED);
	for (size_t i = 0; i < PARTS && ret == 0; i++)
		ret = kms_client_get(client, parts[i].path, NULL, &replies[i], &err);
	kms_client_close(client);
	if (ret == 0 && demo->values->json)
		print_json(demo, replies);
	else if (ret == 0)
		print_text(demo, replies);
	for (size_t i = 0; i < PARTS; i++)
		free(replies[i].body);
	return ret < 0 ? kms_cli_fail(demo->cli, &err, KMS_EXIT_FAILED) : KMS_EXIT_OK;
}

/* In the child beside the screen. */
static int trace_beside(void *arg)
{
	struct demo *demo = arg;
	int status = trace_kernel(demo);

	if (demo->info.file[0])
		fprintf(demo->cli->err,
			"kmemscope demo: the trace is %s; `kmemscope top` shows it again, "
			"`kmemscope faults` prints its reports\n",
			demo->info.file);
	return status;
}

static int show_kernel(struct demo *demo)
{
	demo->beside.cli = demo->cli;
	demo->beside.work = trace_beside;
	demo->beside.arg = demo;
	demo->beside.ends_with_screen = true;
	return kms_beside_run(&demo->beside);
}

static int run_demo(struct kms_cli *cli, void *v, char **args, int n_args)
{
	struct demo *demo = calloc(1, sizeof(*demo)); /* paths: too much for a stack */
	int status = KMS_EXIT_FAILED;

	(void)args;
	(void)n_args;
	if (!demo) {
		kms_cli_error(cli, "out of memory");
		return status;
	}
	demo->cli = cli;
	demo->values = v;
	demo->info.wait_status = -1;
	cli->color &= !demo->values->no_color;
	demo->screen =
		!demo->values->json && !demo->values->kernel_only && kms_term_check(NULL) == 0;
	if (demo->values->kernel_only && demo->values->qemu)
		kms_cli_error(cli,
			      "--kernel-only is without a tracer: start QEMU by hand for that");
	else if (!cli->hooks->demo_kernel)
		kms_cli_error(cli, "this kmemscope was built without the demo kernel");
	else if (make_argv(demo) < 0)
		kms_cli_error(cli, "cannot find our own program: %m");
	else if (demo->values->kernel_only)
		status = cli->hooks->demo_kernel((int)demo->n_args - 1, demo->argv + 1);
	else if (demo->screen)
		status = show_kernel(demo);
	else
		status = trace_kernel(demo);
	if (status == KMS_EXIT_OK && !demo->values->kernel_only && !demo->screen)
		status = report(demo);
	free(demo);
	return status;
}

static const char help[] =
	"In a terminal: the live screen (`kmemscope top`), round after round until it is left, or for\n"
	"--seconds N. Else, and with --json, the report when the kernel has ended.\n"
	"Bugs: leak, overflow, underflow, double-free, use-after-free, wrong-size, context.\n"
	"Each is reported with function, file and line. With --qemu the same happens in a kernel of our\n"
	"own in QEMU, seen from outside; the same seed gives the same findings. Examples:\n"
	"  kmemscope demo --qemu\n"
	"  kmemscope demo --bugs none\n"
	"  kmemscope demo --bugs leak,use-after-free --seed 7 --json\n";

const struct kms_command kms_command_demo = {
	.name = "demo",
	.summary = "an emulated kernel with planted bugs, on the live screen or reported",
	.args = "",
	.more = help,
	.min_args = 0,
	.max_args = 0,
	.stop_at_argument = false,
	.usage_status = KMS_EXIT_USAGE,
	.options = options,
	.values_bytes = sizeof(struct demo_values),
	.run = run_demo,
};
