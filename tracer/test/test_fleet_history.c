/* SPDX-License-Identifier: BSD-2-Clause */
/* A fleet's past: marks, what came between two of them, samples. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/test/unit.h"
#include "tracer/test/fleet_source.h"

static int see_diff(void *arg, const struct kms_view_diff *row)
{
	int64_t *bytes = arg;

	assert_true(row->bytes <= bytes[1]); /* the largest comes first */
	assert_int_equal(row->n_caches, 2);
	assert_string_equal(row->caches[0].name, "malloc-64");
	assert_int_equal(row->caches[0].bytes + row->caches[1].bytes, row->bytes);
	bytes[0] += row->bytes;
	bytes[1] = row->bytes;
	return 0;
}

static void a_mark_is_one_number_in_all_runs(void **state)
{
	struct fleet_bench *b = *state;
	const struct kms_view_ops *ops = b->view.ops;
	int64_t bytes[2] = {0, INT64_MAX};
	uint64_t id;

	ops->release(b->view.ctx, ops->acquire(b->view.ctx));
	b->source[1]->marks = 2; /* its own next one is 3 */
	assert_int_equal(ops->mark(b->view.ctx, "test", "one", &id, NULL), 0);
	assert_int_equal(id, 1);
	assert_int_equal(ops->diff(b->view.ctx, 1, 0, see_diff, bytes, NULL), 0);
	assert_int_equal(bytes[0], (3 * 100 + 1 * 10) + (50 * 100 + 3 * 10));
	assert_int_equal(ops->diff(b->view.ctx, 2, 0, see_diff, bytes, NULL), -ENOENT);
}

/* What a list of marks was: how many, from which to which; names are their numbers. */
struct seen_marks {
	size_t n;
	uint64_t first, last;
};

static int see_mark(void *arg, const struct kms_view_mark *mark)
{
	struct seen_marks *seen = arg;

	assert_int_equal(strtoull(mark->name, NULL, 10), mark->id);
	if (seen->n++ == 0)
		seen->first = mark->id;
	else
		assert_int_equal(mark->id, seen->last + 1);
	seen->last = mark->id;
	return 0;
}

static void the_oldest_mark_makes_room_for_a_new_one(void **state)
{
	struct fleet_bench *b = *state;
	const struct kms_view_ops *ops = b->view.ops;
	struct seen_marks seen = {0};
	int64_t bytes[2] = {0, INT64_MAX};
	char name[24];
	uint64_t id;

	ops->release(b->view.ctx, ops->acquire(b->view.ctx));
	for (unsigned i = 1; i <= 1003; i++) {
		snprintf(name, sizeof(name), "%u", i);
		assert_int_equal(ops->mark(b->view.ctx, "test", name, &id, NULL), 0);
		assert_int_equal(id, i);
	}
	assert_int_equal(ops->marks(b->view.ctx, see_mark, &seen, NULL), 0);
	assert_int_equal(seen.n, 1000);
	assert_int_equal(seen.first, 4);
	assert_int_equal(seen.last, 1003);
	assert_int_equal(ops->diff(b->view.ctx, 3, 0, see_diff, bytes, NULL), -ENOENT);
	assert_int_equal(ops->diff(b->view.ctx, 1004, 0, see_diff, bytes, NULL), -ENOENT);
	assert_int_equal(ops->diff(b->view.ctx, 4, 1003, see_diff, bytes, NULL), 0);
}

static void a_mark_that_one_run_refuses_is_set_in_the_others(void **state)
{
	struct fleet_bench *b = *state;
	const struct kms_view_ops *ops = b->view.ops;
	struct kms_err err = KMS_ERR_INIT;
	uint64_t id;

	b->source[0]->mark_result = -ENOSPC;
	assert_int_equal(ops->mark(b->view.ctx, "test", "one", &id, &err), 0);
	assert_int_equal(err.code, 0);
	assert_int_equal(id, 1);
	assert_int_equal(b->source[1]->marks, 1);
	b->source[1]->mark_result = -EIO;
	assert_int_equal(ops->mark(b->view.ctx, "test", "two", &id, &err), -ENOSPC);
	assert_int_equal(err.code, -ENOSPC);
}

static int see_sample(void *arg, const struct kms_view_sample *sample)
{
	struct kms_view_sample **next = arg;

	*(*next)++ = *sample;
	return 0;
}

static void samples_are_added_up_at_every_moment(void **state)
{
	struct fleet_bench *b = *state;
	struct kms_view_sample seen[8], *next = seen;

	b->view.ops->release(b->view.ctx, b->view.ops->acquire(b->view.ctx));
	assert_int_equal(b->view.ops->samples(b->view.ctx,
					      &(struct kms_sample_query){0, 20, UINT64_MAX},
					      see_sample, &next, NULL),
			 0);
	assert_int_equal(next - seen, 5); /* 20 and 30, then 1010, 1020, 1030 */
	assert_int_equal(seen[0].live_bytes, 2 * 3);
	assert_int_equal(seen[1].live_bytes, 3 * 3);
	assert_int_equal(seen[4].time_ns, 1030);
	assert_int_equal(seen[4].live_bytes, 3 * 3 + 3 * 50);
}

static void samples_of_one_target_are_its_runs_own(void **state)
{
	struct fleet_bench *b = *state;
	const struct kms_view_ops *ops = b->view.ops;
	struct kms_view_sample seen[8], *next = seen;

	ops->release(b->view.ctx, ops->acquire(b->view.ctx));
	/* the fleet's fourth is the second run's second */
	assert_int_equal(ops->samples(b->view.ctx, &(struct kms_sample_query){4, 1015, UINT64_MAX},
				      see_sample, &next, NULL),
			 0);
	assert_int_equal(next - seen, 2);
	assert_int_equal(seen[0].time_ns, 1020);
	assert_int_equal(seen[0].live_bytes, 2 * 50 + 2);
	assert_int_equal(seen[1].live_bytes, 3 * 50 + 2);
	assert_int_equal(ops->samples(b->view.ctx, &(struct kms_sample_query){5, 0, UINT64_MAX},
				      see_sample, &next, NULL),
			 -ESRCH);
}

/* A run of weeks has more samples than a fleet puts in order; those before the time asked for are not kept. */
static void a_long_past_does_not_count(void **state)
{
	struct fleet_bench *b = *state;
	struct kms_view_sample seen[8], *next = seen;

	b->view.ops->release(b->view.ctx, b->view.ops->acquire(b->view.ctx));
	b->source[0]->old_samples = b->source[1]->old_samples = (1 << 20) + 1;
	assert_int_equal(b->view.ops->samples(b->view.ctx,
					      &(struct kms_sample_query){0, 1025, UINT64_MAX},
					      see_sample, &next, NULL),
			 0);
	assert_int_equal(next - seen, 1);
	assert_int_equal(seen[0].live_bytes, 3 * 3 + 3 * 50);
}

static int refuse(void *arg, const char *who, const char *what, bool stopped, uint32_t *run,
		  struct kms_err *err)
{
	(void)arg;
	(void)who;
	(void)stopped;
	(void)run;
	return kms_err_set(err, -EBUSY, "%s is traced already", what);
}

struct seen_audits {
	struct kms_view_audit first; /* its strings are below */
	char who[64], result[128];
	unsigned n;
};

static int see_audit(void *arg, const struct kms_view_audit *audit)
{
	struct seen_audits *seen = arg;

	assert_string_equal(audit->variable, "attach");
	if (seen->n++)
		return 0;
	seen->first = *audit;
	(void)snprintf(seen->who, sizeof(seen->who), "%s", audit->who);
	(void)snprintf(seen->result, sizeof(seen->result), "%s", audit->result);
	return 0;
}

static void an_attach_that_was_refused_is_in_the_audit(void **state)
{
	struct fleet_bench *b = *state;
	const struct kms_view_ops *ops = b->view.ops;
	struct kms_err err = KMS_ERR_INIT;
	struct seen_audits seen = {0};
	uint32_t target;
	char what[32];

	kms_fleet_set_attach(b->fleet, refuse, NULL);
	for (unsigned pid = 1; pid <= 300; pid++) {
		(void)snprintf(what, sizeof(what), "pid:%u", pid);
		assert_int_equal(ops->attach(b->view.ctx, "uid 7", what, false, &target, &err),
				 -EBUSY);
		assert_string_equal(strchr(err.text, ' '), " is traced already");
	}
	assert_int_equal(ops->audit(b->view.ctx, see_audit, &seen, NULL), 0);
	assert_int_equal(seen.n, 256); /* the newest of them */
	assert_int_equal(seen.first.value, 300);
	assert_int_equal(seen.first.target, 0);
	assert_true(seen.first.wall_ns > 0);
	assert_string_equal(seen.who, "uid 7");
	assert_string_equal(seen.result, "pid:300 is traced already");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, fleet_bench_setup, fleet_bench_teardown)
		TEST(a_mark_is_one_number_in_all_runs),
		TEST(the_oldest_mark_makes_room_for_a_new_one),
		TEST(a_mark_that_one_run_refuses_is_set_in_the_others),
		TEST(samples_are_added_up_at_every_moment),
		TEST(samples_of_one_target_are_its_runs_own),
		TEST(a_long_past_does_not_count),
		TEST(an_attach_that_was_refused_is_in_the_audit),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
