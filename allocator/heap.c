/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/heap.h"

#include "allocator/control.h"
#include "allocator/guard.h"
#include "allocator/large.h"
#include "allocator/port.h"
#include "allocator/region.h"
#include "allocator/text.h"
#include "allocator/umem.h"

static struct kms_cache *cache_make(struct kms_heap *heap, const char *prefix, uint32_t number,
				    struct kms_cache_plan plan)
{
	struct kms_text name = {0};

	kms_text_add(&name, prefix);
	if (number)
		kms_text_number(&name, number, 10, 1);
	plan.name = name.buffer;
	return kms_cache_create(heap, &plan);
}

static bool malloc_caches(struct kms_heap *heap)
{
	for (unsigned cls = 0; cls < KMS_MALLOC_CLASSES; cls++) {
		uint32_t bytes = kms_malloc_class_bytes(cls);
		struct kms_cache *cache =
			cache_make(heap, "malloc-", bytes,
				   (struct kms_cache_plan){
					   .object_bytes = bytes,
					   .stride_bytes = bytes,
					   .align_bytes = KMS_MALLOC_ALIGN,
					   .kind = KMS_CACHE_MALLOC,
					   .checks_mask = KMS_CHECK_SIZE | KMS_CHECK_REDZONE |
							  KMS_CHECK_POISON,
				   });

		/* The hot path takes the class for the cache's index. */
		if (!cache || cache->index != cls)
			return false;
	}
	return true;
}

static bool kmem_caches(struct kms_heap *heap)
{
	static const uint32_t sizes[KMS_KMEM_CLASSES] = KMS_KMEM_SIZES;
	unsigned step = 0;

	for (unsigned i = 0; i < KMS_KMEM_CLASSES; i++) {
		struct kms_cache *cache =
			cache_make(heap, "kmem-", sizes[i],
				   (struct kms_cache_plan){
					   .object_bytes = sizes[i],
					   .stride_bytes = sizes[i],
					   .align_bytes = sizes[i] % 64 ? KMS_KMEM_ALIGN : 64,
					   .kind = KMS_CACHE_KMEM,
					   .checks_mask = UINT32_MAX,
				   });

		if (!cache)
			return false;
		for (; step <= sizes[i] / KMS_KMEM_ALIGN; step++)
			heap->kmem_cache[step] = (uint8_t)cache->index;
	}
	return true;
}

static bool large_caches(struct kms_heap *heap)
{
	const struct kms_cache_plan plan = {.kind = KMS_CACHE_LARGE,
					    .stride_bytes = KMS_PAGE_BYTES};
	struct kms_cache *for_malloc = cache_make(heap, "malloc-large", 0, plan);
	struct kms_cache *for_kmem = cache_make(heap, "kmem-large", 0, plan);

	if (!for_malloc || !for_kmem)
		return false;
	heap->large_malloc_cache = for_malloc->index;
	heap->large_kmem_cache = for_kmem->index;
	return true;
}

struct kms_cache *kms_heap_aligned_cache(struct kms_heap *heap, unsigned align_shift,
					 unsigned stride_shift)
{
	uint8_t *place = &heap->aligned_cache[align_shift][stride_shift];
	struct kms_text prefix = {0};
	struct kms_cache *cache;

	if (__atomic_load_n(place, __ATOMIC_ACQUIRE))
		return heap->cache[*place];
	kms_port_lock(&heap->control_lock);
	if (!*place) {
		kms_text_add(&prefix, "malloc-a");
		kms_text_number(&prefix, 1u << align_shift, 10, 1);
		kms_text_add(&prefix, "-");
		cache = cache_make(heap, prefix.buffer, 1u << stride_shift,
				   (struct kms_cache_plan){
					   .object_bytes = 1u << stride_shift,
					   .stride_bytes = 1u << stride_shift,
					   .align_bytes = 1u << align_shift,
					   .kind = KMS_CACHE_MALLOC,
					   .checks_mask = KMS_CHECK_SIZE | KMS_CHECK_REDZONE |
							  KMS_CHECK_POISON,
				   });
		if (cache)
			__atomic_store_n(place, (uint8_t)cache->index, __ATOMIC_RELEASE);
	}
	kms_port_unlock(&heap->control_lock);
	return *place ? heap->cache[*place] : NULL;
}

bool kms_heap_init(struct kms_heap *heap)
{
	if (!kms_arena_init(heap))
		return false;
	if (!heap->alone_attention)
		heap->alone_attention = &heap->no_attention;
	heap->check_epoch = 1;
	heap->checks = kms_control_checks(heap);
	/* a slot that was claimed before there was an arena */
	if (heap->slot) {
		heap->slot->span_table_address = (uintptr_t)heap->arena.span;
		heap->slot->span_table_entries = heap->arena.span_limit;
	}
	heap->gone = kms_meta_alloc(heap, KMS_GONE_ENTRIES * sizeof(*heap->gone));
	return heap->gone && malloc_caches(heap) && kmem_caches(heap) && large_caches(heap);
}

enum {
	LOCK_SLICE_NS = 1000 * 1000,
	LOCKS_BESIDE_CACHES = 6, /* mending, control, guard, ddi_umem, arena, meta */
};

/* NULL is no lock. */
static bool lock_until(uint32_t *lock, uint64_t until_ns)
{
	if (!lock || kms_port_trylock(lock))
		return true;
	if (until_ns == UINT64_MAX) {
		kms_port_lock(lock);
		return true;
	}
	do {
		if (kms_port_now_ns() >= until_ns)
			return false;
		kms_port_wait(lock, __atomic_load_n(lock, __ATOMIC_RELAXED), LOCK_SLICE_NS);
	} while (!kms_port_trylock(lock));
	return true;
}

static void unlock(uint32_t *lock)
{
	if (lock)
		kms_port_unlock(lock);
}

/* The n-th of all locks, in their order; NULL: there is none in this place. */
static uint32_t *lock_at(struct kms_heap *heap, uint32_t n)
{
	uint32_t last = heap->n_caches;

	if (n == 0)
		return &heap->mend_lock;
	if (n == 1)
		return &heap->control_lock;
	n -= 2;
	if (n < last)
		return heap->cache[n] ? &heap->cache[n]->lock : NULL;
	if (n == last)
		return kms_guard_lock_word(heap);
	if (n == last + 1)
		return kms_umem_lock_word(heap);
	return n == last + 2 ? &heap->arena_lock : &heap->meta_lock;
}

static void unlock_first(struct kms_heap *heap, uint32_t n)
{
	while (n-- > 0)
		unlock(lock_at(heap, n));
}

/* Only who has control_lock, the second, makes caches and the guard: the others are counted under it. */
bool kms_heap_lock_all(struct kms_heap *heap, uint64_t until_ns)
{
	for (uint32_t n = 0; n < heap->n_caches + LOCKS_BESIDE_CACHES; n++) {
		if (!lock_until(lock_at(heap, n), until_ns)) {
			unlock_first(heap, n);
			return false;
		}
	}
	return true;
}

void kms_heap_unlock_all(struct kms_heap *heap)
{
	unlock_first(heap, heap->n_caches + LOCKS_BESIDE_CACHES);
}

void kms_heap_remember_free(struct kms_heap *heap, const struct kms_gone *gone)
{
	uint32_t n = __atomic_fetch_add(&heap->gone_next, 1, __ATOMIC_RELAXED);

	heap->gone[n % KMS_GONE_ENTRIES] = *gone;
}

const struct kms_gone *kms_heap_gone(const struct kms_heap *heap, uintptr_t block)
{
	for (uint32_t i = 1; block && i <= KMS_GONE_ENTRIES; i++) {
		const struct kms_gone *gone = &heap->gone[(heap->gone_next - i) % KMS_GONE_ENTRIES];

		if (gone->block == block)
			return gone;
	}
	return NULL;
}

bool kms_heap_old_live(struct kms_heap *heap, const struct kms_found *found, void *p)
{
	if (found->span->checks)
		return found->side->state == KMS_BLOCK_LIVE;
	return found->side->state != KMS_BLOCK_FREE &&
	       !kms_cache_in_slab(heap->cache[found->span->cache], found->span, p);
}

/*
 * Of a slab without checks the side table is kept only from here on, where its blocks have no next
 * owner: it tells a second free. The trace gets all that is known of the size.
 */
static void free_unchecked(struct kms_local *t, const struct kms_found *found, void *p,
			   uint32_t node, uint32_t attrs)
{
	/* A local behind the times may come to a slab newer than its own checks. */
	if ((int32_t)(t->check_epoch - found->span->epoch) <= 0)
		return;
	kms_side_set_head(found->side, found->span->usable_bytes, 0);
	kms_side_free(t, found->side, (uintptr_t)p, node, attrs);
}

void kms_heap_free_old(struct kms_local *t, const struct kms_found *found, void *p, uint32_t node,
		       uint32_t attrs)
{
	struct kms_cache *cache = t->heap->cache[found->span->cache];
	struct kms_side *side = found->side;
	uint64_t size = found->span->checks ? side->size_bytes : 0;

	/* as by every free into such a slab: verify looks at it there */
	if (found->span->checks & KMS_CHECK_POISON)
		kms_pattern_fill(p, found->span->usable_bytes - KMS_REDZONE_BYTES);
	if (found->span->checks)
		kms_side_free(t, side, (uintptr_t)p, node, found->span->checks | attrs);
	else
		free_unchecked(t, found, p, node, attrs);
	t->counter[cache->index].frees++;
	t->counter[cache->index].free_bytes += size;
	kms_cache_free_to_slab(t, cache, p);
}
