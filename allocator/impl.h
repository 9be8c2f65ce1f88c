/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Private structures of the allocator, by layer. The essay is README.md.
 *
 * Lock order, outermost first; a holder of one may take those below it:
 *   1 heap.control_lock   variables, requests, slot, thread list, making caches
 *   - local.pool_lock[]   a thread's magazines of one pool
 *   2 cache.lock          depot and slabs of one cache
 *   3 heap.arena_lock     page runs, spans
 *   4 heap.meta_lock      memory of the allocator's own structures
 * The guard has its own lock (guard.h), taken between 1 and 3; so has ddi_umem (umem.h). heap.mend_lock
 * is taken with none held and none is taken below it. Nobody calls out of the allocator or emits an
 * event with lock 2, 3 or 4 held.
 */
#ifndef KMS_ALLOCATOR_IMPL_H
#define KMS_ALLOCATOR_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/record.h"
#include "schema/region.h"
#include "schema/spans.h"
#include "schema/variables.h"

#define KMS_LIKELY(x)   __builtin_expect(!!(x), 1)
#define KMS_UNLIKELY(x) __builtin_expect(!!(x), 0)

enum kms_impl_limits {
	KMS_PAGE_SHIFT = 12,
	KMS_MAGAZINE_ROUNDS = 64,
	KMS_MALLOC_ALIGN = 16,
	KMS_KMEM_ALIGN = 8,
	KMS_MALLOC_CLASSES = 44,
	KMS_MALLOC_SMALL_BYTES = 1008,   /* requests up to here find their class in a table */
	KMS_MALLOC_SMALL_STEPS = 65,     /* of 16 bytes, redzone included */
	KMS_MALLOC_MAX_BYTES = 64 << 10, /* largest slot of the malloc front; above: pages */
	KMS_KMEM_CLASSES = 24,
	KMS_KMEM_MAX_BYTES = 4096, /* of the largest class */
	KMS_HEADER_BYTES = 8,
	KMS_REDZONE_BYTES = 2,
	KMS_FRONT_BYTES = 16,  /* pattern before the first block of a slab */
	KMS_ALIGN_SHIFTS = 13, /* memalign: 2^0 .. 2^12 from slabs */
	KMS_GONE_ENTRIES = 1024,
	KMS_CACHE_ATTR_SHIFT = 16, /* above the KMS_ATTR_* of a record: its cache + 1 */
	KMS_CACHE_ATTR_MASK = 0x3ff,
	KMS_EXACT_ATTR = 1 << 30, /* the record gets a time of its own */
};

/** A free block on its way to the next owner, with its side table entry. */
struct kms_round {
	void *block;
	struct kms_side *side;
};

/** A magazine: up to cache.magazine_rounds free blocks. */
struct kms_magazine {
	struct kms_magazine *next;
	uint32_t rounds;
	uint32_t reserved;
	struct kms_round round[KMS_MAGAZINE_ROUNDS];
};

/** A thread's two magazines for one cache; the hot end of the allocator. */
struct kms_bin {
	struct kms_round *top;         /* one past the last round of the loaded magazine */
	struct kms_round *bottom;      /* its first; NULL without a magazine */
	struct kms_round *limit;       /* one past its last place */
	struct kms_magazine *previous; /* full, empty or NULL */
};

/** A slab: a span with the bitmap of its free blocks. */
struct kms_slab {
	struct kms_slab *next, *prev; /* in the cache's list that fits its free count and epoch */
	struct kms_slab *spare_next;
	struct kms_span *span;
	struct kms_side *side;
	uint32_t *sum;       /* pools under POISON: of each parked object's contents; else NULL */
	uint64_t idle_ns;    /* pools: when its last block came back */
	uint32_t side_limit; /* entries that @side has room for */
	uint32_t free_count;
	uint32_t words;
	uint32_t first_word; /* no free bit before it */
	bool listed;
	uint64_t free_bits[];
};

/** An object cache: a size class of a front, or a pool_cache(9). Guarded by @lock if not said. */
struct kms_cache {
	uint32_t lock;
	/* constant after creation */
	uint32_t index; /* in heap.cache and in KMS_SEC_CACHE */
	uint32_t object_bytes;
	uint32_t stride_bytes;
	uint32_t align_bytes;
	uint32_t kind; /* enum kms_cache_kind */
	uint32_t slab_pages;
	uint32_t magazine_rounds;
	uint32_t checks_mask; /* checks that fit this kind of cache */
	/* depot */
	struct kms_magazine *full;
	uint32_t full_count;
	uint32_t epoch;  /* check epoch of the depot and of @partial */
	uint32_t checks; /* of that epoch, before the mask */
	/* slabs with free blocks: of this epoch, and of older check sets (only freed into) */
	struct kms_slab *partial;
	struct kms_slab *old;
	struct kms_slab *spare;          /* slab structures without pages, to be used again */
	struct kms_cache_stat *stat;     /* in the shared region */
	struct kms_cache_stat stat_lost; /* used when the region has no place */
	uint32_t low_blocks;     /* free blocks that slabs keep; pools: pool_cache_setlowat */
	uint32_t high_slabs;     /* slabs that may stand empty; pools: pool_cache_sethiwat */
	uint32_t colour;         /* pools: offset of the next slab's first block */
	struct pool_cache *pool; /* NULL: a size class or pages */
	bool own_calls;          /* not for kmem_free and free: a pool, ddi_umem */
	char name[40];
};

/** Writer of one ring; owned by a thread (or a CPU at one level). */
struct kms_ring_writer {
	uint8_t *cursor; /* next byte to write */
	uint8_t *limit;  /* a record begun at or below it fits */
	struct kms_block *block;
	uint64_t last_address;
	const uint32_t *tick; /* low half of the tracer's tick */
	uint32_t tick_seen;
	uint32_t time_countdown; /* records until the next time stamp */
	uint64_t seq;            /* next event's */
	uint64_t block_nr;
	uint64_t lost_pending; /* to be said in the next block */
	uint64_t last_time_ns;
	uint64_t block_first_seq;
	struct kms_ring_desc *desc;
	struct kms_block *blocks;
	uint32_t ring; /* KMS_NO_INDEX: none claimed */
	uint32_t mask;
	uint32_t populated_blocks;
	uint16_t
		mark; /* KMS_SIDE_MARK, or KMS_SIDE_UNRECORDED: what an event leaves in last_ring */
	uint16_t fresh;  /* last_ring of a block without a past: 0, or in later sessions none */
	uint8_t session; /* of recording, schema/record.h */
	uint8_t checks;  /* declared by the last CHECKS record or block header */
	bool no_ring;    /* none was free: count only */
	bool no_memory;  /* there was none for the next block */
	bool distrust;   /* the position was written over, and waiting did not mend it */

	struct {
		uint32_t node;
		uint32_t size;
	} site[KMS_SITE_CACHE_ENTRIES];
};

struct kms_heap;
struct kms_stack;
struct kms_umems;
struct pool_cache; /* pool.h */

/**
 * What belongs to one thread (process) or one CPU (guest). The fields up to @bin are read at each
 * call. Used only by its owner between enter and leave; @busy tells a signal handler or interrupt
 * that it came in between.
 */
struct kms_local {
	const uint32_t *attention; /* shared word; any change sends the next call the slow way */
	const uint32_t *epoch;     /* the same from within the process; 0 in an unknown child */
	uint32_t attention_seen;
	uint32_t epoch_seen;
	uint32_t busy;          /* between enter and leave; a signal handler finds it set */
	uint32_t detour_malloc; /* enum kms_detour: why malloc does not take its shortest way */
	uint32_t detour_free;   /* likewise free */
	uint32_t slab_word;   /* kms_span_word of a slab of the malloc front with today's checks */
	uintptr_t arena_base; /* copies of heap.arena's constants */
	size_t arena_pages;
	const uint32_t *page_span;
	struct kms_span *span;
	uint32_t checks_malloc; /* @checks without what only kmem(9) has */
	uint32_t guard_active;  /* allocations must ask the guard */
	uint32_t trace;         /* 0, 1, 2 as kmem_trace; 0 while nobody can read */
	uint32_t checks;        /* KMS_CHECK_* of new blocks, before a cache's mask */
	uint32_t check_epoch;
	uint32_t extra_malloc_bytes; /* what the checks add to a request of the malloc front */
	uint32_t level;              /* enum kms_level */
	uint32_t locks_held;
	struct kms_counter *counter; /* by cache index */
	struct kms_ring_writer *ring;
	struct kms_stack *stack;
	struct kms_heap *heap;
	struct kms_local *nested; /* for calls that interrupt a call of this thread */
	struct kms_local *next_all;
	uint64_t guard_countdown;
	uint32_t tid;
	uint32_t thread_index;
	uint32_t region_nr;   /* heap.region_nr of the region that its ring and counters lie in */
	uint32_t state;       /* enum kms_local_state */
	uint32_t exit_rounds; /* destructor rounds seen at thread exit */
	uint8_t small_class[KMS_MALLOC_SMALL_STEPS];
	struct kms_bin bin[KMS_MAX_CACHES];
	uint32_t pool_lock[KMS_MAX_CACHES]; /* of a pool's bin, which others may empty (pool.h) */
	uint32_t suspended;                 /* marks of a suspend without its resume */
};

/** Why a call of the malloc front leaves its shortest way, which has the checks but no more. */
enum kms_detour {
	KMS_DETOUR_TRACED = 1,
	KMS_DETOUR_SLOW = 2, /* poison, or guard */
};

enum kms_local_state {
	KMS_LOCAL_FREE = 0,
	KMS_LOCAL_USED = 1,
	KMS_LOCAL_NESTED = 2,
};

/** Page runs: one reservation, opened in extents, described by spans. Guarded by heap.arena_lock. */
struct kms_arena {
	uintptr_t base;
	size_t bytes;
	size_t opened_bytes;
	size_t used_pages;
	uint32_t
		*page_span; /* page number -> span index, 0 none; reserved, opened with the arena */
	struct kms_span *span;
	uint32_t span_count; /* entries handed out; index 0 is never used */
	uint32_t span_open;  /* entries with memory behind them */
	uint32_t span_limit;
	uint32_t free_span; /* list of free span entries through .count */
	uint32_t bins[64];  /* free runs by size: list through .count; see arena.c */
	uint64_t bin_map;
};

/** A large block that was freed and whose pages may be anybody's now. */
struct kms_gone {
	uintptr_t block;
	uint64_t size;
	uint32_t alloc_stack, free_stack;
	uint32_t cache;
};

struct kms_guard;
struct kms_stacks;

/** Checks and the epoch that they belong to. */
struct kms_check_set {
	uint32_t checks;
	uint32_t epoch;
};

/** The heap: one in a process, one in a guest. */
struct kms_heap {
	struct kms_arena arena;
	uint32_t arena_lock;
	uint32_t meta_lock;
	uint32_t control_lock;
	uint32_t mend_lock; /* broken pattern bytes are reported and mended by one at a time */
	uint32_t ready;
	uint8_t *meta_cursor, *meta_end;
	struct kms_magazine *magazine_free; /* recycled magazines */
	void *side_free;                    /* recycled side entries of large blocks */
	struct kms_gone *gone;              /* large blocks freed lately */
	uint32_t gone_next;
	/* shared region */
	struct kms_region_header *region;
	struct kms_section section[KMS_MAX_SECTIONS]; /* by kind, private copy */
	struct kms_slot *slot;
	const struct kms_request *request;
	const struct kms_tracer_page *tracer;
	const struct kms_pair *position;
	uint32_t slot_index;
	uint32_t region_nr; /* how many regions came before: a tracer that came late, or again */
	bool backs; /* the region began as a file: its parts get memory before the first store */
	uint32_t backed_slots;                   /* the first so many slots have memory; atomic */
	uint64_t backed_bytes[KMS_MAX_SECTIONS]; /* so has the begin of these tables; atomic */
	uint64_t start_mono_ns;
	const uint32_t *tick;   /* when to stamp a record; NULL: when the tracer says so */
	uint64_t first_beat_ns; /* how long to stand at the start for a tracer; 0: stop.c's */
	/* control */
	uint64_t variable[KMS_VARIABLE_COUNT];

	union {
		struct {
			uint32_t checks;      /* in force for new slabs */
			uint32_t check_epoch; /* grows at each switch of checks */
		};

		uint64_t check_set; /* both, as they change: kms_heap_check_set */
	};

	uint32_t *epoch;                 /* in memory that is wiped in a forked child; 0 there */
	uint32_t last_epoch;             /* the highest value *epoch had; atomic */
	uint32_t shared;                 /* a tracer can read the region */
	uint32_t session;                /* how often recording was switched on again */
	uint32_t announced;              /* the record of the image's exec is written */
	uint32_t no_attention;           /* stands in for the request page's word */
	const uint32_t *alone_attention; /* that word while nobody can read the region */
	uint64_t acked_seq;
	uint64_t requested[KMS_VARIABLE_COUNT]; /* last request taken up */
	bool was_requested[KMS_VARIABLE_COUNT]; /* there was one */
	uint32_t tracer_pid;                    /* whom we let hold our threads */
	/* standing still (stop.h); atomic words */
	uint32_t stander;  /* the thread that stands at a fault or at the start, 0 none */
	uint32_t standing; /* futex: not 0 while the others wait at their next call */
	uint32_t go_on;    /* kmem_continue was written */
	uint32_t stops;    /* how often somebody stood */
	bool holds_others; /* the port has the others stand, not the tracer */
	bool stops_itself; /* it can: constant; kmem_stop is for us then */
	uint32_t stop_wanted;
	uint64_t nosleep_count;
	uint64_t arena_waiters;
	uint64_t stalled_beat;        /* heartbeat at which somebody gave up waiting */
	uint32_t memory_word;         /* futex: changes when memory came back */
	struct kms_local *all_locals; /* every local ever made */
	uint32_t n_locals;
	/* caches */
	struct kms_cache *cache[KMS_MAX_CACHES];
	uint32_t n_caches;
	uint8_t kmem_cache[KMS_KMEM_MAX_BYTES / KMS_KMEM_ALIGN + 1]; /* by bytes / 8, rounded up */
	uint8_t aligned_cache[KMS_ALIGN_SHIFTS][20]; /* by log2 align, log2 stride; 0 not made */
	uint32_t large_malloc_cache, large_kmem_cache;
	uint32_t own_calls;            /* there are blocks that only their own calls give back */
	struct pool_cache *dead_pools; /* destroyed, through .next; under control_lock */
	struct kms_umems *umems;       /* NULL until the first ddi_umem_alloc (umem.h) */
	struct kms_guard *guard;       /* NULL until the first depth */
	struct kms_stacks *stacks;
};

/** Value of a variable, which a request may change at any time. */
static inline uint64_t kms_variable(const struct kms_heap *heap, unsigned variable)
{
	return __atomic_load_n(&heap->variable[variable], __ATOMIC_RELAXED);
}

static inline void kms_variable_store(struct kms_heap *heap, unsigned variable, uint64_t value)
{
	__atomic_store_n(&heap->variable[variable], value, __ATOMIC_RELAXED);
}

/** The check set in force: never the checks of one epoch with the number of another. */
static inline struct kms_check_set kms_heap_check_set(const struct kms_heap *heap)
{
	/* pairs with checks_changed */
	uint64_t word = __atomic_load_n(&heap->check_set, __ATOMIC_ACQUIRE);
	struct kms_check_set set;

	__builtin_memcpy(&set, &word, sizeof(set));
	return set;
}

#endif
