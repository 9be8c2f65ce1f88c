/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A Linux guest's kmem events made into batches, as the reader makes them of a region: then store, model
 * and clients have them as those of a process. A boot is an image with one target, each CPU is a ring.
 *
 * CPUs are read one after the other, so what is newer than the newest event of the look before is held
 * back until the next: it goes on in the order of time over all CPUs, with the generation of each
 * address, and a free is never told before its allocation.
 */
#ifndef KMS_TRACER_GUEST_LINUX_RECORD_H
#define KMS_TRACER_GUEST_LINUX_RECORD_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "schema/snapshot.h"
#include "tracer/batch.h"
#include "tracer/guest/linux.h"

struct kms_linux_recorder;

/** feed: takes a reference of its own of a batch; -ENOMEM: it is asked again, once. NULL: no memory. */
struct kms_linux_recorder *
kms_linux_recorder_create(int (*feed)(void *arg, struct kms_batch *batch), void *arg);
/** NULL is allowed. */
void kms_linux_recorder_destroy(struct kms_linux_recorder *recorder);

/**
 * A kernel is there: a new image.
 * Shape:  target: id, pid, name, command and start_wall_ns are used
 * Errors: -ENOMEM
 */
int kms_linux_recorder_begin(struct kms_linux_recorder *recorder, struct kms_linux *kernel,
			     const struct kms_batch_target *target, struct kms_err *err);

/** Takes what is new in the kernel's ring. Errors: as kms_linux_events(); -ENOMEM: some are lost, and counted */
int kms_linux_recorder_poll(struct kms_linux_recorder *recorder, struct kms_linux *kernel,
			    struct kms_err *err);

/** The kernel has ended, or is let go: what was held back goes on. state: enum kms_target_state */
void kms_linux_recorder_end(struct kms_linux_recorder *recorder, struct kms_linux *kernel,
			    uint32_t state, uint64_t wall_ns);

/**
 * Tells of damage, once; with the next poll. False: it was told, or there is no room.
 * Shape: n frames of its allocation, innermost first; 0: as the damage's track says
 */
bool kms_linux_recorder_fault(struct kms_linux_recorder *recorder, struct kms_linux *kernel,
			      const struct kms_linux_damage *damage, const uint64_t *frame, int n);

/** Run-wide id of a stack, innermost frame first, which is then known to the functions below; 0: no room. */
uint64_t kms_linux_recorder_stack_id(struct kms_linux_recorder *recorder, struct kms_linux *kernel,
				     const uint64_t *frame, int n);
/** Likewise of a track's. */
uint64_t kms_linux_recorder_track_id(struct kms_linux_recorder *recorder, struct kms_linux *kernel,
				     const struct kms_linux_track *track);

/** Any thread. Owner: the caller frees out->frame. Errors: -ENOENT, -ENOMEM */
int kms_linux_recorder_stack(struct kms_linux_recorder *recorder, uint64_t stack_id,
			     struct kms_view_stack *out, struct kms_err *err);

/** The stack that became known after *stack_id; any thread. */
bool kms_linux_recorder_next(struct kms_linux_recorder *recorder, uint64_t *stack_id);

#endif
