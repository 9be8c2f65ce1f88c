/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/trace.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/db.h"
#include "tracer/trace_impl.h"

static const char *const texts[TRACE_STMT_COUNT] = {
	[TRACE_VERSION] = "PRAGMA data_version",
	[TRACE_FIRST_CHUNK] = "SELECT min(id) FROM chunks",
	[TRACE_CHUNKS] = "SELECT id, seq_min, seq_max, t0_ns, t1_ns, events, counts FROM chunks "
			 "WHERE id > ? ORDER BY id",
	[TRACE_TARGETS] =
		"SELECT id, image, slot, parent, region_start, started FROM targets ORDER BY id",
	[TRACE_RUN_START] = "SELECT value FROM meta WHERE key = 'run_start_wall_ns'",
	[TRACE_FILTERS] = "SELECT pages, stacks FROM chunks WHERE id = ?",
	[TRACE_DIR] = "SELECT dir FROM chunks WHERE id = ?",
	[TRACE_DATA] = "SELECT c.dir, d.data FROM chunks c JOIN chunk_data d ON d.id = c.id "
		       "WHERE c.id = ?",
	[TRACE_OPEN_LIST] = "SELECT ordinal, image, target, data FROM open_blocks ORDER BY ordinal",
	[TRACE_OPEN_BLOCK] =
		"SELECT ordinal, image, target, data FROM open_blocks WHERE ordinal = ?",
	[TRACE_PAGE] = "SELECT data FROM region_pages WHERE id = ?",
	[TRACE_SPANS] = "SELECT target, image, base, pages, cache, t0_ns, t1_ns FROM spans "
			"ORDER BY target, base, t0_ns",
};

int trace_fail(struct kms_trace *trace, struct kms_err *err, int rc, const char *what)
{
	return kms_db_err(err, trace->db, rc, what);
}

static int bad(struct kms_err *err, const char *what, int64_t which)
{
	return kms_err_set(err, -EBADMSG, "%s %lld of the trace is damaged", what,
			   (long long)which);
}

int trace_grow(void *array, size_t *room, size_t used, size_t element_bytes)
{
	size_t more = *room ? *room * 2 : 64;
	void *memory;

	if (used < *room)
		return 0;
	memcpy(&memory, array, sizeof(memory));
	memory = realloc(memory, more * element_bytes);
	if (!memory)
		return -ENOMEM;
	memcpy(array, &memory, sizeof(memory));
	*room = more;
	return 0;
}

int kms_trace_create(sqlite3 *db, struct kms_trace **out, struct kms_err *err)
{
	struct kms_trace *t = calloc(1, sizeof(*t));
	int rc = SQLITE_OK, result = 0;

	if (!t)
		return kms_err_set(err, -ENOMEM, "out of memory");
	t->db = db;
	t->data_version = -1;
	t->dir = malloc(KMS_CHUNK_BLOCKS_MAX * sizeof(*t->dir));
	if (!t->dir || kms_chunk_reader_create(&t->reader) < 0)
		result = kms_err_set(err, -ENOMEM, "out of memory");
	for (unsigned i = 0; !result && i < TRACE_STMT_COUNT; i++) {
		rc = sqlite3_prepare_v3(db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &t->stmt[i],
					NULL);
		if (rc != SQLITE_OK)
			result = trace_fail(t, err, rc, "not a readable trace");
	}
	if (result < 0) {
		kms_trace_destroy(t);
		return result;
	}
	*out = t;
	return 0;
}

static void drop_cached(struct kms_trace *trace)
{
	for (unsigned i = 0; i < TRACE_CACHED_CHUNKS; i++)
		trace->cached[i].chunk = 0;
}

void kms_trace_destroy(struct kms_trace *trace)
{
	if (!trace)
		return;
	for (unsigned i = 0; i < TRACE_STMT_COUNT; i++)
		(void)sqlite3_finalize(trace->stmt[i]); /* says again what the last step said */
	for (unsigned i = 0; i < TRACE_CACHED_CHUNKS; i++)
		free(trace->cached[i].block);
	trace_forget_tables(trace);
	trace_forget_spans(trace);
	kms_chunk_reader_destroy(trace->reader);
	free(trace->dir);
	free(trace->chunk);
	free(trace->target);
	free(trace);
}

sqlite3 *kms_trace_db(const struct kms_trace *trace)
{
	return trace->db;
}

/* One integer of one row; *out stays if there is no row, or NULL in it. */
static int read_int(struct kms_trace *trace, enum trace_stmt which, int64_t *out,
		    struct kms_err *err)
{
	sqlite3_stmt *stmt = trace->stmt[which];
	int rc = sqlite3_step(stmt);

	if (rc == SQLITE_ROW && sqlite3_column_type(stmt, 0) == SQLITE_INTEGER)
		*out = sqlite3_column_int64(stmt, 0);
	(void)sqlite3_reset(stmt); /* says again what step said */
	return rc == SQLITE_ROW || rc == SQLITE_DONE
		       ? 0
		       : trace_fail(trace, err, rc, "cannot read trace");
}

/* Kinds that a JSON list of counts has. Not a list: all of them. */
static uint32_t kinds_of(const char *counts)
{
	uint32_t kinds = 0;
	const char *p = counts;

	for (unsigned kind = 0; p && kind < KMS_EVENT_KINDS; kind++) {
		char *end;

		if (*p != (kind ? ',' : '['))
			return UINT32_MAX;
		if (strtoull(p + 1, &end, 10))
			kinds |= UINT32_C(1) << kind;
		p = end;
	}
	return p ? kinds : UINT32_MAX;
}

static int add_chunk(struct kms_trace *trace, sqlite3_stmt *row, struct kms_err *err)
{
	struct kms_trace_chunk chunk = {
		.id = sqlite3_column_int64(row, 0),
		.seq_min = (uint64_t)sqlite3_column_int64(row, 1),
		.seq_max = (uint64_t)sqlite3_column_int64(row, 2),
		.t0_ns = (uint64_t)sqlite3_column_int64(row, 3),
		.t1_ns = (uint64_t)sqlite3_column_int64(row, 4),
		.kinds = kinds_of((const char *)sqlite3_column_text(row, 6)),
	};
	int64_t events = sqlite3_column_int64(row, 5);

	if (chunk.id <= 0 || chunk.seq_min > chunk.seq_max || events < 0 ||
	    events > (int64_t)KMS_CHUNK_BLOCKS_MAX * KMS_SEQ_PER_BLOCK)
		return bad(err, "chunk", chunk.id);
	chunk.events = (uint32_t)events;
	if (trace_grow(&trace->chunk, &trace->chunks_room, trace->n_chunks, sizeof(chunk)) < 0)
		return kms_err_set(err, -ENOMEM, "out of memory");
	trace->chunk[trace->n_chunks++] = chunk;
	return 0;
}

/* Chunks never change: those with higher ids are new, those below the lowest have gone. */
static int refresh_chunks(struct kms_trace *trace, struct kms_err *err)
{
	sqlite3_stmt *stmt = trace->stmt[TRACE_CHUNKS];
	int64_t first = INT64_MAX;
	size_t gone = 0;
	int result = read_int(trace, TRACE_FIRST_CHUNK, &first, err);
	int rc = SQLITE_OK;

	if (result < 0)
		return result;
	while (gone < trace->n_chunks && trace->chunk[gone].id < first)
		gone++;
	if (gone)
		memmove(trace->chunk, trace->chunk + gone,
			(trace->n_chunks - gone) * sizeof(*trace->chunk));
	trace->n_chunks -= gone;
	rc = sqlite3_bind_int64(stmt, 1,
				trace->n_chunks ? trace->chunk[trace->n_chunks - 1].id : 0);
	while (!result && rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		result = add_chunk(trace, stmt, err);
		rc = SQLITE_OK;
	}
	(void)sqlite3_reset(stmt); /* says again what step said */
	if (!result && rc != SQLITE_DONE && rc != SQLITE_OK)
		result = trace_fail(trace, err, rc, "cannot read trace");
	return result;
}

static int add_target(struct kms_trace *trace, sqlite3_stmt *row, int64_t run_start,
		      struct kms_err *err)
{
	int64_t id = sqlite3_column_int64(row, 0), image = sqlite3_column_int64(row, 1);
	int64_t region_start = sqlite3_column_int64(row, 4);
	int64_t started = sqlite3_column_int64(row, 5);
	struct kms_trace_target target = {
		.id = (uint32_t)id,
		.image = (uint32_t)image,
		.slot = (uint32_t)sqlite3_column_int64(row, 2),
		.parent = (uint32_t)sqlite3_column_int64(row, 3),
	};

	if (id < 1 || id > KMS_RUN_TARGETS_MAX || image < 0 || image > KMS_RUN_IMAGES_MAX ||
	    region_start < 0)
		return bad(err, "target", id);
	/* both are since 1970 and not negative */
	target.offset_ns = region_start && run_start > 0 ? region_start - run_start : 0;
	target.start_ns =
		run_start > 0 && started > run_start ? (uint64_t)(started - run_start) : 0;
	if (trace_grow(&trace->target, &trace->targets_room, trace->n_targets, sizeof(target)) < 0)
		return kms_err_set(err, -ENOMEM, "out of memory");
	trace->target[trace->n_targets++] = target;
	return 0;
}

static int refresh_targets(struct kms_trace *trace, struct kms_err *err)
{
	sqlite3_stmt *stmt = trace->stmt[TRACE_TARGETS];
	int64_t run_start = 0;
	int result = read_int(trace, TRACE_RUN_START, &run_start, err);
	int rc = SQLITE_OK;

	trace->n_targets = 0;
	while (!result && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
		result = add_target(trace, stmt, run_start, err);
	(void)sqlite3_reset(stmt); /* says again what step said */
	if (!result && rc != SQLITE_DONE)
		result = trace_fail(trace, err, rc, "cannot read trace");
	return result;
}

int kms_trace_refresh(struct kms_trace *trace, struct kms_err *err)
{
	int64_t version = -1;
	int changes = sqlite3_total_changes(trace->db);
	int result = read_int(trace, TRACE_VERSION, &version, err);

	if (result < 0)
		return result;
	if (trace->pages_bytes > TRACE_TABLES_BYTES)
		trace_forget_tables(trace);
	if (version == trace->data_version && changes == trace->changes)
		return 0;
	trace->data_version = -1;
	trace_forget_tables(trace);
	trace_forget_spans(trace);
	drop_cached(trace);
	if (changes != trace->changes)
		trace->n_chunks = 0; /* somebody edits the file by hand */
	result = refresh_chunks(trace, err);
	if (!result)
		result = refresh_targets(trace, err);
	if (!result) {
		trace->data_version = version;
		trace->changes = changes;
	}
	return result;
}

const struct kms_trace_chunk *kms_trace_chunks(const struct kms_trace *trace, size_t *n)
{
	*n = trace->n_chunks;
	return trace->chunk;
}

const struct kms_trace_target *kms_trace_targets(const struct kms_trace *trace, size_t *n)
{
	*n = trace->n_targets;
	return trace->target;
}

static int compare_target(const void *key, const void *element)
{
	uint32_t id = *(const uint32_t *)key;
	const struct kms_trace_target *target = element;

	return id < target->id ? -1 : id > target->id;
}

const struct kms_trace_target *kms_trace_target(const struct kms_trace *trace, uint32_t id)
{
	/* ids are given in order: most often the place is known */
	if (id && id <= trace->n_targets && trace->target[id - 1].id == id)
		return &trace->target[id - 1];
	return trace->n_targets ? bsearch(&id, trace->target, trace->n_targets,
					  sizeof(*trace->target), compare_target)
				: NULL;
}

uint64_t kms_trace_time(const struct kms_trace *trace, uint32_t target, uint64_t region_ns)
{
	const struct kms_trace_target *t = kms_trace_target(trace, target);
	int64_t time = (int64_t)(region_ns & INT64_MAX);

	if (t && __builtin_add_overflow(time, t->offset_ns, &time))
		return region_ns;
	return time > 0 ? (uint64_t)time : 0;
}
