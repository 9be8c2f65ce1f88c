/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A guest: its memory, what is known of the emulator around it, and what happens to it.
 *
 * Opening one never changes the guest and never stops it, but for gdb:, which says so in
 * memory->pauses. Whatever becomes of us, the guest goes on.
 */
#ifndef KMS_TRACER_GUEST_GUEST_H
#define KMS_TRACER_GUEST_GUEST_H

#include <limits.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "tracer/guest/gdb.h"
#include "tracer/guest/memory.h"
#include "tracer/guest/qemu.h"
#include "tracer/guest/qmp.h"
#include "tracer/guest/target.h"

enum kms_guest_flags {
	KMS_GUEST_NO_QMP = 1, /* of a target by pid: do not take the one place at its QMP socket */
	KMS_GUEST_NO_WRITE = 2, /* a RAM file is opened for reading only */
};

enum kms_guest_bounds {
	KMS_GUEST_NOTE_BYTES = 256,
	KMS_GUEST_FDS = 3, /* that kms_guest_fds() fills at most */
};

/** An open guest. One thread at a time. */
struct kms_guest {
	struct kms_guest_target target;
	struct kms_guest_memory *memory;

	struct kms_qemu emulator; /* .pid is 0 where no process of this machine is known */
	int pidfd;                /* of it; -1: none, or its end was told */
	struct kms_qmp *qmp;      /* the control channel, or NULL */
	struct kms_gdb *gdb;      /* of a target gdb:, or NULL; the memory stands on it */
	char kernel[PATH_MAX];    /* image it was started with, as we can open it; or "" */

	bool is_paused;  /* as far as the events said, or we did it by gdb */
	bool is_over;    /* ended, or gone to another emulator */
	bool is_leaving; /* a migration is being finished: it may be over soon */
	bool is_coming;  /* as QMP said: its memory is still coming from elsewhere */
	char note[KMS_GUEST_NOTE_BYTES]; /* what could not be had and why, one line; or "" */

	char last_words[64]; /* reason of a SHUTDOWN event; or "" */
	uint64_t reset_ns;   /* of the last reset that was told: it comes as several events */
};

/**
 * Opens what a target names: finds the emulator, its RAM, the sockets, the kernel's image.
 *
 * Shape:  flags: of enum kms_guest_flags
 * Errors: as kms_qemu_look(), kms_qemu_find_ram(), kms_qmp_open(), kms_gdb_open(); -EINVAL: the
 *         RAM's size or its place is not known; -ENOMEM; what open(2) says
 */
int kms_guest_open(const struct kms_guest_target *target, unsigned flags, struct kms_guest **guest,
		   struct kms_err *err);

/** Closes all of it; a guest that we had stopped goes on. NULL is nothing. */
void kms_guest_close(struct kms_guest *guest);

enum kms_guest_event_kind {
	KMS_GUEST_NOTHING = 0,
	KMS_GUEST_PAUSED = 1,
	/* It goes on. While it stood, a snapshot may have been loaded: nobody says so. Whoever keeps a
	 * picture of it compares what only grows (a boot's number, counters, the guest's clock). */
	KMS_GUEST_RESUMED = 2,
	KMS_GUEST_RESET = 3,    /* it boots again, in the same memory */
	KMS_GUEST_CRASHED = 4,  /* its kernel says so (pvpanic); the emulator still lives */
	KMS_GUEST_MIGRATED = 5, /* it runs elsewhere, what is here never moves again */
	KMS_GUEST_ENDED = 6,    /* the emulator has ended; a RAM file can still be read */
	KMS_GUEST_QMP_LOST = 7, /* the control channel is closed; guest->qmp is NULL from now on */
};

/** Something that happened to the guest. */
struct kms_guest_event {
	enum kms_guest_event_kind kind;
	uint64_t mono_ns; /* when we heard of it */
	char reason[64];  /* "host-qmp-quit", "guest-reset", ...; or "" */
};

/**
 * The next event; without QMP only the end of the emulator is one.
 *
 * Units:   timeout_ms: 0 looks only, at most 60,000
 * Returns 1: *event is filled; 0: nothing within that time
 * Errors:  none: a channel that fails is an event
 */
int kms_guest_next_event(struct kms_guest *guest, int timeout_ms, struct kms_guest_event *event);

/**
 * Whether its memory is still coming from another emulator or a file, so that nothing in it can be
 * relied on. Asks again as long as that was so. Without QMP: false.
 */
bool kms_guest_is_coming(struct kms_guest *guest);

/** Descriptors to poll for events; how many. Shape: KMS_GUEST_FDS of them */
unsigned kms_guest_fds(const struct kms_guest *guest, struct pollfd *fds);

/**
 * Stops the guest, or lets it go on, by QMP or by gdb.
 *
 * Errors: -ENOTSUP: there is no channel for it; as kms_qmp_command()
 */
int kms_guest_stop(struct kms_guest *guest, struct kms_err *err);
int kms_guest_continue(struct kms_guest *guest, struct kms_err *err);

#endif
