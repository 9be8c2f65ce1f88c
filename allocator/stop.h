/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Standing still: one thread waits at a fault or before the program begins, and answers requests;
 * the tracer holds all the others. README.md, "Standing still", is the essay.
 */
#ifndef KMS_ALLOCATOR_STOP_H
#define KMS_ALLOCATOR_STOP_H

#include "allocator/impl.h"

/**
 * Stands until kmem_continue is written or the tracer shows no sign of life any more. Two threads
 * stand one after the other. Requests are taken up meanwhile.
 *
 * Shape:   state an enum kms_stop_reason; fault: index in KMS_SEC_FAULT plus 1, 0 none
 * Returns: false if there was nobody to stand still for
 * Locks:   no allocator lock held; between kms_enter and kms_leave
 */
bool kms_stop_stand(struct kms_local *t, uint32_t state, uint32_t fault);

/** Does this very thread stand? Then a finding of its own is reported only. */
static inline bool kms_stop_is_mine(const struct kms_local *t)
{
	return __atomic_load_n(&t->heap->stander, __ATOMIC_RELAXED) == t->tid;
}

/** Do the other threads not run at all, so that what they own can be looked at? */
bool kms_stop_all_held(const struct kms_heap *heap);

/**
 * At the begin of a call, while another thread stands: waits with it. For threads that nobody holds.
 * Locks: no allocator lock held; not for a nested local
 */
void kms_stop_join(struct kms_local *t);

/** In a forked child: the thread that stood is not here. */
void kms_stop_after_fork(struct kms_heap *heap);

#endif
