/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Parked objects: two magazines a thread, and the depot. A thread's bin of a pool has a lock, so
 * that others can empty it: for pool_cache_invalidate, for a pool that is destroyed, and before an
 * allocation fails.
 */
#include "allocator/magazine.h"
#include "allocator/pool.h"
#include "allocator/port.h"

static struct kms_magazine *depot_pop(struct kms_cache *cache)
{
	struct kms_magazine *m;

	kms_port_lock(&cache->lock);
	m = cache->full;
	if (m) {
		cache->full = m->next;
		cache->full_count--;
	}
	kms_port_unlock(&cache->lock);
	return m;
}

static void depot_push(struct kms_cache *cache, struct kms_magazine *m)
{
	kms_port_lock(&cache->lock);
	m->next = cache->full;
	cache->full = m;
	cache->full_count++;
	kms_port_unlock(&cache->lock);
}

/* An empty magazine stays with the bin, or goes. */
static void keep_empty(struct kms_heap *heap, struct kms_bin *bin, struct kms_magazine *m)
{
	if (!m)
		return;
	if (!bin->previous)
		bin->previous = m;
	else
		kms_magazine_put(heap, m);
}

/* Loads a magazine with something in it. Needs the bin's lock. */
static bool load_full(struct kms_heap *heap, struct kms_bin *bin, struct kms_cache *cache)
{
	struct kms_magazine *m = bin->previous;
	struct kms_magazine *empty;

	if (m && m->rounds)
		bin->previous = NULL;
	else
		m = depot_pop(cache);
	if (!m)
		return false;
	empty = kms_bin_unload(bin);
	kms_bin_load(bin, cache, m);
	keep_empty(heap, bin, empty);
	return true;
}

/* Loads a magazine with room. Needs the bin's lock. */
static bool load_empty(struct kms_heap *heap, struct kms_bin *bin, struct kms_cache *cache)
{
	struct kms_magazine *m = bin->previous;
	struct kms_magazine *full;

	if (m && !m->rounds)
		bin->previous = NULL;
	else
		m = kms_magazine_get(heap);
	if (!m)
		return false;
	full = kms_bin_unload(bin);
	kms_bin_load(bin, cache, m);
	if (full && bin->previous)
		depot_push(cache, full);
	else
		bin->previous = full;
	return true;
}

bool kms_pool_bin_take(struct kms_local *t, struct kms_cache *cache, struct kms_round *round)
{
	struct kms_bin *bin = &t->bin[cache->index];
	bool taken;

	kms_port_lock(&t->pool_lock[cache->index]);
	taken = bin->top > bin->bottom || load_full(t->heap, bin, cache);
	if (taken)
		*round = *--bin->top;
	kms_port_unlock(&t->pool_lock[cache->index]);
	return taken;
}

bool kms_pool_bin_give(struct kms_local *t, struct kms_cache *cache, const struct kms_round *round)
{
	struct kms_bin *bin = &t->bin[cache->index];
	bool given;

	kms_port_lock(&t->pool_lock[cache->index]);
	given = bin->top < bin->limit || load_empty(t->heap, bin, cache);
	if (given)
		*bin->top++ = *round;
	kms_port_unlock(&t->pool_lock[cache->index]);
	return given;
}

static void give_to_depot(struct kms_heap *heap, struct kms_cache *cache, struct kms_magazine *m)
{
	if (!m)
		return;
	if (m->rounds)
		depot_push(cache, m);
	else
		kms_magazine_put(heap, m);
}

void kms_pool_bin_empty(struct kms_local *t, struct kms_cache *cache)
{
	struct kms_bin *bin = &t->bin[cache->index];

	kms_port_lock(&t->pool_lock[cache->index]);
	give_to_depot(t->heap, cache, kms_bin_unload(bin));
	give_to_depot(t->heap, cache, bin->previous);
	bin->previous = NULL;
	kms_port_unlock(&t->pool_lock[cache->index]);
}

void kms_pool_collect(struct kms_heap *heap, struct kms_cache *cache)
{
	kms_port_lock(&heap->control_lock);
	for (struct kms_local *t = heap->all_locals; t; t = t->next_all)
		kms_pool_bin_empty(t, cache);
	kms_port_unlock(&heap->control_lock);
}

struct kms_magazine *kms_pool_depot_take(struct kms_cache *cache)
{
	struct kms_magazine *m;

	kms_port_lock(&cache->lock);
	m = cache->full;
	cache->full = NULL;
	cache->full_count = 0;
	kms_port_unlock(&cache->lock);
	return m;
}
