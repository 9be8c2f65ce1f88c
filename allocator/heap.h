/* SPDX-License-Identifier: BSD-2-Clause */
/* The heap as a whole: start, the locals of threads, fork, and what the fronts share. */
#ifndef KMS_ALLOCATOR_HEAP_H
#define KMS_ALLOCATOR_HEAP_H

#include "allocator/alloc.h"

/**
 * Makes the arena and the caches of both fronts. The region (kms_region_init) and its slot must be
 * in place and heap->variable filled in. False without memory.
 */
bool kms_heap_init(struct kms_heap *heap);

/**
 * A local for the calling thread: a used one whose thread is gone, or a new one.
 * @state: KMS_LOCAL_USED or KMS_LOCAL_NESTED. NULL without memory.
 */
struct kms_local *kms_local_get(struct kms_heap *heap, uint32_t state);

/** Thread exit: magazines to the depot, ring closed, the local free for the next thread. */
void kms_local_put(struct kms_local *t);

/** Brings a local's copies of what is switched (trace, checks, guard) up to date. */
void kms_local_refresh(struct kms_local *t);

/**
 * For a call that got no block: was that because the checks were switched since its gate? Then the
 * local has the new ones after it, and the call begins again with what it computed from the checks.
 */
bool kms_local_catch_up(struct kms_local *t);

/**
 * The heap has another region since this local's last call: takes its place there. Before the local
 * is used; it is not busy, or nested.
 */
void kms_local_rejoin(struct kms_local *t);

/**
 * The slow way of a call, of either front: what do others want of this local's owner? Joins those who
 * stand, takes up what a tracer asks, takes a place in a new region, and brings the local up to date.
 * The gate is opened for what stood there *before* it looked: what comes meanwhile closes it again for
 * the next call. A nested local interrupts a call that may hold a lock, so it is only brought up to
 * date; the next ordinary call does the rest.
 *
 * @others: what else the front takes up, after the requests and before the local is brought up to
 *          date; NULL: nothing
 * Locks:   takes those of what it takes up; the caller holds none, and @t is not busy
 */
void kms_local_look(struct kms_local *t, void (*others)(struct kms_heap *heap));

/** Every local takes the slow way at its next call. */
void kms_heap_attention(struct kms_heap *heap);

/**
 * Takes every lock of the allocator, in their order: around fork, and before others are held, so that
 * nobody is held with one.
 *
 * Shape:   until_ns as of kms_port_now_ns(), UINT64_MAX: however long it takes
 * Returns: false if that is over; then it holds none
 */
bool kms_heap_lock_all(struct kms_heap *heap, uint64_t until_ns);
void kms_heap_unlock_all(struct kms_heap *heap);

/**
 * In a forked child, by its only thread, before anything else: a slot and rings of its own, the
 * parent's values, the fork record with the cut of every ring of the parent. @t is its local.
 */
void kms_heap_after_fork(struct kms_heap *heap, struct kms_local *t);

/** The cache of aligned blocks for this alignment and stride (as powers of two), made at need. */
struct kms_cache *kms_heap_aligned_cache(struct kms_heap *heap, unsigned align_shift,
					 unsigned stride_shift);

/**
 * Takes a lock for a trap. False if it was not to be had for a while: what this local's call
 * interrupted may hold it, and would never let it go.
 */
bool kms_local_lock(const struct kms_local *t, uint32_t *lock);

/** Keeps a freed large block in mind, for the report of its second free. */
void kms_heap_remember_free(struct kms_heap *heap, const struct kms_gone *gone);
const struct kms_gone *kms_heap_gone(const struct kms_heap *heap, uintptr_t block);

#endif
