/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A trace as a stream of batches: see file.h. Blocks begin in the order of time; a step ends where
 * STEP_BLOCKS more have begun, and takes from each block what was written up to then.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/cleanup.h"
#include "tracer/batch_build.h"
#include "tracer/block.h"
#include "tracer/db.h"
#include "tracer/file_impl.h"
#include "tracer/store_names.h"
#include "tracer/table_page.h"

enum {
	STEP_BLOCKS = 64,
	BATCH_BYTES = 4 << 20, /* of tables in one batch */
	SLOT_BYTES_MAX =
		sizeof(uint64_t) + sizeof(struct kms_slot) +
		KMS_MAX_CACHES * (sizeof(struct kms_cache_stat) + sizeof(struct kms_counter)),
};

/* A block and how far it was given out. */
struct place {
	uint64_t t0_ns, t1_ns; /* run time */
	uint64_t ordinal;
	int64_t chunk;
	uint32_t index;
	uint32_t image, target;
};

/* A block that has begun and not ended. */
struct active {
	struct place place;
	uint32_t from_bytes;
	struct kms_block block;
};

struct replay {
	struct kms_file *file;
	struct file_conn *conn;
	kms_batch_fn *feed;
	void *arg;
	struct kms_err *err;
	struct kms_batch *batch;
	struct place *place; /* by begin */
	size_t n_places, places_room;
	struct active **active;
	size_t n_active, active_room;
	struct kms_event *event; /* KMS_SEQ_PER_BLOCK, scratch */
	uint64_t last_ns;        /* end of the trace */
};

static int no_memory(struct replay *r)
{
	return kms_err_set(r->err, -ENOMEM, "out of memory");
}

static int send(struct replay *r)
{
	int result = r->feed(r->arg, r->batch);

	kms_batch_put(r->batch);
	r->batch = kms_batch_create();
	if (!r->batch)
		return no_memory(r);
	return result;
}

/* Calls take() for each row of a query. */
static int for_rows(struct replay *r, const char *sql,
		    int (*take)(struct replay *r, sqlite3_stmt *row))
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(r->conn->db, sql, -1, &stmt, NULL);
	int result = 0;

	while (!result && rc == SQLITE_OK && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		result = take(r, stmt);
		rc = SQLITE_OK;
	}
	(void)sqlite3_finalize(stmt); /* says again what step said */
	if (!result && rc != SQLITE_DONE)
		result = kms_db_err(r->err, r->conn->db, rc, "cannot read trace");
	return result;
}

static void copy_text(char *out, size_t room, sqlite3_stmt *row, int column)
{
	const char *text = (const char *)sqlite3_column_text(row, column);
	size_t length = text ? strnlen(text, room - 1) : 0;

	memcpy(out, text ? text : "", length);
	out[length] = '\0';
}

static int take_target(struct replay *r, sqlite3_stmt *row, bool ended)
{
	struct kms_batch_target *t = kms_batch_add_target(r->batch);

	if (!t)
		return no_memory(r);
	t->id = (uint32_t)sqlite3_column_int64(row, 0);
	t->image = (uint32_t)sqlite3_column_int64(row, 1);
	t->slot = (uint32_t)sqlite3_column_int64(row, 2);
	t->parent = (uint32_t)sqlite3_column_int64(row, 3);
	t->pid = (uint32_t)sqlite3_column_int64(row, 4);
	t->exit_status = ended ? (int32_t)sqlite3_column_int64(row, 5) : -1;
	t->start_wall_ns = (uint64_t)sqlite3_column_int64(row, 6);
	t->end_wall_ns = ended ? (uint64_t)sqlite3_column_int64(row, 7) : 0;
	t->region_start_wall_ns = (uint64_t)sqlite3_column_int64(row, 8);
	copy_text(t->name, sizeof(t->name), row, 9);
	copy_text(t->command, sizeof(t->command), row, 10);
	t->state = KMS_STATE_RUNNING;
	if (ended)
		t->state =
			kms_name_value(KMS_NAMES_STATE, (const char *)sqlite3_column_text(row, 11));
	if (t->id < 1 || t->id > KMS_RUN_TARGETS_MAX || t->image > KMS_RUN_IMAGES_MAX)
		return kms_err_set(r->err, -EBADMSG, "target %u of the trace is damaged", t->id);
	return 0;
}

#define TARGETS                                                                                    \
	"SELECT id, image, slot, parent, pid, exit_status, started, ended, region_start, name, "   \
	"command, state FROM targets ORDER BY id"

static int take_new_target(struct replay *r, sqlite3_stmt *row)
{
	return take_target(r, row, false);
}

static int take_ended_target(struct replay *r, sqlite3_stmt *row)
{
	return take_target(r, row, true);
}

static int take_page(struct replay *r, sqlite3_stmt *row)
{
	int64_t image = sqlite3_column_int64(row, 0), section = sqlite3_column_int64(row, 1);
	int64_t number = sqlite3_column_int64(row, 2);
	struct kms_table_page page = {.section = (uint32_t)section, .page = (uint32_t)number};
	uint32_t bytes = kms_table_entry_bytes(page.section);
	struct kms_batch_table *table;

	if (image < 1 || image > KMS_RUN_IMAGES_MAX || section < 0 || section > UINT16_MAX ||
	    number < 0 || !bytes || number > kms_table_entries_max(page.section) ||
	    kms_table_page_unpack(&page, sqlite3_column_blob(row, 3),
				  (size_t)sqlite3_column_bytes(row, 3)) < 0)
		return kms_err_set(r->err, -EBADMSG,
				   "table page %lld.%lld.%lld of the trace is damaged",
				   (long long)image, (long long)section, (long long)number);
	table = kms_batch_add_table(r->batch, page.section, page.page * KMS_TABLE_PAGE_ENTRIES,
				    page.entries, bytes);
	if (table) {
		table->image = (uint32_t)image;
		memcpy(table->data, page.data, (size_t)page.entries * bytes);
	}
	free(page.data);
	if (!table)
		return no_memory(r);
	return r->batch->bytes >= BATCH_BYTES ? send(r) : 0;
}

static int fill_slot(struct replay *r, const uint8_t *bytes, size_t n_bytes, uint32_t target,
		     uint32_t image)
{
	size_t each = sizeof(struct kms_cache_stat) + sizeof(struct kms_counter);
	struct kms_batch_slot *slot;
	uint64_t n;

	memcpy(&n, bytes, sizeof(n));
	if (n > KMS_MAX_CACHES || n_bytes != sizeof(n) + sizeof(slot->slot) + n * each)
		return kms_err_set(r->err, -EBADMSG, "slot of target %u is damaged", target);
	slot = kms_batch_add_slot(r->batch, (uint32_t)n);
	if (!slot)
		return no_memory(r);
	slot->target = target;
	slot->image = image;
	bytes += sizeof(n);
	memcpy(&slot->slot, bytes, sizeof(slot->slot));
	bytes += sizeof(slot->slot);
	memcpy(slot->cache_stat, bytes, n * sizeof(*slot->cache_stat));
	bytes += n * sizeof(*slot->cache_stat);
	memcpy(slot->counter, bytes, n * sizeof(*slot->counter));
	return 0;
}

static int take_slot(struct replay *r, sqlite3_stmt *row)
{
	KMS_AUTO_FREE uint8_t *bytes = malloc(SLOT_BYTES_MAX);
	size_t n;

	if (!bytes)
		return no_memory(r);
	n = ZSTD_decompress(bytes, SLOT_BYTES_MAX, sqlite3_column_blob(row, 2),
			    (size_t)sqlite3_column_bytes(row, 2));
	if (ZSTD_isError(n) || n < sizeof(uint64_t))
		return kms_err_set(r->err, -EBADMSG, "slot of target %lld is damaged",
				   (long long)sqlite3_column_int64(row, 0));
	return fill_slot(r, bytes, n, (uint32_t)sqlite3_column_int64(row, 0),
			 (uint32_t)sqlite3_column_int64(row, 1));
}

#define SLOTS "SELECT target, image, data FROM slot_copies ORDER BY target"

static int take_ring(struct replay *r, sqlite3_stmt *row)
{
	struct kms_batch_ring *ring = kms_batch_add_ring(r->batch);
	const struct kms_trace_target *target;

	if (!ring)
		return no_memory(r);
	ring->target = (uint32_t)sqlite3_column_int64(row, 0);
	ring->ring = (uint32_t)sqlite3_column_int64(row, 1);
	ring->produced = (uint64_t)sqlite3_column_int64(row, 2);
	ring->lost = (uint64_t)sqlite3_column_int64(row, 3);
	ring->claim = 1;
	target = kms_trace_target(r->conn->trace, ring->target);
	ring->image = target ? target->image : 0;
	return 0;
}

static int add_places(struct replay *r, int64_t chunk, const struct kms_chunk_block *entry,
		      size_t n)
{
	struct kms_trace *trace = r->conn->trace;

	for (size_t i = 0; i < n; i++) {
		struct place *place;

		if (r->n_places == r->places_room) {
			size_t room = r->places_room ? r->places_room * 2 : 1024;

			place = realloc(r->place, room * sizeof(*place));
			if (!place)
				return no_memory(r);
			r->place = place;
			r->places_room = room;
		}
		place = &r->place[r->n_places++];
		*place = (struct place){
			.t0_ns = kms_trace_time(trace, entry[i].target, entry[i].base_time_ns),
			.t1_ns = kms_trace_time(trace, entry[i].target, entry[i].last_time_ns),
			.ordinal = entry[i].ordinal,
			.chunk = chunk,
			.index = (uint32_t)i,
			.image = entry[i].image,
			.target = entry[i].target,
		};
		r->last_ns = place->t1_ns > r->last_ns ? place->t1_ns : r->last_ns;
	}
	return 0;
}

static int by_begin(const void *a, const void *b)
{
	const struct place *x = a, *y = b;

	if (x->t0_ns != y->t0_ns)
		return x->t0_ns < y->t0_ns ? -1 : 1;
	return x->ordinal < y->ordinal ? -1 : x->ordinal > y->ordinal;
}

static int find_in_chunks(struct replay *r, struct kms_chunk_block *dir)
{
	size_t n_chunks, n;
	const struct kms_trace_chunk *chunk = kms_trace_chunks(r->conn->trace, &n_chunks);
	int result = 0;

	for (size_t i = 0; !result && i < n_chunks; i++) {
		result = kms_trace_dir(r->conn->trace, chunk[i].id, dir, &n, r->err);
		if (!result)
			result = add_places(r, chunk[i].id, dir, n);
	}
	return result;
}

static int find_places(struct replay *r)
{
	struct kms_chunk_block *blocks = malloc(KMS_CHUNK_BLOCKS_MAX * sizeof(*blocks));
	size_t n;
	int result = blocks ? find_in_chunks(r, blocks) : no_memory(r);

	free(blocks);
	blocks = NULL;
	if (!result)
		result = kms_trace_open_blocks(r->conn->trace, &blocks, &n, r->err);
	if (!result)
		result = add_places(r, 0, blocks, n);
	free(blocks);
	if (!result && r->n_places)
		qsort(r->place, r->n_places, sizeof(*r->place), by_begin);
	return result;
}

static int begin_block(struct replay *r, const struct place *place)
{
	struct active *active;
	const struct kms_block *block;
	int result = kms_trace_block(r->conn->trace, place->chunk, place->index, place->ordinal,
				     &block, r->err);

	if (result < 0)
		return result;
	if (r->n_active == r->active_room) {
		size_t room = r->active_room ? r->active_room * 2 : 64;
		struct active **list = realloc(r->active, room * sizeof(struct active *));

		if (!list)
			return no_memory(r);
		r->active = list;
		r->active_room = room;
	}
	active = malloc(sizeof(*active));
	if (!active)
		return no_memory(r);
	active->place = *place;
	active->from_bytes = 0;
	memcpy(&active->block, block, offsetof(struct kms_block, record) + block->fill);
	r->active[r->n_active++] = active;
	return 0;
}

/* Where the records end that were written until then. */
static uint32_t fill_until(struct replay *r, const struct active *active, uint64_t until_ns)
{
	size_t n;

	if (active->place.t1_ns <= until_ns)
		return active->block.fill;
	(void)kms_block_decode(&active->block, r->event, KMS_SEQ_PER_BLOCK, &n); /* the good ones */
	for (size_t i = 0; i < n; i++)
		if (kms_trace_time(r->conn->trace, active->place.target, r->event[i].time_ns) >
		    until_ns)
			return r->event[i].offset;
	return active->block.fill;
}

static int give_piece(struct replay *r, struct active *active, uint32_t fill)
{
	struct kms_batch_block *piece;

	if (fill <= active->from_bytes && fill != active->block.fill)
		return 0;
	piece = kms_batch_add_block(r->batch);
	if (!piece)
		return no_memory(r);
	piece->image = active->place.image;
	piece->target = active->place.target;
	piece->from_bytes = active->from_bytes;
	piece->complete = fill == active->block.fill;
	memcpy(&piece->block, &active->block, offsetof(struct kms_block, record) + fill);
	piece->block.fill = fill;
	/* a malformed rest was not counted when it was stored either */
	(void)kms_block_walk(&piece->block, active->from_bytes, &piece->summary, NULL, NULL);
	active->from_bytes = fill;
	return 0;
}

/* Gives out everything up to a time. */
static int give_step(struct replay *r, uint64_t until_ns)
{
	size_t kept = 0;
	int result = 0;

	for (size_t i = 0; i < r->n_active; i++) {
		struct active *active = r->active[i];

		if (!result)
			result = give_piece(r, active, fill_until(r, active, until_ns));
		if (active->from_bytes == active->block.fill)
			free(active);
		else
			r->active[kept++] = active;
	}
	r->n_active = kept;
	r->batch->time_ns = until_ns < r->last_ns ? until_ns : r->last_ns;
	return result ? result : send(r);
}

static int give_blocks(struct replay *r)
{
	size_t next = 0;
	int result = 0;

	while (!result && next < r->n_places) {
		size_t end = next + STEP_BLOCKS < r->n_places ? next + STEP_BLOCKS : r->n_places;
		uint64_t until_ns = end < r->n_places ? r->place[end].t0_ns : UINT64_MAX;

		for (; !result && next < end; next++)
			result = begin_block(r, &r->place[next]);
		if (!result)
			result = give_step(r, until_ns);
	}
	return result;
}

static int replay_all(struct replay *r)
{
	int result = for_rows(r, TARGETS, take_new_target);

	/* what others name comes first: strings (12) before modules (10) */
	if (!result)
		result = for_rows(r,
				  "SELECT image, section, page, data FROM region_pages "
				  "ORDER BY image, section <> 12, section, page",
				  take_page);
	if (!result)
		result = for_rows(r, SLOTS, take_slot);
	if (!result)
		result = send(r);
	if (!result)
		result = find_places(r);
	if (!result)
		result = give_blocks(r);
	if (!result)
		result = for_rows(r, TARGETS, take_ended_target);
	if (!result)
		result = for_rows(r, SLOTS, take_slot);
	if (!result)
		result = for_rows(r,
				  "SELECT target, ring, produced, lost FROM rings "
				  "WHERE ring >= 0", /* the others are in the slots */
				  take_ring);
	if (!result) {
		r->batch->what = KMS_BATCH_END;
		r->batch->time_ns = r->last_ns;
		result = send(r);
	}
	return result;
}

int kms_file_replay(struct kms_file *file, kms_batch_fn *feed, void *arg, struct kms_err *err)
{
	struct replay r = {.file = file, .feed = feed, .arg = arg, .err = err};
	int result = file_conn_begin(file, &r.conn, err);

	if (result < 0)
		return result;
	r.batch = kms_batch_create();
	r.event = malloc(KMS_SEQ_PER_BLOCK * sizeof(*r.event));
	result = r.batch && r.event ? replay_all(&r) : no_memory(&r);
	for (size_t i = 0; i < r.n_active; i++)
		free(r.active[i]);
	free(r.active);
	free(r.place);
	free(r.event);
	kms_batch_put(r.batch);
	file_conn_end(file, r.conn);
	return result;
}
