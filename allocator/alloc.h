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

/** Not 0: the next call of this local must go the slow way. One branch for all reasons. */
static inline uint32_t kms_gate(const struct kms_local *t)
{
	return (__atomic_load_n(t->attention, __ATOMIC_RELAXED) ^ t->attention_seen) |
	       (__atomic_load_n(t->epoch, __ATOMIC_RELAXED) ^ t->epoch_seen) | t->busy;
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

/**
 * In the attributes of a call: the record says which cache its block is of. For pools and ddi_umem:
 * a reader that has lost sight of a slab would take their blocks for those of a size class.
 */
static inline uint32_t kms_cache_attr(uint32_t cache_index)
{
	return (cache_index + 1) << KMS_CACHE_ATTR_SHIFT;
}

static inline uint32_t kms_capture(struct kms_local *t, const struct kms_frame *frame)
{
	return t->trace == 2 ? kms_stack_capture(t->stack, frame) : 0;
}

/*
 * A side entry is kept in two words, as schema/spans.h lays it out: {size, allocation stack} and
 * {free stack, mark}, where mark is the half word below. A pair of calls must not wait for what the
 * one before it stored, so nothing but the generation is read in order to be written.
 */
enum kms_side_mark {
	KMS_MARK_GENERATION = 0x100, /* one generation */
	KMS_MARK_GENERATIONS = 0xff00,
	KMS_MARK_RING_SHIFT = 16,
};

#define KMS_MARK_NO_RING ((uint32_t)KMS_SIDE_UNRECORDED << KMS_MARK_RING_SHIFT)

static inline uint32_t kms_side_mark(const struct kms_side *side)
{
	uint32_t mark;

	__builtin_memcpy(&mark, &side->state, sizeof(mark));
	return mark;
}

/** The mark after one more event. */
static inline uint32_t kms_mark_next(uint32_t mark, uint32_t state, uint16_t last_ring)
{
	return ((mark + KMS_MARK_GENERATION) & KMS_MARK_GENERATIONS) | state |
	       (uint32_t)last_ring << KMS_MARK_RING_SHIFT;
}

static inline void kms_side_set_head(struct kms_side *side, size_t size, uint32_t node)
{
	uint64_t head = size | (uint64_t)node << 32;

	__builtin_memcpy(&side->size_bytes, &head, sizeof(head));
}

static inline void kms_side_set_mark(struct kms_side *side, uint32_t mark)
{
	/* what is true of a live block is written before it is called one */
	__atomic_signal_fence(__ATOMIC_RELEASE);
	__builtin_memcpy(&side->state, &mark, sizeof(mark));
}

/*
 * Without a trace the generation is not kept: whoever reads it next finds KMS_SIDE_UNRECORDED, and
 * takes the one that it finds for the first.
 */
static inline void kms_side_alloc_untraced(struct kms_side *side, size_t size)
{
	kms_side_set_head(side, size, 0);
	kms_side_set_mark(side, KMS_BLOCK_LIVE | KMS_MARK_NO_RING);
}

static inline void kms_side_free_untraced(struct kms_side *side)
{
	uint64_t tail = (uint64_t)(KMS_BLOCK_FREE | KMS_MARK_NO_RING) << 32;

	__builtin_memcpy(&side->free_stack, &tail, sizeof(tail));
}

/**
 * Writes an event of @side's block and returns what last_ring becomes. Any address, flags and last
 * writer.
 */
/* NOLINTNEXTLINE(readability-function-size): the parts of an event, in registers */
uint16_t kms_record(struct kms_local *t, unsigned form, uintptr_t p, const struct kms_side *side,
		    uint64_t size, uint32_t node, uint32_t flags);

/** The same for a block of a slab; most often its last event is in this thread's ring, too. */
/* NOLINTNEXTLINE(readability-function-size): inlined */
static inline uint16_t kms_record_slab(struct kms_local *t, unsigned form, uintptr_t p,
				       const struct kms_side *side, uint32_t mark, uint64_t size,
				       uint32_t node, uint32_t flags)
{
	uint32_t last_ring = mark >> KMS_MARK_RING_SHIFT;

	if (KMS_UNLIKELY(((last_ring != t->ring->mark) & (last_ring != t->ring->fresh)) |
			 (flags != t->ring->checks)))
		return kms_record(t, form, p, side, size, node, flags);
	kms_ring_emit(t, form, p, size, node);
	return kms_recorded_in(t->ring);
}

/** Records the allocation of a slab's block and keeps it in its side entry. */
static inline void kms_side_alloc_traced(struct kms_local *t, struct kms_side *side, uintptr_t p,
					 size_t size, uint32_t node, uint32_t flags)
{
	uint32_t mark = kms_side_mark(side);
	uint16_t last_ring =
		kms_record_slab(t, KMS_REC_FORM_ALLOC, p, side, mark, size, node, flags);

	kms_side_set_head(side, size, node);
	kms_side_set_mark(side, kms_mark_next(mark, KMS_BLOCK_LIVE, last_ring));
}

/** Likewise its free. */
static inline void kms_side_free_traced(struct kms_local *t, struct kms_side *side, uintptr_t p,
					uint32_t node, uint32_t flags)
{
	uint32_t mark = kms_side_mark(side);
	uint16_t last_ring =
		kms_record_slab(t, KMS_REC_FORM_FREE, p, side, mark, side->size_bytes, node, flags);

	mark = kms_mark_next(mark, KMS_BLOCK_FREE, last_ring);
	side->free_stack = node;
	kms_side_set_mark(side, mark);
}

/** A slab's block is free now. */
static inline void kms_side_free(struct kms_local *t, struct kms_side *side, uintptr_t p,
				 uint32_t node, uint32_t flags)
{
	if (t->trace)
		kms_side_free_traced(t, side, p, node, flags);
	else
		kms_side_free_untraced(side);
}

/** The block of a round that left its bin, dressed for @size bytes. */
/* NOLINTNEXTLINE(readability-function-size): inlined */
static inline uint8_t *kms_round_dress(struct kms_local *t, unsigned cache_index,
				       const struct kms_round *round, size_t size, uint32_t node,
				       uint32_t checks, uint32_t attrs)
{
	struct kms_counter *counter = &t->counter[cache_index];
	struct kms_side *side = round->side;
	uint8_t *p = round->block;

	if (checks & KMS_CHECK_REDZONE)
		kms_redzone_fill(p + size);
	/* Without checks (hence without a trace) rounds come back without their side entry. */
	if (t->trace)
		kms_side_alloc_traced(t, side, (uintptr_t)p, size, node, checks | attrs);
	else if (checks)
		kms_side_alloc_untraced(side, size);
	counter->allocs++;
	/* Nor does a free know then how many bytes these are. */
	if (checks)
		counter->alloc_bytes += size;
	return p;
}

/**
 * Takes one block of a cache for @size bytes. NULL without memory, or if the local's checks are no
 * more in force (kms_local_catch_up); nothing is recorded then.
 */
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
	return kms_round_dress(t, cache_index, --bin->top, size, node, checks, attrs);
}

/** A block found by its address. */
struct kms_found {
	struct kms_span *span;
	struct kms_side *side;
};

/**
 * Finds the side entry of the block of a slab that begins at @p, which lies in the slab's pages.
 * False: none begins there. Half words are enough within a span.
 */
static inline bool kms_span_side(const struct kms_span *span, uintptr_t p, struct kms_side **side)
{
	uint32_t offset = (uint32_t)p - (uint32_t)span->base - span->first_bytes;
	uint64_t index = ((uint64_t)offset * span->stride_magic) >> 32;

	*side = (struct kms_side *)(uintptr_t)span->side_address + index;
	return KMS_LIKELY((uint32_t)index * span->stride_bytes == offset) &&
	       KMS_LIKELY(index < span->count);
}

/** Is @p the start of a live block of this slab? found->side is set if it is one of a block. */
static inline bool kms_found_live(struct kms_span *span, uintptr_t p, struct kms_found *found)
{
	found->span = span;
	if (!kms_span_side(span, p, &found->side)) {
		found->side = NULL;
		return false;
	}
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
	return kms_redzone_whole(p + size) &&
	       (span->checks & KMS_CHECK_HEADER || kms_pattern_at(p - 1));
}

/** Puts a live, whole block into a bin that has room. */
static inline void kms_bin_give(struct kms_local *t, const struct kms_found *found, uint8_t *p,
				uint32_t node, uint32_t attrs)
{
	struct kms_side *side = found->side;
	unsigned cache_index = found->span->cache;
	struct kms_bin *bin = &t->bin[cache_index];
	struct kms_counter *counter = &t->counter[cache_index];
	size_t size = 0;

	if (found->span->checks) {
		size = side->size_bytes;
		kms_side_free(t, side, (uintptr_t)p, node, found->span->checks | attrs);
	}
	bin->top->block = p;
	bin->top->side = side;
	bin->top++;
	counter->frees++;
	counter->free_bytes += size;
}

/**
 * Is @p, where a block of a slab begins, live as far as can be known? For slabs of an older check
 * set. Without checks all are that did not come back to the slab. Takes cache.lock.
 */
bool kms_heap_old_live(struct kms_heap *heap, const struct kms_found *found, void *p);

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
	kms_bin_give(t, found, p, node, attrs);
}

/*
 * Slow ways (alloc.c). All of them: between kms_enter and kms_leave, any address and size.
 */

/** Allocates for the malloc front whatever the fast way could not: large, guarded, aligned. */
void *kms_alloc_slow(struct kms_local *t, size_t size, size_t align, struct kms_request_info *info);

/** Frees any pointer given to the malloc front, or reports what is wrong with it. */
void kms_free_slow(struct kms_local *t, void *p, struct kms_request_info *info);

/**
 * Is @p a live block that only its own calls may give back (pool_cache(9), ddi_umem)? Then this is a
 * finding.
 */
bool kms_free_is_foreign(struct kms_local *t, void *p, const struct kms_request_info *info);

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
