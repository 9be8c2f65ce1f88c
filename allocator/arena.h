/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Page runs of the heap: one reservation, opened in extents, handed out as spans. Every page of a
 * span in use maps to it; free runs keep a boundary tag at both ends so that neighbours merge.
 */
#ifndef KMS_ALLOCATOR_ARENA_H
#define KMS_ALLOCATOR_ARENA_H

#include "allocator/impl.h"

/** Reserves address space and tables. False if not even the smallest size can be had. */
bool kms_arena_init(struct kms_heap *heap);

/**
 * A run of @pages pages whose first page is a multiple of @align_pages, as a span in state
 * KMS_SPAN_SLAB with nothing but base and pages filled in. The memory reads as zero if @zeroed says
 * so afterwards.
 *
 * Locks:  takes arena_lock; may not be held
 * Errors: NULL if the limit kmem_arena_limit, the reservation or the machine is exhausted
 */
struct kms_span *kms_arena_alloc(struct kms_heap *heap, size_t pages, size_t align_pages,
				 bool *zeroed);

/** Gives a span back; its memory may be discarded. The entry is invalid afterwards. */
void kms_arena_free(struct kms_heap *heap, struct kms_span *span);

/**
 * An entry of the span table for pages outside of the arena (guard), zeroed but for its state
 * KMS_SPAN_FREE; and its return. NULL if the table is full.
 *
 * Locks:  takes arena_lock
 */
struct kms_span *kms_arena_span_get(struct kms_heap *heap);
void kms_arena_span_put(struct kms_heap *heap, struct kms_span *span);

/** Memory for the allocator's own structures, aligned to 16, zeroed; NULL without memory. */
void *kms_meta_alloc(struct kms_heap *heap, size_t bytes);

/** Checks and state of a span in one word, for one comparison. */
static inline uint32_t kms_span_word(const struct kms_span *span)
{
	uint16_t word;

	__builtin_memcpy(&word, &span->checks, sizeof(word));
	return word;
}

/** kms_span_word of a slab with these checks. */
static inline uint32_t kms_slab_word(uint32_t checks)
{
	return checks | (uint32_t)KMS_SPAN_SLAB << 8;
}

/**
 * The span entry of address @p, from a local's copies; entry 0, which is no span, for any address
 * outside of the heap.
 */
static inline struct kms_span *kms_span_entry(const struct kms_local *t, uintptr_t p)
{
	size_t page = (p - t->arena_base) >> KMS_PAGE_SHIFT;

	return KMS_LIKELY(page < t->arena_pages) ? &t->span[t->page_span[page]] : t->span;
}

/** The span that holds address @p, or NULL. Any value is allowed. Lock-free. */
static inline struct kms_span *kms_span_of(const struct kms_heap *heap, uintptr_t p)
{
	uintptr_t offset = p - heap->arena.base;
	uint32_t index;

	if (offset >= heap->arena.opened_bytes)
		return NULL;
	index = heap->arena.page_span[offset >> KMS_PAGE_SHIFT];
	return index ? &heap->arena.span[index] : NULL;
}

#endif
