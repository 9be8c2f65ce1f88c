/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/large.h"

#include "allocator/heap.h"
#include "allocator/port.h"

void kms_large_set_size(struct kms_span *span, struct kms_side *side, size_t size)
{
	side->size_bytes = size >= UINT32_MAX ? UINT32_MAX : (uint32_t)size;
	if (span->state == KMS_SPAN_LARGE)
		span->large_bytes = size;
}

size_t kms_large_room(const struct kms_span *span)
{
	return ((size_t)span->pages << KMS_PAGE_SHIFT) - span->first_bytes;
}

/* A free entry holds the next one; the memory is from kms_meta_alloc, so it is aligned for a pointer. */
static void **next_of(struct kms_side *side)
{
	return (void **)(void *)side;
}

static struct kms_side *side_get(struct kms_heap *heap)
{
	struct kms_side *side;

	kms_port_lock(&heap->meta_lock);
	side = heap->side_free;
	if (side)
		heap->side_free = *next_of(side);
	kms_port_unlock(&heap->meta_lock);
	return side ? side : kms_meta_alloc(heap, sizeof(*side));
}

static void side_put(struct kms_heap *heap, struct kms_side *side)
{
	kms_port_lock(&heap->meta_lock);
	*next_of(side) = heap->side_free;
	heap->side_free = side;
	kms_port_unlock(&heap->meta_lock);
}

/* The figures of the cache "large": one block a slab. */
static void count_span(struct kms_local *t, unsigned cache_index, int sign, uint32_t pages)
{
	struct kms_cache *cache = t->heap->cache[cache_index];

	kms_port_lock(&cache->lock);
	cache->stat->slabs += (uint64_t)(int64_t)sign;
	cache->stat->pages += (uint64_t)(int64_t)(sign * (int64_t)pages);
	cache->stat->objects_total += (uint64_t)(int64_t)sign;
	kms_port_unlock(&cache->lock);
}

/* Readers look for what they know of a block at its own page: one before it is not told. */
static void tell_span(struct kms_local *t, const struct kms_span *span, bool grown)
{
	uint32_t front = span->first_bytes >> KMS_PAGE_SHIFT;
	uint64_t pages = span->pages - front;
	const uint64_t numbers[5] = {(span->base >> KMS_PAGE_SHIFT) + front, pages, span->cache,
				     span->first_bytes % KMS_PAGE_BYTES, pages << KMS_PAGE_SHIFT};

	if (t->trace)
		kms_ring_emit_code(t, grown ? KMS_REC_SLAB_GROW : KMS_REC_SLAB_RELEASE,
				   grown ? 5 : 3, numbers);
}

/*
 * Pages go from one cache and thread to another at any time, faster than a reader can follow: so
 * their records say the cache, and have exact times, by which those of two rings are put in order.
 */
static uint32_t large_attrs(const struct kms_heap *heap, uint32_t cache_index)
{
	return kms_front_attr(heap->cache[cache_index]) | kms_cache_attr(cache_index) |
	       KMS_EXACT_ATTR;
}

static uint32_t front_bytes(size_t align, uint32_t checks)
{
	if (!(checks & KMS_CHECK_REDZONE))
		return 0;
	return align > KMS_FRONT_BYTES ? (uint32_t)align : KMS_FRONT_BYTES;
}

static struct kms_span *span_get(struct kms_local *t, size_t size, size_t align, uint32_t checks,
				 bool *zeroed)
{
	size_t align_pages = align > KMS_PAGE_BYTES ? align >> KMS_PAGE_SHIFT : 1;
	size_t front, bytes;
	struct kms_span *span;

	/* Beyond a page of alignment the front area would cost as much again: leave it out. */
	front = align > KMS_PAGE_BYTES ? 0 : front_bytes(align, checks);
	bytes = front + size + KMS_REDZONE_BYTES;
	if (bytes < size)
		return NULL;
	span = kms_arena_alloc(t->heap, (bytes + KMS_PAGE_BYTES - 1) >> KMS_PAGE_SHIFT, align_pages,
			       zeroed);
	if (span)
		span->first_bytes = (uint32_t)front;
	return span;
}

void *kms_large_alloc(struct kms_local *t, size_t size, size_t align, unsigned cache_index,
		      uint32_t checks, struct kms_request_info *info)
{
	struct kms_side *side;
	struct kms_span *span;
	uint32_t front = large_attrs(t->heap, cache_index);
	uint16_t last_ring = KMS_SIDE_UNRECORDED;
	bool zeroed;
	uint8_t *p;

	checks &= ~(uint32_t)(KMS_CHECK_HEADER | KMS_CHECK_POISON);
	side = side_get(t->heap);
	if (!side)
		return NULL;
	span = span_get(t, size, align, checks, &zeroed);
	if (!span) {
		side_put(t->heap, side);
		return NULL;
	}
	*side = (struct kms_side){.last_ring = zeroed ? 0 : KMS_SIDE_UNRECORDED};
	span->side_address = (uintptr_t)side;
	span->count = 1;
	span->stride_bytes = 0;
	span->cache = (uint16_t)cache_index;
	span->checks = (uint8_t)checks;
	span->epoch = t->check_epoch;
	span->usable_bytes = 0;
	span->state = KMS_SPAN_LARGE;
	p = (uint8_t *)(uintptr_t)span->base + span->first_bytes;
	if (checks & KMS_CHECK_REDZONE) {
		if (span->first_bytes)
			kms_pattern_fill(p - KMS_FRONT_BYTES, KMS_FRONT_BYTES);
		kms_redzone_fill(p + size);
	}
	if (!zeroed && info->attrs & KMS_ATTR_ZERO)
		__builtin_memset(p, 0, size);
	count_span(t, cache_index, 1, span->pages);
	tell_span(t, span, true);
	kms_large_set_size(span, side, size);
	if (t->trace)
		last_ring = kms_record(t, KMS_REC_FORM_ALLOC, (uintptr_t)p, side, size, info->node,
				       checks | info->attrs | front);
	side->alloc_stack = info->node;
	side->generation++;
	side->last_ring = last_ring;
	side->state = KMS_BLOCK_LIVE;
	t->counter[cache_index].allocs++;
	t->counter[cache_index].alloc_bytes += size;
	return p;
}

static struct kms_side *side_of(const struct kms_span *span)
{
	return (struct kms_side *)(uintptr_t)span->side_address;
}

void kms_large_retire(struct kms_local *t, struct kms_span *span, struct kms_request_info *info)
{
	uint8_t *p = (uint8_t *)(uintptr_t)(span->base + span->first_bytes);
	struct kms_side *side = side_of(span);
	uint64_t size = kms_side_size(span, side);

	kms_fault_check_zones(t, span, p, side, &info->frame, KMS_ACCESS_FREE);
	if (t->trace)
		(void)kms_record(t, KMS_REC_FORM_FREE, (uintptr_t)p, side, size, info->node,
				 span->checks | info->attrs | large_attrs(t->heap, span->cache));
	t->counter[span->cache].frees++;
	t->counter[span->cache].free_bytes += size;
	tell_span(t, span, false);
	count_span(t, span->cache, -1, span->pages);
	side->free_stack = info->node;
	side->state = KMS_BLOCK_FREE;
}

void kms_large_release(struct kms_heap *heap, struct kms_span *span)
{
	struct kms_side *side = side_of(span);
	const struct kms_gone gone = {
		.block = (uintptr_t)(span->base + span->first_bytes),
		.size = kms_side_size(span, side),
		.alloc_stack = side->alloc_stack,
		.free_stack = side->free_stack,
		.cache = span->cache,
	};

	kms_heap_remember_free(heap, &gone);
	side_put(heap, side);
	kms_arena_free(heap, span);
}

bool kms_large_free(struct kms_local *t, void *p, struct kms_request_info *info)
{
	struct kms_span *span = kms_span_of(t->heap, (uintptr_t)p);

	if (!span || span->state != KMS_SPAN_LARGE ||
	    (uintptr_t)p != span->base + span->first_bytes ||
	    side_of(span)->state != KMS_BLOCK_LIVE)
		return false;
	kms_large_retire(t, span, info);
	kms_large_release(t->heap, span);
	return true;
}
