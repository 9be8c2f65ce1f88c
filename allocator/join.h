/* SPDX-License-Identifier: BSD-2-Clause */
/* Joining the run of a tracer that came late, and leaving it; see schema/attach.h. */
#ifndef KMS_ALLOCATOR_JOIN_H
#define KMS_ALLOCATOR_JOIN_H

#include "allocator/impl.h"

/** Lays @memory, zeroed and as large as the present region, out like that one, empty. */
void kms_region_lay_out_again(const struct kms_heap *heap, void *memory);

/**
 * Makes such memory the heap's region, with caches under the same numbers. The caller then says who
 * it is (header), and calls kms_heap_join().
 *
 * Locks: all of the heap's (impl.h). The old region must stay mapped.
 */
void kms_region_succeed(struct kms_heap *heap, void *memory);

/**
 * Takes a slot in the region that is the heap's now, and begins a session of recording. Every local
 * must look before its next call (kms_heap_attention), and takes its place then. Locks: as above.
 */
bool kms_heap_join(struct kms_heap *heap);

/**
 * Another session of recording; its number is never one of those (modulo 256) that know everything.
 * Threads read it meanwhile (kms_ring_resume): they look again, as the caller closes their gate.
 *
 * Locks: control_lock.
 */
static inline void kms_heap_next_session(struct kms_heap *heap)
{
	uint32_t next = heap->session + 1;

	if (!(uint8_t)next)
		next++;
	__atomic_store_n(&heap->session, next, __ATOMIC_RELAXED);
}

/** Goes on without the tracer: nothing is recorded from here on. Locks: control_lock. */
void kms_heap_leave(struct kms_heap *heap);

#endif
