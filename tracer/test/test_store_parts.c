/* SPDX-License-Identifier: BSD-2-Clause */
/* Small parts under the store: sets, maps, numbers, table pages, the lock, the schema check. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "schema/region.h"
#include "tracer/db.h"
#include "tracer/table_page.h"
#include "tracer/test/rng.h"
#include "tracer/trace_lock.h"
#include "tracer/u64map.h"
#include "tracer/u64set.h"
#include "tracer/varint.h"

static void numbers_survive_their_encoding(void **state)
{
	struct rng rng;
	uint8_t out[KMS_VARINT_BYTES];

	(void)state;
	rng_init(&rng, rng_seed());
	for (unsigned i = 0; i < 20000; i++) {
		uint64_t value = i ? rng_next(&rng) >> rng_below(&rng, 64) : UINT64_MAX, back;
		const uint8_t *end = kms_varint_put(out, value);
		const uint8_t *p = out;

		assert_true(kms_varint_get(&p, end, &back));
		assert_int_equal(back, value);
		assert_ptr_equal(p, end);
		p = out;
		assert_false(kms_varint_get(&p, end - 1, &back));
		assert_ptr_equal(p, out);
		assert_int_equal(kms_unzigzag(kms_zigzag((int64_t)value)), (int64_t)value);
	}
}

static void a_number_above_64_bits_is_refused(void **state)
{
	static const uint8_t bytes[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
	const uint8_t *p = bytes;
	uint64_t value;

	(void)state;
	assert_false(kms_varint_get(&p, bytes + sizeof(bytes), &value));
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static void a_set_is_sorted_and_has_each_member_once(void **state)
{
	struct kms_u64set set = {0};
	struct rng rng;
	uint64_t *model = calloc(20000, sizeof(*model));

	(void)state;
	rng_init(&rng, rng_seed());
	for (unsigned round = 0; round < 40; round++) {
		size_t n = round ? rng_below(&rng, 20000) : 0, n_model = 0;
		uint64_t mask = UINT64_MAX >> rng_below(&rng, 60);
		const uint64_t *sorted;

		kms_u64set_reset(&set);
		for (size_t i = 0; i < n; i++) {
			model[i] = rng_next(&rng) & mask;
			assert_int_equal(kms_u64set_add(&set, model[i]), 0);
		}
		qsort(model, n, sizeof(*model), by_value);
		for (size_t i = 0; i < n; i++)
			if (!n_model || model[n_model - 1] != model[i])
				model[n_model++] = model[i];
		assert_int_equal(kms_u64set_sorted(&set, &sorted), n_model);
		if (n_model)
			assert_memory_equal(sorted, model, n_model * sizeof(*model));
	}
	free(model);
	kms_u64set_deinit(&set);
}

static void a_map_agrees_with_an_array(void **state)
{
	enum {
		KEYS = 3000,
	};

	static uint64_t model[KEYS]; /* value + 1, 0 none */
	struct kms_u64map map = {0};
	struct rng rng;
	size_t count = 0;

	(void)state;
	rng_init(&rng, rng_seed());
	for (unsigned i = 0; i < 200000; i++) {
		uint64_t key = rng_below(&rng, KEYS), value = rng_next(&rng) >> 2;
		const uint64_t *found = kms_u64map_find(&map, key * 1024);

		assert_int_equal(found ? *found + 1 : 0, model[key]);
		if (rng_below(&rng, 2)) {
			assert_int_equal(kms_u64map_set(&map, key * 1024, value), 0);
			count += !model[key];
			model[key] = value + 1;
		} else {
			assert_int_equal(kms_u64map_remove(&map, key * 1024), model[key] != 0);
			count -= model[key] != 0;
			model[key] = 0;
		}
		assert_int_equal(map.count, count);
	}
	kms_u64map_deinit(&map);
}

static void table_pages_survive_packing(void **state)
{
	static const uint32_t sections[] = {KMS_SEC_NODE,    KMS_SEC_CACHE,  KMS_SEC_MODULE,
					    KMS_SEC_THREAD,  KMS_SEC_STRING, KMS_SEC_FAULT,
					    KMS_SEC_FORK_CUT};
	struct rng rng;

	(void)state;
	rng_init(&rng, rng_seed());
	for (unsigned i = 0; i < 70; i++) {
		struct kms_table_page page = {.section = sections[i % 7], .page = i / 7};
		struct kms_table_page back = {.section = sections[i % 7], .page = i / 7};
		size_t bytes;
		uint8_t *packed;

		page.entries = (uint32_t)rng_below(&rng, KMS_TABLE_PAGE_ENTRIES + 1);
		bytes = (size_t)page.entries * kms_table_entry_bytes(page.section);
		page.data = malloc(bytes + 1);
		for (size_t k = 0; k < bytes; k++)
			page.data[k] = (uint8_t)(i % 2 ? rng_next(&rng) : k % 5);
		packed = malloc(kms_table_page_room(&page));
		bytes = kms_table_page_pack(&page, packed);
		assert_true(bytes > 0);
		assert_int_equal(kms_table_page_unpack(&back, packed, bytes), 0);
		assert_int_equal(back.entries, page.entries);
		assert_memory_equal(back.data, page.data,
				    (size_t)page.entries * kms_table_entry_bytes(page.section));
		free(back.data);
		back.section = page.section == KMS_SEC_NODE ? KMS_SEC_CACHE : KMS_SEC_NODE;
		if (kms_table_entry_bytes(back.section) != kms_table_entry_bytes(page.section))
			assert_int_equal(kms_table_page_unpack(&back, packed, bytes), -EBADMSG);
		free(packed);
		free(page.data);
	}
}

static void damaged_table_pages_are_refused_or_harmless(void **state)
{
	struct kms_table_page page = {.section = KMS_SEC_NODE, .entries = 700};
	struct rng rng;
	uint8_t *packed;
	size_t bytes;

	(void)state;
	rng_init(&rng, rng_seed());
	page.data = calloc(700, sizeof(struct kms_node));
	packed = malloc(kms_table_page_room(&page));
	bytes = kms_table_page_pack(&page, packed);
	for (unsigned i = 0; i < 5000; i++) {
		struct kms_table_page back = {.section = KMS_SEC_NODE};
		size_t at = rng_below(&rng, bytes);
		uint8_t was = packed[at];
		int result;

		packed[at] = (uint8_t)rng_next(&rng);
		result = kms_table_page_unpack(&back, packed,
					       rng_below(&rng, 4) ? bytes : rng_below(&rng, bytes));
		assert_true(result == 0 || result == -EBADMSG);
		if (!result)
			free(back.data);
		packed[at] = was;
	}
	free(packed);
	free(page.data);
}

static void lock_names_the_writer_and_goes_with_it(void **state)
{
	char path[] = "lock_test_XXXXXX";
	struct kms_err err = KMS_ERR_INIT;
	int fd = mkstemp(path), lock, again;
	pid_t pid, child;

	(void)state;
	assert_true(fd >= 0);
	assert_false(kms_trace_is_locked(path, &pid));
	assert_int_equal(kms_trace_lock(path, &lock, &err), 0);
	assert_true(kms_trace_is_locked(path, &pid));
	assert_int_equal(pid, getpid());
	assert_int_equal(kms_trace_lock(path, &again, &err), -EBUSY);
	assert_non_null(strstr(err.text, "still being written"));
	kms_trace_unlock(path, lock);
	assert_false(kms_trace_is_locked(path, &pid));

	child = fork();
	if (child == 0)
		_exit(kms_trace_lock(path, &lock, NULL) ? 1 : 0); /* dies with the lock held */
	int status = -1;

	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_false(kms_trace_is_locked(path, &pid));
	assert_int_equal(kms_trace_lock(path, &lock, &err), 0);
	kms_trace_unlock(path, lock);
	(void)close(fd);
	assert_int_equal(unlink(path), 0);
}

static sqlite3 *fresh(void)
{
	sqlite3 *db;

	assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
	assert_int_equal(kms_schema_migrate(db, 0, NULL), 0);
	return db;
}

static void a_trace_passes_the_schema_check(void **state)
{
	sqlite3 *db = fresh();

	(void)state;
	assert_int_equal(kms_schema_check(db, NULL), 0);
	/* what users may add */
	assert_int_equal(kms_db_exec(db,
				     "CREATE TABLE mine(x); CREATE INDEX i ON chunks(t0_ns);"
				     "ANALYZE",
				     NULL),
			 0);
	assert_int_equal(kms_schema_check(db, NULL), 0);
	(void)sqlite3_close(db);
}

/* The schema of a trace that was written before marks. */
extern const char kms_sql_001_init[];

static void a_trace_of_format_1_passes_as_it_is_and_migrated(void **state)
{
	int64_t version = 0, tables = 0;
	sqlite3 *db;

	(void)state;
	assert_int_equal(sqlite3_open(":memory:", &db), SQLITE_OK);
	assert_int_equal(kms_db_exec(db, kms_sql_001_init, NULL), 0);
	assert_int_equal(
		kms_db_exec(db, "PRAGMA application_id=0x4b4d5343; PRAGMA user_version=1", NULL),
		0);
	assert_int_equal(kms_schema_check(db, NULL), 0);
	assert_int_equal(
		kms_db_exec(db,
			    "INSERT INTO leak_rows VALUES(1,1,'a',7,'malloc-48',1.5,960,20,1,"
			    "2,0,0,0,1,0,'open',0)",
			    NULL),
		0);
	assert_int_equal(kms_schema_migrate(db, 1, NULL), 0);
	assert_int_equal(kms_schema_check(db, NULL), 0);
	assert_int_equal(kms_db_int(db, "PRAGMA user_version", &version, NULL), 0);
	assert_int_equal(version, kms_schema_version());
	assert_int_equal(kms_db_int(db,
				    "SELECT count(*) FROM sqlite_master WHERE name IN "
				    "('mark_points', 'mark_sites')",
				    &tables, NULL),
			 0);
	assert_int_equal(tables, 2);
	assert_int_equal(kms_db_int(db,
				    "SELECT caches = '[{\"cache\":\"malloc-48\",\"bytes\":960,"
				    "\"count\":20}]' FROM leaks",
				    &tables, NULL),
			 0);
	assert_int_equal(tables, 1);
	(void)sqlite3_close(db);
}

static void a_changed_schema_is_refused(void **state)
{
	static const struct {
		const char *sql;
		int result;
		const char *says;
	} rows[] = {
		{"PRAGMA application_id=0",					     -EINVAL,  "not a kmemscope trace"},
		{"PRAGMA user_version=0",					       -EINVAL,  "not a kmemscope trace"},
		{"PRAGMA user_version=999",					     -EPROTO,  "newer"                },
		{"CREATE TRIGGER t AFTER INSERT ON marks BEGIN DELETE FROM audit; END", -EBADMSG,
		 "trigger"											       },
		{"CREATE VIRTUAL TABLE v USING fts5(a)",                                -EBADMSG, "virtual table"        },
		{"CREATE TABLE events(a)",					      -EBADMSG, "events"               },
		{"CREATE VIEW Events AS SELECT 1",                                      -EBADMSG, "events"               },
		{"DROP TABLE marks",						    -EBADMSG, "missing"              },
		{"DROP VIEW leaks; CREATE VIEW leaks AS SELECT 1 AS id",                -EBADMSG, "leaks"                },
		{"DROP TABLE marks; CREATE VIEW marks AS SELECT 1",                     -EBADMSG, "marks"                },
		{"DROP TABLE audit; CREATE TABLE AUDIT(x)",                             -EBADMSG, "AUDIT"                },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct kms_err err = KMS_ERR_INIT;
		sqlite3 *db = fresh();

		assert_int_equal(kms_db_exec(db, rows[i].sql, &err), 0);
		assert_int_equal(kms_schema_check(db, &err), rows[i].result);
		if (!strstr(err.text, rows[i].says))
			fail_msg("'%s' does not say '%s'", err.text, rows[i].says);
		(void)sqlite3_close(db);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_survive_their_encoding),
		cmocka_unit_test(a_number_above_64_bits_is_refused),
		cmocka_unit_test(a_set_is_sorted_and_has_each_member_once),
		cmocka_unit_test(a_map_agrees_with_an_array),
		cmocka_unit_test(table_pages_survive_packing),
		cmocka_unit_test(damaged_table_pages_are_refused_or_harmless),
		cmocka_unit_test(lock_names_the_writer_and_goes_with_it),
		cmocka_unit_test(a_trace_passes_the_schema_check),
		cmocka_unit_test(a_trace_of_format_1_passes_as_it_is_and_migrated),
		cmocka_unit_test(a_changed_schema_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
