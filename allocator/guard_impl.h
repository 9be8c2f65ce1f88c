/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Private structures of the guard.
 *
 * A slot is a run of pages for one block: data pages, then a page that is never opened. A block
 * ends at the end of the data pages; those that it does not reach stay closed. Slots of one size,
 * one alignment and one cache make a pool; a run is a piece of the reservation cut into slots of
 * one pool, described by a span for readers from outside.
 *
 * Life of a slot (@where): fresh -> owned (being allocated, live, being freed) -> fifo -> leaving
 * -> free -> owned. What a block is for the program stands in its side table entry.
 */
#ifndef KMS_ALLOCATOR_GUARD_IMPL_H
#define KMS_ALLOCATOR_GUARD_IMPL_H

#include "allocator/guard.h"
#include "allocator/guard_port.h"
#include "allocator/heap.h"

enum kms_guard_limits {
	KMS_GUARD_DEPTH_UNIT = 512,
	KMS_GUARD_DRAIN = 32,              /* evictions per call */
	KMS_GUARD_FRONT_BYTES = 32,        /* pattern before a block, as far as its page goes */
	KMS_GUARD_SLOT_BYTES = 16 << 20,   /* largest slot */
	KMS_GUARD_ALIGN_BYTES = 64 << 10,  /* largest alignment */
	KMS_GUARD_GRANULE_SHIFT = 16,      /* runs begin and end at multiples of 64 KiB */
	KMS_GUARD_EXTENT_BYTES = 64 << 20, /* alignment and least size of the reservation */
	KMS_GUARD_RUN_BYTES = 512 << 10,   /* first run of a pool; later ones grow to 8 MiB */
	KMS_GUARD_RUN_DOUBLINGS = 4,
	KMS_GUARD_MAPS_EVERY = 1 << 14, /* guarded frees between looks at the map entries */
};

enum kms_guard_where {
	KMS_GUARD_OWNED = 0, /* fresh ones too */
	KMS_GUARD_FIFO = 1,
	KMS_GUARD_LEAVING = 2,
	KMS_GUARD_FREE = 3,
};

struct kms_guard_run;

/**
 * Private state of a slot, a cache line: with its side table entry all that a call touches. Guarded
 * by the guard's lock if not said.
 */
struct kms_guard_slot {
	struct kms_guard_slot *next; /* in the FIFO, its pool's free list, a list of evicted ones */
	/* constant */
	struct kms_guard_run *run;
	struct kms_side *side;
	uintptr_t data_end; /* end of the data pages: start of the page that is never opened */
	uint8_t align_shift;
	uint8_t header_bytes; /* before each block: KMS_HEADER_BYTES for kmem, else 0 */
	/* variable */
	uint8_t where; /* enum kms_guard_where */
	uint8_t dirty; /* pages were opened after a trap: close the whole slot before it is used */
	uint8_t retries; /* traps inside of this live block */
	uint8_t fault_kind;
	uint32_t fault;   /* index + 1 of the finding about this owner, 0 none */
	uint32_t pin;     /* atomic: somebody reads the block; a free waits */
	uint64_t free_ns; /* of its last free, monotonic clock */
	uint64_t free_nr; /* its number among all guarded frees */
};

_Static_assert(sizeof(struct kms_guard_slot) <= 64, "a slot is a cache line");

struct kms_guard_pool;

/** A run; constant once it is in the map, but for @used. */
struct kms_guard_run {
	struct kms_span *span;
	struct kms_guard_pool *pool;
	struct kms_guard_run *next;  /* all runs; constant */
	uintptr_t end;               /* of its part of the reservation */
	uint32_t used;               /* slots ever handed out; atomic */
	uint32_t told;               /* its slab event was written; atomic */
	struct kms_guard_slot *slot; /* span->count */
};

/** Slots that can take each other's place. Guarded by the guard's lock. */
struct kms_guard_pool {
	struct kms_guard_pool *next;                   /* of the same cache */
	struct kms_guard_slot *free_first, *free_last; /* the longest free is reused first */
	struct kms_guard_run *fresh;                   /* has slots never used, or NULL */
	uint32_t cache_index;
	uint32_t stride_bytes;
	uint32_t align_bytes;
	uint32_t runs;
};

struct kms_guard {
	uint32_t lock;
	uint32_t over; /* atomic: the FIFO holds more than it may */
	const struct kms_guard_ops *ops;
	/* constant */
	uintptr_t base;
	size_t bytes;
	struct kms_guard_run **map; /* by granule; set once, atomic */
	/* under the lock, if not said */
	size_t taken_bytes;         /* of the reservation, known to the back end; atomic */
	size_t carved_bytes;        /* of those, in runs */
	size_t map_bytes;           /* of the map, opened */
	struct kms_guard_run *runs; /* atomic */
	struct kms_guard_pool *pool[KMS_MAX_CACHES];
	struct kms_guard_slot *fifo_first, *fifo_last;
	struct kms_guard_slot *late; /* atomic: freed by calls that could not take the lock */
	uint64_t depth;
	uint64_t byte_limit;
	uint64_t refused_nr;          /* number of the free at which a block was last refused */
	uint64_t unguarded;           /* atomic; master of the figure */
	struct kms_guard_stat figure; /* master copy of the slot's */
};

/** What a request needs. */
struct kms_guard_plan {
	uint32_t cache_index;
	uint32_t align_bytes;
	uint32_t stride_bytes;
	uint32_t front_bytes; /* that must fit before the block */
};

/* guard_slot.c */

/** Reserves address space. False if there is none. */
bool kms_guard_reserve(struct kms_heap *heap, struct kms_guard *g);

/**
 * A slot for this plan: the longest free, else a fresh one. NULL if neither can be had. Needs the
 * lock.
 */
struct kms_guard_slot *kms_guard_slot_take(struct kms_heap *heap, struct kms_guard *g,
					   const struct kms_guard_plan *plan);

/** Puts a slot at the end of its pool's free list. Needs the lock. */
void kms_guard_slot_put(struct kms_guard_slot *slot);

/** A first run that is never used, so that there is a slot before every other. Needs the lock. */
bool kms_guard_fence(struct kms_heap *heap, struct kms_guard *g);

/** The slot whose pages hold @p; NULL outside of every run. Lock-free. */
struct kms_guard_slot *kms_guard_slot_of(const struct kms_guard *g, uintptr_t p);

/** The neighbours of a slot by address, NULL if there is none. Lock-free. */
struct kms_guard_slot *kms_guard_slot_before(const struct kms_guard *g,
					     const struct kms_guard_slot *slot);
struct kms_guard_slot *kms_guard_slot_after(const struct kms_guard *g,
					    const struct kms_guard_slot *slot);

static inline uint32_t kms_guard_slot_index(const struct kms_guard_slot *slot)
{
	return (uint32_t)(slot - slot->run->slot);
}

static inline uintptr_t kms_guard_slot_start(const struct kms_guard_slot *slot)
{
	const struct kms_span *span = slot->run->span;

	return (uintptr_t)span->base + (uintptr_t)kms_guard_slot_index(slot) * span->stride_bytes;
}

/** End of its pages; what is left over of a run belongs to the last slot. */
static inline uintptr_t kms_guard_slot_end(const struct kms_guard_slot *slot)
{
	if (kms_guard_slot_index(slot) + 1 == slot->run->span->count)
		return slot->run->end;
	return slot->data_end + KMS_PAGE_BYTES;
}

/** Where a block of this size lies in the slot: the rule of schema/spans.h. */
static inline uintptr_t kms_guard_block(const struct kms_guard_slot *slot, uint64_t size)
{
	return (slot->data_end - (size + !size)) >> slot->align_shift << slot->align_shift;
}

/** First page that is open for a block at @block. */
static inline uintptr_t kms_guard_open_start(const struct kms_guard_slot *slot, uintptr_t block)
{
	return (block - slot->header_bytes) & ~(uintptr_t)(KMS_PAGE_BYTES - 1);
}

/** Pattern bytes before the block and its header. */
static inline size_t kms_guard_front_bytes(const struct kms_guard_slot *slot, uintptr_t block)
{
	size_t room = block - slot->header_bytes - kms_guard_open_start(slot, block);

	return room < KMS_GUARD_FRONT_BYTES ? room : KMS_GUARD_FRONT_BYTES;
}

/* guard_fifo.c */

/** The limits changed. Needs the lock. */
void kms_guard_limit(struct kms_guard *g);

/** Appends a closed slot. Needs the lock. */
void kms_guard_fifo_push(struct kms_heap *heap, struct kms_guard *g, struct kms_guard_slot *slot);

/** The same without the lock: the slot goes in at the next push. */
void kms_guard_fifo_push_late(struct kms_guard *g, struct kms_guard_slot *slot);

/**
 * Takes up to KMS_GUARD_DRAIN of the oldest slots while the FIFO is over its limits: a list, or
 * NULL. Needs the lock.
 */
struct kms_guard_slot *kms_guard_fifo_evict(struct kms_guard *g);

/** Closes the pages that were opened after a trap. The slot belongs to the caller, or the lock is held. */
void kms_guard_clean(struct kms_guard *g, struct kms_guard_slot *slot);

/** Gives up the lock, tells the ring of evicted slots and gives them to their pools. */
void kms_guard_unlock(struct kms_local *t, struct kms_guard *g, struct kms_guard_slot *evicted);

/** Writes the figures to the process slot. Needs the lock. */
void kms_guard_publish(struct kms_heap *heap, struct kms_guard *g);

/**
 * Counts a block that should have been guarded and is not. Needs the lock.
 * @reason: enum kms_limited_by
 */
void kms_guard_refused(struct kms_guard *g, uint32_t reason);

/* guard_check.c */

/**
 * Writes the pattern around a new block. @block's pages are open.
 */
void kms_guard_fill_zones(const struct kms_guard_slot *slot, uintptr_t block, uint64_t size);

/** Looks at the pattern around a live block; raises what is broken and mends it. */
bool kms_guard_check_zones(struct kms_local *t, const struct kms_guard_slot *slot, uintptr_t block,
			   const struct kms_frame *frame, uint32_t access);

#endif
