/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/guest/opened.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "tracer/process.h"

enum {
	EVENTS_AT_ONCE =
		64,      /* heard of in one turn: an emulator that talks on does not hold us up */
	ENDING_MS = 300, /* a process that is ending loses its memory first */
};

static const uint64_t look_ns = 10000000; /* between looks for what the emulator says */

/* A name without anything that a file's name must not have. */
static void set_name(struct kms_guest_opened *opened)
{
	const struct kms_guest *guest = opened->guest;
	const char *name = guest->emulator.pid ? guest->emulator.program : guest->target.path;
	const char *slash = strrchr(name, '/');

	if (guest->emulator.options.name[0])
		name = guest->emulator.options.name;
	else if (slash)
		name = slash + 1;
	(void)snprintf(opened->name, sizeof(opened->name), "%.63s", name[0] ? name : "guest");
	for (char *at = opened->name; *at; at++)
		if (!strchr("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_+.",
			    *at))
			*at = '_';
	if (opened->name[0] == '.')
		opened->name[0] = '_';
}

int kms_guest_opened_open(const char *text, struct kms_guest_opened *opened, struct kms_err *err)
{
	struct kms_guest_target target;
	int result = kms_guest_target_parse(text, &target, err);

	opened->pidfd = -1;
	opened->guest = NULL;
	if (!result)
		result = kms_guest_open(&target, 0, &opened->guest, err);
	if (result)
		return result;
	/* of our own: that one is closed when the emulator's end was told */
	if (opened->guest->pidfd >= 0)
		opened->pidfd = fcntl(opened->guest->pidfd, F_DUPFD_CLOEXEC, 0);
	opened->is_saved = !opened->guest->memory->ops->write && !opened->guest->emulator.pid;
	set_name(opened);
	if (opened->guest->note[0] && opened->say)
		opened->say(opened->say_arg, opened->guest->note);
	return 0;
}

void kms_guest_opened_close(struct kms_guest_opened *opened)
{
	kms_guest_close(opened->guest);
	if (opened->pidfd >= 0)
		(void)close(opened->pidfd); /* nothing to lose */
	opened->guest = NULL;
	opened->pidfd = -1;
}

static void say(const struct kms_guest_opened *opened, const char *what,
		const struct kms_guest_event *event)
{
	char line[160];

	if (!opened->say)
		return;
	(void)snprintf(line, sizeof(line), "%s%s%s%s", what, event->reason[0] ? " (" : "",
		       event->reason, event->reason[0] ? ")" : "");
	opened->say(opened->say_arg, line);
}

/* Resets are seen in the memory, where the next boot is. Returns whether anything will come from it. */
static bool take(struct kms_guest_opened *opened, bool *paused, const struct kms_guest_event *event)
{
	switch (event->kind) {
	case KMS_GUEST_PAUSED:
	case KMS_GUEST_RESUMED:
		if (*paused != (event->kind == KMS_GUEST_PAUSED))
			say(opened,
			    *paused ? "the guest's machine goes on"
				    : "the guest's machine stands still",
			    event);
		*paused = event->kind == KMS_GUEST_PAUSED;
		break;
	case KMS_GUEST_ENDED:
		say(opened, "the guest's emulator has ended", event);
		break;
	case KMS_GUEST_CRASHED:
		say(opened, "the guest's kernel has crashed", event);
		break;
	case KMS_GUEST_MIGRATED:
		say(opened, "the guest runs elsewhere now: attach to its new emulator", event);
		return false;
	case KMS_GUEST_QMP_LOST:
		say(opened, "the emulator has closed its control channel", event);
		break;
	default:
		break;
	}
	return true;
}

/* Hears what was said. Returns as take(). */
static bool hear(struct kms_guest_opened *opened, bool *paused)
{
	struct kms_guest_event event;

	for (unsigned i = 0; i < EVENTS_AT_ONCE; i++) {
		if (kms_guest_next_event(opened->guest, 0, &event) != 1)
			return true;
		if (!take(opened, paused, &event))
			return false;
	}
	return true;
}

static void turn(void *arg, struct kms_guest_link *link, uint64_t now_ns)
{
	struct kms_guest_opened *opened = arg;
	bool paused = kms_guest_link_is_paused(link);

	if (now_ns - opened->looked_ns < look_ns)
		return;
	opened->looked_ns = now_ns;
	if (!hear(opened, &paused))
		kms_guest_link_move(link);
	kms_guest_link_set_paused(link, paused);
}

static bool turn_linux(void *arg, bool *paused)
{
	return hear(arg, paused);
}

static bool is_ending(void *arg)
{
	const struct kms_guest_opened *opened = arg;
	struct pollfd ended = {.fd = opened->pidfd, .events = POLLIN};

	return opened->pidfd >= 0 && poll(&ended, 1, ENDING_MS) > 0;
}

static int stop(void *arg, struct kms_err *err)
{
	const struct kms_guest_opened *opened = arg;

	return kms_guest_stop(opened->guest, err);
}

static int resume(void *arg, struct kms_err *err)
{
	const struct kms_guest_opened *opened = arg;

	return kms_guest_continue(opened->guest, err);
}

void kms_guest_opened_describe(struct kms_guest_opened *opened,
			       struct kms_guest_link_config *config)
{
	config->memory = opened->guest->memory;
	config->emulator_fd = opened->pidfd;
	config->pid = opened->guest->emulator.pid;
	config->is_saved = opened->is_saved;
	config->stop = stop;
	config->resume = resume;
	config->turn = turn;
	config->arg = opened;
}

void kms_guest_opened_describe_linux(struct kms_guest_opened *opened,
				     struct kms_linux_view_config *config)
{
	config->memory = opened->guest->memory;
	config->is_paused = opened->guest->is_paused;
	config->stop = stop;
	config->resume = resume;
	config->turn = turn_linux;
	config->is_ending = is_ending;
	config->arg = opened;
}
