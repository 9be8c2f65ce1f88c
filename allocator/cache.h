/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Object caches after Bonwick: slabs below, a depot of full magazines between, two magazines a
 * thread on top. A slab has one check set, fixed when it is made; a switch of checks (a new epoch)
 * leaves old slabs to be freed into only.
 */
#ifndef KMS_ALLOCATOR_CACHE_H
#define KMS_ALLOCATOR_CACHE_H

#include "allocator/impl.h"

struct kms_slab_news;

/** KMS_ATTR_KMEM for events of a cache of the kmem(9) front, else 0. */
static inline uint32_t kms_front_attr(const struct kms_cache *cache)
{
	bool is_front = cache->kind == KMS_CACHE_KMEM || cache->kind == KMS_CACHE_LARGE;

	return is_front && cache->name[0] == 'k' ? KMS_ATTR_KMEM : 0;
}

struct kms_cache_plan {
	const char *name;
	uint32_t object_bytes; /* largest request without checks */
	uint32_t stride_bytes;
	uint32_t align_bytes;
	uint32_t kind; /* enum kms_cache_kind */
	uint32_t checks_mask;
	uint32_t slab_pages;      /* 0: chosen */
	uint32_t magazine_rounds; /* 0: chosen */
	struct pool_cache *pool;  /* the pool it serves, or NULL */
	bool own_calls;           /* neither kmem_free nor free gives its blocks back */
};

/** Points the cache at its figures in the current process slot (again after a fork). */
void kms_cache_bind_stat(struct kms_heap *heap, struct kms_cache *cache);

/** The same in a forked child, which begins with the parent's figures. */
void kms_cache_fork_stat(struct kms_heap *heap, struct kms_cache *cache);

/** In a new region: its figures and its entry. Locks: cache.lock */
void kms_cache_move(struct kms_heap *heap, struct kms_cache *cache);

/**
 * Makes a cache and its entry in the shared region. NULL without memory or places. Needs control_lock,
 * or nobody else knows the heap yet.
 */
struct kms_cache *kms_cache_create(struct kms_heap *heap, const struct kms_cache_plan *plan);

/**
 * Loads the local's bin: previous magazine, depot, then slabs. After true bin->top > bin->bottom.
 * False without memory, or if the local's checks are no more in force (kms_local_catch_up).
 * Locks: takes cache.lock; may emit slab events, so no allocator lock may be held.
 */
bool kms_cache_refill(struct kms_local *local, struct kms_cache *cache);

/** Makes room in the local's bin for one round. False without memory: free into the slab instead. */
bool kms_cache_make_room(struct kms_local *local, struct kms_cache *cache);

/**
 * After a switch of checks: slabs of before are only freed into, those without a block in use go.
 * Needs cache.lock, and lets go of it where @news has no room.
 */
void kms_cache_renew_slabs(struct kms_local *local, struct kms_cache *cache,
			   struct kms_slab_news *news);

/** Puts one block straight back into its slab. */
void kms_cache_free_to_slab(struct kms_local *local, struct kms_cache *cache, void *block);

/** Does the slab hold the block that begins at @block for free? */
bool kms_cache_in_slab(struct kms_cache *cache, const struct kms_span *span, const void *block);

/** Gives the magazines of a local back to the depot. */
void kms_cache_flush_local(struct kms_local *local);

/** First call of a local after a switch of checks: its magazines and the depot go back to slabs. */
void kms_cache_new_epoch(struct kms_local *local);

#endif
