/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What happens to a guest: see guest.h.
 *
 * QMP says most of it, the pidfd says that the emulator is gone, whatever ended it. A reset is said
 * up to three times in the same moment, so those that follow at once are the same one.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "tracer/guest/guest.h"
#include "tracer/guest/qemu_args.h"
#include "tracer/process.h"

#define MS UINT64_C(1000000)

enum {
	/* resets of QEMU 7.2 that belong together were up to 100 ms apart: the machine's, and that of
	 * its BIOS, which resets once more */
	SAME_RESET_MS = 500,
	LEAVING_MS = 50,      /* between two questions whether a migration is over */
	ENDING_MS = 500,      /* from the end of the socket to that of its process */
	EVENTS_AT_ONCE = 256, /* looked through before others have their turn */
};

static const struct {
	const char *name;
	enum kms_guest_event_kind kind;
} known[] = {
	{"STOP",           KMS_GUEST_PAUSED },
	{"RESUME",         KMS_GUEST_RESUMED},
	{"RESET",          KMS_GUEST_RESET  },
	{"GUEST_PANICKED", KMS_GUEST_CRASHED},
};

/* Why a guest stands. It may be about to go on elsewhere: then it has to be asked again. */
static enum kms_guest_event_kind why_stopped(struct kms_guest *guest, char reason[64])
{
	char status[KMS_QMP_WORD_BYTES];
	bool is_running;

	guest->is_leaving = false;
	if (kms_qmp_status(guest->qmp, status, &is_running, NULL))
		return KMS_GUEST_PAUSED;
	kms_qemu_copy(reason, 64, is_running ? "" : status);
	guest->is_leaving = strcmp(status, "finish-migrate") == 0;
	return strcmp(status, "postmigrate") == 0 ? KMS_GUEST_MIGRATED : KMS_GUEST_PAUSED;
}

static bool is_same_reset(struct kms_guest *guest, uint64_t now)
{
	if (guest->reset_ns && now - guest->reset_ns < SAME_RESET_MS * MS)
		return true;
	guest->reset_ns = now;
	return false;
}

/* Whether a guest that was about to leave has left. No event says so. */
static bool has_left(struct kms_guest *guest, struct kms_guest_event *event)
{
	if (!guest->is_leaving || !guest->qmp ||
	    why_stopped(guest, event->reason) != KMS_GUEST_MIGRATED)
		return false;
	guest->is_over = true;
	event->kind = KMS_GUEST_MIGRATED;
	event->mono_ns = kms_mono_ns();
	return true;
}

/* Returns whether it is one that callers hear of. */
static bool take(struct kms_guest *guest, const struct kms_qmp_event *said,
		 struct kms_guest_event *event)
{
	event->mono_ns = kms_mono_ns();
	event->kind = KMS_GUEST_NOTHING;
	kms_qemu_copy(event->reason, sizeof(event->reason), said->reason);
	/* what ends it is known before it ends */
	if (strcmp(said->name, "SHUTDOWN") == 0)
		kms_qemu_copy(guest->last_words, sizeof(guest->last_words), said->reason);
	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
		if (strcmp(said->name, known[i].name) == 0)
			event->kind = known[i].kind;
	}
	if (event->kind == KMS_GUEST_PAUSED)
		event->kind = why_stopped(guest, event->reason);
	if (event->kind == KMS_GUEST_PAUSED || event->kind == KMS_GUEST_RESUMED)
		guest->is_paused = event->kind == KMS_GUEST_PAUSED;
	if (event->kind == KMS_GUEST_MIGRATED)
		guest->is_over = true;
	if (event->kind == KMS_GUEST_RESET && is_same_reset(guest, event->mono_ns))
		event->kind = KMS_GUEST_NOTHING;
	return event->kind != KMS_GUEST_NOTHING;
}

bool kms_guest_is_coming(struct kms_guest *guest)
{
	char status[KMS_QMP_WORD_BYTES];
	bool is_running;

	if (guest->is_coming && guest->qmp &&
	    kms_qmp_status(guest->qmp, status, &is_running, NULL) == 0) {
		guest->is_paused = !is_running;
		guest->is_coming = strcmp(status, "inmigrate") == 0;
	}
	return guest->is_coming;
}

static bool has_ended(const struct kms_guest *guest)
{
	return guest->pidfd >= 0 && kms_process_has_ended(guest->pidfd);
}

static void end(struct kms_guest *guest, struct kms_guest_event *event)
{
	guest->is_over = true;
	(void)close(guest->pidfd); /* nothing to lose */
	guest->pidfd = -1;
	event->kind = KMS_GUEST_ENDED;
	event->mono_ns = kms_mono_ns();
	/* whoever is killed, or crashes, says nothing */
	kms_qemu_copy(event->reason, sizeof(event->reason), guest->last_words);
}

/* An emulator that ends closes its socket first; its end is what is told then. */
static bool lose_qmp(struct kms_guest *guest, struct kms_guest_event *event)
{
	struct pollfd ended = {.fd = guest->pidfd, .events = POLLIN};

	kms_qmp_close(guest->qmp);
	guest->qmp = NULL;
	if (guest->pidfd >= 0 && poll(&ended, 1, ENDING_MS) > 0)
		return false;
	event->kind = KMS_GUEST_QMP_LOST;
	event->mono_ns = kms_mono_ns();
	event->reason[0] = '\0';
	return true;
}

/* What QMP has to say, without waiting. Returns whether *event is filled. */
static bool look_qmp(struct kms_guest *guest, struct kms_guest_event *event)
{
	struct kms_qmp_event said;
	int n = 1;

	for (unsigned i = 0; guest->qmp && n > 0 && i < EVENTS_AT_ONCE; i++) {
		n = kms_qmp_next_event(guest->qmp, 0, &said, NULL);
		if (n > 0 && take(guest, &said, event))
			return true;
	}
	return guest->qmp && n < 0 && lose_qmp(guest, event);
}

/*
 * What a stub says by itself: the guest stopped, though not because of us, or the connection is gone.
 * Without a process to watch that is all there is to see.
 */
static bool look_gdb(struct kms_guest *guest, struct kms_guest_event *event)
{
	int stopped;

	if (!guest->gdb || guest->is_over || !kms_gdb_is_running(guest->gdb))
		return false;
	stopped = kms_gdb_wait_stop(guest->gdb, 0, NULL);
	if (stopped == 0 || (stopped < 0 && guest->pidfd >= 0))
		return false;
	guest->is_over = stopped < 0;
	guest->is_paused = stopped > 0;
	event->kind = stopped < 0 ? KMS_GUEST_ENDED : KMS_GUEST_PAUSED;
	event->mono_ns = kms_mono_ns();
	return true;
}

unsigned kms_guest_fds(const struct kms_guest *guest, struct pollfd *fds)
{
	unsigned n = 0;

	if (guest->pidfd >= 0)
		fds[n++] = (struct pollfd){.fd = guest->pidfd, .events = POLLIN};
	if (guest->qmp)
		fds[n++] = (struct pollfd){.fd = kms_qmp_fd(guest->qmp), .events = POLLIN};
	if (guest->gdb && !guest->is_over)
		fds[n++] = (struct pollfd){.fd = kms_gdb_fd(guest->gdb), .events = POLLIN};
	return n;
}

int kms_guest_next_event(struct kms_guest *guest, int timeout_ms, struct kms_guest_event *event)
{
	uint64_t until = kms_mono_ns() + (uint64_t)(timeout_ms > 0 ? timeout_ms : 0) * MS;

	for (;;) {
		struct pollfd fds[KMS_GUEST_FDS];
		uint64_t now = kms_mono_ns();
		int wait_ms = now < until ? (int)((until - now) / MS) + 1 : 0;

		memset(event, 0, sizeof(*event));
		if (look_qmp(guest, event) || has_left(guest, event) || look_gdb(guest, event))
			return 1;
		if (has_ended(guest)) {
			end(guest, event);
			return 1;
		}
		if (wait_ms == 0 || kms_guest_fds(guest, fds) == 0)
			return 0;
		if (guest->is_leaving && wait_ms > LEAVING_MS)
			wait_ms = LEAVING_MS;
		(void)poll(fds, kms_guest_fds(guest, fds), wait_ms); /* then it is looked again */
	}
}

static int command(struct kms_guest *guest, const char *name, struct kms_err *err)
{
	if (!guest->qmp)
		return kms_err_set(err, -ENOTSUP,
				   "without a QMP socket the guest cannot be stopped or continued");
	return kms_qmp_command(guest->qmp, name, err);
}

int kms_guest_stop(struct kms_guest *guest, struct kms_err *err)
{
	int result = guest->gdb ? kms_gdb_stop(guest->gdb, err) : command(guest, "stop", err);

	if (result == 0 && guest->gdb)
		guest->is_paused = true; /* QMP says so by an event */
	return result;
}

int kms_guest_continue(struct kms_guest *guest, struct kms_err *err)
{
	int result = guest->gdb ? kms_gdb_go(guest->gdb, err) : command(guest, "cont", err);

	if (result == 0 && guest->gdb)
		guest->is_paused = false;
	return result;
}
