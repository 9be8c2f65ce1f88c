/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/attach_run.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "schema/attach.h"
#include "tracer/attach.h"
#include "tracer/attach_front.h"
#include "tracer/process.h"
#include "tracer/tracer.h"

enum {
	STEP_MS = 50,
	ASK_MS = 1000,   /* until the user is told that the process does not answer */
	LEAVE_MS = 1000, /* an idle process leaves when it calls again; we do not wait for that */
	OLD_MS = 3000,   /* a former owner of its memory counts as dead after a second */
	DYING_MS = 500,  /* a tracer that was killed has its locks until its last thread is gone */
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
	struct kms_attach_front front;
	int process_fd;
	bool process_over;
	bool waiting; /* it was asked and has not answered */
	bool to_stop;
};

static void say_process(const struct state *s, const char *what)
{
	char line[256];

	(void)snprintf(line, sizeof(line), "pid %d (%s) %s", (int)s->config->pid, s->info.program,
		       what);
	kms_attach_front_say((void *)s->config, line);
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

/* A region that was read by another tracer: our values, and a beginning from which all is known. */
static int begin_again(struct state *s, struct kms_err *err)
{
	uint64_t end_ns = kms_mono_ns() + OLD_MS * UINT64_C(1000000);
	int result = -ESRCH;

	while (result == -ESRCH && kms_mono_ns() < end_ns &&
	       !kms_process_has_ended(s->process_fd)) {
		kms_err_clear(err);
		result = kms_tracer_resync(s->front.tracer, &s->set, err);
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
						 .run_dir = s->front.session.run_dir,
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
		kms_tracer_attached(s->front.tracer, s->who, s->config->pid, &s->set);
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
	kms_tracer_exited(s->front.tracer, s->config->pid, -1); /* how, only its parent knows */
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
	(void)s->front.view.ops->detach(s->front.view.ctx, s->who, 0, NULL);
	while (kms_mono_ns() < end_ns) {
		if (kms_tracer_wait(s->front.tracer, STEP_MS) == KMS_TRACER_OVER)
			return;
	}
	say_process(s, "has not allocated anything since: it leaves when it does");
}

/* -d: as soon as it is there. */
static int stop_process(struct state *s, struct kms_err *err)
{
	int result = s->front.view.ops->stop(s->front.view.ctx, s->who, 0, err);

	s->to_stop = result == -ESRCH;
	if (s->to_stop)
		kms_err_clear(err);
	return s->to_stop ? 0 : result;
}

/* Until it is over one way or another. */
static int stay(struct state *s, struct kms_err *err)
{
	struct pollfd p[2] = {
		{.fd = s->process_fd,      .events = POLLIN},
		{.fd = s->front.signal_fd, .events = POLLIN},
	};
	int result = 0;

	while (!result) {
		p[0].fd = s->process_over ? -1 : s->process_fd;
		p[0].revents = p[1].revents = 0;
		(void)poll(p, 2, STEP_MS);
		if (p[1].revents && kms_attach_front_is_enough(&s->front)) {
			leave(s);
			return 0;
		}
		if (p[0].revents)
			process_over(s);
		if (s->to_stop && !s->waiting && !s->process_over)
			result = stop_process(s, err);
		if (!result && s->waiting && !s->process_over)
			result = look_for_answer(s, err);
		if (!s->waiting && kms_tracer_wait(s->front.tracer, 0) == KMS_TRACER_OVER)
			break;
		if (s->waiting && s->process_over)
			break;
	}
	s->result->background = !s->process_over;
	return result;
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
	memcpy(s->front.program, s->info.program, sizeof(s->front.program));
	if (!result)
		result = make_options(s, err);
	if (!result)
		result = kms_attach_front_output(&s->front, err);
	if (result)
		return result;
	kms_attach_front_read_command(&s->front);
	s->process_fd = kms_process_watch(s->config->pid, 0);
	if (s->process_fd < 0)
		return kms_err_set(err, s->process_fd, "process %d has ended", (int)s->config->pid);
	result = kms_attach_front_session(&s->front, err);
	if (result)
		return result;
	/* programs that a process under `run` executes find the library there */
	if (kms_launch_library(library, NULL) == 0)
		(void)kms_launch_link(library, s->front.session.run_dir, NULL);
	return 0;
}

static int run(struct state *s, struct kms_err *err)
{
	struct kms_err ignored = KMS_ERR_INIT;
	int result = prepare(s, err), later;

	if (result)
		return result;
	result = kms_attach_front_start(&s->front, err);
	if (!result)
		result = join(s, err);
	if (result) {
		kms_attach_front_abandon(&s->front);
		return result;
	}
	if (s->config->started)
		s->config->started(s->config->say_arg, s->result);
	if (s->waiting)
		say_process(s, "has not allocated anything since: it is traced when it does");
	result = stay(s, err);
	later = kms_attach_front_stop(&s->front, &ignored);
	s->result->store_failed = later < 0;
	if (later < 0)
		kms_attach_front_say((void *)s->config, ignored.text);
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
	s->process_fd = -1;
	kms_attach_front_init(&s->front, config, result);
	s->front.pid = config->pid;
	code = kms_attach_front_signals(&s->front, err);
	if (!code)
		code = run(s, err);
	if (s->process_fd >= 0)
		(void)close(s->process_fd); /* nothing was written */
	kms_attach_front_deinit(&s->front);
	free(s);
	return code;
}
