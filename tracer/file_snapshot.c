/* SPDX-License-Identifier: BSD-2-Clause */
/* The snapshot that stands in the tables of a trace. What they hold is hostile. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#include "tracer/db.h"
#include "tracer/file_impl.h"
#include "tracer/store_names.h"

enum {
	ROWS_MAX = 1 << 22, /* of one table */
	LEAK_CACHES_SINCE = 3,
};

/* A column of the row being read. */
static uint64_t u64(sqlite3_stmt *row, int column)
{
	return (uint64_t)sqlite3_column_int64(row, column);
}

static uint32_t u32(sqlite3_stmt *row, int column)
{
	return (uint32_t)sqlite3_column_int64(row, column);
}

static const char *raw_text(sqlite3_stmt *row, int column)
{
	return (const char *)sqlite3_column_text(row, column);
}

/* Reading one snapshot. */
struct load {
	struct file_snapshot *out;
	sqlite3 *db;
	bool lost;
	bool no_memory;
	size_t room;  /* elements of the array being filled */
	size_t leak;  /* whose caches come: its place, from 1 */
	int64_t rank; /* its number in the file */
};

static const char *text(struct load *l, sqlite3_stmt *row, int column)
{
	return file_arena_text(&l->out->arena, raw_text(row, column), &l->no_memory);
}

/* Names of our own enumerations must not be NULL for those who print them. */
static const char *name(struct load *l, sqlite3_stmt *row, int column)
{
	const char *found = text(l, row, column);

	return found ? found : "";
}

/* The next element of a growing array in the arena; old copies stay until it is freed. */
static void *next_element(struct load *l, void *array, size_t *n, size_t element_bytes)
{
	void *memory;

	memcpy(&memory, array, sizeof(memory));
	if (*n == l->room || !memory) {
		size_t room = l->room ? l->room * 2 : 32;
		void *more = *n < ROWS_MAX ? file_arena_alloc(&l->out->arena, room * element_bytes)
					   : NULL;

		if (!more) {
			l->no_memory = true;
			return NULL;
		}
		if (memory)
			memcpy(more, memory, *n * element_bytes);
		memory = more;
		memcpy(array, &memory, sizeof(memory));
		l->room = room;
	}
	return (char *)memory + (*n)++ * element_bytes;
}

#define NEXT(l, member, count)                                                                     \
	next_element((l), &(l)->out->s.member, &(l)->out->s.count, sizeof(*(l)->out->s.member))

static void read_events_json(const char *json, uint64_t out[KMS_EVENT_KINDS])
{
	const char *p = json;

	for (unsigned kind = 0; p && kind < KMS_EVENT_KINDS && *p == (kind ? ',' : '['); kind++) {
		char *end;

		out[kind] = strtoull(p + 1, &end, 10);
		p = end;
	}
}

static void read_stats(struct load *l, sqlite3_stmt *row)
{
	struct kms_snapshot *s = &l->out->s;
	uint32_t target = u32(row, 0);
	struct kms_view_stats *stats = target ? NULL : &s->stats;

	/* the targets were read before */
	for (size_t i = 0; target && s->target_stats && i < s->n_targets; i++)
		if (s->target[i].id == target)
			stats = &s->target_stats[i];
	if (!stats)
		return;
	*stats = (struct kms_view_stats){
		.live_bytes = u64(row, 1),
		.live_objects = u64(row, 2),
		.peak_bytes = u64(row, 3),
		.allocs = u64(row, 4),
		.frees = u64(row, 5),
		.failed = u64(row, 6),
		.alloc_rate = u64(row, 7),
		.free_rate = u64(row, 8),
		.faults = u64(row, 9),
		.produced = u64(row, 11),
		.stored = u64(row, 12),
		.lost = u64(row, 13),
		.ring_fill = sqlite3_column_double(row, 14),
		.waits = u64(row, 15),
		.waited_ns = u64(row, 16),
		.lag_us = u64(row, 17),
		.ns_per_event = sqlite3_column_double(row, 18),
	};
	read_events_json(raw_text(row, 10), stats->events);
}

static void read_target(struct load *l, sqlite3_stmt *row)
{
	struct kms_view_target *t = NEXT(l, target, n_targets);

	if (!t)
		return;
	t->id = u32(row, 0);
	t->name = name(l, row, 1);
	t->kind = kms_name_value(KMS_NAMES_TARGET_KIND, raw_text(row, 2));
	t->pid = u32(row, 3);
	t->state = kms_name_value(KMS_NAMES_STATE, raw_text(row, 4));
	t->start_wall_ns = u64(row, 5);
	t->end_wall_ns = u64(row, 6);
	t->exit_status = (int32_t)sqlite3_column_int64(row, 7);
	t->parent = u32(row, 8);
	t->command = name(l, row, 9);
	if (l->lost && (t->state == KMS_STATE_RUNNING || t->state == KMS_STATE_STOPPED))
		t->state = KMS_STATE_LOST;
}

static void read_cache(struct load *l, sqlite3_stmt *row)
{
	struct kms_view_cache *c = NEXT(l, cache, n_caches);

	if (!c)
		return;
	c->target = u32(row, 0);
	c->name = name(l, row, 1);
	c->object_bytes = u64(row, 2);
	c->objects_live = u64(row, 3);
	c->objects_cached = u64(row, 4);
	c->objects_guarded = u64(row, 5);
	c->objects_total = u64(row, 6);
	c->slabs = u64(row, 7);
	c->pages = u64(row, 8);
	c->utilization = sqlite3_column_double(row, 9);
	c->waste_bytes = u64(row, 10);
	c->live_bytes = u64(row, 11);
	c->allocs = u64(row, 12);
	c->frees = u64(row, 13);
	c->failed = u64(row, 14);
	c->alloc_rate = u64(row, 15);
	c->free_rate = u64(row, 16);
}

static void read_guard(struct load *l, sqlite3_stmt *row)
{
	struct kms_view_guard *g = NEXT(l, guard, n_guards);

	if (!g)
		return;
	g->target = u32(row, 0);
	g->s.depth_requested = u64(row, 1);
	g->s.depth = u64(row, 2);
	g->pending = u64(row, 3) != 0;
	g->s.used = u64(row, 4);
	g->s.bytes = u64(row, 5);
	g->s.pages = u64(row, 6);
	g->s.live = u64(row, 7);
	g->s.frees = u64(row, 8);
	g->s.evictions = u64(row, 9);
	g->s.unguarded = u64(row, 10);
	g->oldest_age_us = u64(row, 11);
	g->window_frees = u64(row, 12);
	g->s.oldest_free_ns = u64(row, 13);
	g->s.oldest_free_nr = u64(row, 14);
	g->s.maps_used = u64(row, 15);
	g->s.maps_max = u64(row, 16);
	g->s.limited_by = kms_name_value(KMS_NAMES_LIMIT, raw_text(row, 17));
	g->s.backend = kms_name_value(KMS_NAMES_BACKEND, raw_text(row, 18));
}

/* What a file before format 3 has: each cache a leak of its own. */
static void set_own_cache(struct load *l, struct kms_view_leak *k)
{
	k->caches = file_arena_alloc(&l->out->arena, sizeof(*k->caches));
	l->no_memory |= !k->caches;
	if (!k->caches)
		return;
	k->n_caches = 1;
	*k->caches = (struct kms_view_leak_cache){k->cache, k->bytes, k->count};
}

/* Rows come by rank, at least one of each leak: rank, number of its caches, cache, bytes, count. */
static void read_leak_cache(struct load *l, sqlite3_stmt *row)
{
	struct kms_snapshot *s = &l->out->s;
	struct kms_view_leak *k;
	size_t room = u64(row, 1);

	if (!l->leak || sqlite3_column_int64(row, 0) != l->rank) {
		l->leak++;
		l->rank = sqlite3_column_int64(row, 0);
		if (l->leak > s->n_leaks || room > ROWS_MAX || !room)
			return;
		k = &s->leak[l->leak - 1];
		k->n_caches = 0;
		k->caches = file_arena_alloc(&l->out->arena, room * sizeof(*k->caches));
		l->no_memory |= !k->caches;
	}
	k = l->leak <= s->n_leaks ? &s->leak[l->leak - 1] : NULL;
	if (!k || !k->caches || k->n_caches >= room)
		return;
	k->caches[k->n_caches++] =
		(struct kms_view_leak_cache){text(l, row, 2), u64(row, 3), u64(row, 4)};
}

static void read_leak(struct load *l, sqlite3_stmt *row)
{
	struct kms_view_leak *k = NEXT(l, leak, n_leaks);
	const char *id = raw_text(row, 1);

	if (!k)
		return;
	k->target = u32(row, 0);
	(void)snprintf(k->id, sizeof(k->id), "%s", id ? id : ""); /* cut if it is not ours */
	k->stack_id = u64(row, 2);
	k->cache = text(l, row, 3);
	k->score = sqlite3_column_double(row, 4);
	k->bytes = u64(row, 5);
	k->count = u64(row, 6);
	k->age_p50_us = u64(row, 7);
	k->allocs = u64(row, 8);
	k->evidence.growth_bytes_per_s = sqlite3_column_double(row, 9);
	k->evidence.age_over_lifetime = sqlite3_column_double(row, 10);
	k->evidence.freed = u64(row, 11);
	k->evidence.never_freed = u64(row, 12) != 0;
	k->evidence.at_exit = u64(row, 13) != 0;
	k->state = name(l, row, 14);
	k->folded = u64(row, 15) != 0;
	set_own_cache(l, k);
}

/* What the tracer would have made of it. */
static void bound_fault(struct kms_fault *raw)
{
	if (raw->kind >= KMS_FAULT_KINDS)
		raw->kind = KMS_FAULT_NONE;
	if (raw->access > KMS_ACCESS_CHECK)
		raw->access = KMS_ACCESS_NONE;
	if (raw->bytes_count > sizeof(raw->bytes))
		raw->bytes_count = sizeof(raw->bytes);
	if (raw->level >= KMS_LEVELS)
		raw->level = KMS_LEVEL_TASK;
	raw->text[sizeof(raw->text) - 1] = '\0';
}

static void read_fault(struct load *l, sqlite3_stmt *row)
{
	struct kms_view_fault *f;

	if (sqlite3_column_bytes(row, 8) != (int)sizeof(f->raw))
		return; /* not what a tracer wrote */
	f = NEXT(l, fault, n_faults);
	if (!f)
		return;
	f->id = u32(row, 0);
	f->target = u32(row, 1);
	f->cache = text(l, row, 2);
	f->tid = u32(row, 3);
	f->thread_name = text(l, row, 4);
	f->stack_id = u64(row, 5);
	f->alloc_stack_id = u64(row, 6);
	f->free_stack_id = u64(row, 7);
	memcpy(&f->raw, sqlite3_column_blob(row, 8), sizeof(f->raw));
	bound_fault(&f->raw);
}

/* Rows come by fault and number: those of one fault lie together. */
static void read_owner(struct load *l, sqlite3_stmt *row)
{
	struct kms_snapshot *s = &l->out->s;
	struct kms_view_fault *f = NULL;
	struct kms_view_owner *o;
	uint32_t id = u32(row, 0);

	for (size_t i = s->n_faults; i-- > 0 && !f;)
		if (s->fault[i].id == id)
			f = &s->fault[i];
	if (!f)
		return;
	if (!f->n_owners)
		l->room = 0;
	o = next_element(l, &f->owner, &f->n_owners, sizeof(*o));
	if (!o)
		return;
	*o = (struct kms_view_owner){
		.alloc_ns = u64(row, 1),
		.free_ns = u64(row, 2),
		.bytes = u64(row, 3),
		.alloc_stack_id = u64(row, 4),
		.free_stack_id = u64(row, 5),
		.thread = u32(row, 6),
	};
}

static void read_ring(struct load *l, sqlite3_stmt *row)
{
	struct kms_view_ring *r = NEXT(l, ring, n_rings);

	if (!r)
		return;
	r->target = u32(row, 0);
	r->ring = u32(row, 1);
	r->produced = u64(row, 2);
	r->stored = u64(row, 3);
	r->lost = u64(row, 4);
}

static const struct part {
	const char *sql;
	void (*read)(struct load *l, sqlite3_stmt *row);
} parts[] = {
	{"SELECT * FROM targets ORDER BY id",                                            read_target},
	{"SELECT * FROM stats ORDER BY target",                                          read_stats },
	{"SELECT * FROM caches ORDER BY rowid",                                          read_cache },
	{"SELECT * FROM guard ORDER BY rowid",                                           read_guard },
	{"SELECT target, id, stack_id, cache, score, bytes, count, age_p50_us, allocs,"
	 " growth_bytes_per_s, age_over_lifetime, freed, never_freed, at_exit, state, folded"
	 " FROM leak_rows ORDER BY rank",				       read_leak  },
	{"SELECT id, target, cache, thread, thread_name, stack_id, alloc_stack_id, free_stack_id, raw"
	 " FROM fault_rows ORDER BY id",					read_fault },
	{"SELECT fault, alloc_ns, free_ns, bytes, alloc_stack_id, free_stack_id, thread"
	 " FROM fault_owners ORDER BY fault, n",				read_owner },
	{"SELECT target, ring, produced, stored, lost FROM rings ORDER BY target, ring", read_ring  },
};

/* Where the file's format has them; the leaks were read before. */
static const struct part leak_caches = {
	"SELECT l.rank, (SELECT count(*) FROM leak_caches c WHERE c.rank = l.rank), c.cache, c.bytes,"
	" c.count FROM leak_rows l LEFT JOIN leak_caches c ON c.rank = l.rank ORDER BY l.rank, c.n",
	read_leak_cache};

static int read_part(struct load *l, const struct part *part, struct kms_err *err)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(l->db, part->sql, -1, &stmt, NULL);

	l->room = 0;
	if (rc == SQLITE_OK)
		while (!l->no_memory && (rc = sqlite3_step(stmt)) == SQLITE_ROW)
			part->read(l, stmt);
	(void)sqlite3_finalize(stmt); /* says again what step said */
	if (l->no_memory)
		return kms_err_set(err, -ENOMEM, "out of memory");
	return rc == SQLITE_DONE ? 0 : kms_db_err(err, l->db, rc, "cannot read trace");
}

static const struct {
	const char *key;
	size_t at; /* an int64_t in struct file_meta */
} meta_numbers[] = {
	{"tracer_pid",          offsetof(struct file_meta, tracer_pid)         },
	{"run_start_wall_ns",   offsetof(struct file_meta, run_start_wall_ns)  },
	{"last_commit_wall_ns", offsetof(struct file_meta, last_commit_wall_ns)},
	{"produced",            offsetof(struct file_meta, produced)           },
	{"stored",              offsetof(struct file_meta, stored)             },
	{"lost",                offsetof(struct file_meta, lost)               },
	{"dropped",             offsetof(struct file_meta, dropped)            },
	{"removed",             offsetof(struct file_meta, removed)            },
	{"snapshot_seq",        offsetof(struct file_meta, snapshot_seq)       },
	{"snapshot_time_ns",    offsetof(struct file_meta, snapshot_time_ns)   },
	{"snapshot_wall_ns",    offsetof(struct file_meta, snapshot_wall_ns)   },
	{"snapshot_incomplete", offsetof(struct file_meta, snapshot_incomplete)},
};

static void read_meta_row(struct file_meta *meta, sqlite3_stmt *row)
{
	const char *key = raw_text(row, 0), *value = raw_text(row, 1);
	int64_t number = sqlite3_column_int64(row, 1);

	if (!key || !value)
		return;
	if (strcmp(key, "state") == 0)
		(void)snprintf(meta->state, sizeof(meta->state), "%s", value); /* cut if not ours */
	if (strcmp(key, "command") == 0)
		(void)snprintf(meta->command, sizeof(meta->command), "%s", value); /* cut */
	for (size_t i = 0; i < sizeof(meta_numbers) / sizeof(*meta_numbers); i++)
		if (strcmp(key, meta_numbers[i].key) == 0)
			memcpy((char *)meta + meta_numbers[i].at, &number, sizeof(number));
}

int file_read_meta(sqlite3 *db, struct file_meta *out, struct kms_err *err)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(db, "SELECT key, value FROM meta", -1, &stmt, NULL);

	memset(out, 0, sizeof(*out));
	if (rc == SQLITE_OK)
		while ((rc = sqlite3_step(stmt)) == SQLITE_ROW)
			read_meta_row(out, stmt);
	(void)sqlite3_finalize(stmt); /* says again what step said */
	return rc == SQLITE_DONE ? 0 : kms_db_err(err, db, rc, "cannot read trace");
}

const char *file_lost_text(struct file_arena *arena, const struct file_meta *meta)
{
	time_t seconds = (time_t)(meta->last_commit_wall_ns / 1000000000);
	char when[40] = "?", line[256];
	bool failed = false;
	struct tm tm;
	const char *copy;

	if (gmtime_r(&seconds, &tm))
		(void)strftime(when, sizeof(when), "%Y-%m-%dT%H:%M:%S", &tm); /* "?" stays */
	(void)snprintf(line, sizeof(line),
		       "the tracer (process %lld) was lost: its last commit was at %s.%03lldZ, "
		       "with %lld of %lld events stored",
		       (long long)meta->tracer_pid, when,
		       (long long)(meta->last_commit_wall_ns / 1000000 % 1000),
		       (long long)meta->stored, (long long)meta->produced); /* fits */
	copy = file_arena_text(arena, line, &failed);
	return failed ? "the tracer was lost" : copy;
}

static void describe(struct load *l, struct kms_file *file, const struct file_meta *meta)
{
	struct kms_snapshot *s = &l->out->s;
	struct stat st;

	s->seq = (uint64_t)meta->snapshot_seq;
	s->time_ns = (uint64_t)meta->snapshot_time_ns;
	s->wall_ns = (uint64_t)(meta->snapshot_wall_ns ? meta->snapshot_wall_ns
						       : meta->run_start_wall_ns);
	s->finished = kms_file_state(file) == KMS_FILE_FINISHED;
	s->incomplete = meta->snapshot_incomplete || meta->dropped || l->lost;
	s->file =
		file->path; /* lives longer: every snapshot is given back before the file closes */
	if (l->lost)
		s->tracer_lost = file_lost_text(&l->out->arena, meta);
	if (stat(file->path, &st) == 0)
		s->stats.db_bytes = (uint64_t)st.st_size;
	s->stats.produced = (uint64_t)meta->produced;
	s->stats.stored = (uint64_t)meta->stored;
	/* to who reads the file it is all the same why they are not in it */
	s->stats.lost = (uint64_t)meta->lost + (uint64_t)meta->dropped;
}

int file_load_snapshot(struct kms_file *file, struct file_conn *conn, struct file_snapshot **out,
		       struct kms_err *err)
{
	struct load l = {.db = conn->db, .lost = kms_file_state(file) == KMS_FILE_LOST};
	struct file_meta meta;
	int64_t version = 0;
	int result = file_read_meta(conn->db, &meta, err);

	l.out = calloc(1, sizeof(*l.out));
	if (!l.out)
		return kms_err_set(err, -ENOMEM, "out of memory");
	atomic_init(&l.out->refs, 1);
	if (!result)
		result = kms_db_int(conn->db, "PRAGMA user_version", &version, err);
	for (size_t i = 0; !result && i < sizeof(parts) / sizeof(*parts); i++) {
		result = read_part(&l, &parts[i], err);
		if (!result && i == 0)
			l.out->s.target_stats = file_arena_alloc(
				&l.out->arena,
				(l.out->s.n_targets + 1) * sizeof(struct kms_view_stats));
	}
	if (!result && version >= LEAK_CACHES_SINCE)
		result = read_part(&l, &leak_caches, err);
	if (result < 0) {
		file_snapshot_put(l.out);
		return result;
	}
	describe(&l, file, &meta);
	*out = l.out;
	return 0;
}

void file_snapshot_put(struct file_snapshot *snapshot)
{
	if (!snapshot || atomic_fetch_sub(&snapshot->refs, 1) != 1)
		return;
	if (snapshot->from)
		kms_model_release(snapshot->model, snapshot->from);
	kms_model_destroy(snapshot->model);
	file_arena_free(&snapshot->arena);
	free(snapshot);
}
