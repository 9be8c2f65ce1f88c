/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The owners that an address had, out of its recorded events.
 */
#ifndef KMS_SERVER_OWNERS_H
#define KMS_SERVER_OWNERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "schema/snapshot.h"

/** An event of the address; rings interleave, so order has to be made. */
struct kms_moment {
	uint64_t time_ns, size, stack_id;
	uint32_t target, tid, place;
	bool is_free;
};

/** An owner: its allocation, and its free if that came. */
struct kms_moment_pair {
	const struct kms_moment *alloc, *free;
};

/** All zero is empty. */
struct kms_owners {
	struct kms_moment *moment;
	size_t n, room;
	struct kms_moment_pair *owner; /* newest first */
	size_t n_owners;
	bool no_memory, cut; /* cut: the address had more events than are read */
};

/**
 * Reads every owner that had the block beginning at @address; target 0: in any target.
 *
 * Owner:  the caller ends it with kms_owners_deinit(), also after an error
 * Errors: what the view's events() says; -ENOMEM
 */
int kms_owners_read(const struct kms_view *view, uint32_t target, uint64_t address,
		    struct kms_owners *history, struct kms_err *err);

/** Frees what it holds; it is empty then. */
void kms_owners_deinit(struct kms_owners *history);

/**
 * Where the block begins that holds an address, as events name it; the address itself if no block is
 * known there. target 0: in the first that knows.
 */
uint64_t kms_owners_begin(const struct kms_view *view, const struct kms_snapshot *snapshot,
			  uint32_t target, uint64_t address);

#endif
