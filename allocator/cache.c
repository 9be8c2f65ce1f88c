/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/cache.h"

#include "allocator/arena.h"
#include "allocator/magazine.h"
#include "allocator/pattern.h"
#include "allocator/pool.h"
#include "allocator/port.h"
#include "allocator/region.h"
#include "allocator/slab.h"

enum {
	DEPOT_BYTES = 1 << 20,     /* free memory that the depot of one cache keeps */
	MAGAZINE_BYTES = 64 << 10, /* memory that one magazine should not exceed */
};

static uint32_t rounds_for(uint32_t stride)
{
	uint32_t rounds = MAGAZINE_BYTES / stride;

	if (rounds > KMS_MAGAZINE_ROUNDS)
		rounds = KMS_MAGAZINE_ROUNDS;
	return rounds < 2 ? 2 : rounds;
}

static uint32_t pages_for(uint32_t stride)
{
	if (stride <= 2048)
		return 16;
	return stride <= 8192 ? 64 : 128;
}

static void cache_describe(struct kms_heap *heap, struct kms_cache *cache)
{
	struct kms_cache_entry *entries = kms_section_base(heap, KMS_SEC_CACHE);
	struct kms_cache_entry *e = &entries[cache->index];

	__builtin_memcpy(e->name, cache->name, sizeof(e->name));
	e->object_bytes = cache->object_bytes;
	e->stride_bytes = cache->stride_bytes;
	e->align_bytes = cache->align_bytes;
	e->kind = cache->kind;
	/* pairs with the reader's acquire load of ready */
	__atomic_store_n(&e->ready, 1, __ATOMIC_RELEASE);
}

void kms_cache_bind_stat(struct kms_heap *heap, struct kms_cache *cache)
{
	struct kms_cache_stat *stats = kms_section_base(heap, KMS_SEC_CACHE_STAT);

	cache->stat = &stats[(size_t)heap->slot_index * KMS_MAX_CACHES + cache->index];
}

void kms_cache_fork_stat(struct kms_heap *heap, struct kms_cache *cache)
{
	struct kms_cache_stat old = *cache->stat;

	if (heap->shared)
		kms_cache_bind_stat(heap, cache);
	else
		cache->stat = &cache->stat_lost;
	*cache->stat = old;
}

void kms_cache_move(struct kms_heap *heap, struct kms_cache *cache)
{
	struct kms_cache_stat old = *cache->stat;

	kms_cache_bind_stat(heap, cache);
	*cache->stat = old;
	cache_describe(heap, cache);
}

struct kms_cache *kms_cache_create(struct kms_heap *heap, const struct kms_cache_plan *plan)
{
	struct kms_check_set set = kms_heap_check_set(heap);
	struct kms_cache *cache;
	uint32_t index;

	cache = kms_meta_alloc(heap, sizeof(*cache));
	if (!cache)
		return NULL;
	index = kms_table_take(heap, KMS_SEC_CACHE, 1);
	if (index == KMS_NO_INDEX)
		return NULL;
	cache->index = index;
	cache->object_bytes = plan->object_bytes;
	cache->stride_bytes = plan->stride_bytes;
	cache->align_bytes = plan->align_bytes;
	cache->kind = plan->kind;
	cache->checks_mask = plan->checks_mask;
	cache->slab_pages = plan->slab_pages ? plan->slab_pages : pages_for(plan->stride_bytes);
	cache->magazine_rounds = plan->magazine_rounds
					 ? plan->magazine_rounds
					 : rounds_for(plan->stride_bytes ? plan->stride_bytes : 1);
	cache->high_slabs = UINT32_MAX;
	cache->pool = plan->pool;
	cache->own_calls = plan->own_calls;
	if (plan->own_calls)
		heap->own_calls = 1;
	cache->epoch = set.epoch;
	cache->checks = set.checks;
	for (size_t i = 0; i + 1 < sizeof(cache->name) && plan->name[i]; i++)
		cache->name[i] = plan->name[i];
	kms_cache_bind_stat(heap, cache);
	cache_describe(heap, cache);
	heap->cache[index] = cache;
	if (heap->n_caches <= index)
		heap->n_caches = index + 1;
	return cache;
}

/* Makes room for news. Needs cache.lock, and lets go of it where there is no room. */
static void tell_if_full(struct kms_local *local, struct kms_cache *cache,
			 struct kms_slab_news *news)
{
	if (KMS_LIKELY(news->n < KMS_SLAB_NEWS))
		return;
	kms_port_unlock(&cache->lock);
	kms_slab_tell(local, cache, news);
	news->n = 0;
	kms_port_lock(&cache->lock);
}

/* The rounds of a magazine go back to their slabs. Likewise. */
static void put_rounds(struct kms_local *local, struct kms_cache *cache,
		       const struct kms_magazine *m, struct kms_slab_news *news)
{
	for (uint32_t i = 0; i < m->rounds; i++) {
		kms_slab_put(local->heap, cache, m->round[i].block, news);
		tell_if_full(local, cache, news);
	}
}

void kms_cache_renew_slabs(struct kms_local *local, struct kms_cache *cache,
			   struct kms_slab_news *news)
{
	struct kms_check_set set = kms_heap_check_set(local->heap);
	struct kms_slab *unused, *slab;

	if (KMS_LIKELY(cache->epoch == set.epoch))
		return;
	cache->epoch = set.epoch;
	cache->checks = set.checks;
	unused = kms_slab_retire_epoch(cache);
	while ((slab = unused)) {
		unused = slab->next;
		kms_slab_release(local->heap, cache, slab, news);
		tell_if_full(local, cache, news);
	}
}

/* Everything of an older check set goes back to where it came from. Likewise. */
static void depot_catch_up(struct kms_local *local, struct kms_cache *cache,
			   struct kms_slab_news *news)
{
	struct kms_magazine *full = cache->full, *m;

	if (KMS_LIKELY(cache->epoch == kms_heap_check_set(local->heap).epoch))
		return;
	/* Complete before the lock is let go of for the first time: others may come in between. */
	cache->full = NULL;
	cache->full_count = 0;
	kms_cache_renew_slabs(local, cache, news);
	while ((m = full)) {
		full = m->next;
		put_rounds(local, cache, m, news);
		kms_magazine_put(local->heap, m);
	}
}

/*
 * Do this local's magazines have the checks of the cache? Not if its gate was before a switch.
 * Needs cache.lock.
 */
static bool is_of_epoch(const struct kms_local *local, const struct kms_cache *cache)
{
	return KMS_LIKELY(local->check_epoch == cache->epoch);
}

bool kms_cache_refill(struct kms_local *local, struct kms_cache *cache)
{
	struct kms_heap *heap = local->heap;
	struct kms_bin *bin = &local->bin[cache->index];
	struct kms_magazine *loaded = kms_bin_unload(bin);
	struct kms_magazine *full = NULL;
	struct kms_slab_news news = {0};

	if (bin->previous && bin->previous->rounds) {
		kms_bin_load(bin, cache, bin->previous);
		bin->previous = loaded;
		return true;
	}
	if (!loaded) {
		loaded = bin->previous;
		bin->previous = NULL;
	}
	if (!loaded)
		loaded = kms_magazine_get(heap);
	if (!loaded)
		return false;
	kms_port_lock(&cache->lock);
	depot_catch_up(local, cache, &news);
	full = is_of_epoch(local, cache) ? cache->full : NULL;
	if (full) {
		cache->full = full->next;
		cache->full_count--;
	} else if (is_of_epoch(local, cache)) {
		kms_slab_fill(heap, cache, loaded, &news);
	}
	kms_port_unlock(&cache->lock);
	kms_slab_tell(local, cache, &news);
	if (full) {
		kms_magazine_put(heap, loaded);
		loaded = full;
	}
	kms_bin_load(bin, cache, loaded);
	return bin->top > bin->bottom;
}

bool kms_cache_make_room(struct kms_local *local, struct kms_cache *cache)
{
	struct kms_heap *heap = local->heap;
	struct kms_bin *bin = &local->bin[cache->index];
	struct kms_magazine *loaded = kms_bin_unload(bin);
	struct kms_magazine *other = bin->previous;
	struct kms_slab_news news = {0};

	if (other && !other->rounds) {
		kms_bin_load(bin, cache, other);
		bin->previous = loaded;
		return true;
	}
	bin->previous = loaded;
	if (!other) {
		other = kms_magazine_get(heap);
		if (!other)
			return false;
		kms_bin_load(bin, cache, other);
		return true;
	}
	/* Both full: one goes to the depot, or when that has enough, back into slabs. */
	kms_port_lock(&cache->lock);
	depot_catch_up(local, cache, &news);
	if (is_of_epoch(local, cache) &&
	    (uint64_t)cache->full_count * cache->magazine_rounds * cache->stride_bytes <
		    DEPOT_BYTES) {
		struct kms_magazine *fresh = kms_magazine_get(heap);

		if (fresh) {
			other->next = cache->full;
			cache->full = other;
			cache->full_count++;
			other = fresh;
		}
	}
	put_rounds(local, cache, other, &news);
	kms_port_unlock(&cache->lock);
	other->rounds = 0;
	kms_slab_tell(local, cache, &news);
	kms_bin_load(bin, cache, other);
	return true;
}

void kms_cache_free_to_slab(struct kms_local *local, struct kms_cache *cache, void *block)
{
	struct kms_slab_news news = {0};

	kms_port_lock(&cache->lock);
	kms_slab_put(local->heap, cache, block, &news);
	kms_port_unlock(&cache->lock);
	kms_slab_tell(local, cache, &news);
}

bool kms_cache_in_slab(struct kms_cache *cache, const struct kms_span *span, const void *block)
{
	bool in_slab;

	kms_port_lock(&cache->lock);
	in_slab = span->state == KMS_SPAN_SLAB && kms_slab_holds(span, block);
	kms_port_unlock(&cache->lock);
	return in_slab;
}

static void flush_magazine(struct kms_local *local, struct kms_cache *cache, struct kms_magazine *m,
			   bool to_slabs)
{
	struct kms_slab_news news = {0};

	if (!m)
		return;
	kms_port_lock(&cache->lock);
	if (!to_slabs && m->rounds == cache->magazine_rounds && is_of_epoch(local, cache)) {
		m->next = cache->full;
		cache->full = m;
		cache->full_count++;
		m = NULL;
	} else {
		put_rounds(local, cache, m, &news);
	}
	kms_port_unlock(&cache->lock);
	kms_slab_tell(local, cache, &news);
	if (m)
		kms_magazine_put(local->heap, m);
}

static void flush(struct kms_local *local, bool to_slabs)
{
	for (uint32_t i = 0; i < local->heap->n_caches; i++) {
		struct kms_bin *bin = &local->bin[i];
		struct kms_magazine *previous;

		/* What a pool has parked stays constructed: its blocks go back one by one. */
		if (local->heap->cache[i] && local->heap->cache[i]->pool) {
			if (!to_slabs)
				kms_pool_bin_empty(local, local->heap->cache[i]);
			continue;
		}
		previous = bin->previous;
		bin->previous = NULL;
		flush_magazine(local, local->heap->cache[i], kms_bin_unload(bin), to_slabs);
		flush_magazine(local, local->heap->cache[i], previous, to_slabs);
	}
}

void kms_cache_flush_local(struct kms_local *local)
{
	flush(local, false);
}

void kms_cache_new_epoch(struct kms_local *local)
{
	flush(local, true);
	for (uint32_t i = 0; i < local->heap->n_caches; i++) {
		struct kms_cache *cache = local->heap->cache[i];
		struct kms_slab_news news = {0};

		if (!cache || cache->pool)
			continue;
		kms_port_lock(&cache->lock);
		depot_catch_up(local, cache, &news);
		kms_port_unlock(&cache->lock);
		kms_slab_tell(local, cache, &news);
	}
}
