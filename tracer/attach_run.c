/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/attach_run.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "schema/attach.h"
#include "tracer/attach.h"
#include "tracer/process.h"
#include "tracer/tracer.h"

enum {
	STEP_MS = 50,
	ASK_MS = 1000,   /* until the user is told that the process does not answer */
	LEAVE_MS = 1000, /* an idle process leaves when it calls again; we do not wait for that */
	OLD_MS = 3000,   /* a former owner of its memory counts as dead after a second */
	DYING_MS = 500,  /* a tracer that was killed has its locks until its last thread is gone */
	MAX_FILES = 1000,
};

struct state {
	const struct kms_attach_config *config;
	struct kms_run_result *result;
	struct kms_attach_info info;
	struct kms_attach_request request;
	enum kms_attach_how how;
	char who[64]; /* for the audit */
	char options[KMS_ATTACH_OPTIONS_BYTES];
	struct kms_options set;
	char command[4096];
	struct kms_session session;
	struct kms_tracer *tracer;
	struct kms_view view;
	void *server;
	int process_fd;
	int signal_fd;
	sigset_t old_mask;
	bool process_over;
	bool waiting; /* it was asked and has not answered */
	bool to_stop;
};

static void say(void *arg, const char *line)
{
	const struct kms_attach_config *config = arg;

	if (config->say)
		config->say(config->say_arg, line);
}

static void say_process(const struct state *s, const char *what)
{
	char line[256];

	(void)snprintf(line, sizeof(line), "pid %d (%s) %s", (int)s->config->pid, s->info.program,
		       what);
	say((void *)s->config, line);
}

/* Start values: those that suit a process that was not ours, then what the user says. */
static int make_options(struct state *s, struct kms_err *err)
{
	const struct kms_attach_config *config = s->config;
	struct kms_buf text;
	int result = kms_options_parse(&s->set, "on_full=0,panic=0", err);

	for (size_t i = 0; !result && i < config->n_settings; i++)
		result = kms_options_set(&s->set, config->settings[i], err);
	if (!result && s->set.is_set[KMS_VAR_RING_BYTES])
		result = kms_err_set(err, -ENOTSUP,
				     "kmem_ring_bytes is fixed when a process starts");
	if (result)
		return result;
	kms_buf_init(&text, sizeof(s->options) - 1);
	kms_options_format(&s->set, &text);
	result = kms_buf_status(&text);
	(void)snprintf(s->options, sizeof(s->options), "%s", kms_buf_text(&text));
	kms_buf_deinit(&text);
	return result ? kms_err_set(err, result, "too many settings") : 0;
}

static void read_command(struct state *s)
{
	char path[64];
	ssize_t n;
	int fd;

	(void)snprintf(path, sizeof(path), "/proc/%d/cmdline", (int)s->config->pid); /* fits */
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, s->command, sizeof(s->command) - 1);
	if (fd >= 0)
		(void)close(fd); /* only read from */
	for (ssize_t i = 0; i + 1 < n; i++)
		if (!s->command[i])
			s->command[i] = ' ';
}

/* A name that is not there yet: an earlier trace of the process is not to be lost by coming again. */
static void default_name(const struct state *s, char *name, size_t bytes)
{
	struct stat st;

	(void)snprintf(name, bytes, "kmemscope.%s.%d.kms", s->info.program, (int)s->config->pid);
	for (int i = 2; i < MAX_FILES && lstat(name, &st) == 0; i++)
		(void)snprintf(name, bytes, "kmemscope.%s.%d.%d.kms", s->info.program,
			       (int)s->config->pid, i);
}

static int output_path(struct state *s, struct kms_err *err)
{
	char folder[PATH_MAX], name[NAME_MAX + 1];
	const char *output = s->config->output;
	int n;

	if (!output) {
		default_name(s, name, sizeof(name));
		output = name;
	}
	if (output[0] == '/')
		n = snprintf(s->result->file, PATH_MAX, "%s", output);
	else if (getcwd(folder, sizeof(folder)))
		n = snprintf(s->result->file, PATH_MAX, "%s/%s", folder, output);
	else
		return kms_err_sys(err, -errno, "current folder", NULL);
	return n < PATH_MAX ? 0 : kms_err_set(err, -ENAMETOOLONG, "-o: path too long");
}

static int start_tracer(struct state *s, struct kms_err *err)
{
	const struct kms_attach_config *config = s->config;
	const struct kms_tracer_config tracer = {.run_dir = s->session.run_dir,
						 .output = s->result->file,
						 .command = s->command,
						 .first_pid = config->pid,
						 .say = say,
						 .say_arg = (void *)config}; /* only read */
	const struct kms_session_info info = {.pid = getpid(),
					      .program_pid = config->pid,
					      .program = s->info.program,
					      .command = s->command,
					      .file = s->result->file,
					      .started_wall_ns = kms_wall_ns()};

	s->tracer = kms_tracer_start(&tracer, err);
	if (!s->tracer)
		return err->code;
	s->view = kms_tracer_view(s->tracer);
	if (config->serve_start) {
		s->server =
			config->serve_start(config->serve_arg, &s->view, s->session.socket, err);
		if (!s->server)
			return err->code;
	}
	return kms_session_publish(&s->session, &info, err);
}

static int stop_tracer(struct state *s, struct kms_err *err)
{
	int result = 0;

	if (s->server && s->config->serve_stop)
		s->config->serve_stop(s->server);
	if (s->tracer)
		result = kms_tracer_stop(s->tracer, err);
	s->server = s->tracer = NULL;
	kms_session_destroy(&s->session);
	return result;
}

/* A region that was read by another tracer: our values, and a beginning from which all is known. */
static int begin_again(struct state *s, struct kms_err *err)
{
	uint64_t end_ns = kms_mono_ns() + OLD_MS * UINT64_C(1000000);
	int result = -ESRCH;

	while (result == -ESRCH && kms_mono_ns() < end_ns &&
	       !kms_process_has_ended(s->process_fd)) {
		kms_err_clear(err);
		result = kms_tracer_resync(s->tracer, &s->set, err);
		if (result == -ESRCH)
			(void)poll(NULL, 0, STEP_MS);
	}
	if (result == -ESRCH && kms_process_has_ended(s->process_fd)) {
		kms_err_clear(err);
		return 0; /* all that it ever wrote is there to be read */
	}
	return result == -ESRCH ? kms_err_set(err, -EBUSY, "pid %d (%s) is read by another tracer",
					      (int)s->config->pid, s->info.program)
				: result;
}

/* A process loses its memory, and with it all that it could be known by, before it has ended. */
static bool is_ending(const struct state *s)
{
	struct pollfd ended = {.fd = s->process_fd, .events = POLLIN};

	return poll(&ended, 1, DYING_MS) > 0;
}

static int join(struct state *s, struct kms_err *err)
{
	int result;

	s->request = (struct kms_attach_request){.pid = s->config->pid,
						 .run_dir = s->session.run_dir,
						 .options = s->options,
						 .timeout_ms = ASK_MS};
	result = kms_attach_process(&s->request, &s->how, err);
	if (result && s->request.number && is_ending(s)) {
		/* it ended while we waited for its answer: there may be all that it wrote */
		kms_err_clear(err);
		return 0;
	}
	if (!result && s->how == KMS_ATTACH_HOW_TAKEN)
		result = begin_again(s, err);
	s->waiting = !result && s->how == KMS_ATTACH_HOW_ASKED;
	if (!result)
		kms_tracer_attached(s->tracer, s->who, s->config->pid, &s->set);
	return result;
}

/* Has it answered by now? It may have refused. */
static int look_for_answer(struct state *s, struct kms_err *err)
{
	int result = kms_attach_wait(&s->request, 0, err);

	if (result == -EAGAIN) {
		kms_err_clear(err);
		return 0;
	}
	s->waiting = false;
	if (result && is_ending(s)) {
		kms_err_clear(err);
		result = 0;
	}
	return result;
}

static void process_over(struct state *s)
{
	if (s->process_over)
		return;
	s->process_over = true;
	kms_tracer_exited(s->tracer, s->config->pid, -1); /* how, only its parent knows */
}

static void leave(struct state *s)
{
	uint64_t end_ns = kms_mono_ns() + LEAVE_MS * UINT64_C(1000000);

	s->result->background = true;
	if (s->waiting) {
		kms_attach_withdraw(&s->request);
		return;
	}
	/* fails where nobody is there any more */
	(void)s->view.ops->detach(s->view.ctx, s->who, 0, NULL);
	while (kms_mono_ns() < end_ns) {
		if (kms_tracer_wait(s->tracer, STEP_MS) == KMS_TRACER_OVER)
			return;
	}
	say_process(s, "has not allocated anything since: it leaves when it does");
}

/* -d: as soon as it is there. */
static int stop_process(struct state *s, struct kms_err *err)
{
	int result = s->view.ops->stop(s->view.ctx, s->who, 0, err);

	s->to_stop = result == -ESRCH;
	if (s->to_stop)
		kms_err_clear(err);
	return s->to_stop ? 0 : result;
}

/* Until it is over one way or another. */
static int stay(struct state *s, struct kms_err *err)
{
	struct pollfd p[2] = {
		{.fd = s->process_fd, .events = POLLIN},
		{.fd = s->signal_fd,  .events = POLLIN},
	};
	struct signalfd_siginfo signal;
	int result = 0;

	while (!result) {
		p[0].fd = s->process_over ? -1 : s->process_fd;
		p[0].revents = p[1].revents = 0;
		(void)poll(p, 2, STEP_MS);
		if (p[1].revents && read(s->signal_fd, &signal, sizeof(signal)) > 0) {
			leave(s);
			return 0;
		}
		if (p[0].revents)
			process_over(s);
		if (s->to_stop && !s->waiting && !s->process_over)
			result = stop_process(s, err);
		if (!result && s->waiting && !s->process_over)
			result = look_for_answer(s, err);
		if (!s->waiting && kms_tracer_wait(s->tracer, 0) == KMS_TRACER_OVER)
			break;
		if (s->waiting && s->process_over)
			break;
	}
	s->result->background = !s->process_over;
	return result;
}

static int block_signals(struct state *s, struct kms_err *err)
{
	sigset_t mask;

	(void)sigemptyset(&mask); /* these cannot fail */
	(void)sigaddset(&mask, SIGINT);
	(void)sigaddset(&mask, SIGTERM);
	(void)sigaddset(&mask, SIGHUP);
	(void)pthread_sigmask(SIG_BLOCK, &mask, &s->old_mask);
	s->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
	return s->signal_fd < 0 ? kms_err_sys(err, -errno, "signalfd", NULL) : 0;
}

static int prepare(struct state *s, struct kms_err *err)
{
	char library[PATH_MAX];
	uint64_t end_ns = kms_mono_ns() + DYING_MS * UINT64_C(1000000);
	int result = kms_attach_look(s->config->pid, &s->info, err);

	while (!result && s->info.session[0] && kms_mono_ns() < end_ns) {
		(void)poll(NULL, 0, STEP_MS);
		result = kms_attach_look(s->config->pid, &s->info, err);
	}
	if (!result && s->info.session[0])
		result = kms_err_set(err, -EBUSY, "process %d (%s) is traced already: session %s",
				     (int)s->config->pid, s->info.program, s->info.session);
	if (!result)
		result = make_options(s, err);
	if (!result)
		result = output_path(s, err);
	if (result)
		return result;
	read_command(s);
	s->process_fd = kms_process_watch(s->config->pid, 0);
	if (s->process_fd < 0)
		return kms_err_set(err, s->process_fd, "process %d has ended", (int)s->config->pid);
	result = kms_session_create(&s->session, s->info.program, s->config->pid, err);
	if (result)
		return result;
	(void)snprintf(s->result->socket, PATH_MAX, "%s", s->session.socket);
	/* programs that a process under `run` executes find the library there */
	if (kms_launch_library(library, NULL) == 0)
		(void)kms_launch_link(library, s->session.run_dir, NULL);
	return 0;
}

static int run(struct state *s, struct kms_err *err)
{
	struct kms_err ignored = KMS_ERR_INIT;
	int result = prepare(s, err), later;

	if (result)
		return result;
	result = start_tracer(s, err);
	if (!result)
		result = join(s, err);
	if (result) {
		if (s->tracer) {
			(void)kms_tracer_leave(s->tracer, 0, NULL);
			(void)stop_tracer(s, &ignored);
			(void)unlink(s->result->file); /* we made it, and nothing is in it */
		} else {
			kms_session_destroy(&s->session);
		}
		return result;
	}
	if (s->config->started)
		s->config->started(s->config->say_arg, s->result);
	if (s->waiting)
		say_process(s, "has not allocated anything since: it is traced when it does");
	result = stay(s, err);
	later = stop_tracer(s, &ignored);
	s->result->store_failed = later < 0;
	if (later < 0)
		say((void *)s->config, ignored.text);
	return result;
}

int kms_attach_run(const struct kms_attach_config *config, struct kms_run_result *result,
		   struct kms_err *err)
{
	struct state *s = calloc(1, sizeof(*s)); /* paths: too much for a stack */
	int code;

	*result = (struct kms_run_result){
		.pid = config->pid, .tracer_pid = getpid(), .wait_status = -1};
	if (!s)
		return kms_err_set(err, -ENOMEM, "out of memory");
	s->config = config;
	s->result = result;
	s->to_stop = config->stopped;
	(void)snprintf(s->who, sizeof(s->who), "uid %u pid %d attach", (unsigned)getuid(),
		       (int)getpid()); /* fits */
	s->process_fd = s->signal_fd = -1;
	s->session.dir_fd = s->session.run_fd = -1;
	code = block_signals(s, err);
	if (!code)
		code = run(s, err);
	if (s->process_fd >= 0)
		(void)close(s->process_fd); /* nothing was written */
	if (s->signal_fd >= 0)
		(void)close(s->signal_fd);
	(void)pthread_sigmask(SIG_SETMASK, &s->old_mask, NULL);
	free(s);
	return code;
}
