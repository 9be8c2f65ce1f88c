/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What every site held at a moment, and how two such moments differ.
 */
#ifndef KMS_TRACER_HELD_H
#define KMS_TRACER_HELD_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "schema/snapshot.h"

/** Live blocks of one stack and cache. Shape: strings are borrowed; cache "" unknown, never NULL. */
struct kms_held {
	uint64_t stack_id;
	uint64_t bytes;
	uint64_t count;
	const char *cache;
	uint32_t target;
};

/** By target, stack and cache, each once: what kms_held_diff() takes. Returns how many are left. */
size_t kms_held_order(struct kms_held *held, size_t n);

/**
 * What the sites of a snapshot hold, in order.
 * Owner:  the caller frees *out; cache names are the snapshot's
 * Errors: -ENOMEM
 */
int kms_held_of(const struct kms_snapshot *snapshot, struct kms_held **out, size_t *n);

/**
 * Emits what stacks gained from @a to @b, both in order: in the order of kms_held_by_gain(). Where the
 * stack is not known (0) each cache is a row. Rows in which no cache has a difference are left out.
 *
 * Owner:  a row's caches are lent until emit returns
 * Errors: -ENOMEM
 */
int kms_held_diff(const struct kms_held *a, size_t n_a, const struct kms_held *b, size_t n_b,
		  int (*emit)(void *arg, const struct kms_view_diff *row), void *arg);

/** Orders rows: the largest gain in bytes first, ties by stack, target and a hash of the cache's name. */
int kms_held_by_gain(const struct kms_view_diff *a, const struct kms_view_diff *b);

#endif
