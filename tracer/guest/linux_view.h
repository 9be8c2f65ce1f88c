/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A Linux guest behind the same kms_view as a traced process: its caches, its live objects by call
 * site as leak suspects, stacks, memory; and, where a tracer takes them, its kmem events, which are
 * stored and shown like those of a process.
 *
 * A thread of its own reads the guest: events 40 times a second, caches 10 times, live objects once. When
 * the guest boots another kernel, that is another target; the old one has ended.
 */
#ifndef KMS_TRACER_GUEST_LINUX_VIEW_H
#define KMS_TRACER_GUEST_LINUX_VIEW_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "schema/snapshot.h"
#include "tracer/guest/linux.h"
#include "tracer/guest/memory.h"
#include "tracer/tracer.h"

struct kms_linux_view;

/** Shape: strings are copied; the functions may be NULL. */
struct kms_linux_view_config {
	struct kms_guest_memory *memory; /* the view's alone until it is over, or stopped */
	struct kms_linux_options linux_options;
	const char *command; /* of the emulator, or the RAM file */
	pid_t pid;           /* of the emulator, 0 unknown */
	bool allow_write;    /* clients may write the guest's memory */
	bool is_paused;      /* the machine stands still */
	/** Has the machine stand, or go on; one call at a time. Errors: -ENOTSUP: no way to; others */
	int (*stop)(void *arg, struct kms_err *err);
	int (*resume)(void *arg, struct kms_err *err);
	/**
	 * Looks what the emulator says; from the view's thread. *paused: whether the machine stands still,
	 * as it was if nobody said so. Returns false: it goes on elsewhere, nothing comes any more.
	 */
	bool (*turn)(void *arg, bool *paused);
	/** Whether the emulator has ended, or is just about to: it loses its memory first. NULL: no. */
	bool (*is_ending)(void *arg);
	void *arg;
	/** Something for the user, one line; from the view's thread. */
	void (*say)(void *arg, const char *line);
	void *say_arg;
};

/**
 * Finds the kernel, reads it once, starts the thread.
 *
 * Owner:  kms_linux_view_stop() ends and frees it; the memory stays open.
 * Errors: as kms_linux_open(), kms_linux_refresh_caches(); -ENOMEM; -EAGAIN of pthread_create(3)
 */
int kms_linux_view_start(const struct kms_linux_view_config *config, struct kms_linux_view **out,
			 struct kms_err *err);

/** The view; valid until kms_linux_view_stop(). */
struct kms_view kms_linux_view_ops(struct kms_linux_view *view);

/** For a tracer that shows and keeps the view's pictures; valid until kms_linux_view_stop(). */
const struct kms_tracer_origin *kms_linux_view_origin(const struct kms_linux_view *view);

/** Gives the kmem events to a tracer, from now on. Errors: -ENOMEM */
int kms_linux_view_record(struct kms_linux_view *view, struct kms_tracer *tracer,
			  struct kms_err *err);

/**
 * The last of them; the target is let go. Pictures borrow from the tracer until kms_linux_view_stop():
 * kms_tracer_finish() before that, kms_tracer_destroy() after.
 */
void kms_linux_view_record_end(struct kms_linux_view *view);

/**
 * Whether nothing comes any more: its memory cannot be read, it ended, or somebody let it go. Then the
 * memory is not looked at again, nor is any function of the configuration called. Any thread.
 */
bool kms_linux_view_is_over(struct kms_linux_view *view);

/** The emulator has ended: so has the newest target. Any thread. */
void kms_linux_view_end(struct kms_linux_view *view);

/** Ends it; all snapshots were given back. NULL is nothing. */
void kms_linux_view_stop(struct kms_linux_view *view);

#endif
