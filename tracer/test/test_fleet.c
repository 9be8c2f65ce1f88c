/* SPDX-License-Identifier: BSD-2-Clause */
/* A fleet over sources that are known to the last number. */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/test/unit.h"
#include "schema/variables.h"
#include "tracer/test/fleet_source.h"

static void sums_are_over_all_runs_and_rows_name_their_target(void **state)
{
	struct fleet_bench *b = *state;
	const struct kms_snapshot *s = b->view.ops->acquire(b->view.ctx);

	assert_int_equal(s->stats.live_bytes, 53);
	assert_int_equal(s->stats.allocs, 530);
	assert_int_equal(s->stats.peak_bytes,
			 100); /* never above what was live together or in one */
	assert_int_equal(s->stats.lag_us, 50);
	assert_int_equal(s->n_targets, 4);
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(s->target[i].id, i + 1);
		assert_int_equal(s->target[i].pid, (i < 2 ? 3 : 50) + i % 2);
		assert_int_equal(s->target[i].parent, i % 2 ? i : 0);
		assert_string_equal(s->target[i].file, "run.kms");
		assert_int_equal(s->cache[i].target, i + 1);
	}
	assert_int_equal(s->time_ns, 1100);
	b->view.ops->release(b->view.ctx, s);
}

static void leaks_are_ordered_by_score_and_faults_by_number(void **state)
{
	struct fleet_bench *b = *state;
	const struct kms_snapshot *s = b->view.ops->acquire(b->view.ctx);

	assert_int_equal(s->n_leaks, 4);
	for (size_t i = 1; i < 4; i++)
		assert_true(s->leak[i - 1].score > s->leak[i].score);
	assert_int_equal(s->leak[0].target, 4);
	for (uint32_t i = 0; i < 4; i++) {
		assert_int_equal(s->fault[i].id, i + 1);
		assert_int_equal(s->fault[i].raw.time_ns, i < 2 ? 6 : 1006);
	}
	assert_int_equal(s->fault[3].owner[0].alloc_ns, 1005);
	assert_int_equal(s->fault[3].owner[0].free_ns, 0);
	b->view.ops->release(b->view.ctx, s);
}

static void a_stack_is_asked_of_its_run(void **state)
{
	struct fleet_bench *b = *state;
	const struct kms_snapshot *s = b->view.ops->acquire(b->view.ctx);
	struct kms_view_stack stack;

	assert_int_equal(b->view.ops->stack(b->view.ctx, s->leak[0].stack_id, &stack, NULL), 0);
	assert_int_equal(stack.frame[0].address, 50);
	assert_string_equal(stack.frame[0].function, "main");
	b->view.ops->stack_free(b->view.ctx, &stack);
	assert_int_equal(b->view.ops->stack(b->view.ctx, s->leak[3].stack_id, &stack, NULL), 0);
	assert_int_equal(stack.frame[0].address, 3);
	b->view.ops->stack_free(b->view.ctx, &stack);
	assert_int_equal(b->view.ops->stack(b->view.ctx, 1, &stack, NULL), -ESRCH);
	assert_int_equal(b->view.ops->stack(b->view.ctx, UINT64_MAX, &stack, NULL), -ESRCH);
	b->view.ops->release(b->view.ctx, s);
}

/* Collected events. */
struct seen {
	struct kms_view_event event[16];
	size_t n;
};

static int see(void *arg, const struct kms_view_event *event)
{
	struct seen *seen = arg;

	assert_true(seen->n < 16);
	seen->event[seen->n++] = *event;
	return 0;
}

static void ask(struct fleet_bench *b, const struct kms_event_query *query, struct seen *seen)
{
	const struct kms_snapshot *s = b->view.ops->acquire(b->view.ctx);

	seen->n = 0;
	assert_int_equal(b->view.ops->events(b->view.ctx, query, see, seen, NULL), 0);
	b->view.ops->release(b->view.ctx, s);
}

static void events_of_all_runs_come_in_order_page_by_page(void **state)
{
	struct fleet_bench *b = *state;
	struct kms_event_query query = {.before_seq = UINT64_MAX, .to_ns = UINT64_MAX, .limit = 2};
	uint64_t last = 0;
	size_t total = 0;
	struct seen seen;

	do {
		ask(b, &query, &seen);
		for (size_t i = 0; i < seen.n; i++) {
			assert_true(seen.event[i].seq > last);
			last = seen.event[i].seq;
			assert_int_equal(seen.event[i].size,
					 total + i < FLEET_SOURCE_EVENTS ? 3 : 50);
		}
		total += seen.n;
		query.from_seq = last + 1;
	} while (seen.n);
	assert_int_equal(total, 2 * FLEET_SOURCE_EVENTS);
}

static void events_are_filtered_by_target_site_and_time(void **state)
{
	struct fleet_bench *b = *state;
	struct kms_event_query query = {
		.before_seq = UINT64_MAX, .to_ns = UINT64_MAX, .limit = 16, .target = 4};
	struct seen seen;

	ask(b, &query, &seen);
	assert_int_equal(seen.n, 2);
	assert_int_equal(seen.event[0].target, 4);
	assert_int_equal(seen.event[0].size, 50);
	query.target = 0;
	query.site = seen.event[0].stack_id;
	ask(b, &query, &seen);
	assert_int_equal(seen.n, FLEET_SOURCE_EVENTS);
	query.site = 0;
	query.to_ns = 999; /* the second run begins at 1000 */
	ask(b, &query, &seen);
	assert_int_equal(seen.n, FLEET_SOURCE_EVENTS);
	assert_int_equal(seen.event[0].size, 3);
	query.from_ns = 1002;
	query.to_ns = 1002;
	ask(b, &query, &seen);
	assert_int_equal(seen.n, 1);
	assert_int_equal(seen.event[0].time_ns, 1002);
	query.target = 99;
	assert_int_equal(b->view.ops->events(b->view.ctx, &query, see, &seen, NULL), -ESRCH);
}

static void a_variable_goes_to_one_target_or_to_all_and_those_to_come(void **state)
{
	struct fleet_bench *b = *state;
	const struct kms_view_ops *ops = b->view.ops;
	struct fleet_source *late = fleet_source_new(7, 2000);
	struct kms_fleet_source source = fleet_source_live(late);
	uint32_t run;

	ops->release(b->view.ctx, ops->acquire(b->view.ctx));
	assert_int_equal(ops->variable_set(b->view.ctx, "test", 4, KMS_VAR_GUARD_DEPTH, 5, NULL),
			 0);
	assert_int_equal(b->source[1]->variable, 5);
	assert_int_equal(b->source[1]->variable_target, 2);
	assert_int_equal(b->source[0]->variable, 0);
	assert_int_equal(ops->variable_set(b->view.ctx, "test", 0, 0, 9, NULL), 0);
	assert_int_equal(b->source[0]->variable, 9);
	assert_int_equal(kms_fleet_add(b->fleet, &source, &run, NULL), 0);
	assert_int_equal(late->variable, 9);
	/* one that has nobody left does not make the others' fail */
	b->source[0]->variable_result = -ESRCH;
	assert_int_equal(ops->variable_set(b->view.ctx, "test", 0, 0, 11, NULL), 0);
	assert_int_equal(b->source[1]->variable, 11);
	b->source[1]->variable_result = late->variable_result = -ESRCH;
	assert_int_equal(ops->variable_set(b->view.ctx, "test", 0, 0, 12, NULL), 0);
	assert_int_equal(ops->variable_set(b->view.ctx, "test", 0, KMS_VAR_VERIFY, 1, NULL),
			 -ESRCH);
	assert_int_equal(ops->variable_set(b->view.ctx, "test", 0, 0, UINT64_MAX, NULL), -ERANGE);
	assert_int_equal(ops->variable_set(b->view.ctx, "test", 4, 9999, 1, NULL), -EINVAL);
	kms_fleet_remove(b->fleet, run);
	assert_int_equal(late->held, 0);
	free(late);
}

static void source_want(void *arg, unsigned variable, uint64_t value)
{
	struct fleet_source *source = arg;

	(void)variable;
	source->wanted = value;
}

static void a_value_for_all_reaches_a_run_whose_process_is_yet_to_come(void **state)
{
	struct fleet_bench *b = *state;
	struct fleet_source *idle = fleet_source_new(3, 3000);
	struct kms_fleet_source source = fleet_source_live(idle);
	uint32_t run;

	source.want = source_want;
	source.arg = idle;
	idle->variable_result = -ESRCH;
	assert_int_equal(kms_fleet_add(b->fleet, &source, &run, NULL), 0);
	assert_int_equal(b->view.ops->variable_set(b->view.ctx, "test", 0, 0, 13, NULL), 0);
	assert_int_equal(b->source[0]->variable, 13);
	assert_int_equal(idle->wanted, 13);
	/* one that fails keeps nobody else from it, and says so */
	b->source[0]->variable_result = -EIO;
	assert_int_equal(b->view.ops->variable_set(b->view.ctx, "test", 0, 0, 14, NULL), -EIO);
	assert_int_equal(b->source[1]->variable, 14);
	assert_int_equal(idle->wanted, 14);
	kms_fleet_remove(b->fleet, run);
	free(idle);
}

static void numbers_stay_when_a_run_is_replaced_or_removed(void **state)
{
	struct fleet_bench *b = *state;
	const struct kms_view_ops *ops = b->view.ops;
	struct fleet_source *file = fleet_source_new(8, 0);
	struct kms_fleet_source source = fleet_source_live(file);
	const struct kms_snapshot *s;

	ops->release(b->view.ctx, ops->acquire(b->view.ctx));
	source.is_live = false;
	assert_int_equal(kms_fleet_replace(b->fleet, b->run[0], &source, NULL), 0);
	assert_int_equal(b->source[0]->held, 0); /* nobody uses it any more */
	s = ops->acquire(b->view.ctx);
	assert_int_equal(s->n_targets, 4);
	assert_int_equal(s->target[0].id, 1);
	assert_int_equal(s->target[0].pid, 8);
	assert_int_equal(s->target[2].id, 3);
	ops->release(b->view.ctx, s);
	kms_fleet_remove(b->fleet, b->run[0]);
	assert_int_equal(file->held, 0);
	s = ops->acquire(b->view.ctx);
	assert_int_equal(s->n_targets, 2);
	assert_int_equal(s->target[0].id, 3);
	assert_int_equal(s->seq, 58); /* never goes back */
	ops->release(b->view.ctx, s);
	free(file);
}

/* Replaces the first run by a source that has events. */
static void *replace_later(void *arg)
{
	struct fleet_bench *b = arg;
	struct fleet_source *file = fleet_source_new(8, 0);
	struct kms_fleet_source source = fleet_source_live(file);

	assert_int_equal(kms_fleet_replace(b->fleet, b->run[0], &source, NULL), 0);
	free(b->source[0]);
	b->source[0] = file;
	return NULL;
}

static void events_of_a_run_that_is_being_finished_come_from_its_file(void **state)
{
	struct fleet_bench *b = *state;
	const struct kms_event_query query = {
		.before_seq = UINT64_MAX, .to_ns = UINT64_MAX, .limit = 16};
	struct seen seen;
	pthread_t thread;

	b->view.ops->release(b->view.ctx, b->view.ops->acquire(b->view.ctx));
	b->source[0]->is_ending = true;
	assert_int_equal(pthread_create(&thread, NULL, replace_later, b), 0);
	seen.n = 0;
	assert_int_equal(b->view.ops->events(b->view.ctx, &query, see, &seen, NULL), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(seen.n, 2 * FLEET_SOURCE_EVENTS);
	assert_int_equal(seen.event[0].size, 8);
}

static void a_fleet_without_runs_has_a_picture(void **state)
{
	struct kms_fleet *fleet = kms_fleet_create(0);
	struct kms_view view;
	const struct kms_snapshot *s;

	(void)state;
	assert_non_null(fleet);
	view = kms_fleet_view(fleet);
	s = view.ops->acquire(view.ctx);
	assert_int_equal(s->n_targets + s->n_leaks + s->n_faults, 0);
	assert_true(s->wall_ns > 0);
	assert_false(s->finished);
	view.ops->release(view.ctx, s);
	assert_int_equal(view.ops->variable_set(view.ctx, "test", 1, 0, 1, NULL), -ESRCH);
	assert_int_equal(view.ops->stop(view.ctx, "test", 0, NULL), -ESRCH);
	kms_fleet_destroy(fleet);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fleet_bench_setup, fleet_bench_teardown)
		TEST(sums_are_over_all_runs_and_rows_name_their_target),
		TEST(leaks_are_ordered_by_score_and_faults_by_number),
		TEST(a_stack_is_asked_of_its_run),
		TEST(events_of_all_runs_come_in_order_page_by_page),
		TEST(events_are_filtered_by_target_site_and_time),
		TEST(a_variable_goes_to_one_target_or_to_all_and_those_to_come),
		TEST(a_value_for_all_reaches_a_run_whose_process_is_yet_to_come),
		TEST(numbers_stay_when_a_run_is_replaced_or_removed),
		TEST(events_of_a_run_that_is_being_finished_come_from_its_file),
		cmocka_unit_test(a_fleet_without_runs_has_a_picture),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
