/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The targets of a run: one per process and image, numbered in the order they appear. What changed
 * since it was last sent waits in a list.
 */
#ifndef KMS_TRACER_TARGETS_H
#define KMS_TRACER_TARGETS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "base/list.h"
#include "schema/snapshot.h"
#include "tracer/batch.h"

/** One target; lives as long as the run. */
struct kms_target {
	struct kms_batch_target info;
	struct kms_list changed; /* link in kms_targets.changed, or in no list */
	bool is_ignored;         /* not of the process that is followed: nothing of it is sent */
};

struct kms_targets {
	struct kms_target **item; /* n; item[id - 1] */
	size_t n, room;
	struct kms_list changed;
	pid_t exited_pid; /* whose exit status is known, 0 none */
	int32_t exited_status;
};

void kms_targets_init(struct kms_targets *targets);
void kms_targets_deinit(struct kms_targets *targets);

/** A new target, all zero but id, pid, exit_status -1 and state RUNNING; NULL without memory. */
struct kms_target *kms_targets_add(struct kms_targets *targets, uint32_t pid);

/** The newest target of a process, NULL none. */
struct kms_target *kms_targets_find(const struct kms_targets *targets, uint32_t pid);

/** Has it sent with the next batch. */
void kms_targets_touch(struct kms_targets *targets, struct kms_target *target);

/** Changes the state; one that is over stays as it is. */
void kms_targets_set_state(struct kms_targets *targets, struct kms_target *target,
			   enum kms_target_state state);

/** How it ended (a wait status), unless its parent has told. */
void kms_targets_set_exit(struct kms_targets *targets, struct kms_target *target, uint32_t status);

/** Why it stands still, as of struct kms_batch_target; NONE: it does not. */
void kms_targets_set_stop(struct kms_targets *targets, struct kms_target *target, uint32_t reason,
			  uint32_t fault);

/** How the process ended, for the last of its targets, present or to come. */
void kms_targets_exited(struct kms_targets *targets, pid_t pid, int32_t status);

/** Adds those that changed to a batch. Errors: -ENOMEM: the rest comes with the next one. */
int kms_targets_send(struct kms_targets *targets, struct kms_batch *batch);

#endif
