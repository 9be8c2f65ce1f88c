/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The slow ways of the malloc front: large and aligned blocks, frees that are not plain, realloc.
 */
#include "allocator/alloc.h"

#include "allocator/guard.h"
#include "allocator/heap.h"
#include "allocator/large.h"
#include "allocator/port.h"

/* NOLINTNEXTLINE(readability-function-size): see alloc.h */
uint16_t kms_record(struct kms_local *t, unsigned form, uintptr_t p, const struct kms_side *side,
		    uint64_t size, uint32_t node, uint32_t flags)
{
	const struct kms_ring_writer *w = t->ring;
	bool ours = side->last_ring == w->mark || side->last_ring == w->fresh;

	/* A guard slot's generation counts for other addresses, too. */
	if (w->session && flags & KMS_ATTR_GUARDED && form == KMS_REC_FORM_ALLOC)
		ours = false;

	if (ours && flags == t->ring->checks && !(p & 7))
		kms_ring_emit(t, form, p, size, node);
	else
		kms_ring_emit_slow(t, form, p, size, node, flags,
				   ours ? -1 : (uint8_t)(side->generation + 1));
	return kms_recorded_in(t->ring);
}

void kms_alloc_failed(struct kms_local *t, size_t size, struct kms_request_info *info)
{
	const uint64_t numbers[5] = {size, info->node};

	if (t->trace)
		kms_ring_emit_code(t, KMS_REC_ALLOC_FAILED, 2, numbers);
}

/* Slabs serve alignments up to a page, in strides that are powers of two. */
static struct kms_cache *aligned_cache(struct kms_local *t, size_t need, size_t align)
{
	unsigned shift = need <= align ? (unsigned)__builtin_ctzll(align)
				       : 64u - (unsigned)__builtin_clzll(need - 1);

	return kms_heap_aligned_cache(t->heap, (unsigned)__builtin_ctzll(align), shift);
}

static void *alloc_aligned(struct kms_local *t, size_t size, size_t align,
			   struct kms_request_info *info)
{
	uint32_t checks = t->checks & ~(uint32_t)KMS_CHECK_HEADER;
	size_t need = size + t->extra_malloc_bytes;
	struct kms_cache *cache;

	if (align <= KMS_PAGE_BYTES && need <= KMS_MALLOC_MAX_BYTES) {
		cache = aligned_cache(t, need ? need : 1, align);
		if (cache)
			return kms_alloc_from(t, cache->index, size, info->node, checks,
					      info->attrs);
	}
	return kms_large_alloc(t, size, align, t->heap->large_malloc_cache, checks, info);
}

/* For calloc; a large block is zeroed where it comes from, if it needs it. */
static void *zeroed(void *p, size_t size, const struct kms_request_info *info)
{
	if (p && info->attrs & KMS_ATTR_ZERO)
		__builtin_memset(p, 0, size);
	return p;
}

/* With the local's checks as they are. */
static void *alloc_once(struct kms_local *t, size_t size, size_t align,
			struct kms_request_info *info)
{
	size_t need = size + t->extra_malloc_bytes;
	uint32_t checks = t->checks & ~(uint32_t)KMS_CHECK_HEADER;
	void *p;

	info->node = kms_capture(t, &info->frame);
	need += !need;
	if (t->guard_active) {
		unsigned cls = need <= KMS_MALLOC_MAX_BYTES ? kms_malloc_class(need)
							    : t->heap->large_malloc_cache;

		p = kms_guard_alloc(t, size, align, cls, info);
		if (p)
			return zeroed(p, size, info);
	}
	if (align > KMS_MALLOC_ALIGN)
		return alloc_aligned(t, size, align, info);
	if (need > KMS_MALLOC_MAX_BYTES)
		return kms_large_alloc(t, size, KMS_MALLOC_ALIGN, t->heap->large_malloc_cache,
				       checks, info);
	p = kms_alloc_from(t, kms_malloc_class(need), size, info->node, checks, info->attrs);
	return zeroed(p, size, info);
}

void *kms_alloc_slow(struct kms_local *t, size_t size, size_t align, struct kms_request_info *info)
{
	void *p;

	if (size > PTRDIFF_MAX) {
		info->node = kms_capture(t, &info->frame);
		return NULL;
	}
	do
		p = alloc_once(t, size, align, info);
	while (!p && kms_local_catch_up(t));
	return p;
}

bool kms_free_is_foreign(struct kms_local *t, void *p, const struct kms_request_info *info)
{
	const struct kms_cache *cache;
	struct kms_place place;

	kms_place_find(t->heap, (uintptr_t)p, &place);
	if (!place.span || !place.live || place.block != (uintptr_t)p)
		return false;
	cache = t->heap->cache[place.span->cache];
	if (!cache->own_calls)
		return false;
	kms_fault_wrong_cache(t, (uintptr_t)p, cache->name, "free", KMS_NO_INDEX, &info->frame);
	return true;
}

void kms_free_slow(struct kms_local *t, void *p, struct kms_request_info *info)
{
	struct kms_found found = {0};

	info->node = kms_capture(t, &info->frame);
	if (KMS_UNLIKELY(t->heap->own_calls) && kms_free_is_foreign(t, p, info))
		return;
	if (kms_guard_owns(t->heap, (uintptr_t)p)) {
		kms_guard_free(t, (uintptr_t)p, info);
		return;
	}
	if (kms_find_live(t, (uintptr_t)p, &found)) {
		if (!kms_zones_whole(found.span, p, found.side->size_bytes))
			kms_fault_check_zones(t, found.span, p, found.side, &info->frame,
					      KMS_ACCESS_FREE);
		kms_free_to(t, &found, p, info->node, info->attrs);
		return;
	}
	if (kms_large_free(t, p, info))
		return;
	if (found.side && kms_heap_old_live(t->heap, &found, p)) {
		kms_fault_check_zones(t, found.span, p, found.side, &info->frame, KMS_ACCESS_FREE);
		kms_heap_free_old(t, &found, p, info->node, info->attrs);
		return;
	}
	kms_fault_bad_free(t, (uintptr_t)p, UINT64_MAX, &info->frame);
}

size_t kms_block_size(struct kms_local *t, const void *p)
{
	struct kms_place place;

	kms_place_find(t->heap, (uintptr_t)p, &place);
	if (!place.side || place.block != (uintptr_t)p || !place.live)
		return SIZE_MAX;
	return place.block_bytes;
}

size_t kms_block_usable(struct kms_local *t, const void *p)
{
	struct kms_place place;

	kms_place_find(t->heap, (uintptr_t)p, &place);
	if (!place.side || place.block != (uintptr_t)p || !place.live)
		return 0;
	if (place.span->checks & (KMS_CHECK_SIZE | KMS_CHECK_REDZONE) ||
	    place.span->state != KMS_SPAN_SLAB)
		return place.block_bytes;
	return place.span->usable_bytes;
}

/* Are size and state of this block kept? */
static bool is_kept(const struct kms_span *span)
{
	return span->checks || span->state != KMS_SPAN_SLAB;
}

/* Same block, other size: what a free and an allocation would have left behind. */
static void resize_in_place(struct kms_local *t, const struct kms_place *place, uint8_t *p,
			    size_t size, struct kms_request_info *info)
{
	struct kms_side *side = place->side;
	uint32_t flags = place->span->checks | KMS_ATTR_REALLOC;
	struct kms_counter *counter = &t->counter[place->span->cache];

	counter->frees++;
	counter->allocs++;
	if (!is_kept(place->span))
		return;
	if (t->trace) {
		side->last_ring = kms_record(t, KMS_REC_FORM_FREE, (uintptr_t)p, side,
					     place->block_bytes, info->node, flags);
		side->generation++;
		side->last_ring = kms_record(t, KMS_REC_FORM_ALLOC, (uintptr_t)p, side, size,
					     info->node, flags);
		side->generation++;
	} else {
		side->last_ring = KMS_SIDE_UNRECORDED;
		side->generation = 0;
	}
	counter->free_bytes += place->block_bytes;
	counter->alloc_bytes += size;
	side->alloc_stack = info->node;
	if (place->span->checks & KMS_CHECK_REDZONE)
		kms_redzone_fill(p + size);
	/* whoever finds the block with its new size finds it whole (verify.c) */
	__atomic_thread_fence(__ATOMIC_RELEASE);
	kms_large_set_size(place->span, side, size);
}

/* Does @size belong where the block is? Not if it would waste most of it. */
static bool fits_in_place(const struct kms_local *t, const struct kms_place *place, size_t size)
{
	size_t room = place->span->usable_bytes;
	size_t need = size + (place->span->checks & KMS_CHECK_REDZONE ? KMS_REDZONE_BYTES : 0);

	if (place->span->state == KMS_SPAN_LARGE)
		room = kms_large_room(place->span);
	else if (place->span->state != KMS_SPAN_SLAB || place->span->epoch != t->check_epoch)
		return false;
	return need <= room && (need > room / 2 || room <= 64);
}

void *kms_realloc(struct kms_local *t, void *p, size_t size, struct kms_request_info *info)
{
	struct kms_place place;
	void *fresh;

	info->attrs |= KMS_ATTR_REALLOC;
	kms_place_find(t->heap, (uintptr_t)p, &place);
	if (!place.side || place.block != (uintptr_t)p || !place.live) {
		kms_fault_bad_free(t, (uintptr_t)p, UINT64_MAX, &info->frame);
		return NULL;
	}
	if (size > PTRDIFF_MAX)
		return NULL;
	if (KMS_UNLIKELY(t->heap->own_calls) && kms_free_is_foreign(t, p, info))
		return NULL;
	if (fits_in_place(t, &place, size)) {
		info->node = kms_capture(t, &info->frame);
		kms_fault_check_zones(t, place.span, p, place.side, &info->frame, KMS_ACCESS_FREE);
		resize_in_place(t, &place, p, size, info);
		return p;
	}
	/* A move: the allocation comes first so that nothing is lost if it fails. */
	fresh = kms_alloc_slow(t, size, KMS_MALLOC_ALIGN, info);
	if (!fresh)
		return NULL;
	__builtin_memcpy(fresh, p, size < place.block_bytes ? size : place.block_bytes);
	kms_free_slow(t, p, info);
	return fresh;
}
