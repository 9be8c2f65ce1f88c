/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Side tables: the state of every block, kept by the allocator in the target's private memory (a
 * forked child must not touch its parent's) and read from outside: base scan, occupancy, whatis,
 * findleaks, guests. kms_slot.span_table_address and _entries say where the span table is.
 *
 * Freestanding: needs <stdint.h> only.
 */
#ifndef KMS_SCHEMA_SPANS_H
#define KMS_SCHEMA_SPANS_H

#include "schema/region.h"

enum kms_block_state {
	KMS_BLOCK_NEVER = 0, /* no owner since the slab was made */
	KMS_BLOCK_LIVE = 1,
	KMS_BLOCK_FREE = 2,
	KMS_BLOCK_CACHED = 3,     /* free, constructed, in a magazine or the depot */
	KMS_BLOCK_QUARANTINE = 4, /* in the guard FIFO */
	KMS_BLOCK_SPENT = 5,      /* guard block that was hit and reported */
};

/**
 * State of one block. @generation grows by one at each alloc and free; @last_ring is the ring
 * (KMS_SIDE_MARK) that wrote its last record, KMS_SIDE_UNRECORDED if its last event was not recorded
 * (trace off, or no event since the slab was made). A record carries the generation when last_ring
 * is not the writer's. While nothing is recorded the generation is not kept: an entry with
 * KMS_SIDE_UNRECORDED may begin again anywhere. A new slab begins at generation 0, so an alloc with generation 1 of an
 * address that is not live is the first of a new slab. Sizes of 4 GiB and more: UINT32_MAX here and
 * kms_span.large_bytes.
 */
#define KMS_SIDE_UNRECORDED 0xffffu

/** last_ring of an event of a ring in a session of recording: an older session's is never the same. */
#define KMS_SIDE_MARK(ring, session) ((uint16_t)(((ring) + 1) | ((session)&15u) << 11))

struct kms_side {
	uint32_t size_bytes;
	uint32_t alloc_stack;
	uint32_t free_stack;
	uint8_t state; /* enum kms_block_state */
	uint8_t generation;
	uint16_t last_ring;
};

/**
 * In kms_span.checks beside the KMS_CHECK_*: blocks that only their own calls give back (pool_cache(9),
 * ddi_umem), so that no other front takes one for its own. Never in the flags of an event.
 */
#define KMS_SPAN_OWN_CALLS 0x80u

enum kms_span_state {
	KMS_SPAN_FREE = 0,
	KMS_SPAN_SLAB = 1,
	KMS_SPAN_LARGE = 2,
	KMS_SPAN_GUARD = 3,
};

/**
 * A run of pages cut into @count blocks of @stride_bytes, the first at base + first_bytes.
 *
 * In a guard span the block of slot i lies right-justified: it begins at end - max(size, 1), rounded
 * down to a multiple of @reserved (the alignment of all its blocks), where end = base +
 * i * stride_bytes + usable_bytes. The page that begins at end is never opened.
 */
struct kms_span {
	kms_u64 base;
	kms_u64 side_address; /* struct kms_side[count] */
	kms_u64 large_bytes;  /* requested size of a large block */
	uint32_t pages;
	uint32_t count;
	uint32_t stride_bytes; /* 0 in a large span: its one block fills it */
	uint32_t first_bytes;
	uint32_t stride_magic; /* slabs: ceil(2^32 / stride); index = (offset * magic) >> 32 */
	uint16_t cache;
	uint8_t checks;        /* KMS_CHECK_* of every block in it, KMS_SPAN_OWN_CALLS */
	uint8_t state;         /* enum kms_span_state */
	uint32_t free_count;   /* blocks in the slab's free list */
	uint32_t usable_bytes; /* of one block, redzone included */
	uint32_t epoch;        /* check epoch in which it was made */
	uint32_t reserved;     /* guard: alignment */
};

#endif
