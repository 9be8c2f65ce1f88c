/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A set of numbers that is filled, read out sorted, and emptied, over and over. Adding only appends:
 * what is there twice is found when the set is sorted, which no choice of numbers can make slow.
 */
#ifndef KMS_TRACER_U64SET_H
#define KMS_TRACER_U64SET_H

#include <stddef.h>
#include <stdint.h>

/** Owner: the memory belongs to the set until kms_u64set_deinit(). All zero is an empty set. */
struct kms_u64set {
	uint64_t *item, *scratch;
	size_t n;    /* items, repeats included */
	size_t room; /* of item and of scratch */
};

void kms_u64set_deinit(struct kms_u64set *set);

/** Makes room for one more. Errors: -ENOMEM: the set is as before */
int kms_u64set_grow(struct kms_u64set *set);

/** Empties the set; its memory stays. */
static inline void kms_u64set_reset(struct kms_u64set *set)
{
	set->n = 0;
}

/** Adds a number. Errors: -ENOMEM: the set is as before */
static inline int kms_u64set_add(struct kms_u64set *set, uint64_t value)
{
	if (set->n == set->room) {
		int result = kms_u64set_grow(set);

		if (result < 0)
			return result;
	}
	set->item[set->n++] = value;
	return 0;
}

/**
 * Sorts the members and drops repeats; returns how many there are.
 *
 * Shape:  *out in ascending order; borrowed until the set is next changed
 */
size_t kms_u64set_sorted(struct kms_u64set *set, const uint64_t **out);

#endif
