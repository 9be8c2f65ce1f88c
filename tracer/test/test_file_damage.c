/* SPDX-License-Identifier: BSD-2-Clause */
/* Files that are no traces, or no longer: refused with the name of what is wrong, never a crash. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "tracer/db.h"
#include "tracer/file.h"
#include "tracer/stack_id.h"
#include "tracer/store.h"
#include "tracer/test/trace_build.h"

#define TRACE "test_file_damage.kms"

static int clean(void **state)
{
	(void)state;
	(void)unlink(TRACE);
	(void)unlink(TRACE "-wal");
	(void)unlink(TRACE "-shm");
	(void)unlink(TRACE ".lock");
	return 0;
}

static struct kms_store *create(void)
{
	struct kms_store_config config = {.path = TRACE, .command = "program", .commit_ns = 1};
	struct kms_err err = KMS_ERR_INIT;
	struct kms_store *store = NULL;

	if (kms_store_create(&config, &store, &err) < 0)
		fail_msg("%s", err.text);
	return store;
}

static void add(struct kms_store *store, struct kms_batch *batch)
{
	struct kms_err err = KMS_ERR_INIT;

	if (kms_store_add(store, batch, &err) < 0)
		fail_msg("%s", err.text);
	kms_batch_put(batch);
}

static int count_event(void *arg, const struct kms_view_event *event)
{
	size_t *n = arg;

	*n += event->seq != UINT64_MAX;
	return 0;
}

static void expect_not_opened(int code, const char *says)
{
	struct kms_err err = KMS_ERR_INIT;
	struct kms_file *file = NULL;

	assert_int_equal(kms_file_open(TRACE, &file, &err), code);
	if (!strstr(err.text, says))
		fail_msg("'%s' does not say '%s'", err.text, says);
	assert_string_equal(err.subject, TRACE);
}

static void make_small(void)
{
	struct kms_store *store = create();
	struct tb tb;

	tb_init(&tb, 3, 4, 1);
	tb_run(&tb, 20000);
	add(store, tb_poll(&tb, true));
	add(store, tb_end(&tb));
	assert_int_equal(kms_store_close(store, NULL), 0);
	tb_deinit(&tb);
}

static void change(const char *sql)
{
	struct kms_err err = KMS_ERR_INIT;
	sqlite3 *db;

	assert_int_equal(sqlite3_open(TRACE, &db), SQLITE_OK);
	if (kms_db_exec(db, sql, &err) < 0)
		fail_msg("%s: %s", sql, err.text);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static void what_is_no_trace_is_refused(void **state)
{
	FILE *out;

	(void)state;
	expect_not_opened(-ENOENT, "No such file");
	out = fopen(TRACE, "w");
	assert_int_equal(fclose(out), 0);
	expect_not_opened(-EINVAL, "not a kmemscope trace");
	out = fopen(TRACE, "w");
	for (unsigned i = 0; i < 3000; i++)
		assert_true(fputs("hello world\n", out) >= 0);
	assert_int_equal(fclose(out), 0);
	expect_not_opened(-EINVAL, "not a kmemscope trace");
	assert_int_equal(unlink(TRACE), 0);
	change("CREATE TABLE t(x)");
	expect_not_opened(-EINVAL, "not a kmemscope trace");
	assert_int_equal(unlink(TRACE), 0);
	assert_int_equal(mkfifo(TRACE, 0600), 0);
	expect_not_opened(-EINVAL, "no regular file");
	assert_int_equal(unlink(TRACE), 0);
	make_small();
	change("PRAGMA user_version = 1000");
	expect_not_opened(-EPROTO, "newer");
}

/* In words of ours: how much is here, or that it is damaged; never what SQLite calls it. */
static void a_cut_trace_says_how_much_of_it_is_here(void **state)
{
	struct kms_err err = KMS_ERR_INIT;
	struct kms_file *file = NULL;
	struct stat st;

	(void)state;
	make_small();
	assert_int_equal(stat(TRACE, &st), 0);
	for (unsigned part = 7; part > 0; part--) {
		assert_int_equal(truncate(TRACE, st.st_size * part / 8 + part), 0);
		expect_not_opened(-EBADMSG, "cut short");
		expect_not_opened(-EBADMSG, "copy it again");
	}
	assert_int_equal(truncate(TRACE, 100), 0);
	expect_not_opened(-EBADMSG, "cut short, 100 of ");
	/* as long as it was, and nothing behind its first page */
	assert_int_equal(truncate(TRACE, st.st_size), 0);
	assert_int_equal(kms_file_open(TRACE, &file, &err), -EBADMSG);
	assert_string_equal(err.text, "the trace is damaged; use another copy of it");
}

static void damaged_rows_are_named(void **state)
{
	static const struct {
		const char *sql, *says;
	} rows[] = {
		{"UPDATE chunk_data SET data = zeroblob(100)",                     "chunk 1"               },
		{"UPDATE chunk_data SET data = substr(data, 1, length(data) - 1)", "chunk 1"               },
		{"UPDATE chunk_data SET data = NULL || ''",                        ""                      }, /* NOT NULL */
		{"UPDATE chunks SET dir = zeroblob(9)",                            "directory of chunk 1"  },
		{"UPDATE chunks SET dir = ''",                                     "directory of chunk 1"  },
		{"DELETE FROM chunk_data",                                         "no longer in the trace"},
		{"INSERT INTO open_blocks VALUES(3, 1, 1, x'0102')",               "open block 3"          },
		{"INSERT INTO open_blocks VALUES(3, 0, 1, zeroblob(64))",          "open block 3"          },
		{"INSERT INTO open_blocks VALUES(3, 1, 1, zeroblob(64))",          "open block 3"          },
		{"UPDATE chunks SET seq_min = 5, seq_max = 3",                     "chunk 1"               },
		{"UPDATE chunks SET id = -1",                                      ""                      }, /* ids that are not positive are not read */
		{"UPDATE targets SET id = -5",                                     "target -5"             },
		{"UPDATE targets SET image = 1 << 40",                             "target 1"              },
	};
	struct kms_event_query all = {.before_seq = UINT64_MAX, .limit = SIZE_MAX};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct kms_err err = KMS_ERR_INIT;
		struct kms_file *file = NULL;
		size_t n = 0;
		sqlite3 *db;
		int result;

		make_small();
		assert_int_equal(sqlite3_open(TRACE, &db), SQLITE_OK);
		(void)kms_db_exec(db, rows[i].sql, NULL);
		assert_int_equal(sqlite3_close(db), SQLITE_OK);
		result = kms_file_open(TRACE, &file, &err);
		if (!result) {
			struct kms_view view = kms_file_view(file);

			result = view.ops->events(view.ctx, &all, count_event, &n, &err);
		}
		if (rows[i].says[0] && (result == 0 || !strstr(err.text, rows[i].says)))
			fail_msg("%s: %d '%s' does not say '%s'", rows[i].sql, result, err.text,
				 rows[i].says);
		kms_file_close(file);
	}
}

/* Reads all there is of a file that may be anything. */
static void read_everything(void)
{
	struct kms_event_query all = {.before_seq = UINT64_MAX, .limit = SIZE_MAX};
	size_t n = 0;
	struct kms_file *file = NULL;
	struct kms_view_stack stack;
	struct kms_view view;

	if (kms_file_open(TRACE, &file, NULL) < 0)
		return;
	view = kms_file_view(file);
	(void)view.ops->events(view.ctx, &all, count_event, &n, NULL);
	for (uint32_t i = 0; i < 20; i++)
		if (view.ops->stack(view.ctx, kms_stack_id(1, i * 3), &stack, NULL) == 0)
			view.ops->stack_free(view.ctx, &stack);
	kms_file_close(file);
}

/* Flips bytes anywhere in the file. No answer is wrong but a crash. */
static void random_damage_never_crashes(void **state)
{
	struct rng rng;
	struct stat st;

	(void)state;
	rng_init(&rng, rng_seed());
	for (unsigned round = 0; round < 60; round++) {
		int fd;

		make_small();
		fd = open(TRACE, O_RDWR);
		assert_true(fd >= 0);
		assert_int_equal(fstat(fd, &st), 0);
		for (unsigned i = 0; i < 1 + round; i++) {
			uint8_t byte = (uint8_t)rng_next(&rng);
			off_t at = (off_t)rng_below(&rng, (uint64_t)st.st_size);

			if (at < 100) /* leave it a database */
				continue;
			assert_int_equal(pwrite(fd, &byte, 1, at), 1);
		}
		if (round % 7 == 6)
			assert_int_equal(ftruncate(fd, st.st_size / 2), 0);
		assert_int_equal(close(fd), 0);
		read_everything();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(what_is_no_trace_is_refused, clean, clean),
		cmocka_unit_test_setup_teardown(a_cut_trace_says_how_much_of_it_is_here, clean,
						clean),
		cmocka_unit_test_setup_teardown(damaged_rows_are_named, clean, clean),
		cmocka_unit_test_setup_teardown(random_damage_never_crashes, clean, clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
