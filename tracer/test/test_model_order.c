/* SPDX-License-Identifier: BSD-2-Clause */
/* The live model, one situation at a time: what test_model finds by chance stands here by name. */
#include "base/test/unit.h"
#include "tracer/test/model_script.h"

#define ALLOC KMS_EVENT_ALLOC
#define FREE  KMS_EVENT_FREE
#define NO    SCRIPT_NO_GENERATION

static uint64_t block_at(unsigned i)
{
	return SCRIPT_BASE + (uint64_t)i * 64;
}

static void peak_counts_a_process_that_has_ended_by_the_time_its_events_come(void **state)
{
	struct script *s = *state;
	const struct kms_snapshot *snapshot;

	script_slab(s, 0, 0);
	script_put(s, 0, ALLOC, block_at(0), NO);
	script_put(s, 0, ALLOC, block_at(1), NO);
	script_put(s, 0, FREE, block_at(1), NO);
	script_read(s, 0);
	script_state(s, 1, KMS_STATE_EXITED);
	script_feed(s);
	snapshot = script_snapshot(s);
	assert_int_equal(snapshot->stats.live_bytes, 100);
	assert_int_equal(snapshot->stats.peak_bytes, 200);
	assert_int_equal(snapshot->target_stats[0].peak_bytes, 200);
}

static void peak_of_the_run_has_what_ended_processes_left(void **state)
{
	struct script *s = *state;
	const struct kms_snapshot *snapshot;

	script_slab(s, 0, 0);
	script_put(s, 0, ALLOC, block_at(0), NO);
	script_read(s, 0);
	script_feed(s);
	script_state(s, 1, KMS_STATE_EXITED);
	script_feed(s);
	script_slab(s, 2, 0);
	script_put(s, 2, ALLOC, block_at(0), NO);
	script_read(s, 2);
	script_feed(s);
	snapshot = script_snapshot(s);
	assert_int_equal(snapshot->stats.live_bytes, 200);
	assert_int_equal(snapshot->stats.peak_bytes, 200);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, script_setup, script_teardown)
	const struct CMUnitTest tests[] = {
		TEST(peak_counts_a_process_that_has_ended_by_the_time_its_events_come),
		TEST(peak_of_the_run_has_what_ended_processes_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
