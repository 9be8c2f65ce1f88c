/* SPDX-License-Identifier: BSD-2-Clause */
/* The table `events`: every plan gives what a plain search gives, and opens little. */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tracer/db.h"
#include "tracer/file_connect.h"
#include "tracer/scan.h"
#include "tracer/sql.h"
#include "tracer/store.h"
#include "tracer/test/trace_build.h"
#include "tracer/test/workload.h"

#define TRACE "test_vtab.kms"

static void remove_all(void)
{
	(void)unlink(TRACE);
	(void)unlink(TRACE "-wal");
	(void)unlink(TRACE "-shm");
	(void)unlink(TRACE ".lock");
}

static struct kms_store *create(void)
{
	struct kms_store_config config = {.path = TRACE, .commit_ns = 1};
	struct kms_store *store = NULL;

	assert_int_equal(kms_store_create(&config, &store, NULL), 0);
	return store;
}

static void add(struct kms_store *store, struct kms_batch *batch)
{
	assert_int_equal(kms_store_add(store, batch, NULL), 0);
	kms_batch_put(batch);
}

/* A trace with chunks and open blocks of several rings and targets, still being written. */
struct fixture {
	struct tb tb;
	struct kms_store *store;
	sqlite3 *db;
};

static int setup(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));
	struct kms_err err = KMS_ERR_INIT;

	assert_non_null(f);
	remove_all();
	tb_init(&f->tb, rng_seed(), 12, 2);
	f->store = create();
	for (unsigned i = 0; i < 40; i++) {
		tb_run(&f->tb, 6000);
		add(f->store, tb_poll(&f->tb, true));
	}
	assert_int_equal(kms_store_commit(f->store, true, NULL), 0);
	if (kms_file_connect(TRACE, &f->db, &err) < 0)
		fail_msg("%s", err.text);
	/* the same rows without any plan, in temporary tables of our own connection */
	assert_int_equal(kms_db_exec(f->db,
				     "PRAGMA query_only=0;"
				     "CREATE TEMP TABLE plain AS SELECT *, site, value FROM events;"
				     "PRAGMA query_only=1",
				     &err),
			 0);
	*state = f;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(sqlite3_close(f->db), SQLITE_OK);
	assert_int_equal(kms_store_close(f->store, NULL), 0);
	tb_deinit(&f->tb);
	free(f);
	remove_all();
	return 0;
}

static int64_t number(sqlite3 *db, const char *sql)
{
	int64_t value = INT64_MIN;
	struct kms_err err = KMS_ERR_INIT;

	if (kms_db_int(db, sql, &value, &err) < 0)
		fail_msg("%s: %s", sql, err.text);
	return value;
}

/* Runs a query on both tables; the rows must be the same, in the same order. Returns how many. */
static size_t expect_same(sqlite3 *db, const char *what, const char *where)
{
	static const char *const from[] = {"events", "plain"};
	sqlite3_stmt *stmt[2];
	char sql[2][512];
	size_t n = 0;
	int rc[2];

	for (unsigned i = 0; i < 2; i++) {
		(void)snprintf(sql[i], sizeof(sql[i]), "SELECT %s FROM %s %s", what, from[i],
			       where);
		if (sqlite3_prepare_v2(db, sql[i], -1, &stmt[i], NULL) != SQLITE_OK)
			fail_msg("%s: %s", sql[i], sqlite3_errmsg(db));
	}
	for (;; n++) {
		for (unsigned i = 0; i < 2; i++)
			rc[i] = sqlite3_step(stmt[i]);
		if (rc[0] != rc[1])
			fail_msg("%s: row %zu: %d, plainly %d", sql[0], n, rc[0], rc[1]);
		if (rc[0] != SQLITE_ROW)
			break;
		for (int c = 0; c < sqlite3_column_count(stmt[0]); c++) {
			const char *a = (const char *)sqlite3_column_text(stmt[0], c);
			const char *b = (const char *)sqlite3_column_text(stmt[1], c);

			if ((!a) != (!b) || (a && strcmp(a, b) != 0))
				fail_msg("%s: row %zu: %s, plainly %s", sql[0], n, a ? a : "NULL",
					 b ? b : "NULL");
		}
	}
	assert_int_equal(rc[0], SQLITE_DONE);
	(void)sqlite3_finalize(stmt[0]);
	(void)sqlite3_finalize(stmt[1]);
	return n;
}

/* A value of a column that occurs, as SQL. */
static void some_value(sqlite3 *db, struct rng *rng, const char *column, char out[64])
{
	char sql[256];
	sqlite3_stmt *stmt;

	(void)snprintf(sql, sizeof(sql), "SELECT quote(%s) FROM plain WHERE rowid = 1 + %" PRIu64,
		       column, rng_below(rng, 200000));
	assert_int_equal(sqlite3_prepare_v2(db, sql, -1, &stmt, NULL), SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	(void)snprintf(out, 64, "%s", (const char *)sqlite3_column_text(stmt, 0));
	(void)sqlite3_finalize(stmt);
}

static void random_condition(sqlite3 *db, struct rng *rng, char *out, size_t room)
{
	static const char *const ranged[] = {"seq", "time_ns", "rowid"};
	static const char *const equal[] = {"kind", "address", "site", "stack_id", "target", "seq"};
	static const char *const op[] = {"<", "<=", ">", ">=", "="};
	const char *column;
	char value[64];

	if (rng_below(rng, 2)) {
		column = ranged[rng_below(rng, 3)];
		some_value(db, rng, column[0] == 'r' ? "seq" : column, value);
		/* plain has rowids of its own */
		(void)snprintf(out, room, "%s %s %s", column[0] == 'r' ? "seq" : column,
			       op[rng_below(rng, 5)], value);
		return;
	}
	column = equal[rng_below(rng, 6)];
	some_value(db, rng, column, value);
	(void)snprintf(out, room, "%s = %s", column, value);
}

static void every_plan_gives_the_same_rows(void **state)
{
	struct fixture *f = *state;
	char where[400], one[100];

	for (unsigned round = 0; round < 30; round++) {
		unsigned n = 1 + (unsigned)rng_below(&f->tb.rng, 3);
		size_t used = (size_t)snprintf(where, sizeof(where), "WHERE ");

		for (unsigned i = 0; i < n; i++) {
			random_condition(f->db, &f->tb.rng, one, sizeof(one));
			used += (size_t)snprintf(where + used, sizeof(where) - used, "%s%s",
						 i ? " AND " : "", one);
		}
		(void)snprintf(where + used, sizeof(where) - used, " ORDER BY seq%s",
			       rng_below(&f->tb.rng, 2) ? " DESC" : "");
		expect_same(f->db,
			    "seq, time_ns, kind, address, size, cache, thread, target, stack_id, "
			    "flags, site, value",
			    where);
	}
}

static void odd_constraints_mean_what_sql_means(void **state)
{
	static const struct {
		const char *where;
		int empty;
	} rows[] = {
		{"WHERE seq > 3000.5 AND seq < 9000.5 ORDER BY seq",            0},
		{"WHERE address = NULL",                                        1},
		{"WHERE kind = 'no such kind'",                                 1},
		{"WHERE kind = 1",					      1},
		{"WHERE kind = 'none'",					 1},
		{"WHERE kind IN ('alloc_failed', 'lost', 'lost') ORDER BY seq", 0},
		{"WHERE seq < -5",					      1},
		{"WHERE seq >= -5 ORDER BY seq DESC LIMIT 7",                   0},
		{"WHERE address = 'x'",					 1},
		{"WHERE target = 2.0 ORDER BY seq LIMIT 5",                     0},
		{"WHERE target = 2.5",					  1},
		{"WHERE target = -1",					   1},
		{"WHERE target = 4294967297",                                   1},
		{"WHERE address = 5 AND address = 6",                           1},
		{"WHERE time_ns > 1e300",                                       1},
		{"WHERE stack_id IS NULL ORDER BY seq LIMIT 20",                0},
		{"WHERE site = 0",					      1},
		{"WHERE address IS NULL ORDER BY seq LIMIT 9",                  0},
		{"WHERE kind = 'alloc' OR seq < 4000 ORDER BY seq",             0},
		{"WHERE seq BETWEEN 2048 AND 2100 ORDER BY seq DESC",           0},
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		assert_int_equal(expect_same(f->db, "seq, kind, address, size", rows[i].where) == 0,
				 rows[i].empty);
}

static void order_by_seq_needs_no_sorting(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(number(f->db, "SELECT count(*) FROM events"),
			 number(f->db, "SELECT count(*) FROM plain"));
	for (unsigned i = 0; i < 2; i++) {
		sqlite3_stmt *stmt;

		assert_int_equal(sqlite3_prepare_v2(f->db,
						    i ? "EXPLAIN QUERY PLAN SELECT * FROM events "
							"WHERE kind = 'free' ORDER BY seq DESC"
						      : "EXPLAIN QUERY PLAN SELECT * FROM events "
							"ORDER BY seq",
						    -1, &stmt, NULL),
				 SQLITE_OK);
		while (sqlite3_step(stmt) == SQLITE_ROW)
			assert_null(strstr((const char *)sqlite3_column_text(stmt, 3), "B-TREE"));
		(void)sqlite3_finalize(stmt);
	}
}

static void joins_of_events_with_themselves_work(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(expect_same(f->db, "kind, address",
				     "WHERE seq IN (SELECT seq FROM events WHERE kind = 'check') "
				     "ORDER BY seq"),
			 number(f->db, "SELECT count(*) FROM plain WHERE kind = 'check'"));
	assert_int_equal(number(f->db, "SELECT count(*) FROM events a JOIN events b "
				       "ON a.seq = b.seq WHERE a.kind = 'lost'"),
			 number(f->db, "SELECT count(*) FROM plain WHERE kind = 'lost'"));
}

static void functions_print_addresses_and_flags(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(number(f->db, "SELECT kms_hex(-1) = '0xffffffffffffffff' AND "
				       "kms_hex(255) = '0xff' AND kms_hex(NULL) IS NULL"),
			 1);
	assert_int_equal(number(f->db, "SELECT kms_flags(3) = 'size redzone' AND "
				       "kms_flags(512) = 'realloc' AND kms_flags(0) = ''"),
			 1);
}

/* One page of many: the history of an address must open the few chunks that can have it. */
static void history_of_an_address_opens_few_chunks(void **state)
{
	struct workload *w = workload_create("python", 5);
	struct kms_store *store;
	struct kms_batch *batch;
	struct kms_scan_query query = KMS_SCAN_ALL;
	const struct kms_scan_event *e;
	struct kms_scan_work work;
	struct kms_trace *trace;
	struct kms_scan *scan;
	struct tb tb;
	sqlite3 *db;
	uint64_t chunks = 0, read = 0, n = 0;

	(void)state;
	remove_all();
	store = create();
	tb_init(&tb, 1, 1, 1);
	batch = tb_poll(&tb, true);
	add(store, batch);
	for (unsigned i = 0; i < 3000; i++) {
		struct kms_block block;

		workload_block(w, &block);
		tb.ring[0].block = block;
		tb.ring[0].is_open = true;
		tb.ring[0].sent_bytes = 0;
		if (i % 100 == 99)
			add(store, tb_end(&tb));
		else
			tb_complete(&tb, 0);
	}
	assert_int_equal(kms_store_close(store, NULL), 0);
	assert_int_equal(kms_file_connect(TRACE, &db, NULL), 0);
	assert_int_equal(kms_trace_create(db, &trace, NULL), 0);
	assert_int_equal(kms_trace_refresh(trace, NULL), 0);
	query.has_address = true;
	for (unsigned i = 0; i < 20; i++) {
		uint32_t node;

		query.address = workload_some_address(w, &node);
		assert_int_equal(kms_scan_open(trace, &query, &scan, NULL), 0);
		while (kms_scan_next(scan, &e, NULL) == 0 && e)
			n++;
		kms_scan_work(scan, &work);
		kms_scan_close(scan);
		chunks += work.chunks;
		read += work.chunks_read;
	}
	print_message("%" PRIu64 " events of 20 addresses: %" PRIu64 " of %" PRIu64
		      " chunks read\n",
		      n, read, chunks);
	assert_true(n >= 20);
	assert_true(read * 3 < chunks);
	kms_trace_destroy(trace);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	workload_destroy(w);
	tb_deinit(&tb);
	remove_all();
}

/* What a query gave, as text. */
struct result {
	size_t rows, stop_after;
	char last[256];
};

static int take(void *arg, size_t n, const char *const *names, const char *const *values)
{
	struct result *r = arg;
	size_t used = 0;

	for (size_t i = 0; i < n; i++)
		used += (size_t)snprintf(r->last + used, sizeof(r->last) - used, "%s%s=%s",
					 i ? " " : "", names[i], values[i] ? values[i] : "NULL");
	return ++r->rows == r->stop_after;
}

static int sql(const char *query, struct result *r, struct kms_err *err)
{
	struct kms_query_sink sink = {take, r};

	*err = (struct kms_err)KMS_ERR_INIT;
	return kms_file_sql(TRACE, query, &sink, err);
}

static void sql_answers_on_a_live_file(void **state)
{
	struct fixture *f = *state;
	struct result r = {0};
	struct kms_err err;

	if (sql("SELECT count(*) AS n, NULL AS nil, x'01ff' AS bytes FROM events; -- end", &r,
		&err))
		fail_msg("%s", err.text);
	assert_int_equal(r.rows, 1);
	assert_non_null(strstr(r.last, " nil=NULL bytes=x'01ff'"));
	assert_int_equal(strtoll(r.last + 2, NULL, 10),
			 number(f->db, "SELECT count(*) FROM plain"));
	r = (struct result){0};
	assert_int_equal(sql("SELECT 1; SELECT name FROM targets ORDER BY id", &r, &err), 0);
	assert_int_equal(r.rows, 3);
	assert_string_equal(r.last, "name=program");
	r = (struct result){.stop_after = 2};
	assert_int_equal(sql("SELECT seq FROM events", &r, &err), -ECANCELED);
	assert_int_equal(r.rows, 2);
	r = (struct result){0};
	assert_int_equal(sql("", &r, &err), 0);
	assert_int_equal(sql("PRAGMA integrity_check; PRAGMA table_info(chunks)", &r, &err), 0);
	if (sql("SELECT * FROM leaks, sites, faults, caches, guard, samples, audit, marks, rings, "
		"frames",
		&r, &err))
		fail_msg("%s", err.text);
}

static void sql_only_reads(void **state)
{
	static const struct {
		const char *query;
		int code;
	} rows[] = {
		{"DELETE FROM chunks",                  -EACCES},
		{"INSERT INTO marks VALUES(1,1,1,'x')", -EACCES},
		{"UPDATE meta SET value = 1",           -EACCES},
		{"DROP TABLE chunks",                   -EACCES},
		{"CREATE TABLE t(x)",                   -EACCES},
		{"CREATE TEMP TABLE t(x)",              -EACCES},
		{"ATTACH 'test_vtab_other.db' AS o",    -EACCES},
		{"VACUUM INTO 'test_vtab_other.db'",    -EACCES},
		{"VACUUM",			      -EACCES},
		{"UPDATE sqlite_master SET sql = ''",   -EINVAL},
		{"PRAGMA query_only=0",                 -EACCES},
		{"PRAGMA journal_mode=delete",          -EACCES},
		{"PRAGMA writable_schema=1",            -EACCES},
		{"SELECT load_extension('x')",          -EINVAL},
		{"SELECT * FROM nothing",               -EINVAL},
		{"SELEKT 1",                            -EINVAL},
		{"SELECT 1; SELECT",                    -EINVAL},
	};
	struct kms_err err;

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct result r = {0};
		int code = sql(rows[i].query, &r, &err);

		if (code != rows[i].code)
			fail_msg("%s: %d: %s", rows[i].query, code, err.text);
		assert_true(err.text[0] != '\0');
	}
	assert_int_equal(access("test_vtab_other.db", F_OK), -1);
}

#ifdef TEST_EXTENSION
/* The same through the sqlite3 program of the system and the loadable extension. */
static void the_extension_serves_other_programs(void **state)
{
	struct fixture *f = *state;
	const char *build = getenv("KMS_BUILD_DIR");
	char command[1024], line[256] = "";
	FILE *pipe;

	if (!build || system("command -v sqlite3 >/dev/null") != 0)
		skip();
	(void)snprintf(command, sizeof(command),
		       "sqlite3 -readonly " TRACE " '.load %s/lib/kmemscope_sqlite' "
		       "\"SELECT count(*), count(DISTINCT cache), kms_hex(min(address)) "
		       "FROM events WHERE kind IN ('alloc','free')\"",
		       build);
	pipe = popen(command, "r");
	assert_non_null(pipe);
	assert_non_null(fgets(line, sizeof(line), pipe));
	assert_int_equal(pclose(pipe), 0);
	assert_int_equal(
		strtoll(line, NULL, 10),
		number(f->db, "SELECT count(*) FROM plain WHERE kind IN ('alloc','free')"));
	assert_non_null(strstr(line, "|3|0x7f34"));
}
#endif

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(every_plan_gives_the_same_rows, setup, teardown),
		cmocka_unit_test_setup_teardown(odd_constraints_mean_what_sql_means, setup,
						teardown),
		cmocka_unit_test_setup_teardown(order_by_seq_needs_no_sorting, setup, teardown),
		cmocka_unit_test_setup_teardown(joins_of_events_with_themselves_work, setup,
						teardown),
		cmocka_unit_test_setup_teardown(functions_print_addresses_and_flags, setup,
						teardown),
		cmocka_unit_test(history_of_an_address_opens_few_chunks),
		cmocka_unit_test_setup_teardown(sql_answers_on_a_live_file, setup, teardown),
		cmocka_unit_test_setup_teardown(sql_only_reads, setup, teardown),
#ifdef TEST_EXTENSION
		cmocka_unit_test_setup_teardown(the_extension_serves_other_programs, setup,
						teardown),
#endif
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
