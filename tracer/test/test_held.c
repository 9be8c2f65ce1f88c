/* SPDX-License-Identifier: BSD-2-Clause */
#include "base/test/unit.h"
#include "tracer/held.h"

enum {
	ROWS_MAX = 16,
};

struct rows {
	struct kms_view_diff row[ROWS_MAX];
	struct kms_view_diff_cache cache[ROWS_MAX]; /* of all rows */
	size_t n, n_caches, stop_at;
};

static int take_row(void *arg, const struct kms_view_diff *row)
{
	struct rows *rows = arg;

	assert_true(rows->n < ROWS_MAX);
	assert_true(rows->n_caches + row->n_caches <= ROWS_MAX);
	rows->row[rows->n] = *row;
	rows->row[rows->n++].caches = &rows->cache[rows->n_caches];
	for (size_t i = 0; i < row->n_caches; i++)
		rows->cache[rows->n_caches++] = row->caches[i];
	return rows->n == rows->stop_at;
}

static void assert_row(const struct kms_view_diff *row, uint64_t stack_id, int64_t bytes,
		       int64_t count)
{
	assert_int_equal(row->stack_id, stack_id);
	assert_int_equal(row->bytes, bytes);
	assert_int_equal(row->count, count);
}

static void sites_of_one_name_are_one(void **state)
{
	struct kms_held held[] = {
		{.stack_id = 7, .bytes = 10, .count = 1, .cache = "b", .target = 1},
		{.stack_id = 7, .bytes = 20, .count = 2, .cache = "a", .target = 1},
		{.stack_id = 7, .bytes = 30, .count = 3, .cache = "b", .target = 1},
		{.stack_id = 7, .bytes = 40, .count = 4, .cache = "b", .target = 2},
	};

	(void)state;
	assert_int_equal(kms_held_order(held, 4), 3);
	assert_string_equal(held[0].cache, "a");
	assert_int_equal(held[1].bytes, 40);
	assert_int_equal(held[1].count, 4);
	assert_int_equal(held[2].target, 2);
	assert_int_equal(kms_held_order(held, 0), 0);
}

static void gains_come_largest_first_and_losses_last(void **state)
{
	const struct kms_held a[] = {
		{.stack_id = 1, .bytes = 100, .count = 1, .cache = "c", .target = 1}, /* all gone */
		{.stack_id = 2, .bytes = 50,  .count = 5, .cache = "c", .target = 1}, /* the same */
		{.stack_id = 3, .bytes = 10,  .count = 1, .cache = "",  .target = 1},
	};
	const struct kms_held b[] = {
		{.stack_id = 2, .bytes = 50, .count = 5, .cache = "c", .target = 1},
		{.stack_id = 3, .bytes = 40, .count = 2, .cache = "",  .target = 1},
		{.stack_id = 4, .bytes = 30, .count = 3, .cache = "c", .target = 1}, /* new */
	};
	struct rows rows = {0};

	(void)state;
	assert_int_equal(kms_held_diff(a, 3, b, 3, take_row, &rows), 0);
	assert_int_equal(rows.n, 3);
	assert_row(&rows.row[0], 3, 30, 1); /* ties by stack */
	assert_row(&rows.row[1], 4, 30, 3);
	assert_row(&rows.row[2], 1, -100, -1);
	assert_null(rows.row[0].cache); /* unknown */
	assert_string_equal(rows.row[1].cache, "c");
}

static void blocks_of_other_sizes_are_a_difference(void **state)
{
	const struct kms_held a = {
		.stack_id = 1, .bytes = 100, .count = 1, .cache = "c", .target = 1};
	const struct kms_held b = {
		.stack_id = 1, .bytes = 100, .count = 4, .cache = "c", .target = 1};
	struct rows rows = {.stop_at = 1};

	(void)state;
	assert_int_equal(kms_held_diff(&a, 1, &b, 1, take_row, &rows), 0);
	assert_int_equal(rows.n, 1);
	assert_row(&rows.row[0], 1, 0, 3);
	assert_int_equal(kms_held_diff(&a, 1, &a, 1, take_row, &rows), 0);
	assert_int_equal(rows.n, 1);
}

static void assert_part(const struct kms_view_diff_cache *part, const char *name, int64_t bytes,
			int64_t count)
{
	assert_string_equal(part->name, name);
	assert_int_equal(part->bytes, bytes);
	assert_int_equal(part->count, count);
}

static void what_one_stack_gained_is_one_row_whatever_its_sizes(void **state)
{
	const struct kms_held a[] = {
		{.stack_id = 1, .bytes = 64, .count = 4, .cache = "s16", .target = 1},
		{.stack_id = 1,
		 .bytes = 96,
		 .count = 2,
		 .cache = "s48",
		 .target = 1							}, /* the same */
		{.stack_id = 1, .bytes = 10, .count = 1, .cache = "s16", .target = 2},
	};
	const struct kms_held b[] = {
		{.stack_id = 1, .bytes = 16,  .count = 1, .cache = "s16",  .target = 1}, /* less */
		{.stack_id = 1, .bytes = 96,  .count = 2, .cache = "s48",  .target = 1},
		{.stack_id = 1, .bytes = 500, .count = 1, .cache = "s512", .target = 1},
		{.stack_id = 1, .bytes = 20,  .count = 2, .cache = "s16",  .target = 2},
	};
	struct rows rows = {0};

	(void)state;
	assert_int_equal(kms_held_diff(a, 3, b, 4, take_row, &rows), 0);
	assert_int_equal(rows.n, 2);
	assert_row(&rows.row[0], 1, 452, -2);
	assert_string_equal(rows.row[0].cache, "s512");
	assert_int_equal(rows.row[0].n_caches, 2);
	assert_part(&rows.row[0].caches[0], "s512", 500, 1);
	assert_part(&rows.row[0].caches[1], "s16", -48, -3);
	assert_row(&rows.row[1], 1, 10, 1);
	assert_int_equal(rows.row[1].target, 2);
	assert_int_equal(rows.row[1].n_caches, 1);
}

static void a_stack_whose_blocks_moved_to_another_size_has_changed(void **state)
{
	const struct kms_held a = {
		.stack_id = 1, .bytes = 100, .count = 1, .cache = "a", .target = 1};
	const struct kms_held b = {
		.stack_id = 1, .bytes = 100, .count = 1, .cache = "b", .target = 1};
	struct rows rows = {0};

	(void)state;
	assert_int_equal(kms_held_diff(&a, 1, &b, 1, take_row, &rows), 0);
	assert_int_equal(rows.n, 1);
	assert_row(&rows.row[0], 1, 0, 0);
	assert_part(&rows.row[0].caches[0], "a", -100, -1);
	assert_part(&rows.row[0].caches[1], "b", 100, 1);
}

static void where_no_stack_is_known_each_cache_is_a_row(void **state)
{
	const struct kms_held b[] = {
		{.bytes = 10, .count = 1, .cache = "a", .target = 1},
		{.bytes = 30, .count = 1, .cache = "b", .target = 1},
	};
	struct rows rows = {0};

	(void)state;
	assert_int_equal(kms_held_diff(NULL, 0, b, 2, take_row, &rows), 0);
	assert_int_equal(rows.n, 2);
	assert_string_equal(rows.row[0].cache, "b");
	assert_string_equal(rows.row[1].cache, "a");
	assert_int_equal(rows.row[1].n_caches, 1);
}

static void from_nothing_all_is_gained(void **state)
{
	const struct kms_held b[] = {
		{.stack_id = 1, .bytes = 1, .count = 1, .cache = "c", .target = 1},
		{.stack_id = 2, .bytes = 2, .count = 1, .cache = "c", .target = 1},
	};
	struct rows rows = {.stop_at = 1};

	(void)state;
	assert_int_equal(kms_held_diff(NULL, 0, b, 2, take_row, &rows), 0);
	assert_int_equal(rows.n, 1); /* the receiver had enough */
	assert_row(&rows.row[0], 2, 2, 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sites_of_one_name_are_one),
		cmocka_unit_test(gains_come_largest_first_and_losses_last),
		cmocka_unit_test(blocks_of_other_sizes_are_a_difference),
		cmocka_unit_test(what_one_stack_gained_is_one_row_whatever_its_sizes),
		cmocka_unit_test(a_stack_whose_blocks_moved_to_another_size_has_changed),
		cmocka_unit_test(where_no_stack_is_known_each_cache_is_a_row),
		cmocka_unit_test(from_nothing_all_is_gained),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
