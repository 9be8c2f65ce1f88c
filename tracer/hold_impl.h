/* SPDX-License-Identifier: BSD-2-Clause */
/* One process that is held; private to hold*.c. Everything here is for the thread that holds. */
#ifndef KMS_TRACER_HOLD_IMPL_H
#define KMS_TRACER_HOLD_IMPL_H

#include <stddef.h>

#include "base/list.h"
#include "tracer/hold.h"

/** A thread that we trace. */
struct kms_held_thread {
	pid_t tid;
	bool stands;
	int signal; /* that came while it was being held; it gets it when it goes on. 0 none */
};

struct kms_held {
	struct kms_list link;
	struct kms_hold_ask ask;
	enum kms_hold_state state;
	bool is_wanted;  /* else its threads are let go as soon as they stand */
	bool is_checked; /* it has the file mapped */
	int pidfd;       /* of the process that was checked; -1: it is checked before each pass */
	uint64_t asked_ns;
	struct kms_held_thread *thread; /* n */
	size_t n, room;
	char reason[KMS_HOLD_REASON_BYTES];
};

/** Seizes threads that are not yet, and looks whether all stand; state and reason follow. */
void kms_held_take(struct kms_held *held, uint64_t now_ns);

/** Lets go of threads that stand. Returns whether any is left. */
bool kms_held_let_go(struct kms_held *held);

/** Takes note of what wait(2) said of a thread. False: it is none of this process. */
bool kms_held_note(struct kms_held *held, pid_t tid, int status);

void kms_held_free(struct kms_held *held);

#endif
