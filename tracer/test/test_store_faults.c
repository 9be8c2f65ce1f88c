/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Failure sweep: the n-th operation on the disk fails, for n = 1, 2, ... until a run is clean. A
 * failure once costs nothing: what could not be written goes with the next commit. A disk that stays
 * full costs what came after; the file stays whole.
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "tracer/db.h"
#include "tracer/file_connect.h"
#include "tracer/scan.h"
#include "tracer/store.h"
#include "tracer/test/store_faulty_vfs.h"
#include "tracer/test/trace_build.h"
#include "tracer/trace_lock.h"

#define TRACE "test_store_faults.kms"

enum {
	BATCHES = 6,
	EVENTS = 4000, /* a batch */
};

static void clean(void)
{
	(void)unlink(TRACE);
	(void)unlink(TRACE "-wal");
	(void)unlink(TRACE "-shm");
	(void)unlink(TRACE "-journal");
	(void)unlink(TRACE ".lock");
	(void)unlink(TRACE ".new");
}

/* What became of a run. */
struct outcome {
	bool created, closed;
	unsigned failures; /* of adding and committing */
	uint64_t operations;
};

static struct outcome run(struct tb *tb, struct faulty_plan plan)
{
	struct kms_store_config config = {.path = TRACE, .commit_ns = 1};
	struct kms_snapshot snapshot = {.seq = 1};
	struct outcome o = {0};
	struct kms_store *store = NULL;

	clean();
	tb_init(tb, 11, 10, 2);
	faulty_start(plan);
	o.created = kms_store_create(&config, &store, NULL) == 0;
	for (unsigned i = 0; i < BATCHES; i++) {
		struct kms_batch *batch;

		tb_run(tb, EVENTS);
		batch = i + 1 < BATCHES ? tb_poll(tb, true) : tb_end(tb);
		if (o.created)
			o.failures += kms_store_add(store, batch, NULL) < 0;
		kms_batch_put(batch);
		if (o.created && i == 2)
			o.failures += kms_store_snapshot(store, &snapshot, NULL) < 0;
	}
	if (o.created)
		o.closed = kms_store_close(store, NULL) == 0;
	o.operations = faulty_count();
	faulty_start((struct faulty_plan){0});
	return o;
}

/* Counts the events of the file; it must open and be whole. */
static size_t count_events(void)
{
	struct kms_scan_query query = KMS_SCAN_ALL;
	const struct kms_scan_event *e;
	struct kms_err err = KMS_ERR_INIT;
	struct kms_trace *trace;
	struct kms_scan *scan;
	sqlite3_stmt *stmt;
	sqlite3 *db;
	size_t n = 0;

	if (kms_file_connect(TRACE, &db, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(sqlite3_prepare_v2(db, "PRAGMA integrity_check", -1, &stmt, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	assert_string_equal((const char *)sqlite3_column_text(stmt, 0), "ok");
	(void)sqlite3_finalize(stmt);
	assert_int_equal(kms_trace_create(db, &trace, NULL), 0);
	assert_int_equal(kms_trace_refresh(trace, NULL), 0);
	assert_int_equal(kms_scan_open(trace, &query, &scan, NULL), 0);
	while (kms_scan_next(scan, &e, &err) == 0 && e)
		n++;
	if (err.code)
		fail_msg("%s", err.text);
	kms_scan_close(scan);
	kms_trace_destroy(trace);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	return n;
}

static size_t events_of(const struct tb *tb)
{
	size_t n = 0;

	for (uint32_t i = 0; i < tb->n_rings; i++)
		n += tb->ring[i].n_events;
	return n;
}

static void check(const struct tb *tb, struct outcome o, struct faulty_plan plan)
{
	size_t n;

	assert_false(kms_trace_is_locked(TRACE, NULL));
	if (!o.created) {
		assert_int_equal(access(TRACE, F_OK), -1);
		return;
	}
	n = count_events();
	assert_true(n <= events_of(tb));
	if (o.closed)
		assert_int_equal(n, events_of(tb));
	if (!plan.for_ever)
		assert_true(o.closed);
}

static void sweep(struct faulty_plan plan)
{
	unsigned runs = 0, not_created = 0, not_closed = 0, failed = 0;

	for (plan.nth = 1;; plan.nth += 1 + plan.nth / 60) {
		struct tb tb;
		struct outcome o = run(&tb, plan);

		check(&tb, o, plan);
		tb_deinit(&tb);
		runs++;
		not_created += !o.created;
		not_closed += o.created && !o.closed;
		failed += o.failures != 0;
		if (o.operations < plan.nth)
			break;
	}
	print_message("%u runs: %u not created, %u with failed commits, %u not closed\n", runs,
		      not_created, failed, not_closed);
	assert_true(not_created > 0 && failed > 0);
	clean();
}

static void one_failed_operation_loses_nothing(void **state)
{
	(void)state;
	sweep((struct faulty_plan){0});
}

static void one_full_disk_loses_nothing(void **state)
{
	(void)state;
	sweep((struct faulty_plan){.disk_full = true});
}

static void a_broken_disk_leaves_a_whole_file(void **state)
{
	(void)state;
	sweep((struct faulty_plan){.for_ever = true});
}

static void a_full_disk_leaves_a_whole_file(void **state)
{
	(void)state;
	sweep((struct faulty_plan){.for_ever = true, .disk_full = true});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_failed_operation_loses_nothing),
		cmocka_unit_test(one_full_disk_loses_nothing),
		cmocka_unit_test(a_broken_disk_leaves_a_whole_file),
		cmocka_unit_test(a_full_disk_leaves_a_whole_file),
	};

	faulty_install();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
