/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The hot path: one block out of a magazine, one block back. Included by the fronts, so that a
 * malloc is one function without a call but the stack capture. What is rare is in alloc.c.
 */
#ifndef KMS_ALLOCATOR_ALLOC_H
#define KMS_ALLOCATOR_ALLOC_H

#include "allocator/arena.h"
#include "allocator/cache.h"
#include "allocator/fault.h"
#include "allocator/impl.h"
#include "allocator/pattern.h"
#include "allocator/ring.h"
#include "allocator/sizeclass.h"
#include "allocator/stack.h"

/** What a front says about a call besides the size. */
struct kms_request_info {
	struct kms_frame frame; /* of the front's caller */
	uint32_t attrs;         /* KMS_ATTR_* */
	uint32_t node;          /* stack of the call, filled in by the core */
};

/** Must the next call of this local go the slow way? One branch for all reasons. */
static inline bool kms_gate(const struct kms_local *t)
{
	return ((__atomic_load_n(t->attention, __ATOMIC_RELAXED) ^ t->attention_seen) |
		(__atomic_load_n(t->epoch, __ATOMIC_RELAXED) ^ t->epoch_seen) | t->busy) != 0;
}

/** Between enter and leave a signal handler of this thread takes another local. */
static inline void kms_enter(struct kms_local *t)
{
	t->busy = 1;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
}

static inline void kms_leave(struct kms_local *t)
{
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	t->busy = 0;
}

static inline uint32_t kms_capture(struct kms_local *t, const struct kms_frame *frame)
{
	return t->trace == 2 ? kms_stack_capture(t->stack, frame) : 0;
}

/** Can the hot record be used for this block? */
static inline bool kms_record_plain(const struct kms_local *t, const struct kms_side *side,
				    uint32_t flags)
{
	return ((side->last_ring == t->ring->mark) | (side->last_ring == 0)) &
	       (flags == t->ring->checks);
}

/** Writes the event of @side's block and returns what last_ring becomes. */
static inline uint16_t kms_record(struct kms_local *t, unsigned form, uintptr_t p,
				  const struct kms_side *side, uint64_t size, uint32_t node,
				  uint32_t flags)
{
	if (KMS_LIKELY(kms_record_plain(t, side, flags) & !(p & 7)))
		kms_ring_emit(t, form, p, size, node);
	else
		kms_ring_emit_slow(t, form, p, size, node, flags,
				   side->last_ring == t->ring->mark || side->last_ring == 0
					   ? -1
					   : (uint8_t)(side->generation + 1));
	return t->ring->lost_pending ? KMS_SIDE_UNRECORDED : t->ring->mark;
}

/* Two stores for a whole side entry: {size, allocation stack} and {free stack, state, generation,
 * last ring}. The layout is schema/spans.h's. */
static inline uint64_t kms_side_tail(const struct kms_side *side)
{
	uint64_t tail;

	__builtin_memcpy(&tail, &side->free_stack, sizeof(tail));
	return tail;
}

static inline uint64_t kms_side_tail_make(uint64_t tail, uint32_t free_stack, uint32_t state,
					  uint16_t last_ring)
{
	uint64_t generation = (tail + (UINT64_C(1) << 40)) & (UINT64_C(0xff) << 40);

	return free_stack | (uint64_t)state << 32 | generation | (uint64_t)last_ring << 48;
}

static inline void kms_side_set_tail(struct kms_side *side, uint64_t tail)
{
	__builtin_memcpy(&side->free_stack, &tail, sizeof(tail));
}

static inline void kms_side_alloc(struct kms_side *side, size_t size, uint32_t node,
				  uint16_t last_ring)
{
	uint64_t head = (uint32_t)size | (uint64_t)node << 32;
	uint64_t tail = kms_side_tail(side);

	__builtin_memcpy(side, &head, sizeof(head));
	kms_side_set_tail(side,
			  kms_side_tail_make(tail, (uint32_t)tail, KMS_BLOCK_LIVE, last_ring));
}

static inline void kms_side_free(struct kms_side *side, uint32_t node, uint16_t last_ring)
{
	kms_side_set_tail(side,
			  kms_side_tail_make(kms_side_tail(side), node, KMS_BLOCK_FREE, last_ring));
}

/** Takes the top round of a bin that has one and dresses the block for @size bytes. */
static inline uint8_t *kms_bin_take(struct kms_local *t, unsigned cache_index, size_t size,
				    uint32_t node, uint32_t checks, uint32_t attrs, bool traced)
{
	struct kms_bin *bin = &t->bin[cache_index];
	struct kms_counter *counter = &t->counter[cache_index];
	uint16_t last_ring = KMS_SIDE_UNRECORDED;
	struct kms_round *top = bin->top - 1;
	struct kms_side *side = top->side;
	uint8_t *p = top->block;

	bin->top = top;
	if (checks & KMS_CHECK_REDZONE)
		kms_redzone_fill(p + size);
	if (traced)
		last_ring = kms_record(t, KMS_REC_FORM_ALLOC, (uintptr_t)p, side, size, node,
				       checks | attrs);
	/* Without checks (hence without a trace) rounds come back without their side entry. */
	if (checks)
		kms_side_alloc(side, size, node, last_ring);
	counter->allocs++;
	counter->alloc_bytes += size;
	return p;
}

/** Takes one block of a cache for @size bytes. NULL without memory; nothing is recorded then. */
static inline void *kms_alloc_from(struct kms_local *t, unsigned cache_index, size_t size,
				   uint32_t node, uint32_t checks, uint32_t attrs)
{
	struct kms_bin *bin = &t->bin[cache_index];

	if (KMS_UNLIKELY(bin->top == bin->bottom) &&
	    !kms_cache_refill(t, t->heap->cache[cache_index]))
		return NULL;
	if (KMS_UNLIKELY(checks & KMS_CHECK_POISON))
		kms_fault_check_poison(t, bin->top[-1].block, bin->top[-1].side, node);
	if (checks & KMS_CHECK_HEADER) {
		uint64_t header = size;

		__builtin_memcpy((uint8_t *)bin->top[-1].block - KMS_HEADER_BYTES, &header,
				 sizeof(header));
	}
	return kms_bin_take(t, cache_index, size, node, checks, attrs, t->trace != 0);
}

/** A block found by its address. */
struct kms_found {
	struct kms_span *span;
	struct kms_side *side;
};

/** Is @p the start of a live block of this slab? found->side is set if it is one of a block. */
static inline bool kms_found_live(struct kms_span *span, uintptr_t p, struct kms_found *found)
{
	uint64_t offset = p - span->base - span->first_bytes;
	uint32_t index;

	found->span = span;
	found->side = NULL;
	/* A stale page entry or an interior pointer gives an offset or a rest that does not fit. */
	if (KMS_UNLIKELY(offset >> 32))
		return false;
	index = (uint32_t)((offset * span->stride_magic) >> 32);
	if (KMS_UNLIKELY((index >= span->count) | (index * span->stride_bytes != offset)))
		return false;
	found->side = (struct kms_side *)(uintptr_t)span->side_address + index;
	/* Without checks the side table is not kept: every block passes for live. */
	return (found->side->state == KMS_BLOCK_LIVE) | !span->checks;
}

/** Is @p the start of a live block of a slab with the checks in force? */
static inline bool kms_find_live(const struct kms_local *t, uintptr_t p, struct kms_found *found)
{
	struct kms_span *span = kms_span_entry(t, p);

	found->span = span;
	found->side = NULL;
	return span->state == KMS_SPAN_SLAB && kms_found_live(span, p, found) &&
	       span->checks == (t->checks & t->heap->cache[span->cache]->checks_mask);
}

/** Are the pattern bytes next to a block of this size whole? What lies beyond (the slot's end) costs
 * another cache miss and is left to verify and to the neighbour's check. */
static inline bool kms_zones_whole(const struct kms_span *span, const uint8_t *p, size_t size)
{
	if (!(span->checks & KMS_CHECK_REDZONE))
		return true;
	return kms_redzone_whole(p + size) &
	       (span->checks & KMS_CHECK_HEADER ? true
						: p[-1] == kms_pattern_byte((uintptr_t)p - 1));
}

/** Puts a live, whole block into a bin that has room. */
static inline void kms_bin_give(struct kms_local *t, const struct kms_found *found, uint8_t *p,
				uint32_t node, uint32_t attrs, bool traced)
{
	struct kms_side *side = found->side;
	unsigned cache_index = found->span->cache;
	struct kms_bin *bin = &t->bin[cache_index];
	struct kms_counter *counter = &t->counter[cache_index];
	uint16_t last_ring = KMS_SIDE_UNRECORDED;
	size_t size = side->size_bytes;

	if (traced)
		last_ring = kms_record(t, KMS_REC_FORM_FREE, (uintptr_t)p, side, size, node,
				       found->span->checks | attrs);
	kms_side_free(side, node, last_ring);
	bin->top->block = p;
	bin->top->side = side;
	bin->top++;
	counter->frees++;
	counter->free_bytes += size;
}

/** Frees a live block past the magazines, straight into its slab. */
void kms_heap_free_old(struct kms_local *t, const struct kms_found *found, void *p, uint32_t node,
		       uint32_t attrs);

/** Gives a live, whole block back. */
static inline void kms_free_to(struct kms_local *t, const struct kms_found *found, uint8_t *p,
			       uint32_t node, uint32_t attrs)
{
	struct kms_cache *cache = t->heap->cache[found->span->cache];
	struct kms_bin *bin = &t->bin[found->span->cache];
	uint32_t checks = found->span->checks;

	if (checks & KMS_CHECK_HEADER)
		__builtin_memset(p - KMS_HEADER_BYTES, 0xff, KMS_HEADER_BYTES);
	if (KMS_UNLIKELY(checks & KMS_CHECK_POISON))
		kms_pattern_fill(p, found->span->usable_bytes - KMS_REDZONE_BYTES);
	if (KMS_UNLIKELY(bin->top == bin->limit) && !kms_cache_make_room(t, cache)) {
		kms_heap_free_old(t, found, p, node, attrs);
		return;
	}
	kms_bin_give(t, found, p, node, attrs, t->trace != 0);
}

/*
 * Slow ways (alloc.c). All of them: between kms_enter and kms_leave, any address and size.
 */

/** Allocates for the malloc front whatever the fast way could not: large, guarded, aligned. */
void *kms_alloc_slow(struct kms_local *t, size_t size, size_t align, struct kms_request_info *info);

/** Frees any pointer given to the malloc front, or reports what is wrong with it. */
void kms_free_slow(struct kms_local *t, void *p, struct kms_request_info *info);

/** Requested size of a live block, SIZE_MAX if @p is none. */
size_t kms_block_size(struct kms_local *t, const void *p);

/** The bytes that the owner may use: the requested size while a check is on. */
size_t kms_block_usable(struct kms_local *t, const void *p);

/**
 * realloc: a free and an allocation with KMS_ATTR_REALLOC and one stack, in place where it fits.
 * NULL without memory (the old block stays).
 */
void *kms_realloc(struct kms_local *t, void *p, size_t size, struct kms_request_info *info);

/** Records an allocation that failed. */
void kms_alloc_failed(struct kms_local *t, size_t size, struct kms_request_info *info);

#endif
