/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A region in place of another one, while threads run.
 *
 * Both have one layout, so an index that somebody has in hand fits either; and the old one stays
 * mapped, so a thread that still counts there harms nobody. Nothing is recorded before a thread has
 * taken its place in the new region, which it does at its next call (kms_local_rejoin): until then
 * its local's region_nr is the old one. Figures of caches go over with their locks held, counters
 * begin at 0.
 */
#include "allocator/join.h"

#include "allocator/cache.h"
#include "allocator/control.h"
#include "allocator/guard.h"
#include "allocator/heap.h"
#include "allocator/port.h"
#include "allocator/region.h"

void kms_region_lay_out_again(const struct kms_heap *heap, void *memory)
{
	struct kms_region_header *r = memory;

	__builtin_memcpy(r, heap->region, sizeof(*r));
	r->magic = 0;
	r->self_address = (uintptr_t)memory;
	r->stalled = 0;
	r->lost_tables = 0;
	for (unsigned i = 0; i < r->sections && i < KMS_MAX_SECTIONS; i++) {
		struct kms_section *s = &r->section[i];

		s->used = s->kind == KMS_SEC_NODE || s->kind == KMS_SEC_STRING;
	}
}

void kms_region_succeed(struct kms_heap *heap, void *memory)
{
	const struct kms_region_header *old = heap->region;
	struct kms_region_header *r = memory;

	/* Indices of caches stay; a guard slot may have the index of an old finding. */
	for (unsigned i = 0; i < r->sections && i < KMS_MAX_SECTIONS; i++) {
		if (r->section[i].kind == KMS_SEC_CACHE || r->section[i].kind == KMS_SEC_FAULT)
			r->section[i].used = old->section[i].used;
	}
	__atomic_store_n(&heap->region, r, __ATOMIC_RELEASE);
	heap->tracer = kms_section_base(heap, KMS_SEC_TRACER);
	heap->position = (const struct kms_pair *)(heap->tracer + 1);
}

static void copy_figures(struct kms_heap *heap, const struct kms_slot *old)
{
	heap->slot->guard = old->guard;
	heap->slot->locked_short_bytes = old->locked_short_bytes;
	heap->slot->arena_used_bytes = (uint64_t)heap->arena.used_pages << KMS_PAGE_SHIFT;
}

bool kms_heap_join(struct kms_heap *heap)
{
	const struct kms_slot *old = heap->slot;

	if (!kms_region_claim_slot(heap, kms_port_pid(), KMS_NO_INDEX))
		return false; /* a new region has free ones */
	copy_figures(heap, old);
	heap->shared = 1;
	kms_heap_next_session(heap);
	heap->slot->session = heap->slot->first_session = heap->session;
	heap->announced = 0;
	heap->acked_seq = 0;
	heap->stalled_beat = 0;
	heap->tracer_pid = 0;
	for (unsigned i = 0; i < KMS_VARIABLE_COUNT; i++)
		heap->was_requested[i] = false;
	for (uint32_t i = 0; i < heap->n_caches; i++) {
		if (heap->cache[i])
			kms_cache_move(heap, heap->cache[i]);
	}
	kms_control_publish(heap);
	heap->region_nr++;
	__atomic_store_n(&heap->slot->state, KMS_SLOT_LIVE, __ATOMIC_RELEASE);
	kms_region_publish(heap);
	return true;
}

void kms_heap_leave(struct kms_heap *heap)
{
	/* kmem_panic stays what the session made of it: checks that it switched on, a guard of some depth,
	 * must not end a program that nobody looks at any more */
	heap->shared = 0;
	/* pairs with the tracer: what the rings hold is nearly all that comes */
	__atomic_store_n(&heap->slot->state, KMS_SLOT_LEFT, __ATOMIC_RELEASE);
}
