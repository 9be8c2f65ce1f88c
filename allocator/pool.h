/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pool_cache(9): object caches with constructors. A pool is a kms_cache of kind KMS_CACHE_POOL with
 * what its owner said about it. The essay is pool.md.
 *
 * An object is raw (in its slab), parked (constructed, in a magazine or the depot) or live. Only
 * parked objects are in magazines, so a switch of checks leaves them where they are: whoever takes
 * one of an older check set destructs it and takes another.
 *
 * Constructors and destructors run between kms_leave and kms_enter, without any allocator lock.
 */
#ifndef KMS_ALLOCATOR_POOL_H
#define KMS_ALLOCATOR_POOL_H

#include "allocator/alloc.h"

struct kms_slab_news;

enum kms_pool_limits {
	KMS_POOL_GROUP = 15,       /* objects of a magazine */
	KMS_POOL_LARGE_GROUP = 63, /* with PR_LARGECACHE */
	KMS_POOL_MAX_BYTES = 16 << 20,
	KMS_POOL_MAX_ALIGN = 32 << 10,
};

/** What the owner of a pool asks for. */
struct kms_pool_plan {
	size_t size;
	unsigned align; /* 0: KMS_KMEM_ALIGN */
	unsigned align_offset;
	int flags; /* PR_* */
	const char *name;
	int ipl;
	int (*constructor)(void *arg, void *object, int flags);
	void (*destructor)(void *arg, void *object);
	void *arg;
};

/** A pool; what pool_cache_t points to. Never given back: a destroyed one serves the next like it. */
struct pool_cache {
	struct kms_cache *cache;
	struct pool_cache *next; /* of heap.dead_pools */
	uint32_t alive;
	/* constant while alive */
	int flags, ipl;
	int (*constructor)(void *arg, void *object, int flags);
	void (*destructor)(void *arg, void *object);
	void *arg;
	/* under cache->lock */
	uint32_t out;        /* objects that are not in slabs */
	uint32_t limit;      /* of @out, UINT32_MAX none */
	const char *warning; /* printed when the limit is met, or NULL */
	uint64_t warning_ns; /* not oftener than this */
	uint64_t warned_ns;  /* last time */
	/* atomic */
	uint32_t guarded; /* live guarded objects */
	uint32_t waiters; /* that met the limit */
	uint32_t
		put_word; /* futex: changes with each object that comes back while somebody waits */
};

static inline bool kms_pool_constructs(const struct pool_cache *pool)
{
	return pool->constructor || pool->destructor;
}

/* pool.c: what programs do with objects. All between kms_enter and kms_leave. */

/** pool_cache_get: @flags PR_WAITOK or PR_NOWAIT, and PR_LIMITFAIL. */
void *kms_pool_get(struct kms_local *t, struct pool_cache *pool, int flags,
		   struct kms_request_info *info);

/** pool_cache_put, or with @to_slab pool_cache_destruct_object. */
void kms_pool_put(struct kms_local *t, struct pool_cache *pool, void *object, bool to_slab,
		  struct kms_request_info *info);

/** Destructs a parked object and gives its block back to the slab. */
void kms_pool_retire(struct kms_local *t, struct pool_cache *pool, const struct kms_round *round);

/** Is this a pool that lives? If not, that is a finding about @pool. */
bool kms_pool_alive(struct kms_local *t, const struct pool_cache *pool,
		    const struct kms_request_info *info);

/** A finding about a pool: "WHO: [NAME] " and @what as its text, @address as its address. */
void kms_pool_raise(struct kms_local *t, const struct pool_cache *pool,
		    const struct kms_finding *finding, const char *who, const char *what);

/* pool_bin.c: parked objects. */

/** A parked object: of this thread, else of the depot. */
bool kms_pool_bin_take(struct kms_local *t, struct kms_cache *cache, struct kms_round *round);

/** Parks an object with this thread. False without memory for a magazine. */
bool kms_pool_bin_give(struct kms_local *t, struct kms_cache *cache, const struct kms_round *round);

/** What this thread has parked goes to the depot. */
void kms_pool_bin_empty(struct kms_local *t, struct kms_cache *cache);

/** What any thread has parked goes to the depot. Takes control_lock. */
void kms_pool_collect(struct kms_heap *heap, struct kms_cache *cache);

/** All magazines of the depot, linked by next. */
struct kms_magazine *kms_pool_depot_take(struct kms_cache *cache);

/* pool_slab.c: raw objects. */

enum kms_pool_taken {
	KMS_POOL_TAKEN = 0,
	KMS_POOL_LIMIT = 1,  /* the hard limit is met */
	KMS_POOL_MEMORY = 2, /* no memory */
};

/** A raw object of today's check set, out of its slab. */
enum kms_pool_taken kms_pool_raw_take(struct kms_local *t, struct pool_cache *pool,
				      struct kms_round *round);

/** Gives a raw object back to its slab and wakes who waits for one. */
void kms_pool_raw_put(struct kms_local *t, struct pool_cache *pool, const struct kms_round *round);

/* pool_life.c: what programs do with pools. */

/** pool_cache_init. NULL without memory or a place in the table of caches, or if @plan is wrong. */
struct pool_cache *kms_pool_create(struct kms_local *t, const struct kms_pool_plan *plan,
				   struct kms_request_info *info);

/** pool_cache_destroy: false, and a finding, if objects are live; the pool stays as it was then. */
bool kms_pool_destroy(struct kms_local *t, struct pool_cache *pool, struct kms_request_info *info);

/** pool_cache_invalidate: destructs what is parked, with any thread. */
void kms_pool_invalidate(struct kms_local *t, struct pool_cache *pool);

/** pool_cache_reclaim: the same, and slabs that stood empty long enough go. True: pages went. */
bool kms_pool_reclaim(struct kms_local *t, struct pool_cache *pool);

/** A number of objects that a pool is to keep to. */
struct kms_pool_mark {
	uint32_t objects;
	/* of the limit: printed when it is reached, every so many seconds at most; NULL: nothing */
	const char *warning;
	uint32_t warning_s;
};

/** pool_cache_setlowat, _sethiwat and _sethardlimit. */
typedef void kms_pool_set(struct kms_local *t, struct pool_cache *pool,
			  const struct kms_pool_mark *mark);
kms_pool_set kms_pool_set_low, kms_pool_set_high, kms_pool_set_limit;

#endif
