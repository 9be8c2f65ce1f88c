/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A run whose events are fed by somebody else than the reader of regions: see struct kms_tracer_origin.
 *
 * He knows more than events say (which caches there are, what lies at an address), so his picture is
 * the one that is shown and kept. He has no variables.
 */
#include <errno.h>

#include "tracer/tracer_impl.h"

int kms_tracer_feed(struct kms_tracer *tracer, struct kms_batch *batch)
{
	if (tracer->fed_half != batch && kms_queue_push(&tracer->to_model.queue, batch))
		return -ENOMEM;
	tracer->fed_half = batch;
	if (kms_queue_push(&tracer->to_store.queue, batch))
		return -ENOMEM;
	tracer->fed_half = NULL;
	return 0;
}

const struct kms_snapshot *kms_tracer_events_acquire(struct kms_tracer *tracer)
{
	return kms_model_acquire(tracer->model);
}

void kms_tracer_events_release(struct kms_tracer *tracer, const struct kms_snapshot *snapshot)
{
	kms_model_release(tracer->model, snapshot);
}

const struct kms_snapshot *tracer_picture(struct kms_tracer *tracer)
{
	const struct kms_tracer_origin *origin = tracer->config.origin;

	return origin ? origin->ops->acquire(origin->ctx) : kms_model_acquire(tracer->model);
}

void tracer_picture_release(struct kms_tracer *tracer, const struct kms_snapshot *snapshot)
{
	const struct kms_tracer_origin *origin = tracer->config.origin;

	if (origin)
		origin->ops->release(origin->ctx, snapshot);
	else
		kms_model_release(tracer->model, snapshot);
}

void tracer_origin_names(struct kms_tracer *tracer, unsigned max)
{
	const struct kms_tracer_origin *origin = tracer->config.origin;
	struct kms_view_stack stack;
	uint64_t id;

	if (!origin || !origin->stack_next || !origin->ops->stack)
		return;
	for (id = tracer->named; max && origin->stack_next(origin->ctx, &id); max--) {
		tracer->named = id;
		if (origin->ops->stack(origin->ctx, id, &stack, NULL))
			continue;
		/* one that cannot be kept is module and offset in the file */
		(void)kms_store_stack_symbols(tracer->store, id, &stack, NULL);
		origin->ops->stack_free(origin->ctx, &stack);
	}
}

static const struct kms_snapshot *origin_acquire(void *ctx)
{
	return tracer_picture(ctx);
}

static void origin_release(void *ctx, const struct kms_snapshot *snapshot)
{
	tracer_picture_release(ctx, snapshot);
}

static int origin_stack(void *ctx, uint64_t stack_id, struct kms_view_stack *out,
			struct kms_err *err)
{
	const struct kms_tracer *tracer = ctx;
	const struct kms_tracer_origin *origin = tracer->config.origin;

	return origin->ops->stack(origin->ctx, stack_id, out, err);
}

static void origin_stack_free(void *ctx, struct kms_view_stack *stack)
{
	const struct kms_tracer *tracer = ctx;
	const struct kms_tracer_origin *origin = tracer->config.origin;

	origin->ops->stack_free(origin->ctx, stack);
}

/* NOLINTNEXTLINE(readability-function-size): its shape is struct kms_view_ops' */
static int origin_memory(void *ctx, uint32_t target, uint64_t address, void *to, size_t n,
			 size_t *n_read, struct kms_err *err)
{
	const struct kms_tracer *tracer = ctx;
	const struct kms_tracer_origin *origin = tracer->config.origin;

	return origin->ops->memory(origin->ctx, target, address, to, n, n_read, err);
}

static int origin_memory_write(void *ctx, const char *who, const struct kms_memory_write *write,
			       struct kms_err *err)
{
	const struct kms_tracer *tracer = ctx;
	const struct kms_tracer_origin *origin = tracer->config.origin;

	return origin->ops->memory_write(origin->ctx, who, write, err);
}

/* What the events say of an address, then what lies there now. */
static int origin_whatis(void *ctx, uint32_t target, uint64_t address, struct kms_view_block *out,
			 struct kms_err *err)
{
	struct kms_tracer *tracer = ctx;
	const struct kms_tracer_origin *origin = tracer->config.origin;

	*out = (struct kms_view_block){.target = target};
	if (tracer->whatis(ctx, target, address, out, NULL))
		*out = (struct kms_view_block){.target = target};
	return origin->ops->whatis(origin->ctx, target, address, out, err);
}

static int origin_slabs(void *ctx, uint32_t target, const char *cache,
			int (*emit)(void *arg, const struct kms_view_slab *slab), void *arg,
			struct kms_err *err)
{
	const struct kms_tracer *tracer = ctx;
	const struct kms_tracer_origin *origin = tracer->config.origin;

	return origin->ops->slabs(origin->ctx, target, cache, emit, arg, err);
}

static int origin_stop(void *ctx, const char *who, uint32_t target, struct kms_err *err)
{
	const struct kms_tracer *tracer = ctx;
	const struct kms_tracer_origin *origin = tracer->config.origin;

	return origin->ops->stop(origin->ctx, who, target, err);
}

static int origin_resume(void *ctx, const char *who, uint32_t target, struct kms_err *err)
{
	const struct kms_tracer *tracer = ctx;
	const struct kms_tracer_origin *origin = tracer->config.origin;

	return origin->ops->resume(origin->ctx, who, target, err);
}

static int origin_detach(void *ctx, const char *who, uint32_t target, struct kms_err *err)
{
	const struct kms_tracer *tracer = ctx;
	const struct kms_tracer_origin *origin = tracer->config.origin;

	return origin->ops->detach(origin->ctx, who, target, err);
}

static int origin_explain(void *ctx, uint32_t target, uint64_t address, char *text, size_t bytes,
			  struct kms_err *err)
{
	const struct kms_tracer *tracer = ctx;
	const struct kms_tracer_origin *origin = tracer->config.origin;

	return origin->ops->explain(origin->ctx, target, address, text, bytes, err);
}

static int origin_verify(void *ctx, const char *who, uint32_t target, struct kms_err *err)
{
	const struct kms_tracer *tracer = ctx;
	const struct kms_tracer_origin *origin = tracer->config.origin;

	return origin->ops->verify(origin->ctx, who, target, err);
}

static int origin_kfence(void *ctx, uint32_t target, struct kms_view_kfence *state,
			 int (*emit)(void *arg, const struct kms_view_kfence_object *object),
			 void *arg, struct kms_err *err)
{
	const struct kms_tracer *tracer = ctx;
	const struct kms_tracer_origin *origin = tracer->config.origin;

	return origin->ops->kfence(origin->ctx, target, state, emit, arg, err);
}

static int origin_symbol(void *ctx, uint32_t target, const char *name, struct kms_view_symbol *out,
			 struct kms_err *err)
{
	const struct kms_tracer *tracer = ctx;
	const struct kms_tracer_origin *origin = tracer->config.origin;

	return origin->ops->symbol(origin->ctx, target, name, out, err);
}

static int origin_symbol_at(void *ctx, uint32_t target, uint64_t address,
			    struct kms_view_symbol *out, struct kms_err *err)
{
	const struct kms_tracer *tracer = ctx;
	const struct kms_tracer_origin *origin = tracer->config.origin;

	return origin->ops->symbol_at(origin->ctx, target, address, out, err);
}

void tracer_origin_init(struct kms_tracer *tracer)
{
	const struct kms_tracer_origin *origin = tracer->config.origin;
	struct kms_view_ops *ops = &tracer->ops;

	if (!origin)
		return;
	tracer->whatis = ops->whatis;
	ops->acquire = origin_acquire;
	ops->release = origin_release;
	if (origin->ops->stack) {
		ops->stack = origin_stack;
		ops->stack_free = origin_stack_free;
	}
	ops->memory = origin->ops->memory ? origin_memory : NULL;
	ops->memory_write = origin->ops->memory_write ? origin_memory_write : NULL;
	ops->whatis = origin->ops->whatis ? origin_whatis : ops->whatis;
	ops->slabs = origin->ops->slabs ? origin_slabs : ops->slabs;
	ops->explain = origin->ops->explain ? origin_explain : NULL;
	ops->verify = origin->ops->verify ? origin_verify : NULL;
	ops->kfence = origin->ops->kfence ? origin_kfence : NULL;
	ops->symbol = origin->ops->symbol ? origin_symbol : NULL;
	ops->symbol_at = origin->ops->symbol_at ? origin_symbol_at : NULL;
	ops->variable_get = NULL;
	ops->variable_set = NULL;
	ops->stop = origin->ops->stop ? origin_stop : NULL;
	ops->resume = origin->ops->resume ? origin_resume : NULL;
	ops->detach = origin->ops->detach ? origin_detach : NULL;
}
