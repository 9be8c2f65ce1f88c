/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tracer's process of `kmemscope run`: starts the tracer and the API, tells the front that the
 * program may begin, and stays until nothing of the run is left, whether or not the front still is.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "tracer/run_wire.h"
#include "tracer/session.h"
#include "tracer/tracer.h"

enum {
	WAIT_MS = 50,
	SYNC_MS = 5000,
};

int kms_run_send(int fd, uint32_t word, int32_t value, const char *text)
{
	struct kms_run_message m = {.word = word, .value = value};
	ssize_t n;

	if (text)
		snprintf(m.text, sizeof(m.text), "%s", text);
	do {
		n = send(fd, &m, sizeof(m), MSG_NOSIGNAL);
	} while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof(m) ? 0 : -EPIPE;
}

int kms_run_receive(int fd, struct kms_run_message *message)
{
	ssize_t n;

	do {
		n = recv(fd, message, sizeof(*message), 0);
	} while (n < 0 && errno == EINTR);
	if (n < 0)
		return -errno;
	if (n != (ssize_t)sizeof(*message))
		return 0;
	message->text[sizeof(message->text) - 1] = '\0';
	return 1;
}

/* What the loop below knows. */
struct state {
	const struct kms_run_tracer *run;
	struct kms_tracer *tracer;
	bool front_gone;
	bool program_over;
	bool cancelled;
	bool in_background;
};

static void say(void *arg, const char *line)
{
	const struct kms_run_tracer *run = arg;

	(void)kms_run_send(run->fd, KMS_WORD_SAY, 0, line);
}

/* Takes what the front has to say, without waiting. */
static void hear_front(struct state *s)
{
	struct pollfd p = {.fd = s->run->fd, .events = POLLIN};
	struct kms_run_message m;

	while (!s->front_gone && poll(&p, 1, 0) > 0) {
		if (kms_run_receive(s->run->fd, &m) <= 0) {
			s->front_gone = true;
			break;
		}
		if (m.word == KMS_WORD_EXITED) {
			kms_tracer_exited(s->tracer, s->run->program, m.value);
			s->program_over = true;
		}
		s->cancelled |= m.word == KMS_WORD_CANCEL;
	}
	if (s->front_gone && kill(s->run->program, 0) < 0)
		s->program_over = true;
}

/* The first process is over: is anybody else left? */
static void after_program(struct state *s)
{
	uint32_t others;

	if (s->in_background)
		return;
	(void)kms_tracer_sync(s->tracer, SYNC_MS);
	others = kms_tracer_live(s->tracer);
	if (others) {
		s->in_background = true;
		(void)kms_run_send(s->run->fd, KMS_WORD_BACKGROUND, (int32_t)others, NULL);
	}
}

static void stay(struct state *s)
{
	while (!s->cancelled) {
		enum kms_tracer_wait what = kms_tracer_wait(s->tracer, WAIT_MS);

		hear_front(s);
		if (what == KMS_TRACER_MISSING && !s->program_over)
			say((void *)s->run,
			    "the program runs, but nothing of it is traced: it has its own malloc, or "
			    "its environment was cleared");
		if (!s->program_over)
			continue;
		after_program(s);
		if (what == KMS_TRACER_OVER || kms_tracer_live(s->tracer) == 0)
			break;
	}
}

static uint64_t wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Shells send these to the whole terminal; the program decides what they mean, not we. */
static void ignore_signals(void)
{
	static const int ignored[] = {SIGINT, SIGQUIT, SIGHUP, SIGTERM, SIGPIPE, SIGTSTP};

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
}

static int fail(const struct kms_run_tracer *run, const struct kms_err *err)
{
	char text[KMS_ERR_TEXT_BYTES + KMS_ERR_SUBJECT_BYTES + 8];

	snprintf(text, sizeof(text), "%s%s%s", err->subject, err->subject[0] ? ": " : "",
		 err->text);
	(void)kms_run_send(run->fd, KMS_WORD_FAILED, err->code, text);
	kms_session_destroy(run->session);
	return 1;
}

int kms_run_tracer_main(const struct kms_run_tracer *run)
{
	const struct kms_run_config *config = run->config;
	const struct kms_tracer_config tracer_config = {
		.run_dir = run->session->run_dir,
		.output = run->output,
		.command = run->command,
		.first_pid = run->program,
		.first_only = config->first_only,
		.say = say,
		.say_arg = (void *)run,
	};
	const struct kms_session_info info = {
		.pid = getpid(),
		.program_pid = run->program,
		.program = config->argv[0],
		.command = run->command,
		.file = run->output,
		.started_wall_ns = wall_ns(),
	};
	struct state s = {.run = run};
	struct kms_err err = KMS_ERR_INIT;
	struct kms_view view;
	void *server = NULL;
	int result;

	ignore_signals();
	s.tracer = kms_tracer_start(&tracer_config, &err);
	if (!s.tracer)
		return fail(run, &err);
	view = kms_tracer_view(s.tracer);
	if (config->serve_start)
		server = config->serve_start(config->serve_arg, &view, run->session->socket, &err);
	if ((config->serve_start && !server) ||
	    kms_session_publish(run->session, &info, &err) < 0) {
		(void)kms_tracer_stop(s.tracer, NULL);
		return fail(run, &err);
	}
	(void)kms_run_send(run->fd, KMS_WORD_READY, 0, run->output);
	stay(&s);
	if (server && config->serve_stop)
		config->serve_stop(server);
	result = kms_tracer_stop(s.tracer, &err);
	if (result < 0)
		say((void *)run, err.text);
	kms_session_destroy(run->session);
	(void)kms_run_send(run->fd, KMS_WORD_DONE, result < 0, NULL);
	return result < 0;
}
