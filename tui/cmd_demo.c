/* SPDX-License-Identifier: BSD-2-Clause */
/* demo: the emulated kernel, a process of its own, under trace; then what was found. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tui/cmd.h"
#include "tui/view.h"

enum {
	KERNEL_ARGS = 24,
};

struct demo_values {
	bool json;
	bool kernel_only;
	bool no_color;
	bool wait, forever, verbose;
	struct kms_opt_number seed, seconds, ops;
	const char *bugs;
	const char *journal;
	const char *output;
	struct kms_opt_list set;
};

#define AT(member) offsetof(struct demo_values, member)

static const struct kms_opt options[] = {
	{"seed",					      0, KMS_OPT_NUMBER, AT(seed), "N",
	 "what is done, and where; same seed, same calls (1)", 0, 0},
	{"bugs",				     0, KMS_OPT_TEXT, AT(bugs), "LIST",
	 "planted bugs, joined by commas; all or none (all)", 0, 0},
	{"ops",						0, KMS_OPT_NUMBER, AT(ops), "N", "operations of each driver", 1000, 0},
	{"seconds",						  0, KMS_OPT_NUMBER, AT(seconds), "N", "how long; 0: as fast as it goes (4)", 0,
	 30},
	{"wait",						   0, KMS_OPT_FLAG, AT(wait), NULL, "wait at the end until stdin is closed", 0, 0},
	{"forever",              0, KMS_OPT_FLAG, AT(forever), NULL, "round after round, until killed", 0, 0},
	{"verbose",					   0, KMS_OPT_FLAG, AT(verbose), NULL, "the kernel's console on stderr", 0, 0},
	{"journal", 0, KMS_OPT_TEXT, AT(journal), "FILE", "one JSON line for each bug carried out",
	 0, 0},
	{"set",						  0, KMS_OPT_LIST, AT(set), "VAR=VALUE", "start value of a variable; may be repeated",
	 0, 0},
	{"output",					       'o', KMS_OPT_TEXT, AT(output), "FILE", "trace file (kmemscope.demo.PID.kms)", 0,
	 0},
	{"json",				     0, KMS_OPT_FLAG, AT(json), NULL,
	 "bodies of /stats, /faults and /leaks as one object", 0, 0},
	{"kernel-only",						0, KMS_OPT_FLAG, AT(kernel_only), NULL, "the kernel alone, not traced", 0,
	 0},
	{"no-color",					       0, KMS_OPT_FLAG, AT(no_color), NULL, "no colours (NO_COLOR does the same)", 0,
	 0},
	{"qemu",						   0, KMS_OPT_LATER, 0, NULL, NULL, 0, 0},
	{0},
};
/* The guard makes a use after free show at the access, not when the block is reused. */
static const char *const demo_settings[] = {"kmem_guard_depth=30000"};

#define DEMO_SETTINGS (sizeof(demo_settings) / sizeof(demo_settings[0]))

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
	if (values->forever)
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
		"kmemscope demo: an emulated kernel runs as pid %d, traced into %s\n",
		(int)demo->info.pid, demo->info.file);
	if (demo->info.socket[0])
		fprintf(demo->cli->err, "kmemscope demo: API socket %s\n", demo->info.socket);
}

static int trace_kernel(struct demo *demo)
{
	const struct demo_values *values = demo->values;
	const char **settings = calloc(DEMO_SETTINGS + values->set.n, sizeof(*settings));
	struct kms_err err = KMS_ERR_INIT;
	struct kms_run_request request = {
		.argv = demo->argv,
		.output = values->output,
		.settings = settings,
		.n_settings = DEMO_SETTINGS + values->set.n,
		.info = &demo->info,
		.started = values->json ? NULL : say_started,
		.arg = demo,
	};
	int status;

	if (!settings) {
		kms_cli_error(demo->cli, "out of memory");
		return KMS_EXIT_FAILED;
	}
	if (!request.output) {
		snprintf(demo->output, sizeof(demo->output), "kmemscope.demo.%d.kms",
			 (int)getpid());
		request.output = demo->output;
	}
	memcpy(settings, demo_settings, sizeof(demo_settings));
	for (size_t i = 0; i < values->set.n; i++)
		settings[DEMO_SETTINGS + i] = values->set.item[i];
	status = demo->cli->hooks->run(&request, &err);
	free(settings);
	if (err.code)
		return kms_cli_fail(demo->cli, &err, KMS_EXIT_FAILED);
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

#define PARTS (sizeof(parts) / sizeof(parts[0]))

/* One part as text, or, for --json, as a member of the one object. */
static int print_part(struct demo *demo, struct kms_client *client, const struct part *part)
{
	static const struct kms_view_values no_values;
	struct kms_err err = KMS_ERR_INIT;
	struct kms_reply reply;
	struct kms_text text;
	cJSON *document;

	if (kms_client_get(client, part->path, NULL, &reply, &err) < 0)
		return kms_cli_fail(demo->cli, &err, KMS_EXIT_FAILED);
	if (demo->values->json) {
		fprintf(demo->cli->out, "%s\"%s\":", part == parts ? "{" : ",", part->name);
		kms_cli_write(demo->cli->out, reply.body, reply.body_bytes);
	} else {
		document = cJSON_ParseWithLength(reply.body, reply.body_bytes);
		kms_text_init(&text, demo->cli);
		part->show(&text, document, &no_values);
		kms_text_addf(&text, "\n");
		kms_text_print(&text, demo->cli->out);
		cJSON_Delete(document);
	}
	free(reply.body);
	return KMS_EXIT_OK;
}

static int report(struct demo *demo)
{
	struct kms_source source = {.kind = KMS_SOURCE_FILE};
	struct kms_err err = KMS_ERR_INIT;
	struct kms_client *client;
	int status = KMS_EXIT_OK;

	snprintf(source.path, sizeof(source.path), "%s", demo->info.file);
	if (kms_client_open(demo->cli->hooks, &source, &client, &err) < 0)
		return kms_cli_fail(demo->cli, &err, KMS_EXIT_FAILED);
	for (size_t i = 0; i < PARTS && status == KMS_EXIT_OK; i++)
		status = print_part(demo, client, &parts[i]);
	kms_client_close(client);
	if (status == KMS_EXIT_OK && demo->values->json)
		fputs("}\n", demo->cli->out);
	return status;
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
	if (!cli->hooks->demo_kernel)
		kms_cli_error(cli, "this kmemscope was built without the demo kernel");
	else if (make_argv(demo) < 0)
		kms_cli_error(cli, "cannot find our own program: %m");
	else if (demo->values->kernel_only)
		status = cli->hooks->demo_kernel((int)demo->n_args - 1, demo->argv + 1);
	else
		status = trace_kernel(demo);
	if (status == KMS_EXIT_OK && !demo->values->kernel_only)
		status = report(demo);
	free(demo);
	return status;
}

static const char help[] =
	"Bugs: leak, overflow, underflow, double-free, use-after-free, wrong-size, context.\n"
	"Each is reported with function, file and line. Examples:\n"
	"  kmemscope demo --bugs none\n"
	"  kmemscope demo --bugs leak,use-after-free --seed 7 --json\n";

const struct kms_command kms_command_demo = {
	.name = "demo",
	.summary = "an emulated kernel with planted bugs, traced and reported",
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
