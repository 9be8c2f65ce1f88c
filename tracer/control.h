/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the tracer writes into a region: who owns it, that it is alive, how far it has read, and
 * requests. All by pairs {v, ~v}; see schema/region.h.
 */
#ifndef KMS_TRACER_CONTROL_H
#define KMS_TRACER_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "tracer/region.h"

/** The tracer's side of one region. Positions are kept here: what stands in the region is hostile. */
struct kms_control {
	struct kms_region *region;
	uint64_t nonce; /* ours, never 0 */
	uint64_t heartbeat;
	uint64_t tick;
	uint64_t other_beat; /* of another owner, when it was last seen to move */
	uint64_t other_seen_ns;
	uint32_t wake;
	bool is_owner;
};

/** Reads where a former owner stopped. Shape: region is open. Errors: -EFAULT */
int kms_control_init(struct kms_control *control, struct kms_region *region, uint64_t nonce);

/**
 * Takes the region over if nobody owns it, or its owner has not moved for KMS_OWNER_DEAD_NS.
 * Errors: -EBUSY: another tracer lives; ask again. -EFAULT
 */
int kms_control_claim(struct kms_control *control, uint64_t now_ns);

/** Moves the heartbeat, and the tick too if @busy. Errors: -EFAULT */
int kms_control_beat(struct kms_control *control, bool busy);

/**
 * Says that the blocks of a ring before @block were taken over.
 * Shape: ring < head.rings. Errors: -EFAULT
 */
int kms_control_position(struct kms_control *control, uint32_t ring, uint64_t block);

/** Wakes producers that wait for room. Errors: -EFAULT */
int kms_control_wake(struct kms_control *control);

/**
 * Asks a process to set a variable, or to carry out a command; the item, its sequence and the
 * attention word are written.
 * Shape: slot < head.slots, variable < KMS_REQUEST_ITEMS. *seq: what the answer will carry.
 * Errors: -EFAULT
 */
int kms_control_request(struct kms_control *control, uint32_t slot, unsigned variable,
			uint64_t value, uint64_t *seq);

/** Has a process look at its request page, which it does for a tracer that it does not know yet. Errors: -EFAULT */
int kms_control_greet(struct kms_control *control, uint32_t slot);

/** Tells the thread that stands still that the others do. Shape: stop_nr of its slot. Errors: -EFAULT */
int kms_control_held(struct kms_control *control, uint32_t slot, uint32_t stop_nr);

/** The item that was last written, if any was, and the sequence of the last request of all variables. Errors: -EFAULT */
int kms_control_requested(struct kms_control *control, uint32_t slot, unsigned variable,
			  uint64_t *value, bool *is_requested, uint64_t *seq);

/** An owner without a heartbeat for so long is dead. */
#define KMS_OWNER_DEAD_NS UINT64_C(1000000000)

#endif
