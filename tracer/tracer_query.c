/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The live view beyond pictures: what the model answers (in its own thread, in slices), what the
 * trace's tables answer (through our own file), marks and the audit (through the store's thread).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "schema/spans.h"
#include "tracer/held.h"
#include "tracer/model_query.h"
#include "tracer/process.h"
#include "tracer/sample.h"
#include "tracer/tracer_impl.h"
#include "tracer/whatis_past.h"

enum {
	MARKS_MAX = 1000,
	SYNC_MS = 500,
	FRESH_NS = 50 * 1000 * 1000,
};

static int over(struct kms_err *err)
{
	return kms_err_set(err, -EAGAIN, "the trace is being finished; ask again");
}

static bool blocks_step(void *arg, void *model, uint64_t until_ns)
{
	return kms_model_blocks(model, arg, until_ns);
}

static int view_blocks(void *ctx, const struct kms_block_query *query,
		       int (*emit)(void *arg, const struct kms_view_block *block), void *arg,
		       struct kms_err *err)
{
	struct kms_tracer *tracer = ctx;
	struct kms_model_block_list list = {.query = query};
	int result = kms_errands_run(&tracer->for_model, blocks_step, &list);

	result = result < 0 ? over(err) : kms_model_block_list_emit(&list, emit, arg, err);
	kms_model_block_list_deinit(&list);
	return result;
}

static bool slabs_step(void *arg, void *model, uint64_t until_ns)
{
	return kms_model_slabs(model, arg, until_ns);
}

static int view_slabs(void *ctx, uint32_t target, const char *cache,
		      int (*emit)(void *arg, const struct kms_view_slab *slab), void *arg,
		      struct kms_err *err)
{
	struct kms_tracer *tracer = ctx;
	struct kms_model_slab_list list = {.only = target, .cache = cache};
	int result = kms_errands_run(&tracer->for_model, slabs_step, &list);

	result = result < 0 ? over(err) : kms_model_slab_list_emit(&list, emit, arg, err);
	kms_model_slab_list_deinit(&list);
	return result;
}

/* A look at one address. */
struct whatis {
	uint32_t target;
	uint64_t address;
	struct kms_model_row row;
	int result;
};

static bool whatis_step(void *arg, void *model, uint64_t until_ns)
{
	struct whatis *w = arg;

	(void)until_ns; /* it takes less than a slice */
	w->result = kms_model_whatis(model, w->target, w->address, &w->row);
	return true;
}

/* What is not live any more: its last owner is in our own file. */
static int add_past(struct kms_tracer *tracer, struct whatis *w, struct kms_err *err)
{
	struct kms_view view;
	struct kms_whatis_ask ask = {.events = &view, .target = w->target, .address = w->address};
	uint64_t now_ns = kms_mono_ns();
	int result = tracer_own_file(tracer, &view, err);

	if (result < 0)
		return result;
	if (now_ns - atomic_load(&tracer->past_synced_ns) > FRESH_NS) {
		(void)kms_tracer_sync(tracer, SYNC_MS); /* late: as of the last commit */
		atomic_store(&tracer->past_synced_ns, now_ns);
	}
	ask.snapshot = kms_model_acquire(tracer->model);
	result = kms_whatis_past(&ask, &w->row, err);
	kms_model_release(tracer->model, ask.snapshot);
	tracer_own_file_end(tracer);
	return result;
}

static int view_whatis(void *ctx, uint32_t target, uint64_t address, struct kms_view_block *out,
		       struct kms_err *err)
{
	struct kms_tracer *tracer = ctx;
	struct whatis w = {.target = target, .address = address};
	int result = kms_errands_run(&tracer->for_model, whatis_step, &w);

	if (result < 0)
		return over(err);
	if (w.result < 0)
		return kms_err_set(err, w.result, "there is no target %u", target);
	if (!w.row.block.address || w.row.block.state != KMS_BLOCK_LIVE)
		result = add_past(tracer, &w, err);
	if (result < 0)
		return result;
	*out = kms_model_row_block(&w.row);
	out->cache = kms_name_pool_keep(&tracer->names, out->cache);
	return 0;
}

/* Passes samples on, and remembers whether it was told to stop, and the last one's time. */
struct samples {
	int (*emit)(void *arg, const struct kms_view_sample *sample);
	void *arg;
	uint64_t last_ns;
	bool stopped;
};

static int pass_sample(void *arg, const struct kms_view_sample *sample)
{
	struct samples *s = arg;

	s->last_ns = sample->time_ns;
	s->stopped = s->emit(s->arg, sample) != 0;
	return s->stopped;
}

/* This moment's; false: there is no such target. */
static bool sample_now(const struct kms_snapshot *snapshot, uint32_t target,
		       struct kms_view_sample *now)
{
	if (!target) {
		*now = kms_sample_of(snapshot);
		return true;
	}
	for (size_t i = 0; i < snapshot->n_targets; i++) {
		if (snapshot->target[i].id != target)
			continue;
		*now = kms_sample_of_target(snapshot, i);
		return true;
	}
	return false;
}

/* Those that were stored, and this moment's. */
static int view_samples(void *ctx, const struct kms_sample_query *query,
			int (*emit)(void *arg, const struct kms_view_sample *sample), void *arg,
			struct kms_err *err)
{
	struct kms_tracer *tracer = ctx;
	struct samples s = {.emit = emit, .arg = arg};
	const struct kms_snapshot *snapshot;
	struct kms_view_sample now;
	struct kms_view view;
	bool found;
	int result = tracer_own_file(tracer, &view, err);

	if (!result) {
		result = view.ops->samples(view.ctx, query, pass_sample, &s, err);
		tracer_own_file_end(tracer);
	}
	if (result < 0 || s.stopped)
		return result;
	snapshot = tracer_picture(tracer);
	found = sample_now(snapshot, query->target, &now);
	tracer_picture_release(tracer, snapshot);
	if (found && now.time_ns >= query->from_ns && now.time_ns <= query->to_ns &&
	    now.time_ns > s.last_ns)
		(void)emit(arg, &now); /* it was the last one anyway */
	return 0;
}

static int view_marks(void *ctx, int (*emit)(void *arg, const struct kms_view_mark *mark),
		      void *arg, struct kms_err *err)
{
	struct kms_view view;
	int result = tracer_own_file(ctx, &view, err);

	if (result < 0)
		return result;
	result = view.ops->marks(view.ctx, emit, arg, err);
	tracer_own_file_end(ctx);
	return result;
}

static int view_diff(void *ctx, uint64_t a, uint64_t b,
		     int (*emit)(void *arg, const struct kms_view_diff *row), void *arg,
		     struct kms_err *err)
{
	struct kms_tracer *tracer = ctx;
	struct kms_file_ends ends = {.a = a, .b = b};
	struct kms_view view;
	int result = tracer_own_file(tracer, &view, err);

	if (result < 0)
		return result;
	ends.now = tracer_picture(tracer);
	result = kms_file_diff(tracer->file, &ends, emit, arg, err);
	tracer_picture_release(tracer, ends.now);
	tracer_own_file_end(tracer);
	return result;
}

static int view_audit(void *ctx, int (*emit)(void *arg, const struct kms_view_audit *row),
		      void *arg, struct kms_err *err)
{
	struct kms_view view;
	int result = tracer_own_file(ctx, &view, err);

	if (result < 0)
		return result;
	(void)kms_tracer_sync(ctx, SYNC_MS); /* late: without the newest */
	result = view.ops->audit(view.ctx, emit, arg, err);
	tracer_own_file_end(ctx);
	return result;
}

/* A mark on its way to the store. */
struct marking {
	struct kms_store_mark mark;
	struct kms_err *err;
	int result;
};

static bool mark_step(void *arg, void *store, uint64_t until_ns)
{
	struct marking *m = arg;

	(void)until_ns; /* one transaction */
	m->result = kms_store_mark(store, &m->mark, m->err);
	return true;
}

static uint64_t wall_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail */
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Targets that live get a mark record too, when they next come by. */
static void tell_targets(struct kms_tracer *tracer, const struct kms_snapshot *snapshot,
			 uint64_t id)
{
	for (size_t i = 0; i < snapshot->n_targets; i++)
		if (snapshot->target[i].state == KMS_STATE_RUNNING)
			/* one that ends just now does not matter */
			(void)kms_images_request(tracer->images, snapshot->target[i].id,
						 KMS_VAR_MARK, id, NULL);
}

static int store_mark(struct kms_tracer *tracer, const struct kms_snapshot *snapshot,
		      struct marking *m, struct kms_err *err)
{
	struct kms_held *held;
	int result;

	if (kms_held_of(snapshot, &held, &m->mark.n_held) < 0)
		return kms_err_set(err, -ENOMEM, "out of memory");
	m->mark.held = held;
	m->mark.time_ns = snapshot->time_ns;
	m->mark.wall_ns = wall_ns();
	result = kms_errands_run(&tracer->for_store, mark_step, m);
	free(held);
	return result < 0 ? over(err) : m->result;
}

static int view_mark(void *ctx, const char *who, const char *name, uint64_t *id,
		     struct kms_err *err)
{
	struct kms_tracer *tracer = ctx;
	struct marking m = {.mark.name = name, .err = err};
	const struct kms_snapshot *snapshot;
	int result;

	(void)who;                              /* is for the audit */
	(void)kms_tracer_sync(tracer, SYNC_MS); /* late: as of a moment ago */
	(void)pthread_mutex_lock(&tracer->mark_lock);
	m.mark.id = tracer->marks + 1;
	if (m.mark.id > MARKS_MAX) {
		(void)pthread_mutex_unlock(&tracer->mark_lock);
		return kms_err_set(err, -ENOSPC, "a trace holds %d marks", MARKS_MAX);
	}
	snapshot = tracer_picture(tracer);
	result = store_mark(tracer, snapshot, &m, err);
	if (!result) {
		*id = tracer->marks = m.mark.id;
		tell_targets(tracer, snapshot, m.mark.id);
	}
	tracer_picture_release(tracer, snapshot);
	(void)pthread_mutex_unlock(&tracer->mark_lock);
	return result;
}

static void wake_model(void *arg)
{
	kms_queue_wake(&((struct kms_tracer *)arg)->to_model.queue);
}

static void wake_store(void *arg)
{
	kms_queue_wake(&((struct kms_tracer *)arg)->to_store.queue);
}

void tracer_query_init(struct kms_tracer *tracer)
{
	kms_errands_init(&tracer->for_model, wake_model, tracer);
	kms_errands_init(&tracer->for_store, wake_store, tracer);
	kms_name_pool_init(&tracer->names);
	(void)pthread_mutex_init(&tracer->mark_lock, NULL); /* cannot fail without attributes */
	tracer->ops.whatis = view_whatis;
	tracer->ops.blocks = view_blocks;
	tracer->ops.slabs = view_slabs;
	tracer->ops.samples = view_samples;
	tracer->ops.mark = view_mark;
	tracer->ops.marks = view_marks;
	tracer->ops.diff = view_diff;
	tracer->ops.audit = view_audit;
}

void tracer_query_deinit(struct kms_tracer *tracer)
{
	kms_errands_deinit(&tracer->for_model);
	kms_errands_deinit(&tracer->for_store);
	kms_name_pool_deinit(&tracer->names);
	(void)pthread_mutex_destroy(&tracer->mark_lock); /* nobody holds it */
}
