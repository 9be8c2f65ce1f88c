/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tracer's process of `kmemscope run`: starts the tracer and the API, tells the front that the
 * program may begin, and stays until nothing of the run is left, whether or not the front still is.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tracer/run_stay.h"
#include "tracer/run_wire.h"
#include "tracer/session.h"
#include "tracer/tracer.h"

int kms_run_send(int fd, uint32_t word, int32_t value, const char *text)
{
	struct kms_run_message m = {.word = word, .value = value};
	int flags = MSG_NOSIGNAL;
	ssize_t n;

	if (text)
		snprintf(m.text, sizeof(m.text), "%s", text);
	/* a front that is stopped must not stop the tracer with it for the sake of a line */
	if (word == KMS_WORD_SAY)
		flags |= MSG_DONTWAIT;
	do {
		n = send(fd, &m, sizeof(m), flags);
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

void kms_run_silence(int fd)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	if (null < 0) {
		close(fd);
		return;
	}
	if (null != fd) {
		(void)dup2(null, fd);
		close(null);
	}
}

struct state {
	const struct kms_run_tracer *run;
	struct kms_tracer *tracer;
	struct kms_view view; /* the server borrows it */
	void *server;
};

static void say(void *arg, const char *line)
{
	const struct kms_run_tracer *run = arg;

	(void)kms_run_send(run->fd, KMS_WORD_SAY, 0, line);
}

static uint64_t wall_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Shells send these to the whole terminal; the program decides what they mean, not we. A file or a
 * pipe that takes no more is an error to report. */
static void ignore_signals(void)
{
	static const int ignored[] = {SIGINT, SIGQUIT, SIGHUP, SIGTERM, SIGTSTP, SIGPIPE, SIGXFSZ};

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
}

/* The tracer, the API, then what clients find. */
static int start(struct state *s, struct kms_err *err)
{
	const struct kms_run_tracer *run = s->run;
	const struct kms_run_config *config = run->config;
	const struct kms_tracer_config tracer_config = {
		.run_dir = run->session->run_dir,
		.output = run->output,
		.command = run->command,
		.first_pid = run->program,
		.first_only = config->first_only,
		.say = say,
		.say_arg = (void *)run, /* only read */
	};
	const struct kms_session_info info = {
		.pid = getpid(),
		.program_pid = run->program,
		.program = config->argv[0],
		.command = run->command,
		.file = run->output,
		.started_wall_ns = wall_ns(),
	};
	s->tracer = kms_tracer_start(&tracer_config, err);
	if (!s->tracer)
		return err->code;
	s->view = kms_tracer_view(s->tracer);
	if (config->serve_start) {
		s->server =
			config->serve_start(config->serve_arg, &s->view, run->session->socket, err);
		if (!s->server)
			return err->code;
	}
	return kms_session_publish(run->session, &info, err);
}

/* In this order: the server asks the tracer's view until it is stopped. */
static int stop(struct state *s, struct kms_err *err)
{
	int result = 0;

	if (s->server && s->run->config->serve_stop)
		s->run->config->serve_stop(s->server);
	if (s->tracer)
		result = kms_tracer_stop(s->tracer, err);
	kms_session_destroy(s->run->session);
	return result;
}

/* What the user can do about a trace that cannot be made. */
static const char *remedy(int code)
{
	switch (-code) {
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return "; make room, or name another place with -o";
	case EROFS:
	case EACCES:
	case EPERM:
	case ENOENT:
	case ENOTDIR:
		return "; name a place that can be written with -o";
	case EBUSY:
	case ENAMETOOLONG:
		return "; name another file with -o";
	default:
		return "";
	}
}

static int fail(struct state *s, const struct kms_err *err)
{
	char text[KMS_ERR_TEXT_BYTES + KMS_ERR_SUBJECT_BYTES + 64];
	bool named = !err->subject[0] || strstr(err->text, err->subject);

	snprintf(text, sizeof(text), "%s%s%s%s", err->text, remedy(err->code), named ? "" : ": ",
		 named ? "" : err->subject);
	if (s->tracer) {
		(void)stop(s, NULL);
		unlink(s->run->output); /* we made it, and nothing is in it */
	} else {
		kms_session_destroy(s->run->session);
	}
	(void)kms_run_send(s->run->fd, KMS_WORD_FAILED, err->code, text);
	return 1;
}

int kms_run_tracer_main(const struct kms_run_tracer *run)
{
	struct state s = {.run = run};
	struct kms_run_stay stay = {
		.program = run->program,
		.fd = run->fd,
		.program_fd = (int)syscall(SYS_pidfd_open, run->program, 0),
		.say = say,
		.say_arg = (void *)run, /* only read */
	};
	struct kms_err err = KMS_ERR_INIT;
	int result;

	ignore_signals();
	kms_run_raise_limits();
	if (start(&s, &err) < 0)
		return fail(&s, &err);
	(void)kms_run_send(run->fd, KMS_WORD_READY, 0, run->output);
	kms_run_silence(STDERR_FILENO);
	stay.tracer = s.tracer;
	kms_run_stay(&stay);
	result = stop(&s, &err);
	if (stay.cancelled)
		unlink(run->output); /* of a program that never began */
	if (result < 0)
		say((void *)run, err.text);
	(void)kms_run_send(run->fd, KMS_WORD_DONE, result < 0, NULL);
	return result < 0;
}
