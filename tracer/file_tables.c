/* SPDX-License-Identifier: BSD-2-Clause */
/* What a trace's tables answer beyond its snapshot: samples, marks, their difference, the audit. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "tracer/db.h"
#include "tracer/file_impl.h"
#include "tracer/held.h"

enum {
	HELD_MAX = 1 << 22, /* sites of one mark; what is in a file is hostile */
	MARKS_SINCE = 2,    /* schema number */
	TARGET_SAMPLES_SINCE = 4,
};

static uint64_t u64(sqlite3_stmt *row, int column)
{
	return (uint64_t)sqlite3_column_int64(row, column);
}

static const char *text(sqlite3_stmt *row, int column)
{
	const char *found = (const char *)sqlite3_column_text(row, column);

	return found ? found : "";
}

/* A query: its text, what to bind, what to do with each row. Non-zero of take() ends it. */
struct ask {
	const char *sql;
	struct kms_value value[3];
	unsigned n_values;
	int (*take)(void *arg, sqlite3_stmt *row);
	void *arg;
};

static int run(sqlite3 *db, const struct ask *ask, struct kms_err *err)
{
	sqlite3_stmt *stmt = NULL;
	int rc = sqlite3_prepare_v2(db, ask->sql, -1, &stmt, NULL);
	int ended = 0, result = 0;

	if (rc == SQLITE_OK)
		rc = kms_db_bind(stmt, ask->value, ask->n_values);
	while (!ended && (rc == SQLITE_OK || rc == SQLITE_ROW)) {
		rc = sqlite3_step(stmt);
		if (rc == SQLITE_ROW)
			ended = ask->take(ask->arg, stmt);
	}
	if (!ended && rc != SQLITE_DONE)
		result = kms_db_err(err, db, rc, "cannot read trace");
	(void)sqlite3_finalize(stmt); /* says again what step said */
	return result;
}

/* Runs a query within a transaction of its own. @since: schema number that brought its tables. */
static int run_file(struct kms_file *file, const struct ask *ask, int since, struct kms_err *err)
{
	struct file_conn *conn;
	int64_t version = 0;
	int result = file_conn_begin(file, &conn, err);

	if (result < 0)
		return result;
	result = kms_db_int(conn->db, "PRAGMA user_version", &version, err);
	if (!result && version >= since)
		result = run(conn->db, ask, err);
	file_conn_end(file, conn);
	return result;
}

#define SAMPLE_COLUMNS                                                                             \
	"time_ns, live_bytes, live_objects, allocs, frees, alloc_rate, free_rate, faults, lost, "  \
	"guard_used, guard_depth"

/* Who gets the rows. */
struct samples {
	int (*emit)(void *arg, const struct kms_view_sample *sample);
	void *arg;
};

static int take_sample(void *arg, sqlite3_stmt *row)
{
	const struct samples *to = arg;
	const struct kms_view_sample sample = {
		.time_ns = u64(row, 0),
		.live_bytes = u64(row, 1),
		.live_objects = u64(row, 2),
		.allocs = u64(row, 3),
		.frees = u64(row, 4),
		.alloc_rate = u64(row, 5),
		.free_rate = u64(row, 6),
		.faults = u64(row, 7),
		.lost = u64(row, 8),
		.guard_used = u64(row, 9),
		.guard_depth = u64(row, 10),
	};

	return to->emit(to->arg, &sample);
}

int file_samples(void *ctx, const struct kms_sample_query *query,
		 int (*emit)(void *arg, const struct kms_view_sample *sample), void *arg,
		 struct kms_err *err)
{
	struct samples to = {emit, arg};
	uint64_t from = query->from_ns < INT64_MAX ? query->from_ns : INT64_MAX;
	uint64_t until = query->to_ns < INT64_MAX ? query->to_ns : INT64_MAX;
	const struct ask of_run = {
		.sql = "SELECT " SAMPLE_COLUMNS " FROM samples "
		       "WHERE time_ns BETWEEN ?1 AND ?2 ORDER BY time_ns",
		.value = {KMS_INT(from), KMS_INT(until)},
		.n_values = 2,
		.take = take_sample,
		.arg = &to,
	};
	const struct ask of_target = {
		.sql = "SELECT " SAMPLE_COLUMNS " FROM target_samples "
		       "WHERE target = ?3 AND time_ns BETWEEN ?1 AND ?2 ORDER BY time_ns",
		.value = {KMS_INT(from), KMS_INT(until), KMS_INT(query->target)},
		.n_values = 3,
		.take = take_sample,
		.arg = &to,
	};

	return query->target ? run_file(ctx, &of_target, TARGET_SAMPLES_SINCE, err)
			     : run_file(ctx, &of_run, 1, err);
}

struct marks {
	int (*emit)(void *arg, const struct kms_view_mark *mark);
	void *arg;
};

static int take_mark(void *arg, sqlite3_stmt *row)
{
	const struct marks *to = arg;
	const struct kms_view_mark mark = {
		.id = u64(row, 0), .time_ns = u64(row, 1), .name = text(row, 2)};

	return to->emit(to->arg, &mark);
}

int file_marks(void *ctx, int (*emit)(void *arg, const struct kms_view_mark *mark), void *arg,
	       struct kms_err *err)
{
	struct marks to = {emit, arg};
	const struct ask ask = {.sql = "SELECT id, time_ns, name FROM mark_points ORDER BY id",
				.take = take_mark,
				.arg = &to};

	return run_file(ctx, &ask, MARKS_SINCE, err);
}

struct audits {
	int (*emit)(void *arg, const struct kms_view_audit *row);
	void *arg;
};

static int take_audit(void *arg, sqlite3_stmt *row)
{
	const struct audits *to = arg;
	const struct kms_view_audit audit = {
		.id = u64(row, 0),
		.wall_ns = u64(row, 1),
		.who = text(row, 2),
		.target = (uint32_t)u64(row, 3),
		.variable = text(row, 4),
		.value = u64(row, 5),
		.result = text(row, 6),
	};

	return to->emit(to->arg, &audit);
}

int file_audit(void *ctx, int (*emit)(void *arg, const struct kms_view_audit *row), void *arg,
	       struct kms_err *err)
{
	struct audits to = {emit, arg};
	const struct ask ask = {.sql = "SELECT id, wall_ns, who, target, variable, value, result "
				       "FROM audit ORDER BY id DESC",
				.take = take_audit,
				.arg = &to};

	return run_file(ctx, &ask, 1, err);
}

/* The sites of a mark while they are read. */
struct sites {
	struct file_arena arena; /* names */
	struct kms_held *held;
	size_t n, room;
	bool no_memory;
};

static void sites_free(struct sites *sites)
{
	file_arena_free(&sites->arena);
	free(sites->held);
}

static int take_site(void *arg, sqlite3_stmt *row)
{
	struct sites *s = arg;
	const char *cache = text(row, 2);

	if (s->n == s->room) {
		size_t room = s->room ? s->room * 2 : 1024;
		struct kms_held *more =
			s->n < HELD_MAX ? reallocarray(s->held, room, sizeof(*more)) : NULL;

		s->no_memory = !more;
		if (!more)
			return 1;
		s->held = more;
		s->room = room;
	}
	/* few caches: rows of one share its name where they follow each other */
	if (!s->n || strcmp(s->held[s->n - 1].cache, cache) != 0)
		cache = file_arena_text(&s->arena, cache, &s->no_memory);
	else
		cache = s->held[s->n - 1].cache;
	if (s->no_memory)
		return 1;
	s->held[s->n++] = (struct kms_held){.target = (uint32_t)u64(row, 0),
					    .stack_id = u64(row, 1),
					    .cache = cache,
					    .bytes = u64(row, 3),
					    .count = u64(row, 4)};
	return 0;
}

static int take_count(void *arg, sqlite3_stmt *row)
{
	*(uint64_t *)arg = u64(row, 0);
	return 0;
}

/* The sites of a mark; of 0, the begin of the run, there are none. */
static int read_sites(struct kms_file *file, uint64_t mark, struct sites *out, struct kms_err *err)
{
	uint64_t found = 0;
	const struct ask exists = {.sql = "SELECT count(*) FROM mark_points WHERE id = ?1",
				   .value = {KMS_INT(mark)},
				   .n_values = 1,
				   .take = take_count,
				   .arg = &found};
	const struct ask rows = {.sql = "SELECT target, stack_id, cache, bytes, count "
					"FROM mark_sites WHERE mark = ?1",
				 .value = {KMS_INT(mark)},
				 .n_values = 1,
				 .take = take_site,
				 .arg = out};
	int result;

	if (!mark)
		return 0;
	result = run_file(file, &exists, MARKS_SINCE, err);
	if (!result && !found)
		return kms_err_set(err, -ENOENT, "there is no mark %llu", (unsigned long long)mark);
	if (!result)
		result = run_file(file, &rows, MARKS_SINCE, err);
	if (!result && out->no_memory)
		result = kms_err_set(err, -ENOMEM, "out of memory");
	out->n = kms_held_order(out->held, out->n);
	return result;
}

int kms_file_diff(struct kms_file *file, const struct kms_file_ends *ends,
		  int (*emit)(void *arg, const struct kms_view_diff *row), void *arg,
		  struct kms_err *err)
{
	struct sites a = {0}, b = {0};
	int result = read_sites(file, ends->a, &a, err);

	if (!result && ends->b)
		result = read_sites(file, ends->b, &b, err);
	else if (!result && kms_held_of(ends->now, &b.held, &b.n) < 0)
		result = kms_err_set(err, -ENOMEM, "out of memory");
	if (!result && kms_held_diff(a.held, a.n, b.held, b.n, emit, arg) < 0)
		result = kms_err_set(err, -ENOMEM, "out of memory");
	sites_free(&a);
	sites_free(&b);
	return result;
}

int file_diff(void *ctx, uint64_t a, uint64_t b,
	      int (*emit)(void *arg, const struct kms_view_diff *row), void *arg,
	      struct kms_err *err)
{
	struct kms_view view = kms_file_view(ctx);
	struct kms_file_ends ends = {.a = a, .b = b, .now = view.ops->acquire(ctx)};
	int result = kms_file_diff(ctx, &ends, emit, arg, err);

	view.ops->release(ctx, ends.now);
	return result;
}
