/* SPDX-License-Identifier: BSD-2-Clause */
/* pool_cache(9): objects out of a pool and back. */
#include "allocator/pool.h"

#include "allocator/guard.h"
#include "allocator/heap.h"
#include "allocator/kmem.h"
#include "allocator/kmem_front.h"
#include "allocator/port.h"
#include "allocator/slab.h"
#include "allocator/text.h"

enum {
	SLEEP_SLICE_NS = 10 * 1000 * 1000,
};

void kms_pool_raise(struct kms_local *t, const struct pool_cache *pool,
		    const struct kms_finding *finding, const char *who, const char *what)
{
	struct kms_finding f = *finding;
	struct kms_text text = {0};

	kms_text_add(&text, who);
	kms_text_add(&text, ": [");
	kms_text_add(&text, pool->cache->name);
	kms_text_add(&text, "] ");
	kms_text_add(&text, what);
	f.text = text.buffer;
	f.argument_cache = pool->cache->index;
	kms_fault_raise(t, &f);
}

bool kms_pool_alive(struct kms_local *t, const struct pool_cache *pool,
		    const struct kms_request_info *info)
{
	const struct kms_finding finding = {
		.kind = KMS_FAULT_USE_AFTER_FREE,
		.address = (uintptr_t)pool,
		.frame = &info->frame,
	};

	if (KMS_LIKELY(pool->alive))
		return true;
	kms_pool_raise(t, pool, &finding, "pool_cache", "used after pool_cache_destroy");
	return false;
}

/* May objects of this pool come and go in this context? */
static void check_context(struct kms_local *t, const struct pool_cache *pool, uint32_t access,
			  uintptr_t object, const struct kms_request_info *info)
{
	const struct kms_finding finding = {
		.kind = KMS_FAULT_WRONG_CONTEXT,
		.access = access,
		.address = object,
		.frame = &info->frame,
	};

	if (KMS_UNLIKELY(t->level != KMS_LEVEL_TASK && pool->ipl == IPL_NONE))
		kms_pool_raise(t, pool, &finding, "pool_cache",
			       "is IPL_NONE, but called from interrupt context");
}

static void check_get(struct kms_local *t, const struct pool_cache *pool, int flags,
		      const struct kms_request_info *info)
{
	struct kms_finding finding = {
		.kind = KMS_FAULT_BAD_FLAGS,
		.access = KMS_ACCESS_ALLOC,
		.frame = &info->frame,
	};
	bool wait = flags & PR_WAITOK;

	if (wait == !!(flags & PR_NOWAIT))
		kms_pool_raise(t, pool, &finding, "pool_cache_get",
			       wait ? "PR_WAITOK and PR_NOWAIT"
				    : "neither PR_WAITOK nor PR_NOWAIT");
	check_context(t, pool, KMS_ACCESS_ALLOC, 0, info);
	if (!wait || KMS_LIKELY(t->level == KMS_LEVEL_TASK && !t->locks_held))
		return;
	finding.kind =
		t->level != KMS_LEVEL_TASK ? KMS_FAULT_WRONG_CONTEXT : KMS_FAULT_SLEEP_WITH_LOCK;
	/* An IPL_NONE pool in interrupt context is one mistake. */
	if (t->level == KMS_LEVEL_TASK || pool->ipl != IPL_NONE)
		kms_pool_raise(t, pool, &finding, "pool_cache_get",
			       t->level != KMS_LEVEL_TASK ? "PR_WAITOK in interrupt context"
							  : "PR_WAITOK with a lock held");
}

/* 0, or what the constructor said. Nothing of the allocator is held meanwhile. */
static int construct(struct kms_local *t, const struct pool_cache *pool, void *object, int flags)
{
	int result;

	if (!pool->constructor)
		return 0;
	kms_leave(t);
	result = pool->constructor(pool->arg, object, flags);
	kms_enter(t);
	return result;
}

static void destruct(struct kms_local *t, const struct pool_cache *pool, void *object)
{
	if (!pool->destructor)
		return;
	kms_leave(t);
	pool->destructor(pool->arg, object);
	kms_enter(t);
}

void kms_pool_retire(struct kms_local *t, struct pool_cache *pool, const struct kms_round *round)
{
	destruct(t, pool, round->block);
	kms_pool_raw_put(t, pool, round);
}

/* What a constructed object must still be when it is taken again: under POISON. */
static uint32_t sum_of(const struct pool_cache *pool, const uint8_t *object)
{
	uint64_t sum = pool->cache->object_bytes;

	for (uint32_t i = 0; i < pool->cache->object_bytes; i++)
		sum = (sum ^ object[i]) * UINT64_C(0x100000001b3);
	return (uint32_t)(sum ^ sum >> 32);
}

static void check_sum(struct kms_local *t, const struct pool_cache *pool, uint8_t *object,
		      uint32_t expected, uint32_t node)
{
	const struct kms_finding finding = {
		.kind = KMS_FAULT_MODIFIED_AFTER_FREE,
		.access = KMS_ACCESS_CHECK,
		.address = (uintptr_t)object,
		.expected = expected,
		.found = sum_of(pool, object),
		.stack = node,
	};

	if (KMS_UNLIKELY(finding.found != expected))
		kms_pool_raise(t, pool, &finding, "pool_cache_get",
			       "a constructed object was changed after its pool_cache_put");
}

/* Before an object leaves: has somebody written to it since it came back? */
static void check_parked(struct kms_local *t, const struct pool_cache *pool,
			 const struct kms_round *round, const struct kms_span *span, uint32_t node)
{
	const uint32_t *sum;

	if (KMS_LIKELY(!(span->checks & KMS_CHECK_POISON)))
		return;
	if (round->side->state != KMS_BLOCK_CACHED) {
		kms_fault_check_poison(t, round->block, round->side, node);
		return;
	}
	sum = kms_slab_sum(span, round->block);
	if (sum)
		check_sum(t, pool, round->block, *sum, node);
}

/* The same promise is made when it comes back. */
static void seal(const struct pool_cache *pool, const struct kms_round *round,
		 const struct kms_span *span)
{
	uint32_t *sum;

	if (KMS_LIKELY(!(span->checks & KMS_CHECK_POISON)))
		return;
	if (!kms_pool_constructs(pool)) {
		kms_pattern_fill(round->block, span->usable_bytes - KMS_REDZONE_BYTES);
		return;
	}
	sum = kms_slab_sum(span, round->block);
	if (sum)
		*sum = sum_of(pool, round->block);
}

/* A parked object of today's check set; those of before are retired on the way. */
static bool take_parked(struct kms_local *t, struct pool_cache *pool, struct kms_round *round,
			uint32_t node)
{
	while (kms_pool_bin_take(t, pool->cache, round)) {
		const struct kms_span *span = kms_span_of(t->heap, (uintptr_t)round->block);

		check_parked(t, pool, round, span, node);
		if (KMS_LIKELY(span->epoch == t->check_epoch))
			return true;
		kms_pool_retire(t, pool, round);
	}
	return false;
}

static enum kms_pool_taken take_now(struct kms_local *t, struct pool_cache *pool,
				    struct kms_round *round, uint32_t node, bool *raw)
{
	enum kms_pool_taken taken;

	*raw = false;
	if (take_parked(t, pool, round, node))
		return KMS_POOL_TAKEN;
	taken = kms_pool_raw_take(t, pool, round);
	if (KMS_UNLIKELY(taken != KMS_POOL_TAKEN)) {
		/* What other threads have parked comes before a failure. */
		kms_pool_collect(t->heap, pool->cache);
		return take_parked(t, pool, round, node) ? KMS_POOL_TAKEN : taken;
	}
	*raw = true;
	check_parked(t, pool, round, kms_span_of(t->heap, (uintptr_t)round->block), node);
	return taken;
}

/* PR_WAITOK: until an object or memory comes back. */
static void wait_for_more(struct kms_local *t, struct pool_cache *pool, enum kms_pool_taken why)
{
	struct kms_heap *heap = t->heap;
	uint32_t *word = why == KMS_POOL_LIMIT ? &pool->put_word : &heap->memory_word;
	uint32_t seen = __atomic_load_n(word, __ATOMIC_ACQUIRE);

	kms_cache_flush_local(t);
	kms_leave(t);
	kms_port_wait(word, seen, SLEEP_SLICE_NS);
	kms_enter(t);
}

static bool take_sleeping(struct kms_local *t, struct pool_cache *pool, struct kms_round *round,
			  uint32_t node, bool *raw)
{
	enum kms_pool_taken taken;

	__atomic_add_fetch(&t->heap->arena_waiters, 1, __ATOMIC_RELAXED);
	__atomic_add_fetch(&pool->waiters, 1, __ATOMIC_RELAXED);
	while ((taken = take_now(t, pool, round, node, raw)) != KMS_POOL_TAKEN)
		wait_for_more(t, pool, taken);
	__atomic_sub_fetch(&pool->waiters, 1, __ATOMIC_RELAXED);
	__atomic_sub_fetch(&t->heap->arena_waiters, 1, __ATOMIC_RELAXED);
	return true;
}

static bool take(struct kms_local *t, struct pool_cache *pool, int flags, struct kms_round *round,
		 uint32_t node, bool *raw)
{
	enum kms_pool_taken taken;

	if (flags & PR_NOWAIT && !(flags & PR_WAITOK) && kms_kmem_induced_failure(t->heap))
		return false;
	taken = take_now(t, pool, round, node, raw);
	if (KMS_LIKELY(taken == KMS_POOL_TAKEN))
		return true;
	if (!(flags & PR_WAITOK) || (taken == KMS_POOL_LIMIT && flags & PR_LIMITFAIL))
		return false;
	return take_sleeping(t, pool, round, node, raw);
}

static void *dress(struct kms_local *t, const struct pool_cache *pool,
		   const struct kms_round *round, const struct kms_request_info *info)
{
	const struct kms_span *span = kms_span_of(t->heap, (uintptr_t)round->block);
	uint32_t checks = span->checks & ~KMS_SPAN_OWN_CALLS;
	uint32_t size = pool->cache->object_bytes;
	uint8_t *p = round->block;

	if (checks & KMS_CHECK_REDZONE)
		kms_redzone_fill(p + size);
	if (t->trace)
		kms_side_alloc_traced(t, round->side, (uintptr_t)p, size, info->node,
				      checks | info->attrs);
	else
		kms_side_alloc_untraced(round->side, size);
	t->counter[pool->cache->index].allocs++;
	t->counter[pool->cache->index].alloc_bytes += size;
	return p;
}

static void *get_failed(struct kms_local *t, const struct pool_cache *pool,
			struct kms_request_info *info)
{
	kms_alloc_failed(t, pool->cache->object_bytes, info);
	return NULL;
}

/*
 * A guarded object is never parked: it is constructed when it is taken and destructed when it is
 * put, and then closed like any guarded block.
 */
static bool get_guarded(struct kms_local *t, struct pool_cache *pool, int flags,
			struct kms_request_info *info, void **object)
{
	struct kms_cache *cache = pool->cache;

	*object = kms_guard_alloc(t, cache->object_bytes, cache->align_bytes, cache->index, info);
	if (!*object)
		return false;
	__atomic_add_fetch(&pool->guarded, 1, __ATOMIC_RELAXED);
	if (construct(t, pool, *object, flags)) {
		kms_guard_free(t, (uintptr_t)*object, info);
		__atomic_sub_fetch(&pool->guarded, 1, __ATOMIC_RELAXED);
		*object = get_failed(t, pool, info);
	}
	return true;
}

void *kms_pool_get(struct kms_local *t, struct pool_cache *pool, int flags,
		   struct kms_request_info *info)
{
	struct kms_round round;
	void *object;
	bool raw;

	if (!kms_pool_alive(t, pool, info))
		return NULL;
	check_get(t, pool, flags, info);
	info->node = kms_capture(t, &info->frame);
	info->attrs |= kms_cache_attr(pool->cache->index);
	if (!(flags & PR_WAITOK))
		info->attrs |= KMS_ATTR_NOSLEEP;
	if (KMS_UNLIKELY(t->guard_active) && get_guarded(t, pool, flags, info, &object))
		return object;
	if (KMS_UNLIKELY(!take(t, pool, flags, &round, info->node, &raw)))
		return get_failed(t, pool, info);
	if (raw && KMS_UNLIKELY(construct(t, pool, round.block, flags))) {
		kms_pool_raw_put(t, pool, &round);
		return get_failed(t, pool, info);
	}
	return dress(t, pool, &round, info);
}

static void not_ours(struct kms_local *t, const struct pool_cache *pool, uintptr_t p,
		     const struct kms_cache *owner, const struct kms_request_info *info)
{
	struct kms_text caller = {0};

	kms_text_add(&caller, "pool_cache_put: [");
	kms_text_add(&caller, pool->cache->name);
	kms_text_add(&caller, "]");
	kms_fault_wrong_cache(t, p, owner->name, caller.buffer, pool->cache->index, &info->frame);
}

/*
 * The pool that an object given to @pool goes back to: its own one, whatever the caller believes.
 * NULL, after a finding, if it is no live object of any pool.
 */
static struct pool_cache *owner_of(struct kms_local *t, struct pool_cache *pool, uintptr_t p,
				   struct kms_place *place, const struct kms_request_info *info)
{
	const struct kms_cache *cache;

	if (!p) {
		const struct kms_finding finding = {.kind = KMS_FAULT_NULL_FREE,
						    .access = KMS_ACCESS_FREE,
						    .frame = &info->frame};

		kms_pool_raise(t, pool, &finding, "pool_cache_put", "item is NULL");
		return NULL;
	}
	kms_place_find(t->heap, p, place);
	if (!place->side || place->block != p || !place->live) {
		kms_fault_bad_free(t, p, UINT64_MAX, &info->frame);
		return NULL;
	}
	cache = t->heap->cache[place->span->cache];
	if (KMS_UNLIKELY(cache != pool->cache))
		not_ours(t, pool, p, cache, info);
	return cache->pool;
}

static void put_guarded(struct kms_local *t, struct pool_cache *pool, void *object,
			struct kms_request_info *info)
{
	destruct(t, pool, object);
	kms_guard_free(t, (uintptr_t)object, info);
	__atomic_sub_fetch(&pool->guarded, 1, __ATOMIC_RELAXED);
}

/* Somebody waits for an object: what is parked with this thread would not help. */
static void share(struct kms_local *t, struct pool_cache *pool)
{
	kms_pool_bin_empty(t, pool->cache);
	__atomic_add_fetch(&pool->put_word, 1, __ATOMIC_RELEASE);
	kms_port_wake(&pool->put_word);
}

static void park(struct kms_local *t, struct pool_cache *pool, const struct kms_round *round,
		 const struct kms_span *span)
{
	if (kms_pool_constructs(pool))
		round->side->state = KMS_BLOCK_CACHED;
	seal(pool, round, span);
	if (KMS_UNLIKELY(!kms_pool_bin_give(t, pool->cache, round)))
		kms_pool_retire(t, pool, round);
	else if (KMS_UNLIKELY(__atomic_load_n(&pool->waiters, __ATOMIC_ACQUIRE)))
		share(t, pool);
}

void kms_pool_put(struct kms_local *t, struct pool_cache *pool, void *object, bool to_slab,
		  struct kms_request_info *info)
{
	struct kms_place place;
	struct kms_round round;
	uint32_t checks;

	if (!kms_pool_alive(t, pool, info))
		return;
	check_context(t, pool, KMS_ACCESS_FREE, (uintptr_t)object, info);
	pool = owner_of(t, pool, (uintptr_t)object, &place, info);
	if (!pool)
		return;
	info->node = kms_capture(t, &info->frame);
	info->attrs |= kms_cache_attr(place.span->cache);
	if (place.span->state == KMS_SPAN_GUARD) {
		put_guarded(t, pool, object, info);
		return;
	}
	if (!kms_zones_whole(place.span, object, place.block_bytes))
		kms_fault_check_zones(t, place.span, object, place.side, &info->frame,
				      KMS_ACCESS_FREE);
	if (to_slab)
		destruct(t, pool, object);
	round = (struct kms_round){.block = object, .side = place.side};
	checks = place.span->checks & ~KMS_SPAN_OWN_CALLS;
	kms_side_free(t, place.side, (uintptr_t)object, info->node, checks | info->attrs);
	t->counter[place.span->cache].frees++;
	t->counter[place.span->cache].free_bytes += place.block_bytes;
	if (to_slab)
		kms_pool_raw_put(t, pool, &round);
	else
		park(t, pool, &round, place.span);
}
