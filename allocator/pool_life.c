/* SPDX-License-Identifier: BSD-2-Clause */
/* pool_cache(9): pools made, limited, emptied and destroyed. */
#include "allocator/kmem.h"
#include "allocator/magazine.h"
#include "allocator/pool.h"
#include "allocator/port.h"
#include "allocator/slab.h"
#include "allocator/text.h"

enum {
	SLAB_OBJECTS = 8, /* that a slab should have room for */
	SLAB_PAGES_MIN = 4,
	SLAB_PAGES_MAX = 128,
	NS_PER_S = 1000 * 1000 * 1000,
};

/* How long an empty slab is kept for the next object, as the original does. */
#define INACTIVE_NS (UINT64_C(10) * NS_PER_S)

static uint32_t align_of(const struct kms_pool_plan *plan)
{
	return plan->align ? plan->align : KMS_KMEM_ALIGN;
}

/* What is wrong with a plan, as a finding's text; NULL: nothing. */
static const char *plan_error(const struct kms_pool_plan *plan)
{
	uint32_t align = align_of(plan);

	if (align & (align - 1))
		return "the alignment is no power of two";
	if (align > KMS_POOL_MAX_ALIGN)
		return "the alignment is too large";
	if (plan->size > KMS_POOL_MAX_BYTES)
		return "pool item size too large";
	if (plan->align_offset)
		return "align_offset must be 0";
	return NULL;
}

static bool check_plan(struct kms_local *t, const struct kms_pool_plan *plan,
		       const struct kms_request_info *info)
{
	struct kms_finding finding = {
		.kind = plan->size ? KMS_FAULT_BAD_FLAGS : KMS_FAULT_ZERO_SIZE,
		.argument_bytes = plan->size,
		.frame = &info->frame,
		.argument_cache = KMS_NO_INDEX,
	};
	const char *error = plan->size ? plan_error(plan) : "pool item size is 0";
	struct kms_text text = {0};

	if (!error)
		return true;
	kms_text_add(&text, "pool_cache_init: [");
	kms_text_add(&text, plan->name);
	kms_text_add(&text, "] ");
	kms_text_add(&text, error);
	finding.text = text.buffer;
	kms_fault_raise(t, &finding);
	return false;
}

static uint32_t round_up(uint32_t v, uint32_t unit)
{
	return (v + unit - 1) & ~(unit - 1);
}

static uint32_t slab_pages_for(uint32_t stride, uint32_t align)
{
	/* What stands before the first object is no larger than the larger of the two. */
	uint32_t front = align > KMS_FRONT_BYTES ? align : KMS_FRONT_BYTES;
	uint64_t bytes = (uint64_t)stride * SLAB_OBJECTS + front;
	uint32_t pages = (uint32_t)((bytes + KMS_PAGE_BYTES - 1) >> KMS_PAGE_SHIFT);
	uint32_t needed =
		(uint32_t)(((uint64_t)stride + front + KMS_PAGE_BYTES - 1) >> KMS_PAGE_SHIFT);

	if (pages < SLAB_PAGES_MIN)
		return SLAB_PAGES_MIN;
	if (pages > SLAB_PAGES_MAX)
		pages = SLAB_PAGES_MAX;
	return pages < needed ? needed : pages;
}

static struct kms_cache_plan cache_plan(const struct kms_pool_plan *plan)
{
	uint32_t align = align_of(plan);
	uint32_t size = (uint32_t)plan->size;
	uint32_t stride = round_up(size + KMS_REDZONE_BYTES, align);

	return (struct kms_cache_plan){
		.name = plan->name,
		.object_bytes = size,
		.stride_bytes = stride,
		.align_bytes = align,
		.kind = KMS_CACHE_POOL,
		.own_calls = true,
		.checks_mask = KMS_CHECK_SIZE | KMS_CHECK_REDZONE | KMS_CHECK_POISON,
		.slab_pages = slab_pages_for(stride, align),
		.magazine_rounds =
			plan->flags & PR_LARGECACHE ? KMS_POOL_LARGE_GROUP : KMS_POOL_GROUP,
	};
}

static bool same_name(const struct kms_cache *cache, const char *name)
{
	size_t i = 0;

	while (i + 1 < sizeof(cache->name) && name[i] && cache->name[i] == name[i])
		i++;
	return cache->name[i] == (i + 1 < sizeof(cache->name) ? name[i] : '\0');
}

/* A destroyed pool with the same name and shape: its row in the table serves again. */
static struct pool_cache *revive(struct kms_heap *heap, const struct kms_cache_plan *plan)
{
	struct pool_cache **at = &heap->dead_pools, *pool;

	for (; (pool = *at); at = &pool->next) {
		const struct kms_cache *cache = pool->cache;

		if (cache->object_bytes == plan->object_bytes &&
		    cache->align_bytes == plan->align_bytes &&
		    cache->magazine_rounds == plan->magazine_rounds && same_name(cache, plan->name))
			break;
	}
	if (pool)
		*at = pool->next;
	return pool;
}

static struct pool_cache *make(struct kms_heap *heap, struct kms_cache_plan *plan)
{
	struct pool_cache *pool;

	if (heap->n_caches == KMS_MAX_CACHES)
		return NULL;
	pool = kms_meta_alloc(heap, sizeof(*pool));
	if (!pool)
		return NULL;
	plan->pool = pool;
	pool->cache = kms_cache_create(heap, plan);
	return pool->cache ? pool : NULL;
}

static void no_place(const struct kms_pool_plan *plan)
{
	struct kms_text text = {0};

	kms_text_add(&text, "kmem: pool_cache_init: [");
	kms_text_add(&text, plan->name);
	kms_text_add(&text, "] no place: 256 caches are made, or no memory\n");
	kms_port_print(text.buffer);
}

struct pool_cache *kms_pool_create(struct kms_local *t, const struct kms_pool_plan *plan,
				   struct kms_request_info *info)
{
	struct kms_cache_plan shape = cache_plan(plan);
	struct kms_heap *heap = t->heap;
	struct pool_cache *pool;

	if (!check_plan(t, plan, info))
		return NULL;
	kms_port_lock(&heap->control_lock);
	pool = revive(heap, &shape);
	if (!pool)
		pool = make(heap, &shape);
	if (pool) {
		pool->flags = plan->flags;
		pool->ipl = plan->ipl;
		pool->constructor = plan->constructor;
		pool->destructor = plan->destructor;
		pool->arg = plan->arg;
		pool->limit = UINT32_MAX;
		pool->warning = NULL;
		pool->cache->low_blocks = 0;
		pool->cache->high_slabs = UINT32_MAX;
		pool->alive = 1;
	}
	kms_port_unlock(&heap->control_lock);
	if (!pool)
		no_place(plan);
	return pool;
}

void kms_pool_invalidate(struct kms_local *t, struct pool_cache *pool)
{
	struct kms_magazine *m, *next;

	kms_pool_collect(t->heap, pool->cache);
	for (m = kms_pool_depot_take(pool->cache); m; m = next) {
		next = m->next;
		for (uint32_t i = 0; i < m->rounds; i++)
			kms_pool_retire(t, pool, &m->round[i]);
		kms_magazine_put(t->heap, m);
	}
}

/* Empty slabs go that nobody has used since @before_ns. True: there were any. */
static bool trim(struct kms_local *t, struct pool_cache *pool, uint64_t before_ns)
{
	struct kms_cache *cache = pool->cache;
	struct kms_slab_news news;
	bool any = false;

	do {
		news.n = 0;
		kms_port_lock(&cache->lock);
		kms_slab_trim(t->heap, cache, before_ns, &news);
		kms_port_unlock(&cache->lock);
		kms_slab_tell(t, cache, &news);
		any |= news.n > 0;
	} while (news.n == KMS_SLAB_NEWS);
	return any;
}

bool kms_pool_reclaim(struct kms_local *t, struct pool_cache *pool)
{
	uint64_t now_ns = kms_port_now_ns();
	uint64_t pages = pool->cache->stat->pages;

	kms_pool_invalidate(t, pool);
	(void)trim(t, pool, now_ns > INACTIVE_NS ? now_ns - INACTIVE_NS : 0);
	return pool->cache->stat->pages < pages;
}

/* What the original says of a pool that is destroyed too early. */
static void still_out(struct kms_local *t, const struct pool_cache *pool, uint32_t out,
		      const struct kms_request_info *info)
{
	const struct kms_finding finding = {
		.kind = KMS_FAULT_INVALID_FREE,
		.access = KMS_ACCESS_FREE,
		.address = (uintptr_t)pool,
		.found = out,
		.frame = &info->frame,
	};
	struct kms_text text = {0};

	kms_text_add(&text, "pool busy: still out: ");
	kms_text_number(&text, out, 10, 1);
	kms_pool_raise(t, pool, &finding, "pool_destroy", text.buffer);
}

bool kms_pool_destroy(struct kms_local *t, struct pool_cache *pool, struct kms_request_info *info)
{
	struct kms_heap *heap = t->heap;
	uint32_t out;

	if (!kms_pool_alive(t, pool, info))
		return false;
	kms_pool_invalidate(t, pool);
	out = pool->out + __atomic_load_n(&pool->guarded, __ATOMIC_RELAXED);
	if (out) {
		still_out(t, pool, out, info);
		return false;
	}
	pool->cache->low_blocks = 0;
	(void)trim(t, pool, UINT64_MAX);
	kms_port_lock(&heap->control_lock);
	pool->alive = 0;
	pool->next = heap->dead_pools;
	heap->dead_pools = pool;
	kms_port_unlock(&heap->control_lock);
	return true;
}

void kms_pool_set_low(struct kms_local *t, struct pool_cache *pool,
		      const struct kms_pool_mark *mark)
{
	struct kms_cache *cache = pool->cache;
	struct kms_slab_news news;

	kms_port_lock(&cache->lock);
	cache->low_blocks = mark->objects;
	kms_port_unlock(&cache->lock);
	do {
		news.n = 0;
		kms_port_lock(&cache->lock);
		kms_cache_renew_slabs(t, cache, &news);
		kms_slab_stock(t->heap, cache, &news);
		kms_port_unlock(&cache->lock);
		kms_slab_tell(t, cache, &news);
	} while (news.n == KMS_SLAB_NEWS);
}

void kms_pool_set_high(struct kms_local *t, struct pool_cache *pool,
		       const struct kms_pool_mark *mark)
{
	struct kms_cache *cache = pool->cache;
	uint32_t in_slab = (cache->slab_pages << KMS_PAGE_SHIFT) / cache->stride_bytes;

	(void)t;
	kms_port_lock(&cache->lock);
	cache->high_slabs = mark->objects / in_slab + (mark->objects % in_slab != 0);
	kms_port_unlock(&cache->lock);
}

void kms_pool_set_limit(struct kms_local *t, struct pool_cache *pool,
			const struct kms_pool_mark *mark)
{
	(void)t;
	kms_port_lock(&pool->cache->lock);
	pool->limit = mark->objects;
	pool->warning = mark->warning;
	pool->warning_ns = (uint64_t)mark->warning_s * NS_PER_S;
	pool->warned_ns = 0;
	kms_port_unlock(&pool->cache->lock);
}
