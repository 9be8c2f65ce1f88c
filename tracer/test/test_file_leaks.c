/* SPDX-License-Identifier: BSD-2-Clause */
/* Leaks in traces: of this format, with their caches, and of older ones, read as they are. */
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/test/unit.h"
#include "tracer/file.h"
#include "tracer/store.h"
#include "tracer/test/trace_build.h"

#define TRACE "test_file_leaks.kms"

static struct kms_view_leak_cache written[] = {
	{"malloc-\"64\\", 600, 10},
	{"malloc-48",     40,  1 },
	{NULL,            1,   2 },
};

/* The first format's text has the view as it was up to format 2. */
extern const char kms_sql_001_init[];

static void must(int result, const struct kms_err *err)
{
	if (result < 0)
		fail_msg("%s", err->text);
}

/* A finished trace with one leak. */
static void write_trace(void)
{
	const struct kms_store_config config = {
		.path = TRACE, .command = "program", .commit_ns = 1};
	struct kms_view_leak leak = {
		.target = 1,
		.id = "0123456789abcdef",
		.stack_id = 5,
		.cache = written[0].name,
		.n_caches = 3,
		.caches = written,
		.bytes = 641,
		.count = 13,
		.state = "open",
	};
	const struct kms_snapshot snapshot = {.seq = 1, .n_leaks = 1, .leak = &leak};
	struct kms_err err = KMS_ERR_INIT;
	struct kms_batch *batch;
	struct kms_store *store;
	struct tb tb;

	tb_init(&tb, rng_seed(), 1, 1);
	batch = tb_end(&tb);
	must(kms_store_create(&config, &store, &err), &err);
	must(kms_store_add(store, batch, &err), &err);
	kms_batch_put(batch);
	must(kms_store_snapshot(store, &snapshot, &err), &err);
	must(kms_store_close(store, &err), &err);
	tb_deinit(&tb);
}

static void make_format_2(void)
{
	const char *view = strstr(kms_sql_001_init, "CREATE VIEW leaks");
	const char *end = strstr(view, ";\n");
	char sql[2048];
	sqlite3 *db;

	assert_int_equal(sqlite3_open(TRACE, &db), SQLITE_OK);
	(void)snprintf(sql, sizeof(sql),
		       "DROP TABLE leak_caches; DROP VIEW leaks; %.*s; PRAGMA user_version=2",
		       (int)(end - view), view);
	assert_int_equal(sqlite3_exec(db, sql, NULL, NULL, NULL), SQLITE_OK);
	(void)sqlite3_close(db);
}

/* The trace's one leak has these caches. */
static void expect_caches(const struct kms_view_leak_cache *want, size_t n)
{
	struct kms_err err = KMS_ERR_INIT;
	const struct kms_view_leak *leak;
	const struct kms_snapshot *s;
	struct kms_file *file;
	struct kms_view view;

	must(kms_file_open(TRACE, &file, &err), &err);
	view = kms_file_view(file);
	s = view.ops->acquire(view.ctx);
	assert_int_equal(s->n_leaks, 1);
	leak = &s->leak[0];
	assert_int_equal(leak->n_caches, n);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(!leak->caches[i].name, !want[i].name);
		if (want[i].name)
			assert_string_equal(leak->caches[i].name, want[i].name);
		assert_int_equal(leak->caches[i].bytes, want[i].bytes);
		assert_int_equal(leak->caches[i].count, want[i].count);
	}
	view.ops->release(view.ctx, s);
	kms_file_close(file);
}

static void a_leak_has_all_its_caches_and_in_format_2_the_one_of_its_row(void **state)
{
	const struct kms_view_leak_cache row = {written[0].name, 641, 13};

	(void)state;
	(void)unlink(TRACE);
	write_trace();
	expect_caches(written, 3);
	make_format_2();
	expect_caches(&row, 1);
	(void)unlink(TRACE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_leak_has_all_its_caches_and_in_format_2_the_one_of_its_row),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
