/* SPDX-License-Identifier: BSD-2-Clause */
/* A set of numbers that is filled, read out sorted, and emptied, over and over. */
#ifndef KMS_TRACER_U64SET_H
#define KMS_TRACER_U64SET_H

#include <stddef.h>
#include <stdint.h>

/**
 * The set. UINT64_MAX cannot be a member.
 *
 * Owner:  the memory belongs to the set until kms_u64set_deinit(). All zero is an empty set.
 * Invariant: at most half of the slots are in use, so that probing ends.
 */
struct kms_u64set {
	uint64_t *slot; /* member + 1, 0 free */
	uint64_t *sorted, *scratch;
	size_t slots;    /* power of two, or 0 */
	uint64_t factor; /* odd and random: members come from hostile programs, who must not know */
	unsigned shift;  /* 64 - log2(slots) */
	size_t room;     /* of sorted and of scratch */
	size_t count;
};

void kms_u64set_deinit(struct kms_u64set *set);

/** Empties the set; most of its memory stays. */
void kms_u64set_reset(struct kms_u64set *set);

/** Adds a number. Errors: 1 added, 0 it was there; -ENOMEM: the set is as before. */
int kms_u64set_add(struct kms_u64set *set, uint64_t value);

/**
 * The members in ascending order.
 *
 * Shape:  *out has set->count numbers; borrowed until the set is next changed
 * Errors: -ENOMEM
 */
int kms_u64set_sorted(struct kms_u64set *set, const uint64_t **out);

#endif
