/* SPDX-License-Identifier: BSD-2-Clause */
/* attach: a tracer for a process that runs already. */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cjson/cJSON.h>

#include "base/buf.h"
#include "base/fmt.h"
#include "tui/client.h"
#include "tui/cmd.h"
#include "tui/http_options.h"
#include "tui/source.h"
#include "tui/summary.h"
#include "tui/text.h"
#include "tui/traced_guests.h"

struct attach_values {
	const char *output;
	bool quiet;
	bool no_color;
	bool list;
	bool json;
	bool stopped;
	bool daemon;
	bool allow_write;
	bool boot;
	const char *kernel;
	struct kms_opt_number depth;
	struct kms_opt_list set;
	int on_full; /* index of drop|wait */
	struct kms_http_options http;
};

enum {
	DEPTH_MAX = 1 << 24, /* of kmem_guard_depth, schema/variables.h */
};

#define AT(member) offsetof(struct attach_values, member)

static const struct kms_opt options[] = {
	KMS_ROW_FLAG("list", 0, AT(list), "the processes and guests that can be attached to"),
	KMS_ROW_FLAG("json", 0, AT(json), "with --list: as JSON"),
	KMS_ROW_FLAG("debug", 'd', AT(stopped), "stop it at once; `c` at the prompt lets it go on"),
	KMS_ROW_FLAG("daemon", 0, AT(daemon), "the running `kmemscope daemon` is the tracer"),
	KMS_ROW_TEXT("output", 'o', AT(output), "FILE", "trace file (kmemscope.PROG.PID.kms)"),
	KMS_ROW_FLAG("quiet", 'q', AT(quiet), "print nothing of our own but errors"),
	KMS_ROW_LIST("set", 0, AT(set), "VAR=VALUE", "value of a variable; may be repeated"),
	KMS_ROW_CHOICE("on-full", 0, AT(on_full), "drop|wait",
		       "what the program does when the tracer is behind (drop)"),
	KMS_ROW_FLAG("no-color", 0, AT(no_color), "no colours (NO_COLOR does the same)"),
	KMS_HTTP_OPTIONS(struct attach_values),
	KMS_ROW_TEXT("kernel", 0, AT(kernel), "ELF",
		     "of a guest: file with its symbols (qemu's -kernel)"),
	KMS_ROW_FLAG("allow-write", 0, AT(allow_write),
		     "of a guest: `w` may write all of its memory, not our variables alone"),
	KMS_ROW_FLAG("boot", 0, AT(boot),
		     "of a guest that boots: set --guard-depth where it reads it, at kmem_init"),
	KMS_ROW_NUMBER("guard-depth", 0, AT(depth), "N", 1, DEPTH_MAX,
		       "with --boot: kmem_guard_depth"),
	KMS_ROW_END,
};

/* One call of attach; the callbacks get it. */
struct attach {
	struct kms_cli *cli;
	const struct attach_values *values;
	struct kms_run_info info;
	const char *guest; /* as it was named; NULL: a process */
	const char **settings;
	size_t n_settings;
	char on_full[32];
};

static void say_line(void *arg, const char *line)
{
	struct attach *attach = arg;
	struct kms_buf text;

	if (attach->values->quiet)
		return;
	kms_buf_init(&text, 1 << 16);
	kms_buf_add_printable(&text, line, strlen(line));
	fprintf(attach->cli->err, "kmemscope: %s\n", kms_buf_text(&text));
	(void)fflush(attach->cli->err); /* the end says what could not be written */
	kms_buf_deinit(&text);
}

static void say_started(void *arg)
{
	struct attach *attach = arg;
	char line[2 * PATH_MAX + 64];

	if (attach->guest && !attach->info.file[0])
		(void)snprintf(line, sizeof(line),
			       "attached to the kernel in the guest of %.128s; no trace is written",
			       attach->guest);
	else if (attach->guest)
		(void)snprintf(line, sizeof(line),
			       "attached to the guest of %.128s, tracing into %s", attach->guest,
			       attach->info.file);
	else
		(void)snprintf(line, sizeof(line), "attached to pid %d, tracing into %s",
			       (int)attach->info.pid, attach->info.file);
	say_line(attach, line);
	if (attach->info.socket[0]) {
		(void)snprintf(line, sizeof(line), "API socket %s", attach->info.socket);
		say_line(attach, line);
	}
	if (attach->info.url[0]) {
		(void)snprintf(line, sizeof(line), "page %s", attach->info.url);
		say_line(attach, line);
	}
}

static bool is_guest(const char *target)
{
	return !strncmp(target, "qemu:", 5) || !strncmp(target, "ram:", 4) ||
	       !strncmp(target, "gdb:", 4);
}

/* What only guests have. */
static bool is_for_processes(struct kms_cli *cli, const struct attach_values *values)
{
	if (!values->kernel && !values->allow_write && !values->boot)
		return true;
	kms_cli_error(cli, "--kernel, --boot and --allow-write are for guests: qemu:pid:N");
	return false;
}

/* What goes together only. */
static bool is_whole(struct kms_cli *cli, const struct attach_values *values)
{
	if (values->boot && values->daemon) {
		kms_cli_error(cli, "--boot is not the daemon's: leave --daemon out");
		return false;
	}
	if (values->boot == values->depth.given)
		return true;
	kms_cli_error(cli, values->boot ? "--boot sets kmem_guard_depth: say --guard-depth N, too"
					: "--guard-depth is for --boot; of what runs already it is "
					  "--set kmem_guard_depth=N");
	return false;
}

/* "pid:N"; 0 if it is none. */
static pid_t parse_target(struct kms_cli *cli, const char *target)
{
	const char *number = strncmp(target, "pid:", 4) == 0 ? target + 4 : NULL;
	char *end = NULL;
	unsigned long pid;

	errno = 0;
	pid = number && number[0] >= '0' && number[0] <= '9' ? strtoul(number, &end, 10) : 0;
	if (errno || !pid || pid > INT_MAX || *end) {
		kms_cli_error(cli,
			      "'%s' is no target: write pid:N or qemu:pid:N, as `kmemscope attach "
			      "--list` does",
			      target);
		return 0;
	}
	return (pid_t)pid;
}

static int make_settings(struct attach *attach)
{
	const struct attach_values *values = attach->values;

	attach->settings = calloc(values->set.n + 1, sizeof(*attach->settings));
	if (!attach->settings)
		return -ENOMEM;
	if (values->on_full >= 0) {
		(void)snprintf(attach->on_full, sizeof(attach->on_full), "kmem_on_full=%d",
			       values->on_full);
		attach->settings[attach->n_settings++] = attach->on_full;
	}
	for (size_t i = 0; i < values->set.n; i++)
		attach->settings[attach->n_settings++] = values->set.item[i];
	return 0;
}

static void conclude(struct attach *attach)
{
	struct kms_err err = KMS_ERR_INIT;
	struct kms_summary summary;

	if (attach->values->quiet)
		return;
	if (!attach->info.file[0]) { /* a foreign kernel has no trace to sum up */
		if (attach->info.let_go)
			say_line(attach, "the guest goes on without us");
		return;
	}
	if (kms_summary_load(attach->cli, &attach->info, NULL, &summary, &err) < 0)
		kms_cli_error(attach->cli, "the trace cannot be read back: %s", err.text);
	kms_summary_print(attach->cli, &attach->info, &summary, attach->cli->err);
	kms_summary_deinit(&summary);
}

static int execute(struct attach *attach)
{
	struct kms_err err = KMS_ERR_INIT;
	const struct kms_attach_ask request = {
		.pid = attach->info.pid,
		.guest = attach->guest,
		.kernel = attach->values->kernel,
		.allow_write = attach->values->allow_write,
		.boot = attach->values->boot,
		.depth = attach->values->depth.value,
		.output = attach->values->output,
		.settings = attach->settings,
		.n_settings = attach->n_settings,
		.stopped = attach->values->stopped,
		.http = attach->values->http,
		.info = &attach->info,
		.started = say_started,
		.say = say_line,
		.arg = attach,
	};

	if (attach->cli->hooks->attach(&request, &err) < 0)
		return kms_cli_fail(attach->cli, &err, KMS_EXIT_FAILED);
	if (attach->info.store_failed)
		kms_cli_error(attach->cli, "%s could not be written to the end", attach->info.file);
	conclude(attach);
	return attach->info.store_failed ? KMS_EXIT_FAILED : KMS_EXIT_OK;
}

/* --list, as text or JSON. */
struct listing {
	FILE *out;
	const struct kms_hooks *hooks;
	struct kms_traced_guests guests; /* asked for at the first guest */
	bool asked;
	struct kms_buf json;
	bool any; /* in it */
};

/* One process of --list. */
static void list_text(void *arg, const struct kms_attachable *process)
{
	const struct listing *list = arg;
	struct kms_buf program;

	kms_buf_init(&program, 1 << 12);
	kms_buf_add_printable(&program, process->program, strlen(process->program));
	fprintf(list->out, "pid:%-8d %-20s %s%s\n", (int)process->pid, kms_buf_text(&program),
		process->session[0] ? "traced by session " : "not traced", process->session);
	kms_buf_deinit(&program);
}

/* The session that traces a guest, "" none. */
static const char *session_of(struct listing *list, pid_t pid)
{
	if (!list->asked)
		kms_traced_guests_ask(list->hooks, &list->guests);
	list->asked = true;
	return kms_traced_guests_session(&list->guests, pid);
}

/* One guest of --list. */
static void list_guest_text(void *arg, const struct kms_attachable_guest *guest)
{
	struct listing *list = arg;
	const char *session = session_of(list, guest->pid);
	const char *words[] = {guest->name[0] ? guest->name : guest->program, guest->kernel,
			       guest->why_not};
	struct kms_buf text[3];

	for (size_t i = 0; i < 3; i++) {
		kms_buf_init(&text[i], 1 << 12);
		if (words[i])
			kms_buf_add_printable(&text[i], words[i], strlen(words[i]));
	}
	fprintf(list->out, "qemu:pid:%-8d %-20s %s%s%s, %s%s%s%s\n", (int)guest->pid,
		kms_buf_text(&text[0]), kms_fmt_bytes(guest->ram_bytes).text,
		*kms_buf_text(&text[1]) ? ", kernel " : "", kms_buf_text(&text[1]),
		session[0] ? "traced by session " : "not traced", session,
		guest->why_not ? "; " : "", kms_buf_text(&text[2]));
	for (size_t i = 0; i < 3; i++)
		kms_buf_deinit(&text[i]);
}

static void add_text(struct kms_buf *json, const char *member, const char *text)
{
	kms_buf_addf(json, ",\"%s\":", member);
	if (text && text[0])
		kms_buf_add_json(json, text, strlen(text));
	else
		kms_buf_add_str(json, "null");
}

static void list_json(void *arg, const struct kms_attachable *process)
{
	struct listing *list = arg;

	kms_buf_addf(&list->json, "%s{\"target\":\"pid:%d\",\"kind\":\"process\",\"pid\":%d",
		     list->any ? "," : "", (int)process->pid, (int)process->pid);
	add_text(&list->json, "program", process->program);
	add_text(&list->json, "session", process->session);
	kms_buf_add_str(&list->json, "}");
	list->any = true;
}

static void list_guest_json(void *arg, const struct kms_attachable_guest *guest)
{
	struct listing *list = arg;

	kms_buf_addf(
		&list->json,
		"%s{\"target\":\"qemu:pid:%d\",\"kind\":\"guest\",\"pid\":%d,\"ram_bytes\":%" PRIu64,
		list->any ? "," : "", (int)guest->pid, (int)guest->pid, guest->ram_bytes);
	add_text(&list->json, "program", guest->program);
	add_text(&list->json, "name", guest->name);
	add_text(&list->json, "kernel", guest->kernel);
	add_text(&list->json, "session", session_of(list, guest->pid));
	add_text(&list->json, "why_not", guest->why_not);
	kms_buf_add_str(&list->json, "}");
	list->any = true;
}

static int list(struct kms_cli *cli, const struct attach_values *values)
{
	struct listing listing = {.out = cli->out, .hooks = cli->hooks};

	kms_buf_init(&listing.json, 1 << 22);
	kms_buf_add_str(&listing.json, "{\"items\":[");
	cli->hooks->attach_each(values->json ? list_json : list_text, &listing);
	cli->hooks->guest_each(values->json ? list_guest_json : list_guest_text, &listing);
	kms_buf_add_str(&listing.json, "]}");
	if (values->json)
		fprintf(cli->out, "%s\n", kms_buf_text(&listing.json));
	kms_buf_deinit(&listing.json);
	kms_traced_guests_deinit(&listing.guests);
	return KMS_EXIT_OK;
}

/* What only a tracer of our own takes. */
static bool is_for_the_daemon(struct kms_cli *cli, const struct attach_values *values)
{
	if (!values->output && !values->set.n && values->on_full < 0 && !values->http.where &&
	    !values->kernel && !values->allow_write && !values->boot)
		return true;
	kms_cli_error(
		cli,
		"--daemon takes the target as it is: -o, --set, --on-full, --http, --kernel, --boot "
		"and --allow-write do not go with it; `kmemscope db daemon` sets variables");
	return false;
}

/* The daemon is in a folder of its own: paths of sockets and files are made absolute. */
static int add_target(struct kms_buf *body, const char *target)
{
	const char *path = !strncmp(target, "qemu:pid:", 9) ? NULL : strchr(target, ':');
	bool is_relative =
		path && path[1] != '/' && strncmp(target, "pid:", 4) != 0 &&
		(strchr(path, '/') || !strncmp(target, "ram:", 4) || !strchr(path + 1, ':'));
	char folder[PATH_MAX];
	struct kms_buf text;

	if (!is_relative) {
		kms_buf_add_json(body, target, strlen(target));
		return 0;
	}
	if (!getcwd(folder, sizeof(folder)))
		return -errno;
	kms_buf_init(&text, (size_t)2 * PATH_MAX);
	kms_buf_addf(&text, "%.*s%s/%s", (int)(path + 1 - target), target, folder, path + 1);
	kms_buf_add_json(body, kms_buf_text(&text), strlen(kms_buf_text(&text)));
	kms_buf_deinit(&text);
	return 0;
}

/* {"attach": "pid:4711", "stop": false} */
static int make_body(const struct attach_values *values, const char *target, struct kms_buf *body,
		     struct kms_err *err)
{
	int result;

	kms_buf_init(body, (size_t)4 * PATH_MAX);
	kms_buf_add_str(body, "{\"attach\":");
	result = add_target(body, target);
	kms_buf_addf(body, ",\"stop\":%s}", values->stopped ? "true" : "false");
	if (!result)
		result = kms_buf_status(body);
	return result ? kms_err_sys(err, result, "target", target) : 0;
}

static void say_taken(struct kms_cli *cli, const char *target, const struct kms_reply *reply)
{
	cJSON *document = cJSON_ParseWithLength(reply->body, reply->body_bytes);
	uint64_t number = kms_json_number(document, "target");

	if (number)
		fprintf(cli->err, "kmemscope: the daemon traces %s as target %" PRIu64 "\n", target,
			number);
	else
		fprintf(cli->err, "kmemscope: the daemon traces %s from %s on\n", target,
			is_guest(target) ? "a kernel's start" : "its next allocation");
	cJSON_Delete(document);
}

/* The daemon is asked, and we are done. */
static int attach_by_daemon(struct kms_cli *cli, const struct attach_values *values,
			    const char *target)
{
	struct kms_err err = KMS_ERR_INIT;
	struct kms_source source;
	struct kms_client *client;
	struct kms_reply reply;
	struct kms_buf body;
	int result = make_body(values, target, &body, &err);

	if (result < 0 || kms_source_daemon(cli->hooks, &source, &err) < 0 ||
	    kms_client_open(cli->hooks, &source, &client, &err) < 0) {
		kms_buf_deinit(&body);
		return kms_cli_fail(cli, &err, KMS_EXIT_FAILED);
	}
	result = kms_client_request(client, "POST", "/api/v1/targets", kms_buf_text(&body), &reply,
				    &err);
	kms_client_close(client);
	kms_buf_deinit(&body);
	if (result < 0)
		return kms_cli_fail(cli, &err, KMS_EXIT_FAILED);
	if (!values->quiet)
		say_taken(cli, target, &reply);
	free(reply.body);
	return KMS_EXIT_OK;
}

static int attach_target(struct kms_cli *cli, void *v, char **args, int n_args)
{
	const struct attach_values *values = v;
	struct attach *attach;
	int status = KMS_EXIT_FAILED;
	const char *guest = NULL;
	pid_t pid = 0;

	if (values->list && !n_args)
		return list(cli, values);
	if (values->list || n_args != 1) {
		kms_cli_error(cli, "attach takes one target, or --list and none");
		return KMS_EXIT_USAGE;
	}
	if (values->json) {
		kms_cli_error(cli, "--json is for --list");
		return KMS_EXIT_USAGE;
	}
	if (is_guest(args[0]))
		guest = args[0];
	else
		pid = parse_target(cli, args[0]);
	if ((!guest && (!pid || !is_for_processes(cli, values))) || !is_whole(cli, values))
		return KMS_EXIT_USAGE;
	if (values->daemon)
		return is_for_the_daemon(cli, values) ? attach_by_daemon(cli, values, args[0])
						      : KMS_EXIT_USAGE;
	attach = calloc(1, sizeof(*attach)); /* two paths: too much for a stack */
	if (!attach) {
		kms_cli_error(cli, "out of memory");
		return status;
	}
	attach->cli = cli;
	attach->values = values;
	attach->info.pid = pid;
	attach->guest = guest;
	attach->info.wait_status = -1;
	cli->color &= !values->no_color;
	if (make_settings(attach) == 0)
		status = execute(attach);
	else
		kms_cli_error(cli, "out of memory");
	free(attach->settings);
	free(attach);
	return status;
}

static const char help[] =
	"The process needs our allocator: started with LD_PRELOAD=libkmem_malloc.so or linked with\n"
	"libkmem; it may have run for days. It goes on all the time. What it allocated before has\n"
	"sizes, but no stacks. ^C lets it go on without us; so does killing us. Then attach again.\n"
	"A guest is a kernel in QEMU with our allocator inside (kmem_guest.elf), or an unmodified Linux 6.1\n"
	"to 6.12 (caches and, under slub_debug=U, live objects). It is read from outside and\n"
	"goes on; nothing is needed on QEMU's command line. A kernel that is not there yet is waited for.\n"
	"With a QMP socket the machine can be stopped as a whole, and pauses are seen at once.\n"
	"--daemon has the running daemon do it: emulator, socket and file have to be of its user.\n"
	"A kernel that reads kmem_guard_depth only as it boots gets it by --boot: start QEMU with -S and a gdb\n"
	"stub or QMP, or reset the guest while --boot waits.\n"
	"An unmodified Linux (6.1 to 6.12) needs nothing; a NetBSD needs its kernel's file with DWARF, or with\n"
	"its debug file beside it (netbsd.debug), unless QEMU was given it: caches and pools as they are\n"
	"now, `show all pools` and `vmstat -m` at the prompt. No trace is written of these.\n"
	"Examples:\n"
	"  kmemscope attach --list\n"
	"  kmemscope attach qemu:pid:4712\n"
	"  kmemscope attach qemu:pid:4712 --kernel netbsd\n"
	"  kmemscope attach pid:4711\n"
	"  kmemscope attach --daemon pid:4711\n"
	"  kmemscope attach --daemon qemu:pid:4712\n"
	"  kmemscope attach --set kmem_guard_depth=30000 -o late.kms pid:4711\n"
	"  kmemscope attach --boot --guard-depth 30000 --kernel netbsd.gdb qemu:pid:4712\n";

const struct kms_command kms_command_attach = {
	.name = "attach",
	.summary = "trace a process, or a guest kernel in QEMU, that runs already",
	.args = "pid:N | qemu:pid:N | qemu:SOCKET | ram:FILE[+OFFSET] | gdb:ADDR | --list",
	.more = help,
	.min_args = 0,
	.max_args = 1,
	.usage_status = KMS_EXIT_USAGE,
	.options = options,
	.values_bytes = sizeof(struct attach_values),
	.run = attach_target,
};
