/* SPDX-License-Identifier: BSD-2-Clause */
/* Chunks and open blocks of a trace: see trace.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/block.h"
#include "tracer/block_parse.h"
#include "tracer/filter.h"
#include "tracer/trace_impl.h"

enum {
	BLOCK_HEAD_BYTES = offsetof(struct kms_block, record),
};

static int bad(struct kms_err *err, const char *what, int64_t which)
{
	return kms_err_set(err, -EBADMSG, "%s %lld of the trace is damaged", what,
			   (long long)which);
}

/* The row of one statement with one parameter; SQLITE_ROW, or an error told. */
static int step_one(struct kms_trace *trace, enum trace_stmt which, int64_t key,
		    struct kms_err *err)
{
	sqlite3_stmt *stmt = trace->stmt[which];
	int rc;

	(void)sqlite3_reset(stmt); /* says again what the last step said */
	rc = sqlite3_bind_int64(stmt, 1, key);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW)
		return 0;
	(void)sqlite3_reset(stmt);
	return rc == SQLITE_DONE ? kms_err_set(err, -ENODATA, "%lld is no longer in the trace",
					       (long long)key)
				 : trace_fail(trace, err, rc, "cannot read trace");
}

int kms_trace_may_contain(struct kms_trace *trace, int64_t chunk, uint64_t page, uint64_t stack,
			  bool *yes, struct kms_err *err)
{
	sqlite3_stmt *stmt = trace->stmt[TRACE_FILTERS];
	int result = step_one(trace, TRACE_FILTERS, chunk, err);

	if (result < 0)
		return result;
	*yes = page == UINT64_MAX ||
	       kms_filter_may_contain(sqlite3_column_blob(stmt, 0),
				      (size_t)sqlite3_column_bytes(stmt, 0), page);
	*yes = *yes && (stack == UINT64_MAX ||
			kms_filter_may_contain(sqlite3_column_blob(stmt, 1),
					       (size_t)sqlite3_column_bytes(stmt, 1), stack));
	(void)sqlite3_reset(stmt); /* says again what step said */
	return 0;
}

int kms_trace_dir(struct kms_trace *trace, int64_t chunk, struct kms_chunk_block *out,
		  size_t *n_out, struct kms_err *err)
{
	sqlite3_stmt *stmt = trace->stmt[TRACE_DIR];
	int result = step_one(trace, TRACE_DIR, chunk, err);

	if (result < 0)
		return result;
	if (kms_chunk_dir_read(sqlite3_column_blob(stmt, 0), (size_t)sqlite3_column_bytes(stmt, 0),
			       out, KMS_CHUNK_BLOCKS_MAX, n_out) < 0)
		result = bad(err, "directory of chunk", chunk);
	(void)sqlite3_reset(stmt); /* says again what step said */
	return result;
}

/* A row of open_blocks: ordinal, image, target, data. */
static int read_open(sqlite3_stmt *row, struct kms_chunk_block *entry, struct kms_block *block,
		     struct kms_err *err)
{
	int64_t ordinal = sqlite3_column_int64(row, 0);
	int64_t image = sqlite3_column_int64(row, 1), target = sqlite3_column_int64(row, 2);
	const void *data = sqlite3_column_blob(row, 3);
	size_t bytes = (size_t)sqlite3_column_bytes(row, 3);
	struct kms_block_summary sum;

	if (ordinal < 0 || (uint64_t)ordinal > KMS_ORDINAL_MAX || image < 1 ||
	    image > KMS_RUN_IMAGES_MAX || target < 1 || target > KMS_RUN_TARGETS_MAX ||
	    bytes < BLOCK_HEAD_BYTES || bytes > sizeof(*block))
		return bad(err, "open block", ordinal);
	memcpy(block, data, bytes);
	if (block->fill != bytes - BLOCK_HEAD_BYTES || !kms_block_header_ok(block) ||
	    kms_block_walk(block, 0, &sum, NULL, NULL) < 0)
		return bad(err, "open block", ordinal);
	*entry = (struct kms_chunk_block){
		.ordinal = (uint64_t)ordinal,
		.number = block->number,
		.first_seq = block->first_seq,
		.base_time_ns = block->base_time_ns,
		.base_address = block->base_address,
		.fill = block->fill,
		.slot = block->slot,
		.thread = block->thread,
		.ring = block->ring,
		.level = block->level,
		.checks = block->checks,
		.image = (uint32_t)image,
		.target = (uint32_t)target,
		.events = sum.events,
		.last_time_ns = sum.last_time_ns,
	};
	return 0;
}

int kms_trace_open_blocks(struct kms_trace *trace, struct kms_chunk_block **out, size_t *n_out,
			  struct kms_err *err)
{
	sqlite3_stmt *stmt = trace->stmt[TRACE_OPEN_LIST];
	struct kms_chunk_block *list = NULL;
	size_t n = 0, room = 0;
	int rc = SQLITE_DONE, result = 0;

	while (!result && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		if (trace_grow(&list, &room, n, sizeof(*list)) < 0)
			result = kms_err_set(err, -ENOMEM, "out of memory");
		else
			result = read_open(stmt, &list[n++], &trace->open_block, err);
	}
	(void)sqlite3_reset(stmt); /* says again what step said */
	if (!result && rc != SQLITE_DONE)
		result = trace_fail(trace, err, rc, "cannot read trace");
	if (result < 0) {
		free(list);
		return result;
	}
	*out = list;
	*n_out = n;
	return 0;
}

static int load_open(struct kms_trace *trace, uint64_t ordinal, const struct kms_block **out,
		     struct kms_err *err)
{
	struct kms_chunk_block entry;
	int result = step_one(trace, TRACE_OPEN_BLOCK, (int64_t)ordinal, err);

	if (result < 0)
		return result;
	result = read_open(trace->stmt[TRACE_OPEN_BLOCK], &entry, &trace->open_block, err);
	(void)sqlite3_reset(trace->stmt[TRACE_OPEN_BLOCK]); /* says again what step said */
	*out = &trace->open_block;
	return result;
}

static struct trace_cached *oldest_cached(struct kms_trace *trace)
{
	struct trace_cached *oldest = &trace->cached[0];

	for (unsigned i = 1; i < TRACE_CACHED_CHUNKS; i++)
		if (trace->cached[i].used < oldest->used)
			oldest = &trace->cached[i];
	return oldest;
}

static int unpack_chunk(struct kms_trace *trace, sqlite3_stmt *row, struct trace_cached *cached)
{
	size_t n;

	if (kms_chunk_dir_read(sqlite3_column_blob(row, 0), (size_t)sqlite3_column_bytes(row, 0),
			       trace->dir, KMS_CHUNK_BLOCKS_MAX, &n) < 0)
		return -EBADMSG;
	if (n > cached->room) {
		free(cached->block);
		cached->block = malloc(n * sizeof(*cached->block) + KMS_CHUNK_PAD_BYTES);
		cached->room = cached->block ? n : 0;
		if (!cached->block)
			return -ENOMEM;
	}
	cached->n_blocks = n;
	return kms_chunk_read(trace->reader, trace->dir, n, sqlite3_column_blob(row, 1),
			      (size_t)sqlite3_column_bytes(row, 1), cached->block);
}

static int load_chunk(struct kms_trace *trace, int64_t chunk, struct trace_cached **out,
		      struct kms_err *err)
{
	struct trace_cached *cached = oldest_cached(trace);
	int result = step_one(trace, TRACE_DATA, chunk, err);

	if (result < 0)
		return result;
	cached->chunk = 0;
	result = unpack_chunk(trace, trace->stmt[TRACE_DATA], cached);
	(void)sqlite3_reset(trace->stmt[TRACE_DATA]); /* says again what step said */
	if (result == -ENOMEM)
		return kms_err_set(err, -ENOMEM, "out of memory");
	if (result < 0)
		return bad(err, "chunk", chunk);
	cached->chunk = chunk;
	*out = cached;
	return 0;
}

int kms_trace_block(struct kms_trace *trace, int64_t chunk, size_t index, uint64_t ordinal,
		    const struct kms_block **out, struct kms_err *err)
{
	struct trace_cached *cached = NULL;
	int result = 0;

	if (!chunk)
		return load_open(trace, ordinal, out, err);
	for (unsigned i = 0; i < TRACE_CACHED_CHUNKS && !cached; i++)
		if (trace->cached[i].chunk == chunk)
			cached = &trace->cached[i];
	if (!cached)
		result = load_chunk(trace, chunk, &cached, err);
	if (result < 0)
		return result;
	if (index >= cached->n_blocks)
		return bad(err, "chunk", chunk);
	cached->used = ++trace->clock;
	*out = &cached->block[index];
	return 0;
}
