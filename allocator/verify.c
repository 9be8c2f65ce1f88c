/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/verify.h"

#include "allocator/guard.h"
#include "allocator/large.h"
#include "allocator/port.h"
#include "allocator/slab.h"
#include "allocator/stop.h"

enum {
	BROKEN_AT_ONCE = 16, /* found under a lock, reported after it */
};

/* The bytes after and around a block of this size, the end of its slot included. */
static bool looks_whole(const struct kms_span *span, const uint8_t *p, uint64_t size)
{
	if (span->state != KMS_SPAN_SLAB)
		return kms_redzone_whole(p + size);
	return kms_zones_whole(span, p, size) &&
	       kms_redzone_whole(p + span->usable_bytes - KMS_REDZONE_BYTES);
}

/*
 * Looked at twice: a block that is being freed or resized may look damaged for a moment. Its entry
 * tells, by its size where no generation is kept: one that comes back with the same size has the same
 * redzone.
 */
static bool damaged_for_certain(const struct kms_span *span, const struct kms_side *side,
				const uint8_t *p)
{
	for (int pass = 0; pass < 2; pass++) {
		uint32_t size = __atomic_load_n(&side->size_bytes, __ATOMIC_ACQUIRE);
		uint8_t generation = __atomic_load_n(&side->generation, __ATOMIC_ACQUIRE);

		if (__atomic_load_n(&side->state, __ATOMIC_ACQUIRE) != KMS_BLOCK_LIVE)
			return false;
		if (looks_whole(span, p,
				span->state == KMS_SPAN_SLAB ? size : kms_side_size(span, side)))
			return false;
		if (__atomic_load_n(&side->generation, __ATOMIC_ACQUIRE) != generation ||
		    __atomic_load_n(&side->size_bytes, __ATOMIC_ACQUIRE) != size)
			return false;
	}
	return true;
}

static uint8_t *block_of(const struct kms_span *span, uint32_t index)
{
	return (uint8_t *)(uintptr_t)(span->base + span->first_bytes +
				      (uint64_t)index * span->stride_bytes);
}

static size_t verify_span(struct kms_local *t, struct kms_span *span, const struct kms_frame *frame)
{
	struct kms_side *side = (struct kms_side *)(uintptr_t)span->side_address;
	size_t damaged = 0;

	if (!(span->checks & KMS_CHECK_REDZONE))
		return 0;
	for (uint32_t i = 0; i < span->count; i++) {
		uint8_t *p = block_of(span, i);

		if (side[i].state == KMS_BLOCK_LIVE && damaged_for_certain(span, &side[i], p))
			damaged += kms_fault_check_zones(t, span, p, &side[i], frame,
							 KMS_ACCESS_CHECK) != 0;
	}
	return damaged;
}

/* Free blocks whose poison is broken. */
struct broken {
	uint32_t n;
	struct kms_finding finding[BROKEN_AT_ONCE];
};

/*
 * Looks at one block that nobody can take meanwhile; what is broken is mended, so that it is found
 * once. False: there is no room for more.
 */
static bool look_at_free(struct broken *broken, const struct kms_span *span,
			 const struct kms_side *side, uint8_t *p)
{
	size_t bytes = span->usable_bytes - KMS_REDZONE_BYTES, good;
	struct kms_finding *finding;

	/* one without an owner so far was not poisoned by a free */
	if (!(span->checks & KMS_CHECK_POISON) || side->state != KMS_BLOCK_FREE)
		return true;
	good = kms_pattern_check(p, bytes);
	if (KMS_LIKELY(good == bytes))
		return true;
	if (broken->n == BROKEN_AT_ONCE)
		return false;
	finding = &broken->finding[broken->n++];
	*finding = (struct kms_finding){
		.access = KMS_ACCESS_CHECK,
		.address = (uintptr_t)p + good,
		.expected = kms_pattern_byte((uintptr_t)p + good),
		.found = p[good],
	};
	kms_pattern_fill(p + good, bytes - good);
	return true;
}

static size_t report(struct kms_local *t, struct broken *broken, const struct kms_frame *frame)
{
	uint32_t n = broken->n;

	for (uint32_t i = 0; i < n; i++) {
		broken->finding[i].frame = frame;
		kms_fault_poison(t, &broken->finding[i]);
	}
	broken->n = 0;
	return n;
}

/* Free blocks of a slab that lie in it, and not in a magazine. */
static size_t verify_slab_free(struct kms_local *t, struct kms_span *span,
			       const struct kms_frame *frame)
{
	struct kms_cache *cache = t->heap->cache[span->cache];
	struct broken broken = {0};
	size_t damaged = 0;
	uint32_t i = 0;
	bool is_over;

	if (!(span->checks & KMS_CHECK_POISON) || !cache)
		return 0;
	do {
		kms_port_lock(&cache->lock);
		/* a slab that was released since is none any more */
		for (;
		     span->state == KMS_SPAN_SLAB && span->cache == cache->index && i < span->count;
		     i++) {
			const struct kms_side *side =
				(struct kms_side *)(uintptr_t)span->side_address + i;
			uint8_t *p = block_of(span, i);

			if (kms_slab_holds(span, p) && !look_at_free(&broken, span, side, p))
				break;
		}
		is_over = broken.n < BROKEN_AT_ONCE;
		kms_port_unlock(&cache->lock);
		damaged += report(t, &broken, frame);
	} while (!is_over);
	return damaged;
}

/* A pool's magazines hold objects as they were constructed: it checks them itself (pool.h). */
static bool is_plain(const struct kms_cache *cache)
{
	return cache && !cache->pool;
}

static bool look_at_rounds(const struct kms_heap *heap, struct broken *broken,
			   const struct kms_round *first, const struct kms_round *end)
{
	for (; first < end; first++) {
		const struct kms_span *span = kms_span_of(heap, (uintptr_t)first->block);

		if (span && !look_at_free(broken, span, first->side, first->block))
			return false;
	}
	return true;
}

/* Full magazines of a cache. Found ones are mended, so the next round from the begin passes them. */
static size_t verify_depot(struct kms_local *t, struct kms_cache *cache,
			   const struct kms_frame *frame)
{
	struct broken broken = {0};
	size_t damaged = 0;
	bool is_over;

	do {
		is_over = true;
		kms_port_lock(&cache->lock);
		for (struct kms_magazine *m = cache->full; m && is_over; m = m->next)
			is_over = look_at_rounds(t->heap, &broken, m->round, m->round + m->rounds);
		kms_port_unlock(&cache->lock);
		damaged += report(t, &broken, frame);
	} while (!is_over);
	return damaged;
}

/*
 * A thread's magazines: our own, or those of one that does not run. Not those of pools, which others
 * empty at any time, so that a block in one may be somebody's by the time we look at it.
 */
static size_t verify_bins(struct kms_local *t, const struct kms_local *owner,
			  const struct kms_frame *frame)
{
	struct broken broken = {0};
	size_t damaged = 0;

	for (uint32_t i = 0; i < t->heap->n_caches;) {
		const struct kms_bin *bin = &owner->bin[i];
		const struct kms_magazine *previous = bin->previous;
		bool is_over = true;

		if (is_plain(t->heap->cache[i])) {
			is_over = !bin->bottom ||
				  look_at_rounds(t->heap, &broken, bin->bottom, bin->top);
			if (is_over && previous)
				is_over = look_at_rounds(t->heap, &broken, previous->round,
							 previous->round + previous->rounds);
		}
		damaged += report(t, &broken, frame);
		i += is_over;
	}
	return damaged;
}

static size_t verify_magazines(struct kms_local *t, const struct kms_frame *frame)
{
	struct kms_heap *heap = t->heap;
	size_t damaged = 0;

	if (!(kms_heap_check_set(heap).checks & KMS_CHECK_POISON))
		return 0;
	for (uint32_t i = 0; i < heap->n_caches; i++) {
		if (is_plain(heap->cache[i]))
			damaged += verify_depot(t, heap->cache[i], frame);
	}
	damaged += verify_bins(t, t, frame);
	if (!kms_stop_all_held(heap) || !kms_stop_is_mine(t))
		return damaged;
	for (const struct kms_local *other = heap->all_locals; other; other = other->next_all) {
		if (other != t && other->state != KMS_LOCAL_FREE)
			damaged += verify_bins(t, other, frame);
	}
	return damaged;
}

size_t kms_verify(struct kms_local *t, const struct kms_frame *frame)
{
	struct kms_arena *arena = &t->heap->arena;
	size_t damaged = 0;

	for (uint32_t i = 1; i < arena->span_count; i++) {
		struct kms_span *span = &arena->span[i];
		uint8_t state = __atomic_load_n(&span->state, __ATOMIC_ACQUIRE);

		if (!span->pages || !span->side_address)
			continue;
		if (state == KMS_SPAN_SLAB || state == KMS_SPAN_LARGE)
			damaged += verify_span(t, span, frame);
		if (state == KMS_SPAN_SLAB)
			damaged += verify_slab_free(t, span, frame);
	}
	damaged += verify_magazines(t, frame);
	return damaged + kms_guard_verify(t, frame);
}
