/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stacks of one request, each asked of the view once: a fault shows a stack in its members, its
 * headline and its report, and the owners of an address have few stacks between them.
 */
#ifndef KMS_SERVER_STACKS_H
#define KMS_SERVER_STACKS_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "schema/snapshot.h"

/** All zero is empty. One thread. */
struct kms_stacks {
	const struct kms_view *view;
	struct kms_stack_slot *slot; /* n_slots, a power of two; by hash of the id */
	size_t n_slots;
	size_t used;
};

/** Begins over a view; allocates nothing. */
void kms_stacks_init(struct kms_stacks *stacks, const struct kms_view *view);

/** Gives every stack back. */
void kms_stacks_deinit(struct kms_stacks *stacks);

/**
 * The frames of a stack; of stack 0, and of one that cannot be had, no frames.
 *
 * Owner:  borrowed until kms_stacks_deinit()
 * Errors: @error, which may be NULL, is set to why there are none, or to NULL; borrowed as well
 */
const struct kms_view_stack *kms_stacks_get(struct kms_stacks *stacks, uint64_t stack_id,
					    const char **error);

#endif
