/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store from inside. Private to store*.c.
 *
 * What comes in is staged in memory; a commit writes all of it in one transaction. If that fails
 * nothing was lost: it stays staged and goes with the next commit. Only when too much has piled up
 * is the oldest dropped, and counted.
 *
 *	blocks     open, then pending, then part of a chunk; on disk as open_blocks rows and chunks
 *	pages      of the regions' tables that changed
 *	rows       of all other tables, as statements with their values
 *	figures    of rings and slots: the newest only
 */
#ifndef KMS_TRACER_STORE_IMPL_H
#define KMS_TRACER_STORE_IMPL_H

#include <limits.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tracer/block.h"
#include "tracer/chunk.h"
#include "tracer/db.h"
#include "tracer/store.h"
#include "tracer/store_rows.h"
#include "tracer/table_page.h"
#include "tracer/u64map.h"

enum kms_store_limits {
	KMS_STORE_PAGE_BYTES = 8192,
	KMS_STORE_COMMIT_BYTES = 8 << 20,  /* staged chunks that are reason enough for a commit */
	KMS_STORE_STAGED_BYTES = 64 << 20, /* more cannot be staged: the oldest chunk is dropped */
	KMS_STORE_WAL_BYTES = 16 << 20,    /* write-ahead log that is reason for a checkpoint */
	KMS_STORE_PENDING_NS = 2 * 1000 * 1000 * 1000, /* a chunk waits this long for more blocks */
	KMS_STORE_PENDING_MIN = 16,                    /* but not for ever smaller ones */
	KMS_STORE_SPARE = 64,                          /* pieces of memory kept for chunks */
	KMS_STORE_SPARE_BLOCKS = 2 * KMS_CHUNK_BLOCKS,
	KMS_STORE_SLOT_NS = 1000 * 1000 * 1000, /* copies of slots are written this often */
	KMS_STORE_TARGET_SAMPLES = 256,         /* targets that have a row of figures at a time */
};

/* Figures of each target are written this often, and kept that long: several screens of a graph. */
#define KMS_STORE_TARGET_SAMPLE_NS (UINT64_C(1000) * 1000 * 1000)
#define KMS_STORE_TARGET_PAST_NS   (300 * KMS_STORE_TARGET_SAMPLE_NS)

/** A block that is in no chunk. */
struct store_block {
	struct store_block *next;     /* in store.spare_blocks */
	struct kms_chunk_block entry; /* image, target, ordinal, events, last_time_ns */
	uint32_t by_kind[KMS_EVENT_KINDS];
	uint32_t ring; /* index in store.ring */
	bool dirty;    /* not, or not like this, in open_blocks */
	bool in_db;
	uint32_t written; /* of the events that its ring's figure counts: those in open_blocks */
	struct kms_block block;
};

/** What a finished chunk was made of. */
struct store_member {
	uint64_t ordinal;
	uint32_t ring;    /* index in store.ring */
	uint32_t stored;  /* events that this ring's figure counts */
	uint32_t written; /* of those, in open_blocks */
	bool in_db;       /* has a row in open_blocks */
};

/* Memory of a chunk's blobs. Large pieces go back to the system when they are freed, and each page
 * would have to be got again: so they are kept. */
struct store_bytes {
	struct store_bytes *next;
	size_t room;
	uint8_t byte[];
};

struct store_chunk {
	struct store_chunk *next;
	int64_t id;
	struct kms_chunk chunk; /* points into bytes */
	struct store_bytes *bytes;
	size_t n_bytes;
	uint64_t t0_ns, t1_ns;
	uint64_t by_kind[KMS_EVENT_KINDS];
	char *targets; /* JSON */
	size_t n_members;
	struct store_member member[];
};

/** A page of a region's table. */
struct store_page {
	struct kms_table_page page;
	uint32_t image;
	uint32_t room;               /* entries */
	uint32_t dirty_lo, dirty_hi; /* entries changed since the last commit; lo >= hi: none */
	bool used;                   /* since the last commit */
};

struct store_ring {
	uint32_t target, ring, claim;
	bool claimed; /* @claim is known */
	bool dirty;
	uint64_t prior_produced, prior_lost; /* of earlier claims */
	uint64_t produced, lost;             /* of this one */
	uint64_t stored;
};

struct store_slot {
	uint32_t target, image;
	bool dirty;
	uint32_t n_stats;
	struct kms_slot slot;
	struct kms_cache_stat stat[KMS_MAX_CACHES];
	struct kms_counter counter[KMS_MAX_CACHES];
};

struct store_target {
	struct kms_batch_target last; /* as written */
	int64_t offset_ns;            /* region time to run time */
};

/** What is not written where there is no room, each with all before it. */
enum store_leave_out {
	STORE_WITH_ALL = 0,
	STORE_WITHOUT_EVENTS,
	STORE_WITHOUT_TABLES,
	STORE_WITHOUT_FIGURES, /* nothing but meta */
};

struct kms_store {
	sqlite3 *db;
	sqlite3_stmt *stmt[STORE_STMT_COUNT];
	int lock_fd;
	int spare_fd; /* room for the end; -1 none */
	enum store_leave_out leave_out;
	char path[PATH_MAX];
	struct kms_store_config config;
	struct kms_chunk_writer *writer;
	uint64_t last_commit_ns; /* CLOCK_MONOTONIC */
	uint64_t last_slots_ns;
	uint64_t next_target_samples_ns; /* region time */
	bool changed;                    /* there is something to commit */
	int wal_pages;

	uint64_t run_start_wall_ns; /* 0 until the first target */
	uint64_t next_ordinal;
	int64_t next_chunk;
	struct kms_u64map open; /* image << 10 | ring -> struct store_block * */
	struct store_block *pending[KMS_CHUNK_BLOCKS];
	size_t n_pending;
	uint64_t pending_since_ns;
	struct store_chunk *staged, **staged_end;
	size_t staged_bytes;
	struct store_block *spare_blocks; /* memory for the next ones */
	size_t n_spare_blocks;
	struct store_bytes *spare; /* memory of chunks that were written, for the next ones */
	size_t n_spare;
	struct kms_event *events; /* KMS_SEQ_PER_BLOCK, scratch */

	struct kms_u64map pages; /* page_key() -> struct store_page * */
	struct store_rows rows;
	struct store_target **target;
	size_t n_targets;
	struct kms_u64map target_index; /* id -> index */
	struct store_ring *ring;
	size_t n_rings, rings_room;
	struct kms_u64map ring_index; /* target << 11 | ring -> index */
	struct store_slot **slot;     /* by index of target; NULL none */
	struct kms_u64map spans;      /* hash of target and base -> spans.id */
	int64_t next_span, next_symbol, next_audit;
	struct kms_u64map symbols; /* hash of content -> symbols.id */
	struct kms_u64map stacks;  /* stack id -> 1: written */

	const struct kms_store_mark *mark; /* to be written with this commit; NULL none */

	uint64_t dropped; /* events given up because the file could not be written */
	uint64_t removed; /* events of chunks that retention took away */
	_Atomic uint64_t db_bytes;
	_Atomic uint64_t stored; /* events */
};

/* store_open.c */
/** Closes and frees everything without writing anything. */
void store_destroy(struct kms_store *store);

/* store_blocks.c */
int store_add_block(struct kms_store *store, const struct kms_batch_block *from,
		    struct kms_err *err);
/** Makes a chunk of the pending blocks, if there are enough, or they waited long enough, or @all. */
int store_make_chunk(struct kms_store *store, bool all, struct kms_err *err);
/** Nothing more will come into the open blocks: they join the pending ones. */
int store_finish_blocks(struct kms_store *store, struct kms_err *err);
int store_write_blocks(struct kms_store *store);
void store_blocks_written(struct kms_store *store);
/** Gives up the oldest staged chunks until no more than @bytes are left, and counts their events. */
void store_drop_staged(struct kms_store *store, size_t bytes);
void store_blocks_free(struct kms_store *store);

/* store_tables.c */
int store_add_table(struct kms_store *store, const struct kms_batch_table *from,
		    struct kms_err *err);
/** Readable rows of the entries; when all tables of the batch are in, for they name each other. */
int store_name_table(struct kms_store *store, const struct kms_batch_table *from);
/** A string of an image; "" and -ENOENT if it is not there. */
int store_string(struct kms_store *store, uint32_t image, uint32_t index, char *out, size_t room);
int store_write_pages(struct kms_store *store);
void store_pages_written(struct kms_store *store);
void store_pages_free(struct kms_store *store);

/* store_targets.c */
int store_add_target(struct kms_store *store, const struct kms_batch_target *from);
int store_add_slot(struct kms_store *store, const struct kms_batch_slot *from);
int store_add_ring(struct kms_store *store, const struct kms_batch_ring *from);
/** Index of a ring's figures, made if it is new. Errors: -ENOMEM */
/** Events that a ring has given out: figures are copied less often than events. */
uint64_t store_ring_produced(const struct store_ring *ring);

int64_t store_ring_index(struct kms_store *store, uint32_t target, uint32_t ring);
/** Run time of a target's region time. */
uint64_t store_run_time(const struct kms_store *store, uint32_t target, uint64_t region_ns);
int store_write_targets(struct kms_store *store, bool all);
void store_targets_written(struct kms_store *store, bool all);
void store_targets_free(struct kms_store *store);

/* store_spans.c */
/** Shape: @added: summary of the records from @from_bytes on */
int store_add_marked_events(struct kms_store *store, const struct store_block *block,
			    const struct kms_block_summary *added, uint32_t from_bytes);

/* store_snapshot.c */
int store_write_snapshot(struct kms_store *store, const struct kms_snapshot *snapshot);

/* store_retention.c */
int store_retain(struct kms_store *store);

/* store_finish.c */
/** Takes room for the end, as far as there is any; gives it back. */
void store_spare_take(struct kms_store *store);
void store_spare_release(struct kms_store *store);

/* store_commit.c */
int store_flush(struct kms_store *store, const struct kms_snapshot *snapshot, bool finished,
		struct kms_err *err);

#endif
