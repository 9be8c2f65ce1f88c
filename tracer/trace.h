/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading a trace through an open SQLite connection: the list of its chunks, its targets, the
 * regions' tables, and single blocks. The base of scan.h, vtab.h and file.h.
 *
 * The caller decides what moment is seen: what is to show one state of the file happens in one read
 * transaction of the connection, or while one statement on it is running. One thread at a time. The
 * content is hostile.
 */
#ifndef KMS_TRACER_TRACE_H
#define KMS_TRACER_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "tracer/chunk.h"
#include "tracer/sqlite.h"
#include "tracer/table_page.h"

struct kms_trace;

/** A chunk as its row says, without what is in it. */
struct kms_trace_chunk {
	int64_t id;
	uint64_t seq_min, seq_max;
	uint64_t t0_ns, t1_ns; /* run time */
	uint32_t kinds;        /* bit mask of enum kms_event_kind */
	uint32_t events;
};

/** A row of targets, as far as decoding needs it. */
struct kms_trace_target {
	uint32_t id, image, slot, parent;
	int64_t offset_ns; /* from region time to run time */
	uint64_t start_ns; /* run time */
};

/**
 * A reader over a connection that has the trace as its main database.
 *
 * Owner:  the connection stays the caller's and must outlive the trace
 * Errors: -ENOMEM; -EINVAL: there are no such tables
 */
int kms_trace_create(sqlite3 *db, struct kms_trace **out, struct kms_err *err);
/** NULL is allowed. */
void kms_trace_destroy(struct kms_trace *trace);

/**
 * Looks what is new in the file. Within a read transaction of the caller, or of the statement that
 * is running.
 *
 * Errors: -EBADMSG: a row is damaged, err names it; -EBUSY, -EIO, -ENOMEM
 */
int kms_trace_refresh(struct kms_trace *trace, struct kms_err *err);

/** The chunks by ascending id. Borrowed until the next refresh. */
const struct kms_trace_chunk *kms_trace_chunks(const struct kms_trace *trace, size_t *n);

/** The target with this id; NULL without one. Borrowed as above. */
const struct kms_trace_target *kms_trace_target(const struct kms_trace *trace, uint32_t id);

/** All targets by ascending id. Borrowed as above. */
const struct kms_trace_target *kms_trace_targets(const struct kms_trace *trace, size_t *n);

/** Run time of a region time of a target; region time if it is unknown. */
uint64_t kms_trace_time(const struct kms_trace *trace, uint32_t target, uint64_t region_ns);

/**
 * Asks the filters of a chunk.
 *
 * Shape:  @page: a 4 KiB page number, @stack: a stack id; UINT64_MAX any
 *         *yes: false if certainly no event of the chunk has both
 * Errors: as kms_trace_refresh(); -ENODATA: the chunk has gone
 */
int kms_trace_may_contain(struct kms_trace *trace, int64_t chunk, uint64_t page, uint64_t stack,
			  bool *yes, struct kms_err *err);

/**
 * Directory of a chunk.
 *
 * Shape:  @out has room for KMS_CHUNK_BLOCKS_MAX
 */
int kms_trace_dir(struct kms_trace *trace, int64_t chunk, struct kms_chunk_block *out,
		  size_t *n_out, struct kms_err *err);

/**
 * Blocks that are in no chunk, by ascending ordinal.
 *
 * Owner:  the caller frees *out
 */
int kms_trace_open_blocks(struct kms_trace *trace, struct kms_chunk_block **out, size_t *n_out,
			  struct kms_err *err);

/**
 * The records of one block.
 *
 * Shape:  @chunk: id and @index: place in its directory; chunk 0: the open block @ordinal
 * Owner:  borrowed until the next call of kms_trace_block() or kms_trace_refresh()
 */
int kms_trace_block(struct kms_trace *trace, int64_t chunk, size_t index, uint64_t ordinal,
		    const struct kms_block **out, struct kms_err *err);

/**
 * An entry of a region's table.
 *
 * Shape:  kms_table_entry_bytes(section) bytes, not aligned. Holes are entries too: see their ready.
 * Owner:  borrowed until the next refresh
 * Errors: NULL: not in the file, or damaged
 */
const void *kms_trace_entry(struct kms_trace *trace, uint32_t image, uint32_t section,
			    uint32_t index);

/** A string of an image. Errors: -ENOENT: out is "" */
int kms_trace_string(struct kms_trace *trace, uint32_t image, uint32_t index, char *out,
		     size_t room);

/** Thread id behind a thread index, 0 unknown. */
uint32_t kms_trace_tid(struct kms_trace *trace, uint32_t image, uint32_t thread);

/** What decides which cache an event's block belonged to. */
struct kms_trace_where {
	uint32_t target, image;
	uint64_t address;
	uint64_t time_ns; /* run time */
	uint64_t size;
	uint32_t flags;
};

/**
 * Name of the cache that an address belonged to: by slab_grow and slab_release of the target and of
 * those it was forked from, else (guarded blocks have no slab) the cache that serves such sizes.
 *
 * Owner:  borrowed until the next refresh; NULL unknown
 */
const char *kms_trace_cache(struct kms_trace *trace, const struct kms_trace_where *where);

/** Name of a cache by its index; NULL unknown. */
const char *kms_trace_cache_name(struct kms_trace *trace, uint32_t image, uint32_t cache);

sqlite3 *kms_trace_db(const struct kms_trace *trace);

#endif
