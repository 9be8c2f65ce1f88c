/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tracer's process of `kmemscope run`: starts the tracer and the API, tells the front that the
 * program may begin, and stays until nothing of the run is left, whether or not the front still is.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "tracer/run_wire.h"
#include "tracer/session.h"
#include "tracer/tracer.h"

enum {
	WAIT_MS = 50,
	/* who ends with the first process, or a little later, is nobody to be left in the background */
	GRACE_MS = 250,
};

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

/* What the loop below knows. */
struct state {
	const struct kms_run_tracer *run;
	struct kms_tracer *tracer;
	struct kms_view view; /* the server borrows it */
	void *server;
	int program_fd; /* says when the program is over if the front cannot; -1 without pidfds */
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

static void program_over(struct state *s, int wait_status)
{
	if (s->program_over)
		return;
	s->program_over = true;
	kms_tracer_exited(s->tracer, s->run->program, wait_status);
}

static void hear_message(struct state *s)
{
	struct kms_run_message m;

	if (kms_run_receive(s->run->fd, &m) <= 0) {
		s->front_gone = true;
		return;
	}
	if (m.word == KMS_WORD_EXITED)
		program_over(s, m.value);
	s->cancelled |= m.word == KMS_WORD_CANCEL;
}

/* Waits a moment for what the front has to say, or, without it, for the program's end. */
static void hear_front(struct state *s)
{
	struct pollfd p[2] = {
		{.fd = s->front_gone ? -1 : s->run->fd,                        .events = POLLIN},
		{.fd = s->front_gone && !s->program_over ? s->program_fd : -1, .events = POLLIN},
	};

	if (poll(p, 2, WAIT_MS) > 0 && p[0].revents)
		hear_message(s);
	if (p[1].revents || (s->front_gone && s->program_fd < 0 && kill(s->run->program, 0) < 0))
		program_over(s, -1); /* how, only the front could say */
}

/* The first process is over: is anybody else left? Returns whether the run is over. */
static bool after_program(struct state *s)
{
	enum kms_tracer_wait what = kms_tracer_wait(s->tracer, s->in_background ? 0 : GRACE_MS);

	if (what == KMS_TRACER_OVER)
		return true;
	if (!s->in_background) {
		s->in_background = true;
		(void)kms_run_send(s->run->fd, KMS_WORD_BACKGROUND,
				   (int32_t)kms_tracer_live(s->tracer), NULL);
	}
	return false;
}

/* A program that is not traced although it was started so. */
static void say_untraced(const struct state *s, enum kms_tracer_wait what)
{
	static const char *const lines[] = {
		[KMS_TRACER_MISSING] = "the program runs, but nothing of it is traced: its "
				       "environment was cleared, or it is loaded in another way",
		[KMS_TRACER_SILENT] = "the program runs, but has allocated nothing that is traced: "
				      "it may have a malloc of its own",
	};

	if ((size_t)what < sizeof(lines) / sizeof(lines[0]) && lines[what] && !s->program_over)
		say((void *)s->run, lines[what]);
}

static void stay(struct state *s)
{
	while (!s->cancelled) {
		hear_front(s);
		if (!s->program_over)
			say_untraced(s, kms_tracer_wait(s->tracer, 0));
		else if (after_program(s))
			break;
	}
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

/* Two descriptors a process, and one more a region: a tree may have many. The others were meant for
 * the program. */
static void raise_limits(void)
{
	static const unsigned resources[] = {RLIMIT_NOFILE, RLIMIT_FSIZE, RLIMIT_AS, RLIMIT_DATA,
					     RLIMIT_CPU};
	struct rlimit limit;

	for (size_t i = 0; i < sizeof(resources) / sizeof(resources[0]); i++) {
		if (getrlimit(resources[i], &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
			limit.rlim_cur = limit.rlim_max;
			(void)setrlimit(resources[i], &limit); /* else as much as there is */
		}
	}
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
	struct state s = {.run = run, .program_fd = (int)syscall(SYS_pidfd_open, run->program, 0)};
	struct kms_err err = KMS_ERR_INIT;
	int result;

	ignore_signals();
	raise_limits();
	if (start(&s, &err) < 0)
		return fail(&s, &err);
	(void)kms_run_send(run->fd, KMS_WORD_READY, 0, run->output);
	kms_run_silence(STDERR_FILENO);
	stay(&s);
	result = stop(&s, &err);
	if (s.cancelled)
		unlink(run->output); /* of a program that never began */
	if (result < 0)
		say((void *)run, err.text);
	(void)kms_run_send(run->fd, KMS_WORD_DONE, result < 0, NULL);
	return result < 0;
}
