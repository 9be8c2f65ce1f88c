/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/test/fleet_source.h"

#include <errno.h>
#include <stdlib.h>

#include "base/test/unit.h"

static const struct kms_snapshot *source_acquire(void *ctx)
{
	struct fleet_source *source = ctx;

	atomic_fetch_add(&source->held, 1);
	return &source->s;
}

static void source_release(void *ctx, const struct kms_snapshot *snapshot)
{
	struct fleet_source *source = ctx;

	assert_ptr_equal(snapshot, &source->s);
	atomic_fetch_sub(&source->held, 1);
}

static int source_stack(void *ctx, uint64_t stack_id, struct kms_view_stack *out,
			struct kms_err *err)
{
	struct fleet_source *source = ctx;

	if (stack_id != kms_stack_id(1, FLEET_SOURCE_NODE))
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
	struct fleet_source *source = ctx;
	size_t sent = 0;

	if (source->is_ending)
		return kms_err_set(err, -EAGAIN, "being finished");
	for (uint64_t seq = 1; seq <= FLEET_SOURCE_EVENTS && sent < query->limit; seq++) {
		const struct kms_view_event event = {
			.seq = seq,
			.time_ns = seq,
			.target = 1 + (uint32_t)(seq % FLEET_SOURCE_TARGETS),
			.stack_id = kms_stack_id(1, FLEET_SOURCE_NODE),
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
	struct fleet_source *source = ctx;

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
	struct fleet_source *source = ctx;

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
	struct fleet_source *source = ctx;
	const int64_t bytes = (int64_t)(source->scale * 100 + a * 10 + b);
	const struct kms_view_diff_cache caches[] = {
		{"malloc-64", bytes + 10, 2 },
                {"malloc-32", -10,        -1}
        };
	const struct kms_view_diff row = {.target = 1,
					  .stack_id = kms_stack_id(1, FLEET_SOURCE_NODE),
					  .cache = "malloc-64",
					  .n_caches = 2,
					  .caches = caches,
					  .bytes = bytes,
					  .count = 1};

	(void)err;
	(void)emit(arg, &row);
	return 0;
}

static int source_samples(void *ctx, const struct kms_sample_query *query,
			  int (*emit)(void *arg, const struct kms_view_sample *sample), void *arg,
			  struct kms_err *err)
{
	struct fleet_source *source = ctx;

	const struct kms_view_sample old = {.time_ns = 5, .live_bytes = 1000};

	(void)err;
	for (uint64_t i = 0; query->from_ns <= 5 && i < source->old_samples; i++)
		if (emit(arg, &old))
			return 0;
	for (uint64_t t = 1; t <= 3; t++) {
		const struct kms_view_sample sample = {
			.time_ns = t * 10, .live_bytes = t * source->scale + query->target};

		if (sample.time_ns >= query->from_ns && sample.time_ns <= query->to_ns &&
		    emit(arg, &sample))
			break;
	}
	return 0;
}

struct fleet_source *fleet_source_new(uint64_t scale, uint64_t offset_ns)
{
	struct fleet_source *source = calloc(1, sizeof(*source));

	assert_non_null(source);
	source->scale = scale;
	source->s = (struct kms_snapshot){
		.seq = scale,
		.time_ns = 100,
		.wall_ns = FLEET_SOURCE_ZERO_NS + offset_ns,
		.file = "run.kms",
		.n_targets = FLEET_SOURCE_TARGETS,
		.n_caches = FLEET_SOURCE_TARGETS,
		.n_leaks = FLEET_SOURCE_TARGETS,
		.n_faults = FLEET_SOURCE_TARGETS,
		.target = source->target,
		.cache = source->cache,
		.leak = source->leak,
		.fault = source->fault,
		.stats = {.live_bytes = scale,
			  .allocs = 10 * scale,
			  .peak_bytes = 2 * scale,
			  .lag_us = scale}
        };
	source->owner = (struct kms_view_owner){
		.alloc_ns = 5, .alloc_stack_id = kms_stack_id(1, FLEET_SOURCE_NODE)};
	for (uint32_t i = 0; i < FLEET_SOURCE_TARGETS; i++) {
		source->target[i] = (struct kms_view_target){
			.id = i + 1, .parent = i, .pid = (uint32_t)scale + i, .name = "prog"};
		source->cache[i] = (struct kms_view_cache){.target = i + 1, .name = "malloc-64"};
		source->leak[i] =
			(struct kms_view_leak){.target = i + 1,
					       .stack_id = kms_stack_id(1, FLEET_SOURCE_NODE),
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

struct kms_fleet_source fleet_source_live(struct fleet_source *source)
{
	return (struct kms_fleet_source){
		.view = {.ops = &source->ops, .ctx = source},
                  .is_live = true
        };
}

int fleet_bench_setup(void **state)
{
	struct fleet_bench *b = calloc(1, sizeof(*b));

	assert_non_null(b);
	b->fleet = kms_fleet_create(FLEET_SOURCE_ZERO_NS);
	assert_non_null(b->fleet);
	b->view = kms_fleet_view(b->fleet);
	for (unsigned i = 0; i < 2; i++) {
		struct kms_fleet_source source;

		b->source[i] = fleet_source_new(i ? 50 : 3, i ? 1000 : 0);
		source = fleet_source_live(b->source[i]);
		assert_int_equal(kms_fleet_add(b->fleet, &source, &b->run[i], NULL), 0);
	}
	*state = b;
	return 0;
}

int fleet_bench_teardown(void **state)
{
	struct fleet_bench *b = *state;

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
