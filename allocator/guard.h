/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * KMEM_GUARD: a block right-justified against an inaccessible page, made inaccessible when freed
 * and kept so in a FIFO of kmem_guard_depth slots and kmem_guard_bytes of address space.
 *
 * Guard slots are spans of state KMS_SPAN_GUARD in a reservation of their own, with side table
 * entries like any other block. The port has the back ends (guard_port.h). The essay is guard.md.
 */
#ifndef KMS_ALLOCATOR_GUARD_H
#define KMS_ALLOCATOR_GUARD_H

#include "allocator/alloc.h"

/** Depth as it takes effect: rounded up to a multiple of 512. */
uint64_t kms_guard_round_depth(uint64_t depth);

/**
 * Takes over the guard variables: starts the back end at the first depth that is not 0, grows at
 * once, shrinks by draining the oldest entries, some at each later call.
 *
 * Locks:  needs control_lock, or nobody else knows the heap yet
 * Errors: an enum kms_ack_status; what could not be had is set back in heap->variable
 */
uint32_t kms_guard_configure(struct kms_heap *heap);

/** Must calls come to the guard: to be guarded, or to drain what is over its limits? */
bool kms_guard_wanted(const struct kms_heap *heap);

/**
 * A guarded block, or NULL if this one is not to be guarded (sampling, size window) or cannot be
 * (counted as unguarded). @align: what the caller asked for, or his front's own alignment.
 * @cache_index: the size class it is counted in. The memory is zero unless POISON is on.
 *
 * Locks:  between enter and leave, no allocator lock held
 */
void *kms_guard_alloc(struct kms_local *t, size_t size, size_t align, unsigned cache_index,
		      struct kms_request_info *info);

/** Is @p in the guard's reservation? Any value is allowed. */
bool kms_guard_owns(const struct kms_heap *heap, uintptr_t p);

/**
 * Frees a pointer for which kms_guard_owns: checks it (double free, interior, pattern around it),
 * makes it inaccessible and queues it. The size a kmem(9) caller gave is checked by kmem.c.
 */
void kms_guard_free(struct kms_local *t, uintptr_t p, struct kms_request_info *info);

/** Like kms_place_find for the guard's reservation; false if @p is not in it. */
bool kms_guard_place(const struct kms_heap *heap, uintptr_t p, struct kms_place *place);

/** The memory around @p that can be read, if it lies in a live guarded block; else false. */
bool kms_guard_readable(const struct kms_heap *heap, uintptr_t p, uintptr_t *start, uintptr_t *end);

/**
 * An access to the guard's reservation trapped at @address. Raises use_after_free, overflow or
 * underflow, maps the page with poison and marks a freed block spent if the policy lets the program
 * go on. A further trap on the same block only counts as a hit.
 *
 * Returns: true if the access may be resumed; false if the address is not ours or nothing helped
 * Locks:   may interrupt any code of the program
 * Source:  called by the port's signal handler or page-fault handler
 */
bool kms_guard_trap(struct kms_local *t, uintptr_t address, bool write, uint32_t stack);

/** Looks at the pattern around every live guarded block; returns the number of damaged ones. */
size_t kms_guard_verify(struct kms_local *t, const struct kms_frame *frame);

/**
 * In a forked child, before anything else: the back end starts again. The inherited FIFO is the
 * child's own.
 */
void kms_guard_after_fork(struct kms_heap *heap);

/** The word of the guard's lock; NULL without a guard. */
uint32_t *kms_guard_lock_word(struct kms_heap *heap);

/** Drains up to 32 entries if the FIFO is over its limits (called on slow paths). */
void kms_guard_drain(struct kms_local *t);

#endif
