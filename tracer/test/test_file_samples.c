/* SPDX-License-Identifier: BSD-2-Clause */
/* Figures over time in traces: of the run with every snapshot, of each target that lives once a second. */
#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/test/unit.h"
#include "tracer/file.h"
#include "tracer/store.h"
#include "tracer/test/trace_build.h"

#define TRACE "test_file_samples.kms"

enum {
	TARGETS = 2,
	LONG_TARGET = 1,
	SHORT_TARGET = 2, /* lives for two seconds */
	RUN_S = 330,      /* longer than the past that is kept */
	PAST_S = 300,
	IN_A_SECOND = 4, /* snapshots */
	SAMPLES_MAX = 4096,
};

#define SECOND_NS UINT64_C(1000000000)

struct seen {
	struct kms_view_sample sample[SAMPLES_MAX];
	size_t n;
};

static void must(int result, const struct kms_err *err)
{
	if (result < 0)
		fail_msg("%s", err->text);
}

/* At every moment a target has as many bytes live as it has a number, a thousand for each second. */
static void put_snapshot(struct kms_store *store, uint64_t seq)
{
	uint64_t time_ns = seq * SECOND_NS / IN_A_SECOND;
	uint64_t second = time_ns / SECOND_NS;
	struct kms_view_target target[TARGETS] = {
		{.id = LONG_TARGET,  .state = KMS_STATE_RUNNING                                },
		{.id = SHORT_TARGET, .state = second < 2 ? KMS_STATE_RUNNING : KMS_STATE_EXITED},
	};
	struct kms_view_stats stats[TARGETS] = {
		{.live_bytes = 1000 * second + LONG_TARGET,  .allocs = seq},
		{.live_bytes = 1000 * second + SHORT_TARGET, .allocs = seq},
	};
	struct kms_view_guard guard = {.target = SHORT_TARGET, .s.used = 7};
	const struct kms_snapshot snapshot = {.seq = seq,
					      .time_ns = time_ns,
					      .stats.live_bytes = 5,
					      .n_targets = TARGETS,
					      .target = target,
					      .target_stats = stats,
					      .n_guards = 1,
					      .guard = &guard};
	struct kms_err err = KMS_ERR_INIT;

	must(kms_store_snapshot(store, &snapshot, &err), &err);
}

static int write_trace(void **state)
{
	const struct kms_store_config config = {
		.path = TRACE, .command = "program", .commit_ns = 1};
	struct kms_err err = KMS_ERR_INIT;
	struct kms_batch *batch;
	struct kms_store *store;
	struct tb tb;

	(void)state;
	tb_init(&tb, 1, 1, 1);
	batch = tb_end(&tb);
	must(kms_store_create(&config, &store, &err), &err);
	must(kms_store_add(store, batch, &err), &err);
	kms_batch_put(batch);
	for (uint64_t seq = 1; seq <= (uint64_t)RUN_S * IN_A_SECOND; seq++)
		put_snapshot(store, seq);
	must(kms_store_close(store, &err), &err);
	tb_deinit(&tb);
	return 0;
}

static int take(void *arg, const struct kms_view_sample *sample)
{
	struct seen *seen = arg;

	assert_true(seen->n < SAMPLES_MAX);
	seen->sample[seen->n++] = *sample;
	return 0;
}

/* The caller frees it. */
static struct seen *ask(uint32_t target, uint64_t from_ns, uint64_t to_ns)
{
	struct seen *seen = calloc(1, sizeof(*seen));
	struct kms_err err = KMS_ERR_INIT;
	struct kms_file *file;
	struct kms_view view;

	assert_non_null(seen);
	must(kms_file_open(TRACE, &file, &err), &err);
	view = kms_file_view(file);
	must(view.ops->samples(view.ctx, &(struct kms_sample_query){target, from_ns, to_ns}, take,
			       seen, &err),
	     &err);
	kms_file_close(file);
	return seen;
}

static void the_run_has_a_moment_for_every_snapshot(void **state)
{
	struct seen *seen = ask(0, 0, UINT64_MAX);

	(void)state;
	assert_int_equal(seen->n, RUN_S * IN_A_SECOND);
	assert_int_equal(seen->sample[0].live_bytes, 5);
	free(seen);
}

static void a_target_has_a_moment_for_each_second_of_the_last_minutes(void **state)
{
	struct seen *seen = ask(LONG_TARGET, 0, UINT64_MAX);
	uint64_t last_ns = (uint64_t)RUN_S * SECOND_NS;

	(void)state;
	assert_in_range(seen->n, PAST_S - 1, PAST_S + 1);
	for (size_t i = 0; i < seen->n; i++) {
		const struct kms_view_sample *s = &seen->sample[i];

		assert_true(s->time_ns + PAST_S * SECOND_NS >= last_ns - SECOND_NS);
		assert_int_equal(s->live_bytes, 1000 * (s->time_ns / SECOND_NS) + LONG_TARGET);
		assert_int_equal(s->guard_used, 0);
		assert_true(!i || s->time_ns == seen->sample[i - 1].time_ns + SECOND_NS);
	}
	free(seen);
}

static void of_a_part_of_the_time_only_that_comes(void **state)
{
	struct seen *seen = ask(LONG_TARGET, 200 * SECOND_NS, 205 * SECOND_NS);

	(void)state;
	assert_int_equal(seen->n, 5); /* quarters past, from 200.25 s to 204.25 s */
	free(seen);
}

static void what_ended_long_ago_has_no_past_any_more(void **state)
{
	struct seen *seen = ask(SHORT_TARGET, 0, UINT64_MAX);

	(void)state;
	assert_int_equal(seen->n, 0);
	free(seen);
}

static void of_an_older_format_no_target_has_a_past(void **state)
{
	struct seen *seen;
	sqlite3 *db;

	(void)state;
	assert_int_equal(sqlite3_open(TRACE, &db), SQLITE_OK);
	assert_int_equal(sqlite3_exec(db, "DROP TABLE target_samples; PRAGMA user_version=3", NULL,
				      NULL, NULL),
			 SQLITE_OK);
	(void)sqlite3_close(db);
	seen = ask(LONG_TARGET, 0, UINT64_MAX);
	assert_int_equal(seen->n, 0);
	free(seen);
	seen = ask(0, 0, UINT64_MAX);
	assert_int_equal(seen->n, RUN_S * IN_A_SECOND);
	free(seen);
}

static int remove_trace(void **state)
{
	(void)state;
	return unlink(TRACE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_run_has_a_moment_for_every_snapshot),
		cmocka_unit_test(a_target_has_a_moment_for_each_second_of_the_last_minutes),
		cmocka_unit_test(of_a_part_of_the_time_only_that_comes),
		cmocka_unit_test(what_ended_long_ago_has_no_past_any_more),
		cmocka_unit_test(of_an_older_format_no_target_has_a_past),
	};

	return cmocka_run_group_tests(tests, write_trace, remove_trace);
}
