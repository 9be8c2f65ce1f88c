/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Slabs: a span of pages cut into blocks of one stride, with a bitmap of the free ones and the side
 * table of all. Nothing of it lies in memory that the program writes.
 *
 * All functions but kms_slab_tell need cache.lock.
 */
#ifndef KMS_ALLOCATOR_SLAB_H
#define KMS_ALLOCATOR_SLAB_H

#include "allocator/impl.h"

enum {
	KMS_SLAB_NEWS = 4,
};

/** Slabs made and released under the lock, to be told to the ring after it. */
struct kms_slab_news {
	unsigned n;

	struct {
		uint64_t base;
		uint32_t pages;
		uint32_t first_bytes; /* 0: released */
		uint32_t stride_bytes;
		bool grown;
	} item[KMS_SLAB_NEWS];
};

/** Fills an empty magazine from slabs, making one if need be. It stays empty without memory. */
void kms_slab_fill(struct kms_heap *heap, struct kms_cache *cache, struct kms_magazine *magazine,
		   struct kms_slab_news *news);

/**
 * One block for a pool, making a slab if need be. False without memory.
 */
bool kms_slab_take(struct kms_heap *heap, struct kms_cache *cache, struct kms_round *round,
		   struct kms_slab_news *news);

/** Makes slabs until cache.low_blocks blocks are free in them, or memory is out. */
void kms_slab_stock(struct kms_heap *heap, struct kms_cache *cache, struct kms_slab_news *news);

/** Takes slabs out of use that have been without an owner since @before_ns; low_blocks stay. */
void kms_slab_trim(struct kms_heap *heap, struct kms_cache *cache, uint64_t before_ns,
		   struct kms_slab_news *news);

/** Where the sum of the parked object at @block is kept; NULL: nowhere. */
uint32_t *kms_slab_sum(const struct kms_span *span, const void *block);

/** Gives a block back to its slab; an all-free slab may give its pages back. */
void kms_slab_put(struct kms_heap *heap, struct kms_cache *cache, void *block,
		  struct kms_slab_news *news);

/** Is the block that begins at @block one of the free ones in its slab? */
bool kms_slab_holds(const struct kms_span *span, const void *block);

/**
 * All slabs of the cache belong to an older check set from now on. Those without a block in use are
 * returned, linked by next, to be released one by one.
 */
struct kms_slab *kms_slab_retire_epoch(struct kms_cache *cache);

/** Gives the pages of a slab without a block in use back. @news has room for one. */
void kms_slab_release(struct kms_heap *heap, struct kms_cache *cache, struct kms_slab *slab,
		      struct kms_slab_news *news);

/** Emits the slab events. No lock held. */
void kms_slab_tell(struct kms_local *local, const struct kms_cache *cache,
		   const struct kms_slab_news *news);

/** Index of the block that contains @p in a slab or guard span, or KMS_NO_INDEX outside of all. */
uint32_t kms_slab_index(const struct kms_span *span, uintptr_t p);

#endif
