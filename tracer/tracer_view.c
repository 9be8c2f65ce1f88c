/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The live view: the model's picture, stacks from memory, events from our own file. See tracer.h.
 */
#include <errno.h>
#include <stdatomic.h>

#include "tracer/process.h"
#include "tracer/tracer_impl.h"

enum {
	SYNC_MS = 500,               /* a query of events waits so long for those not yet written */
	FRESH_NS = 50 * 1000 * 1000, /* a picture asked for within this shows all written before */
};

/* Who asks after his program said that it is done means what it did until then. Of many who ask at once
 * one waits for the reader, the others get the picture of a moment ago. */
uint64_t kms_tracer_refresh_begin(struct kms_tracer *tracer)
{
	uint64_t now_ns = kms_mono_ns(), last_ns = atomic_load(&tracer->synced_ns);

	if (now_ns - last_ns > FRESH_NS &&
	    atomic_compare_exchange_strong(&tracer->synced_ns, &last_ns, now_ns))
		return kms_tracer_sync_begin(tracer);
	return 0;
}

void kms_tracer_refresh_end(struct kms_tracer *tracer, uint64_t number)
{
	if (number)
		(void)kms_tracer_sync_end(tracer, number, SYNC_MS); /* late: the picture before */
}

static const struct kms_snapshot *view_acquire(void *ctx)
{
	struct kms_tracer *tracer = ctx;

	kms_tracer_refresh_end(tracer, kms_tracer_refresh_begin(tracer));
	return kms_model_acquire(tracer->model);
}

static void view_release(void *ctx, const struct kms_snapshot *snapshot)
{
	struct kms_tracer *tracer = ctx;

	kms_model_release(tracer->model, snapshot);
}

struct kms_symbols *tracer_symbols(struct kms_tracer *tracer)
{
	struct kms_err err = KMS_ERR_INIT;

	(void)pthread_mutex_lock(&tracer->symbols_lock); /* plain mutexes, never locked twice */
	if (!tracer->symbols && !tracer->symbols_failed) {
		tracer->symbols = kms_symbols_create(NULL, &err);
		tracer->symbols_failed = !tracer->symbols;
		if (tracer->symbols_failed)
			tracer_say(tracer, "no names of functions: %s", err.text);
	}
	(void)pthread_mutex_unlock(&tracer->symbols_lock);
	return tracer->symbols;
}

static int view_stack(void *ctx, uint64_t stack_id, struct kms_view_stack *out, struct kms_err *err)
{
	struct kms_tracer *tracer = ctx;

	return kms_stack_book_frames(tracer->stacks, tracer_symbols(tracer), stack_id, out, err);
}

static void view_stack_free(void *ctx, struct kms_view_stack *stack)
{
	(void)ctx;
	kms_stack_book_free(stack);
}

int tracer_own_file(struct kms_tracer *tracer, struct kms_view *view, struct kms_err *err)
{
	int result = 0;

	(void)pthread_rwlock_rdlock(&tracer->file_use);
	if (tracer->file_is_closed)
		result = kms_err_set(err, -EAGAIN, "the trace is being finished; ask again");
	(void)pthread_mutex_lock(&tracer->file_lock);
	if (!result && !tracer->file)
		result = kms_file_open(tracer->output, &tracer->file, err);
	(void)pthread_mutex_unlock(&tracer->file_lock);
	if (!result)
		*view = kms_file_view(tracer->file);
	else
		tracer_own_file_end(tracer);
	return result;
}

void tracer_own_file_end(struct kms_tracer *tracer)
{
	(void)pthread_rwlock_unlock(&tracer->file_use);
}

static int view_events(void *ctx, const struct kms_event_query *query,
		       int (*emit)(void *arg, const struct kms_view_event *event), void *arg,
		       struct kms_err *err)
{
	struct kms_tracer *tracer = ctx;
	struct kms_view view;
	int result;

	(void)kms_tracer_sync(tracer, SYNC_MS); /* late: the answer ends at the last commit */
	result = tracer_own_file(tracer, &view, err);
	if (result)
		return result;
	result = view.ops->events(view.ctx, query, emit, arg, err);
	tracer_own_file_end(tracer);
	return result;
}

/* NOLINTNEXTLINE(readability-function-size): its shape is struct kms_view_ops' */
static int view_variable_get(void *ctx, uint32_t target, unsigned variable, uint64_t *requested,
			     uint64_t *effective, bool *pending, struct kms_err *err)
{
	struct kms_tracer *tracer = ctx;
	struct kms_images_variable v;
	int result = kms_images_variable(tracer->images, target, variable, &v, err);

	if (result)
		return result;
	*requested = v.is_requested ? v.requested : v.effective;
	*effective = v.effective;
	*pending = v.is_pending;
	return 0;
}

static int view_variable_set(void *ctx, const char *who, uint32_t target, unsigned variable,
			     uint64_t value, struct kms_err *err)
{
	const struct kms_variable_info *info = kms_variable_info(variable);
	struct kms_tracer *tracer = ctx;

	(void)who; /* is for the audit */
	if (!info)
		return kms_err_set(err, -EINVAL, "no variable %u", variable);
	if (value < info->min || value > info->max)
		return kms_err_set(err, -ERANGE, "%s: %llu is out of range: %llu to %llu",
				   info->name, (unsigned long long)value,
				   (unsigned long long)info->min, (unsigned long long)info->max);
	return kms_images_request(tracer->images, target, variable, value, err);
}

static int view_stop(void *ctx, const char *who, uint32_t target, struct kms_err *err)
{
	struct kms_tracer *tracer = ctx;

	(void)who;
	return kms_images_stop(tracer->images, target, err);
}

static int view_resume(void *ctx, const char *who, uint32_t target, struct kms_err *err)
{
	struct kms_tracer *tracer = ctx;

	(void)who;
	return kms_images_resume(tracer->images, target, err);
}

/* One that stands still would not come to leave. */
static int view_detach(void *ctx, const char *who, uint32_t target, struct kms_err *err)
{
	struct kms_tracer *tracer = ctx;

	(void)who;
	(void)kms_images_resume(tracer->images, target, NULL); /* most do not stand */
	return kms_images_leave(tracer->images, target, err);
}

/* NOLINTNEXTLINE(readability-function-size): its shape is struct kms_view_ops' */
static int view_memory(void *ctx, uint32_t target, uint64_t address, void *to, size_t n,
		       size_t *n_read, struct kms_err *err)
{
	const struct kms_tracer *tracer = ctx;

	return kms_images_memory(tracer->images, target, &(struct kms_images_piece){address, to, n},
				 n_read, err);
}

static int view_memory_write(void *ctx, const char *who, const struct kms_memory_write *write,
			     struct kms_err *err)
{
	const struct kms_tracer *tracer = ctx;

	(void)who;
	return kms_images_memory_write(tracer->images, write, err);
}

static int view_symbol(void *ctx, uint32_t target, const char *name, struct kms_view_symbol *out,
		       struct kms_err *err)
{
	const struct kms_tracer *tracer = ctx;

	return kms_images_symbol(tracer->images, target, name, out, err);
}

static int view_symbol_at(void *ctx, uint32_t target, uint64_t address, struct kms_view_symbol *out,
			  struct kms_err *err)
{
	const struct kms_tracer *tracer = ctx;

	return kms_images_symbol_at(tracer->images, target, address, out, err);
}

void tracer_view_init(struct kms_tracer *tracer)
{
	tracer->ops = (struct kms_view_ops){
		.acquire = view_acquire,
		.release = view_release,
		.stack = view_stack,
		.stack_free = view_stack_free,
		.events = view_events,
		.variable_get = view_variable_get,
		.variable_set = view_variable_set,
		.stop = view_stop,
		.resume = view_resume,
		.detach = view_detach,
		.memory = view_memory,
		.memory_write = view_memory_write,
		.symbol = view_symbol,
		.symbol_at = view_symbol_at,
	};
	tracer_query_init(tracer);
}

struct kms_view kms_tracer_view(struct kms_tracer *tracer)
{
	return (struct kms_view){.ops = &tracer->ops, .ctx = tracer};
}
