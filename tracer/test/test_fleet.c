/* SPDX-License-Identifier: BSD-2-Clause */
/* A fleet over sources that are known to the last number. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/test/unit.h"
#include "schema/variables.h"
#include "tracer/fleet.h"
#include "tracer/stack_id.h"

enum {
	TARGETS = 2,
	EVENTS = 3,
	ZERO_NS = 1000000,
	NODE = 7,
};

/* A run: target t has t * scale bytes live, one leak, one fault, EVENTS events. */
struct source {
	struct kms_snapshot s;
	struct kms_view_target target[TARGETS];
	struct kms_view_cache cache[TARGETS];
	struct kms_view_leak leak[TARGETS];
	struct kms_view_fault fault[TARGETS];
	struct kms_view_owner owner;
	struct kms_view_ops ops;
	uint64_t scale;
	atomic_int held;
	uint64_t variable;
	uint32_t variable_target;
	int variable_result;
	uint64_t wanted; /* of processes to come */
	uint64_t marks;
	uint64_t old_samples; /* at time 5, in front of the others */
	int mark_result;
	bool is_ending; /* events are not to be had */
};

static const struct kms_snapshot *source_acquire(void *ctx)
{
	struct source *source = ctx;

	atomic_fetch_add(&source->held, 1);
	return &source->s;
}

static void source_release(void *ctx, const struct kms_snapshot *snapshot)
{
	struct source *source = ctx;

	assert_ptr_equal(snapshot, &source->s);
	atomic_fetch_sub(&source->held, 1);
}

static int source_stack(void *ctx, uint64_t stack_id, struct kms_view_stack *out,
			struct kms_err *err)
{
	struct source *source = ctx;

	if (stack_id != kms_stack_id(1, NODE))
		return kms_err_set(err, -ENOENT, "no stack %llu", (unsigned long long)stack_id);
	*out = (struct kms_view_stack){.n_frames = 1, .frame = calloc(1, sizeof(*out->frame))};
	assert_non_null(out->frame);
	out->frame->address = source->scale;
	out->frame->function = "main";
	return 0;
}

static void source_stack_free(void *ctx, struct kms_view_stack *stack)
{
	(void)ctx;
	free(stack->frame);
}

static int source_events(void *ctx, const struct kms_event_query *query,
			 int (*emit)(void *arg, const struct kms_view_event *event), void *arg,
			 struct kms_err *err)
{
	struct source *source = ctx;
	size_t sent = 0;

	if (source->is_ending)
		return kms_err_set(err, -EAGAIN, "being finished");
	for (uint64_t seq = 1; seq <= EVENTS && sent < query->limit; seq++) {
		const struct kms_view_event event = {.seq = seq,
						     .time_ns = seq,
						     .target = 1 + (uint32_t)(seq % TARGETS),
						     .stack_id = kms_stack_id(1, NODE),
						     .size = source->scale};

		if (seq < query->from_seq || seq >= query->before_seq ||
		    event.time_ns < query->from_ns || event.time_ns > query->to_ns ||
		    (query->target && event.target != query->target) ||
		    (query->site && event.stack_id != query->site))
			continue;
		sent++;
		if (emit(arg, &event))
			break;
	}
	return 0;
}

static int source_variable_set(void *ctx, const char *who, uint32_t target, unsigned variable,
			       uint64_t value, struct kms_err *err)
{
	struct source *source = ctx;

	(void)who;
	(void)variable;
	if (source->variable_result)
		return kms_err_set(err, source->variable_result, "no");
	source->variable = value;
	source->variable_target = target;
	return 0;
}

static int source_mark(void *ctx, const char *who, const char *name, uint64_t *id,
		       struct kms_err *err)
{
	struct source *source = ctx;

	(void)who;
	(void)name;
	if (source->mark_result)
		return kms_err_set(err, source->mark_result, "no");
	*id = ++source->marks;
	return 0;
}

/* One row; its bytes say which marks were asked for. */
static int source_diff(void *ctx, uint64_t a, uint64_t b,
		       int (*emit)(void *arg, const struct kms_view_diff *row), void *arg,
		       struct kms_err *err)
{
	struct source *source = ctx;
	const struct kms_view_diff row = {.target = 1,
					  .stack_id = kms_stack_id(1, NODE),
					  .cache = "malloc-64",
					  .bytes = (int64_t)(source->scale * 100 + a * 10 + b)};

	(void)err;
	(void)emit(arg, &row);
	return 0;
}

static int source_samples(void *ctx, uint64_t from_ns, uint64_t to_ns,
			  int (*emit)(void *arg, const struct kms_view_sample *sample), void *arg,
			  struct kms_err *err)
{
	struct source *source = ctx;

	const struct kms_view_sample old = {.time_ns = 5, .live_bytes = 1000};

	(void)err;
	for (uint64_t i = 0; from_ns <= 5 && i < source->old_samples; i++)
		if (emit(arg, &old))
			return 0;
	for (uint64_t t = 1; t <= 3; t++) {
		const struct kms_view_sample sample = {.time_ns = t * 10,
						       .live_bytes = t * source->scale};

		if (sample.time_ns >= from_ns && sample.time_ns <= to_ns && emit(arg, &sample))
			break;
	}
	return 0;
}

static struct source *new_source(uint64_t scale, uint64_t offset_ns)
{
	struct source *source = calloc(1, sizeof(*source));

	assert_non_null(source);
	source->scale = scale;
	source->s = (struct kms_snapshot){
		.seq = scale,
		.time_ns = 100,
		.wall_ns = ZERO_NS + offset_ns,
		.file = "run.kms",
		.n_targets = TARGETS,
		.n_caches = TARGETS,
		.n_leaks = TARGETS,
		.n_faults = TARGETS,
		.target = source->target,
		.cache = source->cache,
		.leak = source->leak,
		.fault = source->fault,
		.stats = {.live_bytes = scale,
			  .allocs = 10 * scale,
			  .peak_bytes = 2 * scale,
			  .lag_us = scale}
        };
	source->owner =
		(struct kms_view_owner){.alloc_ns = 5, .alloc_stack_id = kms_stack_id(1, NODE)};
	for (uint32_t i = 0; i < TARGETS; i++) {
		source->target[i] = (struct kms_view_target){
			.id = i + 1, .parent = i, .pid = (uint32_t)scale + i, .name = "prog"};
		source->cache[i] = (struct kms_view_cache){.target = i + 1, .name = "malloc-64"};
		source->leak[i] = (struct kms_view_leak){.target = i + 1,
							 .stack_id = kms_stack_id(1, NODE),
							 .score = (double)(scale + i),
							 .bytes = scale};
		source->fault[i] = (struct kms_view_fault){.target = i + 1,
							   .id = i + 1,
							   .raw.time_ns = 6,
							   .n_owners = i,
							   .owner = &source->owner};
	}
	source->ops = (struct kms_view_ops){.acquire = source_acquire,
					    .release = source_release,
					    .stack = source_stack,
					    .stack_free = source_stack_free,
					    .events = source_events,
					    .variable_set = source_variable_set,
					    .mark = source_mark,
					    .diff = source_diff,
					    .samples = source_samples};
	return source;
}

static void source_want(void *arg, unsigned variable, uint64_t value)
{
	struct source *source = arg;

	(void)variable;
	source->wanted = value;
}

static struct kms_fleet_source live(struct source *source)
{
	return (struct kms_fleet_source){
		.view = {.ops = &source->ops, .ctx = source},
                  .is_live = true
        };
}

/* A fleet with two runs, the second 1000 ns younger. */
struct bench {
	struct kms_fleet *fleet;
	struct kms_view view;
	struct source *source[2];
	uint32_t run[2];
};

static int setup(void **state)
{
	struct bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	b->fleet = kms_fleet_create(ZERO_NS);
	assert_non_null(b->fleet);
	b->view = kms_fleet_view(b->fleet);
	for (unsigned i = 0; i < 2; i++) {
		struct kms_fleet_source source;

		b->source[i] = new_source(i ? 50 : 3, i ? 1000 : 0);
		source = live(b->source[i]);
		assert_int_equal(kms_fleet_add(b->fleet, &source, &b->run[i], NULL), 0);
	}
	*state = b;
	return 0;
}

static int teardown(void **state)
{
	struct bench *b = *state;

	for (unsigned i = 0; i < 2; i++)
		kms_fleet_remove(b->fleet, b->run[i]);
	kms_fleet_destroy(b->fleet);
	for (unsigned i = 0; i < 2; i++) {
		assert_int_equal(b->source[i]->held, 0); /* every picture was given back */
		free(b->source[i]);
	}
	free(b);
	return 0;
}

static void sums_are_over_all_runs_and_rows_name_their_target(void **state)
{
	struct bench *b = *state;
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
	struct bench *b = *state;
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
	struct bench *b = *state;
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

static void ask(struct bench *b, const struct kms_event_query *query, struct seen *seen)
{
	const struct kms_snapshot *s = b->view.ops->acquire(b->view.ctx);

	seen->n = 0;
	assert_int_equal(b->view.ops->events(b->view.ctx, query, see, seen, NULL), 0);
	b->view.ops->release(b->view.ctx, s);
}

static void events_of_all_runs_come_in_order_page_by_page(void **state)
{
	struct bench *b = *state;
	struct kms_event_query query = {.before_seq = UINT64_MAX, .to_ns = UINT64_MAX, .limit = 2};
	uint64_t last = 0;
	size_t total = 0;
	struct seen seen;

	do {
		ask(b, &query, &seen);
		for (size_t i = 0; i < seen.n; i++) {
			assert_true(seen.event[i].seq > last);
			last = seen.event[i].seq;
			assert_int_equal(seen.event[i].size, total + i < EVENTS ? 3 : 50);
		}
		total += seen.n;
		query.from_seq = last + 1;
	} while (seen.n);
	assert_int_equal(total, 2 * EVENTS);
}

static void events_are_filtered_by_target_site_and_time(void **state)
{
	struct bench *b = *state;
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
	assert_int_equal(seen.n, EVENTS);
	query.site = 0;
	query.to_ns = 999; /* the second run begins at 1000 */
	ask(b, &query, &seen);
	assert_int_equal(seen.n, EVENTS);
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
	struct bench *b = *state;
	const struct kms_view_ops *ops = b->view.ops;
	struct source *late = new_source(7, 2000);
	struct kms_fleet_source source = live(late);
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

static void a_value_for_all_reaches_a_run_whose_process_is_yet_to_come(void **state)
{
	struct bench *b = *state;
	struct source *idle = new_source(3, 3000);
	struct kms_fleet_source source = live(idle);
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
	struct bench *b = *state;
	const struct kms_view_ops *ops = b->view.ops;
	struct source *file = new_source(8, 0);
	struct kms_fleet_source source = live(file);
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
	struct bench *b = arg;
	struct source *file = new_source(8, 0);
	struct kms_fleet_source source = live(file);

	assert_int_equal(kms_fleet_replace(b->fleet, b->run[0], &source, NULL), 0);
	free(b->source[0]);
	b->source[0] = file;
	return NULL;
}

static void events_of_a_run_that_is_being_finished_come_from_its_file(void **state)
{
	struct bench *b = *state;
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
	assert_int_equal(seen.n, 2 * EVENTS);
	assert_int_equal(seen.event[0].size, 8);
}

static int see_diff(void *arg, const struct kms_view_diff *row)
{
	int64_t *bytes = arg;

	assert_true(row->bytes <= bytes[1]); /* the largest comes first */
	bytes[0] += row->bytes;
	bytes[1] = row->bytes;
	return 0;
}

static void a_mark_is_one_number_in_all_runs(void **state)
{
	struct bench *b = *state;
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
	struct bench *b = *state;
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
	struct bench *b = *state;
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
	struct bench *b = *state;
	struct kms_view_sample seen[8], *next = seen;

	b->view.ops->release(b->view.ctx, b->view.ops->acquire(b->view.ctx));
	assert_int_equal(b->view.ops->samples(b->view.ctx, 20, UINT64_MAX, see_sample, &next, NULL),
			 0);
	assert_int_equal(next - seen, 5); /* 20 and 30, then 1010, 1020, 1030 */
	assert_int_equal(seen[0].live_bytes, 2 * 3);
	assert_int_equal(seen[1].live_bytes, 3 * 3);
	assert_int_equal(seen[4].time_ns, 1030);
	assert_int_equal(seen[4].live_bytes, 3 * 3 + 3 * 50);
}

/* A run of weeks has more samples than a fleet puts in order; those before the time asked for are not kept. */
static void a_long_past_does_not_count(void **state)
{
	struct bench *b = *state;
	struct kms_view_sample seen[8], *next = seen;

	b->view.ops->release(b->view.ctx, b->view.ops->acquire(b->view.ctx));
	b->source[0]->old_samples = b->source[1]->old_samples = (1 << 20) + 1;
	assert_int_equal(
		b->view.ops->samples(b->view.ctx, 1025, UINT64_MAX, see_sample, &next, NULL), 0);
	assert_int_equal(next - seen, 1);
	assert_int_equal(seen[0].live_bytes, 3 * 3 + 3 * 50);
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
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		TEST(sums_are_over_all_runs_and_rows_name_their_target),
		TEST(leaks_are_ordered_by_score_and_faults_by_number),
		TEST(a_stack_is_asked_of_its_run),
		TEST(events_of_all_runs_come_in_order_page_by_page),
		TEST(events_are_filtered_by_target_site_and_time),
		TEST(a_variable_goes_to_one_target_or_to_all_and_those_to_come),
		TEST(a_value_for_all_reaches_a_run_whose_process_is_yet_to_come),
		TEST(numbers_stay_when_a_run_is_replaced_or_removed),
		TEST(events_of_a_run_that_is_being_finished_come_from_its_file),
		TEST(a_mark_is_one_number_in_all_runs),
		TEST(the_oldest_mark_makes_room_for_a_new_one),
		TEST(a_mark_that_one_run_refuses_is_set_in_the_others),
		TEST(samples_are_added_up_at_every_moment),
		TEST(a_long_past_does_not_count),
		cmocka_unit_test(a_fleet_without_runs_has_a_picture),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
