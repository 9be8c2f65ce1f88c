/* SPDX-License-Identifier: BSD-2-Clause */
/* Staying with a run: see run_stay.h. */
#include "tracer/run_stay.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/resource.h>

#include "tracer/run_wire.h"

enum {
	WAIT_MS = 50,
	/* who ends with the first process, or a little later, is nobody to be left in the background */
	GRACE_MS = 250,
};

static void program_over(struct kms_run_stay *s, int wait_status)
{
	if (s->program_over && wait_status < 0)
		return; /* a front that comes back later than the end knows more than that */
	s->program_over = true;
	kms_tracer_exited(s->tracer, s->program, wait_status);
}

static void hear_message(struct kms_run_stay *s)
{
	struct kms_run_message m;

	if (kms_run_receive(s->fd, &m) <= 0) {
		s->front_gone = true;
		return;
	}
	if (m.word == KMS_WORD_EXITED)
		program_over(s, m.value);
	s->cancelled |= m.word == KMS_WORD_CANCEL;
}

/* Waits a moment for what the front has to say, or, without it, for the program's end. */
static void hear_front(struct kms_run_stay *s)
{
	struct pollfd p[2] = {
		{.fd = s->front_gone ? -1 : s->fd,                             .events = POLLIN},
		{.fd = s->front_gone && !s->program_over ? s->program_fd : -1, .events = POLLIN},
	};

	if (poll(p, 2, WAIT_MS) > 0 && p[0].revents)
		hear_message(s);
	if (p[1].revents || (s->front_gone && s->program_fd < 0 && kill(s->program, 0) < 0))
		program_over(s, -1); /* how, only the front could say */
}

/* The first process is over: is anybody else left? Returns whether the run is over. */
static bool after_program(struct kms_run_stay *s)
{
	enum kms_tracer_wait what = kms_tracer_wait(s->tracer, s->in_background ? 0 : GRACE_MS);

	if (what == KMS_TRACER_OVER)
		return true;
	if (!s->in_background) {
		s->in_background = true;
		if (!s->front_gone)
			(void)kms_run_send(s->fd, KMS_WORD_BACKGROUND,
					   (int32_t)kms_tracer_live(s->tracer), NULL);
	}
	return false;
}

/* A program that is not traced although it was started so. That there is no room the front has said. */
static void say_untraced(const struct kms_run_stay *s, enum kms_tracer_wait what)
{
	static const char *const lines[] = {
		[KMS_TRACER_MISSING] = "the program runs, but nothing of it is traced: its "
				       "environment was cleared, or it is loaded in another way",
		[KMS_TRACER_SILENT] = "the program runs, but has allocated nothing that is traced: "
				      "it may have a malloc of its own",
	};

	if ((size_t)what < sizeof(lines) / sizeof(lines[0]) && lines[what] && !s->program_over)
		s->say(s->say_arg, lines[what]);
}

/* The first process lives, as far as is known. Returns whether the run is over: it has left. */
static bool while_program(struct kms_run_stay *s)
{
	enum kms_tracer_wait what = kms_tracer_wait(s->tracer, 0);

	say_untraced(s, what);
	return what == KMS_TRACER_OVER;
}

void kms_run_stay(struct kms_run_stay *s)
{
	s->front_gone |= s->fd < 0;
	while (!s->cancelled && !(s->stop && atomic_load(s->stop))) {
		hear_front(s);
		if (s->program_over ? after_program(s) : while_program(s))
			break;
		if (s->turn && !s->turn(s->turn_arg))
			break;
	}
}

/* Two descriptors a process, and one more a region: a tree may have many. The others were meant for
 * the program. */
void kms_run_raise_limits(void)
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
