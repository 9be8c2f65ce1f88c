/* SPDX-License-Identifier: BSD-2-Clause */
/* The base of a session: reading side tables from outside, and what the model makes of it. */
#include <errno.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/test/unit.h"
#include "schema/record.h"
#include "schema/spans.h"
#include "tracer/attach_look.h"
#include "tracer/base.h"
#include "tracer/base_scan.h"
#include "tracer/table_page.h"

enum {
	BLOCKS = 64,
	SPANS = 8,
	SESSION = 5,
};

/* A process with a slab, a large block and a guard run: this one. */
struct world {
	struct kms_span span[SPANS];
	struct kms_side side[3][BLOCKS];
};

struct seen {
	struct kms_base_entry block[4 * BLOCKS];
	size_t n_blocks, n_spans;
};

static int note(void *arg, const struct kms_base_entry *entry)
{
	struct seen *seen = arg;

	seen->n_spans += entry->kind == KMS_BASE_SPAN;
	if (entry->kind == KMS_BASE_BLOCK) {
		assert_in_range(seen->n_blocks, 0, 4 * BLOCKS - 1);
		seen->block[seen->n_blocks++] = *entry;
	}
	return 0;
}

static struct kms_base_plan plan_of(const struct world *world)
{
	return (struct kms_base_plan){.pid = getpid(),
				      .span_table = (uintptr_t)world->span,
				      .span_entries = SPANS,
				      .session = SESSION,
				      .first_session = SESSION - 1,
				      .nodes = 100,
				      .max_blocks = 1000};
}

static struct world *make_world(void)
{
	struct world *world = calloc(1, sizeof(*world));

	assert_non_null(world);
	world->span[1] =
		(struct kms_span){.base = 0x10000000,
				  .side_address = (uintptr_t)world->side[0],
				  .pages = 2,
				  .count = BLOCKS,
				  .stride_bytes = 128,
				  .first_bytes = 24, /* 8 of the last block's stride are missing */
				  .usable_bytes = 104,
				  .cache = 3,
				  .checks = KMS_CHECK_SIZE,
				  .state = KMS_SPAN_SLAB};
	world->span[2] = (struct kms_span){.base = 0x20000000,
					   .side_address = (uintptr_t)world->side[1],
					   .large_bytes = UINT64_C(5) << 30,
					   .pages = 2000000,
					   .count = 1,
					   .first_bytes = 64,
					   .cache = 9,
					   .checks = KMS_CHECK_SIZE,
					   .state = KMS_SPAN_LARGE};
	world->span[3] = (struct kms_span){.base = 0x30000000,
					   .side_address = (uintptr_t)world->side[2],
					   .pages = 2 * BLOCKS,
					   .count = BLOCKS,
					   .stride_bytes = 8192,
					   .usable_bytes = 4096,
					   .cache = 4,
					   .checks = KMS_CHECK_SIZE | KMS_CHECK_GUARD,
					   .state = KMS_SPAN_GUARD,
					   .reserved = 16};
	world->side[0][7] = (struct kms_side){.size_bytes = 100,
					      .alloc_stack = 42,
					      .state = KMS_BLOCK_LIVE,
					      .last_ring = KMS_SIDE_MARK(3, SESSION)};
	world->side[0][8] = (struct kms_side){.size_bytes = 100, .state = KMS_BLOCK_FREE};
	world->side[0][9] = (struct kms_side){.size_bytes = 99,
					      .alloc_stack = 42,
					      .state = KMS_BLOCK_LIVE,
					      .last_ring = KMS_SIDE_UNRECORDED};
	world->side[1][0] = (struct kms_side){.size_bytes = UINT32_MAX,
					      .alloc_stack = 42,
					      .state = KMS_BLOCK_LIVE,
					      .last_ring = KMS_SIDE_MARK(3, SESSION - 3)};
	world->side[2][5] = (struct kms_side){.size_bytes = 33,
					      .alloc_stack = 400,
					      .state = KMS_BLOCK_LIVE,
					      .last_ring = KMS_SIDE_MARK(3, SESSION)};
	return world;
}

static void live_blocks_are_found_with_size_and_the_stacks_of_this_region(void **state)
{
	struct world *world = make_world();
	struct kms_base_plan plan = plan_of(world);
	struct kms_base_result result;
	struct seen seen = {0};

	(void)state;
	assert_int_equal(kms_base_scan(&plan, note, &seen, &result), 0);
	assert_int_equal(result.blocks, 4);
	assert_int_equal(result.skipped, 0);
	assert_false(result.cut);
	assert_int_equal(seen.n_spans, 2); /* not of the guard run */
	assert_int_equal(seen.block[0].address, 0x10000000 + 24 + 7 * 128);
	assert_int_equal(seen.block[0].size, 100);
	assert_int_equal(seen.block[0].stack, 42);
	assert_int_equal(seen.block[0].cache, 3);
	assert_int_equal(seen.block[1].size, 99);
	assert_int_equal(seen.block[1].stack, 0); /* nobody recorded it */
	assert_int_equal(seen.block[2].address, 0x20000000 + 64);
	assert_int_equal(seen.block[2].size, UINT64_C(5) << 30);
	assert_int_equal(seen.block[2].stack, 0); /* of a region before this one */
	assert_true(seen.block[2].is_large);
	assert_int_equal(seen.block[3].address, (0x30000000 + 5 * 8192 + 4096 - 33) & ~15);
	assert_int_equal(seen.block[3].stack, 0); /* there is no such stack */
	assert_true(seen.block[3].flags & KMS_ATTR_GUARDED);
	free(world);
}

static void a_span_that_cannot_be_is_left_out(void **state)
{
	static const struct {
		uint8_t state;
		uint64_t base;
		uint32_t pages, count, stride, first, usable, reserved;
		uint16_t cache;
	} wrong[] = {
		{KMS_SPAN_SLAB,  0,                 0,          1,          16,         0,          0,    0, 0             },
		{KMS_SPAN_SLAB,  0,                 2,          0,          16,         0,          0,    0, 0             },
		{KMS_SPAN_SLAB,  0,                 2,          UINT32_MAX, 16,         0,          0,    0, 0             },
		{KMS_SPAN_SLAB,  0,                 2,          BLOCKS,     0,          0,          0,    0, 0             },
		{KMS_SPAN_SLAB,  0,                 2,          BLOCKS,     UINT32_MAX, 0,          0,    0, 0             },
		{KMS_SPAN_SLAB,  0,                 2,          1,          16,         UINT32_MAX, 0,    0, 0             },
		{KMS_SPAN_SLAB,  UINT64_MAX - 4095, UINT32_MAX, 1,          16,         0,          0,    0, 0             },
		{KMS_SPAN_SLAB,  1,                 2,          1,          16,         0,          0,    0, 0             },
		{KMS_SPAN_SLAB,  0,                 2,          1,          16,         0,          0,    0, KMS_MAX_CACHES},
		{KMS_SPAN_LARGE, 0,                 2,          2,          16,         0,          0,    0, 0             },
		{KMS_SPAN_GUARD, 0,                 2,          1,          8192,       0,          8192, 0, 0             },
		{KMS_SPAN_GUARD, 0,                 2,          1,          8192,       0,          0,    3, 0             },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		struct world *world = make_world();
		struct kms_base_plan plan = plan_of(world);
		struct kms_base_result result;
		struct seen seen = {0};

		world->span[4] = (struct kms_span){.state = wrong[i].state,
						   .base = wrong[i].base,
						   .pages = wrong[i].pages,
						   .count = wrong[i].count,
						   .stride_bytes = wrong[i].stride,
						   .first_bytes = wrong[i].first,
						   .usable_bytes = wrong[i].usable,
						   .reserved = wrong[i].reserved,
						   .cache = wrong[i].cache,
						   .checks = KMS_CHECK_SIZE};
		world->span[4].side_address = (uintptr_t)world->side[0];
		assert_int_equal(kms_base_scan(&plan, note, &seen, &result), 0);
		assert_int_equal(result.blocks, 4);
		assert_int_equal(result.skipped, 1);
		free(world);
	}
}

static void a_side_table_that_is_not_there_is_passed_over(void **state)
{
	struct world *world = make_world();
	struct kms_base_plan plan = plan_of(world);
	struct kms_base_result result;
	struct seen seen = {0};

	(void)state;
	world->span[3].side_address = 8;
	assert_int_equal(kms_base_scan(&plan, note, &seen, &result), 0);
	assert_int_equal(result.blocks, 3);
	assert_int_equal(result.skipped, 1);
	free(world);
}

static void random_tables_give_no_more_than_their_bounds(void **state)
{
	struct world *world = make_world();
	uint64_t seed = 88172645463325252u;

	(void)state;
	for (int turn = 0; turn < 2000; turn++) {
		struct kms_base_plan plan = plan_of(world);
		struct kms_base_result result;
		struct seen seen = {0};

		plan.max_blocks = 2 * BLOCKS;
		for (size_t i = 0; i < sizeof(world->span); i++) {
			seed ^= seed << 13;
			seed ^= seed >> 7;
			seed ^= seed << 17;
			if (seed % 5 == 0)
				((uint8_t *)world->span)[i] = (uint8_t)(seed >> 32);
		}
		assert_int_equal(kms_base_scan(&plan, note, &seen, &result), 0);
		assert_in_range(result.blocks, 0, 2 * BLOCKS);
	}
	free(world);
}

static void more_blocks_than_are_kept_are_said_to_be_missing(void **state)
{
	struct world *world = make_world();
	struct kms_base_plan plan = plan_of(world);
	struct kms_base_result result;
	struct seen seen = {0};

	(void)state;
	plan.max_blocks = 2;
	assert_int_equal(kms_base_scan(&plan, note, &seen, &result), 0);
	assert_int_equal(seen.n_blocks, 2);
	assert_true(result.cut);
	free(world);
}

static void a_process_that_is_gone_has_nothing(void **state)
{
	struct world *world = make_world();
	struct kms_base_plan plan = plan_of(world);
	struct kms_base_result result;
	struct seen seen = {0};

	(void)state;
	plan.pid = fork();
	if (plan.pid == 0)
		_exit(0);
	assert_int_equal(waitpid(plan.pid, NULL, 0), plan.pid);
	assert_int_equal(kms_base_scan(&plan, note, &seen, &result), -ESRCH);
	assert_int_equal(seen.n_blocks, 0);
	free(world);
}

static int cancel(void *arg, const struct kms_base_entry *entry)
{
	(void)arg;
	(void)entry;
	return -ECANCELED;
}

static void a_scan_can_be_given_up(void **state)
{
	struct world *world = make_world();
	struct kms_base_plan plan = plan_of(world);
	struct kms_base_result result;

	(void)state;
	assert_int_equal(kms_base_scan(&plan, cancel, NULL, &result), -ECANCELED);
	free(world);
}

/* The next so many batches are not to be had. */
static int no_batches;
struct kms_batch *__real_kms_batch_create(void); /* NOLINT(bugprone-reserved-identifier): of ld */
struct kms_batch *__wrap_kms_batch_create(void); /* NOLINT(bugprone-reserved-identifier) */

/* NOLINTNEXTLINE(bugprone-reserved-identifier) */
struct kms_batch *__wrap_kms_batch_create(void)
{
	return no_batches && no_batches-- ? NULL : __real_kms_batch_create();
}

/* What the thread of the scans gave out. */
struct given {
	uint64_t entries[KMS_BASE_END + 1]; /* of each kind */
	uint32_t next;                      /* of the table */
	struct kms_base_entry last;
	int result; /* of taking it */
	atomic_int ends;
};

static int take(void *arg, struct kms_batch *batch)
{
	struct given *given = arg;

	for (size_t i = 0; !given->result && i < batch->n_tables; i++) {
		const struct kms_batch_table *table = &batch->table[i];
		const struct kms_base_entry *entry = (const void *)table->data;

		assert_int_equal(table->first, given->next);
		given->next += table->count;
		assert_in_range(given->next, 1, kms_table_entries_max(KMS_TABLE_BASE));
		for (uint32_t k = 0; k < table->count; k++)
			given->entries[entry[k].kind]++;
		given->last = entry[table->count - 1];
		given->ends += given->last.kind == KMS_BASE_END;
	}
	return given->result;
}

/* A table of @n slabs that can be, without a live block. */
static struct kms_span *make_slabs(size_t n)
{
	static struct kms_side side[1];
	struct kms_span *span = calloc(n, sizeof(*span));

	assert_non_null(span);
	for (size_t i = 1; i < n; i++)
		span[i] = (struct kms_span){.base = i << 12,
					    .side_address = (uintptr_t)side,
					    .pages = 1,
					    .count = 1,
					    .stride_bytes = 128,
					    .usable_bytes = 104,
					    .checks = KMS_CHECK_SIZE,
					    .state = KMS_SPAN_SLAB};
	return span;
}

static struct kms_base_want want_of(const struct kms_span *span, size_t n)
{
	return (struct kms_base_want){
		.plan = {.pid = getpid(),
			 .span_table = (uintptr_t)span,
			 .span_entries = n,
			 .session = SESSION,
			 .first_session = SESSION},
		.image = 1,
		.target = 1
        };
}

static void entries_without_memory_for_a_batch_are_missing_and_said_to_be(void **state)
{
	enum { MANY = 8 * KMS_TABLE_PAGE_ENTRIES + 1 };
	struct kms_span *span = make_slabs(MANY);
	struct kms_base_want want = want_of(span, MANY);
	struct given given = {0};
	struct kms_base *base = kms_base_create(take, NULL, &given);

	(void)state;
	assert_non_null(base);
	no_batches = 1;
	kms_base_ask(base, &want);
	kms_base_end(base);
	assert_int_equal(no_batches, 0);
	assert_int_equal(given.next, 1); /* the end alone */
	assert_int_equal(given.last.kind, KMS_BASE_END);
	assert_int_equal(given.last.first, 1);
	kms_base_destroy(base);
	free(span);
}

static void the_end_does_not_wait_for_memory(void **state)
{
	struct world *world = make_world();
	struct kms_base_want want = want_of(world->span, SPANS);
	struct given given = {.result = -ENOMEM};
	struct kms_base *base = kms_base_create(take, NULL, &given);

	(void)state;
	assert_non_null(base);
	kms_base_ask(base, &want);
	kms_base_end(base);
	assert_int_equal(given.next, 0);
	kms_base_destroy(base);
	free(world);
}

static void all_sessions_of_an_image_have_no_more_entries_than_its_table(void **state)
{
	enum { MANY = 1 << 17, SCANS = KMS_MAX_NODES / MANY };
	struct kms_span *span = make_slabs(MANY);
	struct kms_base_want want = want_of(span, MANY);
	struct given given = {0};
	struct kms_base *base = kms_base_create(take, NULL, &given);

	(void)state;
	assert_non_null(base);
	/* each has a begin, an end and one slab less than the table has places: one too many */
	for (int i = 0; i <= SCANS; i++)
		kms_base_ask(base, &want);
	for (time_t end = time(NULL) + 60; given.ends < SCANS && time(NULL) < end;)
		(void)sched_yield();
	kms_base_end(base);
	assert_int_equal(given.next, kms_table_entries_max(KMS_TABLE_BASE));
	assert_int_equal(given.ends, SCANS);
	assert_int_equal(given.last.first, 1); /* the last one's slabs are not all there */
	kms_base_destroy(base);
	free(span);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(live_blocks_are_found_with_size_and_the_stacks_of_this_region),
		cmocka_unit_test(a_span_that_cannot_be_is_left_out),
		cmocka_unit_test(a_side_table_that_is_not_there_is_passed_over),
		cmocka_unit_test(random_tables_give_no_more_than_their_bounds),
		cmocka_unit_test(more_blocks_than_are_kept_are_said_to_be_missing),
		cmocka_unit_test(a_process_that_is_gone_has_nothing),
		cmocka_unit_test(a_scan_can_be_given_up),
		cmocka_unit_test(entries_without_memory_for_a_batch_are_missing_and_said_to_be),
		cmocka_unit_test(the_end_does_not_wait_for_memory),
		cmocka_unit_test(all_sessions_of_an_image_have_no_more_entries_than_its_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
