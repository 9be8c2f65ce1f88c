/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What the reader thread hands to the store and to the live model: copies of ring blocks and of
 * new table entries, taken in one poll over all images. Reference-counted; read-only once sent.
 */
#ifndef KMS_TRACER_BATCH_H
#define KMS_TRACER_BATCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/region.h"
#include "tracer/block.h"

/** A copy of one block, or of the records it gained since the last batch. */
struct kms_batch_block {
	uint32_t image;                   /* ordinal of the image in the run, from 1 */
	uint32_t target;                  /* target (process) that wrote it */
	uint32_t from_bytes;              /* records before this offset were in an earlier batch */
	bool complete;                    /* no more records will come into this block */
	struct kms_block_summary summary; /* of the records from from_bytes on */
	struct kms_block block;
};

/** Table entries that appeared since the last batch; all that its blocks name are in it or older. */
struct kms_batch_table {
	uint32_t image;
	/* enum kms_section_kind: NODE, CACHE, MODULE, THREAD, STRING, FAULT, FORK_CUT */
	uint32_t section;
	uint32_t first; /* index of the first entry; STRING: in 8-byte units */
	uint32_t count;
	uint32_t entry_bytes;
	unsigned char *data; /* count * entry_bytes; holes have ready = 0 and come again later */
};

enum kms_batch_what {
	KMS_BATCH_DATA = 0,
	KMS_BATCH_TARGET = 1, /* a target appeared, changed its state or ended */
	KMS_BATCH_SYNC = 2,   /* commit now and say so */
	KMS_BATCH_END = 3,    /* the run is over */
};

/** State of a target as of this batch. */
struct kms_batch_target {
	uint32_t id, image, slot, parent, pid;
	uint32_t kind;  /* enum kms_target_kind */
	uint32_t state; /* enum kms_target_state */
	int32_t exit_status;
	uint32_t stop_reason; /* enum kms_stop_reason */
	uint32_t stop_fault;  /* index in KMS_SEC_FAULT plus 1, 0 none */
	uint64_t start_wall_ns, end_wall_ns;
	uint64_t region_start_wall_ns; /* wall clock at the image's region time 0 */
	uint64_t joined_ns; /* region time at which we took it over from another tracer; 0 not */
	uint32_t session;   /* of recording then */
	char name[64];
	char command[256];
};

/** Copy of the small counters, taken with the batch (the last of each target wins). */
struct kms_batch_slot {
	uint32_t target;
	uint32_t image;
	struct kms_slot slot;
	bool guard_pending; /* a depth was asked for that the slot has not answered: it is in slot.guard */
	uint32_t n_cache_stats;
	struct kms_cache_stat *cache_stat; /* by cache index */
	struct kms_counter *counter;       /* summed over this target's rings, by cache index */
};

struct kms_batch_ring {
	uint32_t target, image, ring, claim;
	uint64_t produced, lost; /* as of the copy */
	uint64_t
		untold; /* what its owner says it lost and has not recorded yet: it has not called since */
	double fill; /* 0 to 1 before the copy */
};

struct kms_batch {
	atomic_uint refs;
	enum kms_batch_what what;
	uint64_t time_ns; /* CLOCK_MONOTONIC when the copy was taken */
	size_t bytes;     /* memory this batch holds */
	size_t n_blocks, n_tables, n_targets, n_slots, n_rings;
	struct kms_batch_block *block;
	struct kms_batch_table *table;
	struct kms_batch_target *target;
	struct kms_batch_slot *slot;
	struct kms_batch_ring *ring;
};

/** A batch with one reference and nothing in it; NULL without memory. */
struct kms_batch *kms_batch_create(void);
/** Adds a reference for another reader. */
void kms_batch_get(struct kms_batch *batch);
/** Drops a reference; the last one frees everything. NULL is allowed. */
void kms_batch_put(struct kms_batch *batch);

#endif
