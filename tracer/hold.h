/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Holding processes still by ptrace: SEIZE and INTERRUPT of each of their threads. Never a signal, so
 * that nothing is left behind when we die: the kernel lets them go.
 *
 * To the kernel a tracer is a thread, so one thread does all of it; it begins with the first process
 * and looks some hundred times a second as long as it holds one.
 */
#ifndef KMS_TRACER_HOLD_H
#define KMS_TRACER_HOLD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

struct kms_hold;

enum kms_hold_state {
	KMS_HOLD_NONE = 0,
	KMS_HOLD_TAKING = 1, /* some of its threads may still run */
	KMS_HOLD_HELD = 2,   /* all stand, but the one that was spared */
	KMS_HOLD_PARTLY =
		3, /* some sleep where they cannot be held; as soon as they wake up they are */
	KMS_HOLD_REFUSED = 4, /* the system does not permit it; none is held */
};

enum kms_hold_limits {
	KMS_HOLD_REASON_BYTES = 192,
};

/** Shape: changed may be NULL; it is called by the thread that holds, without a lock. */
struct kms_hold_config {
	void (*changed)(void *arg); /* some process's state is another one */
	void *arg;
};

/** Errors: NULL without memory */
struct kms_hold *kms_hold_create(const struct kms_hold_config *config);
/** Lets everything go. NULL is allowed. */
void kms_hold_destroy(struct kms_hold *hold);

/** Whom to hold. */
struct kms_hold_ask {
	pid_t pid;
	pid_t spared; /* a thread of it that runs on; 0 none */
	uint64_t
		device; /* a file that the process must have mapped: pids come from hostile memory */
	uint64_t inode; /* 0: not asked */
};

/** Begins to hold a process; one that is held already stays so. Any thread. Errors: -ENOMEM, -EAGAIN */
int kms_hold_take(struct kms_hold *hold, const struct kms_hold_ask *ask);

/** Lets a process go. Any thread; one that is not held is no error. */
void kms_hold_release(struct kms_hold *hold, pid_t pid);

/** How far it is. Any thread. */
enum kms_hold_state kms_hold_state(struct kms_hold *hold, pid_t pid);

/** Waits until no process is TAKING any more. Any thread. Errors: -ETIMEDOUT */
int kms_hold_await(struct kms_hold *hold, int timeout_ms);

/** Why a process is REFUSED, for a person; "" else. Any thread. */
void kms_hold_reason(struct kms_hold *hold, pid_t pid, char reason[KMS_HOLD_REASON_BYTES]);

#endif
