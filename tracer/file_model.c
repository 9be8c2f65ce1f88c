/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What no table of a trace answers: which blocks live, which slabs there are, what an address is.
 * The whole trace is replayed into a model when somebody first asks (a second for 10 million
 * events), and again when a live trace has grown since.
 */
#include <errno.h>

#include "tracer/file_impl.h"
#include "tracer/model_query.h"
#include "tracer/whatis_past.h"

/* As for the picture of a lost trace. */
#define REPLAY_EVENTS_MAX INT64_C(400000000)

struct feeding {
	struct kms_model *model;
	struct kms_err *err;
};

static int feed(void *arg, const struct kms_batch *batch)
{
	struct feeding *f = arg;

	return kms_model_feed(f->model, batch, f->err);
}

static int build(struct kms_file *file, struct kms_err *err)
{
	struct kms_model_config config = {.park_ns = UINT64_MAX};
	struct feeding f = {.err = err};
	int64_t version = atomic_load(&file->version);
	int result;

	kms_model_destroy(file->model);
	file->model = NULL;
	f.model = kms_model_create(&config);
	result = f.model ? kms_file_replay(file, feed, &f, err)
			 : kms_err_set(err, -ENOMEM, "out of memory");
	if (result < 0) {
		kms_model_destroy(f.model);
		return result;
	}
	file->model = f.model;
	file->model_version = version;
	return 0;
}

/* The model of all that is in the trace; file->model_lock is held. */
static int find_model(struct kms_file *file, const struct kms_model **out, struct kms_err *err)
{
	struct kms_view view = kms_file_view(file);
	const struct kms_snapshot *s = view.ops->acquire(view.ctx); /* looks for a newer one */
	bool too_long = s->stats.stored > REPLAY_EVENTS_MAX;
	int result = 0;

	view.ops->release(view.ctx, s);
	*out = file_rebuilt_model(file);
	if (*out)
		return 0;
	if (too_long)
		return kms_err_set(err, -E2BIG, "the trace has too many events to replay them");
	if (!file->model || file->model_version != atomic_load(&file->version))
		result = build(file, err);
	*out = file->model;
	return result;
}

int file_blocks(void *ctx, const struct kms_block_query *query,
		int (*emit)(void *arg, const struct kms_view_block *block), void *arg,
		struct kms_err *err)
{
	struct kms_file *file = ctx;
	struct kms_model_block_list list = {.query = query};
	const struct kms_model *model;
	int result;

	(void)pthread_mutex_lock(&file->model_lock); /* cannot fail on a plain mutex */
	result = find_model(file, &model, err);
	if (!result)
		(void)kms_model_blocks(model, &list, UINT64_MAX); /* no time limit: to the end */
	(void)pthread_mutex_unlock(&file->model_lock);
	if (!result)
		result = kms_model_block_list_emit(&list, emit, arg, err);
	kms_model_block_list_deinit(&list);
	return result;
}

int file_slabs(void *ctx, uint32_t target, const char *cache,
	       int (*emit)(void *arg, const struct kms_view_slab *slab), void *arg,
	       struct kms_err *err)
{
	struct kms_file *file = ctx;
	struct kms_model_slab_list list = {.only = target, .cache = cache};
	const struct kms_model *model;
	int result;

	(void)pthread_mutex_lock(&file->model_lock);
	result = find_model(file, &model, err);
	if (!result)
		(void)kms_model_slabs(model, &list, UINT64_MAX);
	(void)pthread_mutex_unlock(&file->model_lock);
	if (!result)
		result = kms_model_slab_list_emit(&list, emit, arg, err);
	kms_model_slab_list_deinit(&list);
	return result;
}

int file_whatis(void *ctx, uint32_t target, uint64_t address, struct kms_view_block *out,
		struct kms_err *err)
{
	struct kms_file *file = ctx;
	struct kms_view view = kms_file_view(file);
	struct kms_whatis_ask ask = {.events = &view, .target = target, .address = address};
	const struct kms_model *model;
	struct kms_model_row row;
	int result;

	(void)pthread_mutex_lock(&file->model_lock);
	result = find_model(file, &model, err);
	if (!result && kms_model_whatis(model, target, address, &row) < 0)
		result = kms_err_set(err, -ESRCH, "there is no target %u", target);
	(void)pthread_mutex_unlock(&file->model_lock);
	if (result < 0)
		return result;
	ask.snapshot = view.ops->acquire(view.ctx);
	result = kms_whatis_past(&ask, &row, err);
	view.ops->release(view.ctx, ask.snapshot);
	if (!result) {
		*out = kms_model_row_block(&row);
		out->cache = kms_name_pool_keep(&file->names, out->cache);
	}
	return result;
}
