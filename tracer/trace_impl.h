/* SPDX-License-Identifier: BSD-2-Clause */
/* A trace being read, from inside. Private to trace*.c. */
#ifndef KMS_TRACER_TRACE_IMPL_H
#define KMS_TRACER_TRACE_IMPL_H

#include "tracer/chunk.h"
#include "tracer/sqlite.h"
#include "tracer/table_page.h"
#include "tracer/trace.h"
#include "tracer/u64map.h"

enum trace_stmt {
	TRACE_VERSION,
	TRACE_FIRST_CHUNK,
	TRACE_CHUNKS,
	TRACE_TARGETS,
	TRACE_RUN_START,
	TRACE_FILTERS,
	TRACE_DIR,
	TRACE_DATA,
	TRACE_OPEN_LIST,
	TRACE_OPEN_BLOCK,
	TRACE_PAGE,
	TRACE_SPANS,
	TRACE_STMT_COUNT,
};

enum {
	TRACE_CACHED_CHUNKS = 8,
	TRACE_TABLES_BYTES = 64 << 20, /* unpacked table pages that are kept */
};

/** A chunk taken apart. */
struct trace_cached {
	int64_t chunk; /* 0 free */
	uint64_t used; /* clock of the cache */
	size_t n_blocks;
	size_t room; /* blocks */
	struct kms_block *block;
};

struct trace_span {
	uint64_t base, end; /* addresses */
	uint64_t max_end;   /* of this span and all before it in the same target */
	uint64_t t0_ns, t1_ns;
	uint32_t target;
	uint32_t image;
	uint32_t cache;
};

struct kms_trace {
	sqlite3 *db;
	sqlite3_stmt *stmt[TRACE_STMT_COUNT];
	int64_t data_version; /* of the last refresh; -1 none */
	int changes;          /* sqlite3_total_changes(), for writers on this very connection */
	struct kms_trace_chunk *chunk;
	size_t n_chunks, chunks_room;
	struct kms_trace_target *target; /* by id */
	size_t n_targets, targets_room;

	struct kms_chunk_reader *reader;
	struct kms_chunk_block *dir; /* KMS_CHUNK_BLOCKS_MAX, scratch */
	struct trace_cached cached[TRACE_CACHED_CHUNKS];
	uint64_t clock;
	struct kms_block open_block;

	struct kms_u64map
		pages; /* key -> struct kms_table_page *, NULL data: known not to be there */
	size_t pages_bytes;

	bool has_spans;
	struct trace_span *span; /* by target, base, t0 */
	size_t n_spans, spans_room;
	struct kms_u64map span_first; /* target -> index of its first span */
	struct kms_u64map names;      /* image << 32 | cache -> char *; NULL: has none */
};

/* trace.c */
int trace_fail(struct kms_trace *trace, struct kms_err *err, int rc, const char *what);
/** Makes room for one more element in a growing array. */
int trace_grow(void *array, size_t *room, size_t used, size_t element_bytes);

/* trace_tables.c */
void trace_forget_tables(struct kms_trace *trace);

/* trace_spans.c */
void trace_forget_spans(struct kms_trace *trace);

#endif
