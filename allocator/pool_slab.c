/* SPDX-License-Identifier: BSD-2-Clause */
/* Raw objects of pools: out of a slab one at a time, and back. The hard limit is kept here. */
#include "allocator/pool.h"
#include "allocator/port.h"
#include "allocator/slab.h"

/* May somebody be told that the limit is met? Needs cache->lock. */
static bool warn_now(struct pool_cache *pool, uint64_t now_ns)
{
	if (!pool->warning || (pool->warned_ns && now_ns - pool->warned_ns < pool->warning_ns))
		return false;
	pool->warned_ns = now_ns;
	return true;
}

static enum kms_pool_taken limit_met(struct pool_cache *pool)
{
	bool warn;

	kms_port_lock(&pool->cache->lock);
	pool->cache->stat->failed++;
	warn = warn_now(pool, kms_port_now_ns());
	kms_port_unlock(&pool->cache->lock);
	if (warn) {
		kms_port_print(pool->warning);
		kms_port_print("\n");
	}
	return KMS_POOL_LIMIT;
}

enum kms_pool_taken kms_pool_raw_take(struct kms_local *t, struct pool_cache *pool,
				      struct kms_round *round)
{
	struct kms_cache *cache = pool->cache;
	struct kms_slab_news news = {0};
	bool room, taken = false;

	kms_port_lock(&cache->lock);
	kms_cache_renew_slabs(t, cache, &news);
	room = pool->out < pool->limit;
	if (room) {
		taken = kms_slab_take(t->heap, cache, round, &news);
		pool->out += taken;
		cache->stat->failed += !taken;
	}
	kms_port_unlock(&cache->lock);
	kms_slab_tell(t, cache, &news);
	if (!room)
		return limit_met(pool);
	return taken ? KMS_POOL_TAKEN : KMS_POOL_MEMORY;
}

void kms_pool_raw_put(struct kms_local *t, struct pool_cache *pool, const struct kms_round *round)
{
	const struct kms_span *span = kms_span_of(t->heap, (uintptr_t)round->block);
	struct kms_cache *cache = pool->cache;
	struct kms_slab_news news = {0};

	if (span->checks & KMS_CHECK_POISON)
		kms_pattern_fill(round->block, span->usable_bytes - KMS_REDZONE_BYTES);
	round->side->state = KMS_BLOCK_FREE;
	kms_port_lock(&cache->lock);
	kms_slab_put(t->heap, cache, round->block, &news);
	pool->out--;
	kms_port_unlock(&cache->lock);
	kms_slab_tell(t, cache, &news);
	if (__atomic_load_n(&pool->waiters, __ATOMIC_ACQUIRE)) {
		__atomic_add_fetch(&pool->put_word, 1, __ATOMIC_RELEASE);
		kms_port_wake(&pool->put_word);
	}
}
