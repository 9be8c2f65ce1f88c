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

/** Takes one block of a cache for @size bytes. NULL without memory; nothing is recorded then. */
static inline void *kms_alloc_from(struct kms_local *t, unsigned cache_index, size_t size,
				   uint32_t node, uint32_t checks, uint32_t attrs)
{
	struct kms_bin *bin = &t->bin[cache_index];
	struct kms_counter *counter;
	struct kms_side *side;
	uint8_t *p;
	uint16_t last_ring = KMS_SIDE_UNRECORDED;

	if (KMS_UNLIKELY(bin->top == bin->bottom) &&
	    !kms_cache_refill(t, t->heap->cache[cache_index]))
		return NULL;
	bin->top--;
	p = bin->top->block;
	side = bin->top->side;
	if (KMS_UNLIKELY(checks & KMS_CHECK_POISON))
		kms_fault_check_poison(t, p, side);
	if (checks & KMS_CHECK_REDZONE)
		kms_redzone_fill(p + size);
	if (checks & KMS_CHECK_HEADER) {
		uint64_t header = size;

		__builtin_memcpy(p - KMS_HEADER_BYTES, &header, sizeof(header));
	}
	if (t->trace)
		last_ring = kms_record(t, KMS_REC_FORM_ALLOC, (uintptr_t)p, side, size, node,
				       checks | attrs);
	side->size_bytes = (uint32_t)size;
	side->alloc_stack = node;
	side->state = KMS_BLOCK_LIVE;
	side->generation++;
	side->last_ring = last_ring;
	counter = &t->counter[cache_index];
	counter->allocs++;
	counter->alloc_bytes += size;
	return p;
}

/** A block found by its address. */
struct kms_found {
	struct kms_span *span;
	struct kms_side *side;
};

/**
 * Is @p the start of a live block of a slab of the current check set? This is what free needs to
 * know on the hot path; anything else is sorted out in alloc.c.
 */
static inline bool kms_find_live(const struct kms_local *t, uintptr_t p, struct kms_found *found)
{
	struct kms_span *span = kms_span_of(t->heap, p);
	uint64_t offset;
	uint32_t index;

	if (KMS_UNLIKELY(!span || span->state != KMS_SPAN_SLAB))
		return false;
	offset = p - span->base - span->first_bytes;
	/* A stale page entry or an interior pointer gives an offset or a rest that does not fit. */
	if (KMS_UNLIKELY(offset >> 32))
		return false;
	index = (uint32_t)((offset * span->stride_magic) >> 32);
	if (KMS_UNLIKELY(index >= span->count || index * span->stride_bytes != offset))
		return false;
	found->span = span;
	found->side = (struct kms_side *)(uintptr_t)span->side_address + index;
	return KMS_LIKELY(found->side->state == KMS_BLOCK_LIVE) & (span->epoch == t->check_epoch);
}

/** Are the pattern bytes around a block of this size whole? */
static inline bool kms_zones_whole(const struct kms_span *span, const uint8_t *p, size_t size)
{
	if (!(span->checks & KMS_CHECK_REDZONE))
		return true;
	return kms_redzone_whole(p + size) &
	       kms_redzone_whole(p + span->usable_bytes - KMS_REDZONE_BYTES) &
	       (span->checks & KMS_CHECK_HEADER ? true
						: p[-1] == kms_pattern_byte((uintptr_t)p - 1));
}

/** Gives a live, whole block back. */
static inline void kms_free_to(struct kms_local *t, const struct kms_found *found, uint8_t *p,
			       uint32_t node, uint32_t attrs)
{
	struct kms_side *side = found->side;
	unsigned cache_index = found->span->cache;
	uint32_t checks = found->span->checks;
	struct kms_bin *bin = &t->bin[cache_index];
	size_t size = side->size_bytes;
	uint16_t last_ring = KMS_SIDE_UNRECORDED;

	if (checks & KMS_CHECK_HEADER)
		__builtin_memset(p - KMS_HEADER_BYTES, 0xff, KMS_HEADER_BYTES);
	if (KMS_UNLIKELY(checks & KMS_CHECK_POISON))
		kms_pattern_fill(p, found->span->usable_bytes - KMS_REDZONE_BYTES);
	if (t->trace)
		last_ring = kms_record(t, KMS_REC_FORM_FREE, (uintptr_t)p, side, size, node,
				       checks | attrs);
	side->free_stack = node;
	side->state = KMS_BLOCK_FREE;
	side->generation++;
	side->last_ring = last_ring;
	t->counter[cache_index].frees++;
	t->counter[cache_index].free_bytes += size;
	if (KMS_UNLIKELY(bin->top == bin->limit) &&
	    !kms_cache_make_room(t, t->heap->cache[cache_index])) {
		kms_cache_free_to_slab(t, t->heap->cache[cache_index], p);
		return;
	}
	bin->top->block = p;
	bin->top->side = side;
	bin->top++;
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
