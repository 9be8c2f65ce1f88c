/* SPDX-License-Identifier: BSD-2-Clause */
/* Slots of the guard: the reservation, its runs, the pools, and the way from an address to a slot. */
#include "allocator/guard_impl.h"

#include "allocator/port.h"

enum {
	GRANULE_BYTES = 1 << KMS_GUARD_GRANULE_SHIFT,
	LINE_BYTES = 64,
};

static size_t round_up(size_t v, size_t unit)
{
	return (v + unit - 1) & ~(unit - 1);
}

bool kms_guard_reserve(struct kms_heap *heap, struct kms_guard *g)
{
	size_t bytes = kms_port_guard_reserve_bytes() & ~(size_t)(KMS_GUARD_EXTENT_BYTES - 1);
	size_t map_bytes;

	for (; bytes >= KMS_GUARD_EXTENT_BYTES; bytes /= 2) {
		g->base = (uintptr_t)kms_port_reserve(bytes, KMS_GUARD_EXTENT_BYTES);
		if (g->base)
			break;
	}
	if (!g->base)
		return false;
	map_bytes = (bytes >> KMS_GUARD_GRANULE_SHIFT) * sizeof(struct kms_guard_run *);
	g->map = kms_port_reserve(round_up(map_bytes, KMS_PAGE_BYTES), KMS_PAGE_BYTES);
	if (!g->map)
		return false;
	g->bytes = bytes;
	heap->region->guard_base = g->base;
	heap->region->guard_bytes = bytes;
	return true;
}

/* Opens the map for the first @bytes of the reservation. */
static bool open_map(struct kms_guard *g, size_t bytes)
{
	size_t need = (bytes >> KMS_GUARD_GRANULE_SHIFT) * sizeof(struct kms_guard_run *);
	size_t step;

	if (need <= g->map_bytes)
		return true;
	step = round_up(need - g->map_bytes, KMS_PAGE_BYTES);
	if (kms_port_open((uint8_t *)g->map + g->map_bytes, step) < 0)
		return false;
	g->map_bytes += step;
	return true;
}

static bool take_more(struct kms_guard *g, size_t bytes)
{
	size_t taken = g->taken_bytes;

	if (bytes > g->bytes - taken || !open_map(g, taken + bytes) ||
	    g->ops->extend((void *)(g->base + taken), bytes) < 0)
		return false;
	/* pairs with kms_guard_slot_of: the map is open that far */
	__atomic_store_n(&g->taken_bytes, taken + bytes, __ATOMIC_RELEASE);
	return true;
}

/* Takes in so much of the reservation that @bytes more can be carved. */
static bool take_in(struct kms_guard *g, size_t bytes)
{
	size_t need = g->carved_bytes + bytes;

	if (need <= g->taken_bytes)
		return true;
	need -= g->taken_bytes;
	/* Little memory or a limit: then exactly what is needed. */
	return take_more(g, round_up(need, g->ops->step_bytes)) || take_more(g, need);
}

/* The checks of a pool's blocks: its cache says whether they have the manual's header. */
static uint32_t pool_checks(const struct kms_heap *heap, uint32_t cache_index)
{
	bool kmem = heap->cache[cache_index]->kind == KMS_CACHE_KMEM ||
		    cache_index == heap->large_kmem_cache;

	return KMS_CHECK_SIZE | KMS_CHECK_REDZONE | KMS_CHECK_GUARD |
	       (kmem ? (uint32_t)KMS_CHECK_HEADER : 0);
}

static void span_fill(struct kms_heap *heap, struct kms_span *span,
		      const struct kms_guard_pool *pool, uintptr_t base, uint32_t count)
{
	span->base = base;
	span->pages = (uint32_t)(((uint64_t)count * pool->stride_bytes) >> KMS_PAGE_SHIFT);
	span->count = count;
	span->stride_bytes = pool->stride_bytes;
	span->usable_bytes = pool->stride_bytes - KMS_PAGE_BYTES;
	span->cache = (uint16_t)pool->cache_index;
	span->checks = (uint8_t)pool_checks(heap, pool->cache_index);
	span->reserved = pool->align_bytes;
	span->epoch = heap->check_epoch;
	/* pairs with readers from outside: the fields are there before the state */
	__atomic_store_n(&span->state, KMS_SPAN_GUARD, __ATOMIC_RELEASE);
}

static void map_run(struct kms_guard *g, struct kms_guard_run *run, size_t bytes)
{
	size_t first = (run->span->base - g->base) >> KMS_GUARD_GRANULE_SHIFT;

	for (size_t i = 0; i < bytes >> KMS_GUARD_GRANULE_SHIFT; i++)
		/* pairs with kms_guard_slot_of: the run is complete */
		__atomic_store_n(&g->map[first + i], run, __ATOMIC_RELEASE);
}

static void slots_fill(struct kms_guard_run *run, struct kms_side *side)
{
	const struct kms_guard_pool *pool = run->pool;

	for (uint32_t i = 0; i < run->span->count; i++) {
		run->slot[i] = (struct kms_guard_slot){
			.run = run,
			.side = &side[i],
			.data_end = (uintptr_t)run->span->base +
				    (uintptr_t)(i + 1) * pool->stride_bytes - KMS_PAGE_BYTES,
			.align_shift = (uint8_t)__builtin_ctz(pool->align_bytes),
			.header_bytes = run->span->checks & KMS_CHECK_HEADER ? KMS_HEADER_BYTES : 0,
		};
	}
}

/* The run's structures in one piece; its slots are cache lines. */
static struct kms_guard_run *run_memory(struct kms_heap *heap, uint32_t count)
{
	size_t slots = count * sizeof(struct kms_guard_slot);
	struct kms_guard_run *run = kms_meta_alloc(heap, sizeof(*run) + LINE_BYTES + slots +
								 count * sizeof(struct kms_side));

	if (run)
		run->slot = (struct kms_guard_slot *)round_up((uintptr_t)(run + 1), LINE_BYTES);
	return run;
}

/* Cuts @bytes, a multiple of the granule, off the reservation. */
static struct kms_guard_run *run_create(struct kms_heap *heap, struct kms_guard *g,
					struct kms_guard_pool *pool, size_t bytes)
{
	uint32_t count = (uint32_t)(bytes / pool->stride_bytes);
	struct kms_guard_run *run;
	struct kms_span *span;

	if (!take_in(g, bytes))
		return NULL;
	span = kms_arena_span_get(heap);
	if (!span)
		return NULL;
	run = run_memory(heap, count);
	if (!run) {
		kms_arena_span_put(heap, span);
		return NULL;
	}
	run->span = span;
	run->pool = pool;
	run->end = g->base + g->carved_bytes + bytes;
	span->side_address = (uintptr_t)&run->slot[count];
	span_fill(heap, span, pool, g->base + g->carved_bytes, count);
	slots_fill(run, (struct kms_side *)&run->slot[count]);
	map_run(g, run, bytes);
	g->carved_bytes += bytes;
	run->next = g->runs;
	/* pairs with kms_guard_verify: the run is complete */
	__atomic_store_n(&g->runs, run, __ATOMIC_RELEASE);
	pool->runs++;
	return run;
}

/* Runs grow with their pool, from 512 KiB to 8 MiB, and hold a whole number of slots. */
static struct kms_guard_run *run_next(struct kms_heap *heap, struct kms_guard *g,
				      struct kms_guard_pool *pool)
{
	unsigned doublings =
		pool->runs < KMS_GUARD_RUN_DOUBLINGS ? pool->runs : KMS_GUARD_RUN_DOUBLINGS;
	size_t count = ((size_t)KMS_GUARD_RUN_BYTES << doublings) / pool->stride_bytes;

	count += !count;
	return run_create(heap, g, pool, round_up(count * pool->stride_bytes, GRANULE_BYTES));
}

static struct kms_guard_pool *pool_find(struct kms_heap *heap, struct kms_guard *g,
					const struct kms_guard_plan *plan)
{
	struct kms_guard_pool *pool = g->pool[plan->cache_index];

	for (; pool; pool = pool->next) {
		if (pool->stride_bytes == plan->stride_bytes &&
		    pool->align_bytes == plan->align_bytes)
			return pool;
	}
	pool = kms_meta_alloc(heap, sizeof(*pool));
	if (!pool)
		return NULL;
	pool->cache_index = plan->cache_index;
	pool->stride_bytes = plan->stride_bytes;
	pool->align_bytes = plan->align_bytes;
	pool->next = g->pool[plan->cache_index];
	g->pool[plan->cache_index] = pool;
	return pool;
}

static struct kms_guard_slot *take_free(struct kms_guard_pool *pool)
{
	struct kms_guard_slot *slot = pool->free_first;

	if (!slot)
		return NULL;
	pool->free_first = slot->next;
	if (!slot->next)
		pool->free_last = NULL;
	return slot;
}

static struct kms_guard_slot *take_fresh(struct kms_heap *heap, struct kms_guard *g,
					 struct kms_guard_pool *pool)
{
	struct kms_guard_slot *slot;
	struct kms_guard_run *run;

	if (!pool->fresh)
		pool->fresh = run_next(heap, g, pool);
	if (!pool->fresh)
		return NULL;
	run = pool->fresh;
	slot = &run->slot[run->used];
	__atomic_store_n(&run->used, run->used + 1, __ATOMIC_RELEASE);
	if (run->used == run->span->count)
		pool->fresh = NULL;
	return slot;
}

struct kms_guard_slot *kms_guard_slot_take(struct kms_heap *heap, struct kms_guard *g,
					   const struct kms_guard_plan *plan)
{
	struct kms_guard_pool *pool = pool_find(heap, g, plan);
	struct kms_guard_slot *slot;

	if (!pool)
		return NULL;
	slot = take_free(pool);
	if (!slot)
		slot = take_fresh(heap, g, pool);
	if (slot) {
		slot->where = KMS_GUARD_OWNED;
		slot->fault = 0;
		slot->retries = 0;
	}
	return slot;
}

void kms_guard_slot_put(struct kms_guard_slot *slot)
{
	struct kms_guard_pool *pool = slot->run->pool;

	slot->where = KMS_GUARD_FREE;
	slot->next = NULL;
	if (pool->free_last)
		pool->free_last->next = slot;
	else
		pool->free_first = slot;
	pool->free_last = slot;
}

bool kms_guard_fence(struct kms_heap *heap, struct kms_guard *g)
{
	const struct kms_guard_plan plan = {
		.cache_index = 0,
		.align_bytes = KMS_MALLOC_ALIGN,
		.stride_bytes = GRANULE_BYTES,
	};
	struct kms_guard_pool *pool = pool_find(heap, g, &plan);

	return pool && run_create(heap, g, pool, GRANULE_BYTES);
}

/* The run that holds an address. Lock-free. */
static struct kms_guard_run *run_of(const struct kms_guard *g, uintptr_t p)
{
	uintptr_t offset = p - g->base;

	/* pairs with take_more: the map is open that far */
	if (offset >= __atomic_load_n(&g->taken_bytes, __ATOMIC_ACQUIRE))
		return NULL;
	/* pairs with map_run: the run is complete */
	return __atomic_load_n(&g->map[offset >> KMS_GUARD_GRANULE_SHIFT], __ATOMIC_ACQUIRE);
}

struct kms_guard_slot *kms_guard_slot_of(const struct kms_guard *g, uintptr_t p)
{
	struct kms_guard_run *run = run_of(g, p);
	uint64_t index;

	if (!run)
		return NULL;
	index = (p - run->span->base) / run->span->stride_bytes;
	return &run->slot[index < run->span->count ? index : run->span->count - 1];
}

struct kms_guard_slot *kms_guard_slot_before(const struct kms_guard *g,
					     const struct kms_guard_slot *slot)
{
	return kms_guard_slot_of(g, kms_guard_slot_start(slot) - 1);
}

struct kms_guard_slot *kms_guard_slot_after(const struct kms_guard *g,
					    const struct kms_guard_slot *slot)
{
	return kms_guard_slot_of(g, kms_guard_slot_end(slot));
}
