/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What a picture does not hold: each call goes to the run that it is about, with that run's numbers,
 * and comes back with the fleet's. See fleet.h.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tracer/fleet_impl.h"
#include "tracer/options.h"

enum {
	ATTACH_LOOKS = 15, /* for the target of a process that was attached, 20 ms each */
};

int fleet_not_offered(struct kms_err *err)
{
	return kms_err_set(err, -ENOTSUP, "this is not to be had from this run: it is over");
}

/* Strings and frames of a stack in one piece of memory: it outlives its run. */
static int copy_stack(const struct kms_view_stack *from, struct kms_view_stack *to)
{
	size_t bytes = from->n_frames * sizeof(*from->frame) + 1;
	char *text;
	size_t n;

	for (size_t i = 0; i < from->n_frames; i++) {
		const struct kms_view_frame *f = &from->frame[i];

		bytes += (f->module ? strlen(f->module) + 1 : 0) +
			 (f->function ? strlen(f->function) + 1 : 0) +
			 (f->file ? strlen(f->file) + 1 : 0);
	}
	*to = *from;
	to->frame = malloc(bytes);
	if (!to->frame)
		return -ENOMEM;
	text = (char *)(to->frame + from->n_frames);
	for (size_t i = 0; i < from->n_frames; i++) {
		struct kms_view_frame *f = &to->frame[i];
		const char **name[] = {&f->module, &f->function, &f->file};

		*f = from->frame[i];
		for (size_t k = 0; k < sizeof(name) / sizeof(name[0]); k++) {
			if (!*name[k])
				continue;
			n = strlen(*name[k]) + 1;
			*name[k] = memcpy(text, *name[k], n); /* was measured */
			text += n;
		}
	}
	return 0;
}

static int op_stack(void *ctx, uint64_t stack_id, struct kms_view_stack *out, struct kms_err *err)
{
	struct kms_fleet *fleet = ctx;
	struct fleet_part *part = fleet_hold_run(fleet, fleet_run_of(stack_id), err);
	const struct kms_view *view;
	struct kms_view_stack stack;
	int result;

	if (!part)
		return -ESRCH;
	view = &part->source.view;
	result = view->ops->stack(view->ctx, fleet_stack_local(stack_id), &stack, err);
	if (!result) {
		result = copy_stack(&stack, out);
		view->ops->stack_free(view->ctx, &stack);
		if (result)
			(void)kms_err_set(err, result, "no memory for a stack");
	}
	fleet_drop(fleet, part);
	return result;
}

static void op_stack_free(void *ctx, struct kms_view_stack *stack)
{
	(void)ctx;
	free(stack->frame);
	*stack = (struct kms_view_stack){0};
}

struct kms_view_event fleet_event(const struct fleet_events *e, const struct kms_view_event *event)
{
	struct kms_view_event out = *event;
	const struct fleet_run *run;

	out.seq = (uint64_t)e->run << FLEET_RUN_SHIFT | event->seq;
	out.time_ns = fleet_time(e->offset_ns, event->time_ns);
	out.stack_id = fleet_stack(e->run, event->stack_id);
	(void)pthread_mutex_lock(&e->fleet->lock);
	run = fleet_find_run(e->fleet, e->run);
	out.target = run ? fleet_id_known(run, FLEET_TARGET, event->target) : 0;
	(void)pthread_mutex_unlock(&e->fleet->lock);
	return out;
}

static int emit_event(void *arg, const struct kms_view_event *event)
{
	struct fleet_events *e = arg;
	struct kms_view_event out = fleet_event(e, event);

	e->left--;
	e->is_over = e->emit(e->arg, &out) != 0 || !e->left;
	return e->is_over;
}

/* A seq as one of a run: before, in or behind it. */
static uint64_t local_seq(uint64_t seq, uint32_t run)
{
	if (fleet_run_of(seq) != run)
		return fleet_run_of(seq) < run ? 0 : UINT64_MAX;
	return seq & ((UINT64_C(1) << FLEET_RUN_SHIFT) - 1);
}

/* A moment as one of a run. */
static uint64_t local_time(uint64_t ns, int64_t offset_ns)
{
	if (ns > INT64_MAX)
		return ns;
	return (int64_t)ns > offset_ns ? (uint64_t)((int64_t)ns - offset_ns) : 0;
}

bool fleet_events_localise(const struct fleet_events *e, uint32_t local_target,
			   struct kms_event_query *out)
{
	const struct kms_event_query *q = e->query;

	*out = *q;
	out->from_seq = local_seq(q->from_seq, e->run);
	out->before_seq = local_seq(q->before_seq, e->run);
	out->before_ns = local_time(q->before_ns, e->offset_ns);
	out->from_ns = local_time(q->from_ns, e->offset_ns);
	out->to_ns = local_time(q->to_ns, e->offset_ns);
	out->site = fleet_stack_local(q->site);
	out->target = local_target;
	out->limit = e->left;
	return out->from_seq != UINT64_MAX && (out->before_seq || q->newest_first) &&
	       (!q->site || fleet_run_of(q->site) == e->run) &&
	       !((int64_t)q->to_ns >= 0 && (int64_t)q->to_ns < e->offset_ns);
}

static int ask_events(const struct kms_view *view, uint32_t target, void *arg, struct kms_err *err)
{
	struct fleet_events *e = arg;
	struct kms_event_query query;

	if (!view->ops->events || !fleet_events_localise(e, target, &query))
		return 0;
	return view->ops->events(view->ctx, &query, emit_event, e, err);
}

static int events_of_run(struct fleet_events *e, struct fleet_part *part, uint32_t local_target,
			 struct kms_err *err)
{
	e->run = part->run;
	if (!fleet_offset(e->fleet, e->run, &e->offset_ns))
		return 0;
	return fleet_call_part(e->fleet, part, local_target, ask_events, e, err);
}

static int events_of_all(struct fleet_events *e, struct kms_err *err)
{
	uint32_t after = fleet_run_of(e->query->from_seq);
	struct fleet_part *part;
	int result = 0;

	after -= after > 0;
	while (!result && !e->is_over && (part = fleet_hold_next(e->fleet, after)) != NULL) {
		after = part->run;
		result = events_of_run(e, part, 0, err);
		fleet_drop(e->fleet, part);
	}
	return result;
}

static int op_events(void *ctx, const struct kms_event_query *query,
		     int (*emit)(void *arg, const struct kms_view_event *event), void *arg,
		     struct kms_err *err)
{
	struct fleet_events e = {
		.fleet = ctx, .query = query, .left = query->limit, .emit = emit, .arg = arg};
	struct fleet_part *part;
	uint32_t local;
	int result;

	if (!query->limit)
		return 0;
	if (query->newest_first)
		return fleet_newest_events(&e, err);
	if (!query->target)
		return events_of_all(&e, err);
	part = fleet_hold_target(e.fleet, query->target, &local, err);
	if (!part)
		return -ESRCH;
	result = events_of_run(&e, part, local, err);
	fleet_drop(e.fleet, part);
	return result;
}

int fleet_call_part(struct kms_fleet *fleet, struct fleet_part *part, uint32_t target,
		    fleet_call_fn *call, void *job, struct kms_err *err)
{
	int result = call(&part->source.view, target, job, err);

	/* its file is being finished, and will then answer in its place */
	if (result != -EAGAIN || !fleet_wait_replaced(fleet, part))
		return result;
	part = fleet_hold_run(fleet, part->run, err);
	if (!part)
		return -ESRCH;
	if (err)
		kms_err_clear(err);
	result = call(&part->source.view, target, job, err);
	fleet_drop(fleet, part);
	return result;
}

int fleet_call_target(struct kms_fleet *fleet, uint32_t target, fleet_call_fn *call, void *job,
		      struct kms_err *err)
{
	uint32_t local;
	struct fleet_part *part = fleet_hold_target(fleet, target, &local, err);
	int result;

	if (!part)
		return -ESRCH;
	result = fleet_call_part(fleet, part, local, call, job, err);
	fleet_drop(fleet, part);
	return result;
}

/* Of all live runs. Those where nobody lives any more do not count; -ESRCH if that is so in all. */
static int call_all(struct kms_fleet *fleet, fleet_call_fn *call, void *job, struct kms_err *err)
{
	int result = kms_err_set(err, -ESRCH, "no target lives");
	struct fleet_part *part;
	bool done = false;
	int one = 0;

	for (uint32_t after = 0; (part = fleet_hold_next(fleet, after)) != NULL;
	     fleet_drop(fleet, part)) {
		struct kms_err ignored = KMS_ERR_INIT;

		after = part->run;
		if (!part->source.is_live)
			continue;
		one = call(&part->source.view, 0, job, &ignored);
		if (one == -ESRCH || one == -ENOTSUP)
			continue;
		done = true;
		if (one && (result == 0 || result == -ESRCH) && err)
			*err = ignored;
		if (one || result == -ESRCH)
			result = one;
	}
	if (done && !result)
		kms_err_clear(err);
	return result;
}

static int call(struct kms_fleet *fleet, uint32_t target, fleet_call_fn *fn, void *job,
		struct kms_err *err)
{
	return target ? fleet_call_target(fleet, target, fn, job, err)
		      : call_all(fleet, fn, job, err);
}

/* Reading and writing a variable. */
struct variable_job {
	const char *who;
	unsigned variable;
	uint64_t value;
	uint64_t requested, effective;
	bool pending;
	bool is_read; /* requested and effective are those of the first process that lives */
};

static int get_variable(const struct kms_view *view, uint32_t target, void *arg,
			struct kms_err *err)
{
	struct variable_job *job = arg;
	uint64_t requested, effective;
	bool pending;
	int result;

	if (!view->ops->variable_get)
		return fleet_not_offered(err);
	result = view->ops->variable_get(view->ctx, target, job->variable, &requested, &effective,
					 &pending, err);
	if (result)
		return result;
	if (!job->is_read) {
		job->requested = requested;
		job->effective = effective;
	}
	job->is_read = true;
	job->pending |= pending;
	return 0;
}

/* NOLINTNEXTLINE(readability-function-size): its shape is struct kms_view_ops' */
static int op_variable_get(void *ctx, uint32_t target, unsigned variable, uint64_t *requested,
			   uint64_t *effective, bool *pending, struct kms_err *err)
{
	struct variable_job job = {.variable = variable};
	int result = call(ctx, target, get_variable, &job, err);

	*requested = job.requested;
	*effective = job.effective;
	*pending = job.pending;
	return result;
}

static int set_variable(const struct kms_view *view, uint32_t target, void *arg,
			struct kms_err *err)
{
	const struct variable_job *job = arg;

	if (!view->ops->variable_set)
		return fleet_not_offered(err);
	return view->ops->variable_set(view->ctx, job->who, target, job->variable, job->value, err);
}

/* With nobody there it is not checked by anybody else. */
static int check_value(unsigned variable, uint64_t value, struct kms_err *err)
{
	const struct kms_variable_info *info = kms_variable_info(variable);

	if (!info)
		return kms_err_set(err, -EINVAL, "no variable %u", variable);
	if (value >= info->min && value <= info->max)
		return 0;
	return kms_err_set(err, -ERANGE, "%s: %llu is out of range: %llu to %llu", info->name,
			   (unsigned long long)value, (unsigned long long)info->min,
			   (unsigned long long)info->max);
}

/* Every live run, also one whose process has not come yet: it is to have the value when it comes. */
static int set_everywhere(struct kms_fleet *fleet, struct variable_job *job, struct kms_err *err)
{
	struct fleet_part *part;
	int result = 0;

	for (uint32_t after = 0; (part = fleet_hold_next(fleet, after)) != NULL;
	     fleet_drop(fleet, part)) {
		const struct kms_fleet_source *source = &part->source;
		struct kms_err of_one = KMS_ERR_INIT;
		int one;

		after = part->run;
		if (!source->is_live)
			continue;
		one = set_variable(&source->view, 0, job, &of_one);
		if (one == -ESRCH && source->want)
			source->want(source->arg, job->variable, job->value);
		if (!one || one == -ESRCH || one == -ENOTSUP || result)
			continue;
		result = one;
		if (err)
			*err = of_one;
	}
	return result;
}

/* Target 0 means those that come later, too: kept for runs to come, also where there is none yet. */
static int op_variable_set(void *ctx, const char *who, uint32_t target, unsigned variable,
			   uint64_t value, struct kms_err *err)
{
	struct kms_fleet *fleet = ctx;
	struct variable_job job = {.who = who, .variable = variable, .value = value};
	int result = check_value(variable, value, err);

	if (result)
		return result;
	/* commands are to those that live */
	if (target || variable >= KMS_VAR_COMMANDS)
		return call(fleet, target, set_variable, &job, err);
	/* first: a run that begins meanwhile has it from here, or is among those that are told */
	(void)pthread_mutex_lock(&fleet->lock);
	fleet->later[variable] = (struct fleet_later){.is_set = true, .value = value};
	(void)pthread_mutex_unlock(&fleet->lock);
	return set_everywhere(fleet, &job, err);
}

/* A call that has no more to it than who asks. */
struct plain_job {
	const char *who;
};

#define PLAIN(name)                                                                                \
	static int name##_one(const struct kms_view *view, uint32_t target, void *arg,             \
			      struct kms_err *err)                                                 \
	{                                                                                          \
		const struct plain_job *job = arg;                                                 \
                                                                                                   \
		if (!view->ops->name)                                                              \
			return fleet_not_offered(err);                                             \
		return view->ops->name(view->ctx, job->who, target, err);                          \
	}                                                                                          \
	static int op_##name(void *ctx, const char *who, uint32_t target, struct kms_err *err)     \
	{                                                                                          \
		struct plain_job job = {.who = who};                                               \
                                                                                                   \
		return call(ctx, target, name##_one, &job, err);                                   \
	}

PLAIN(stop)
PLAIN(resume)
PLAIN(detach)

static int op_attach(void *ctx, const char *who, const char *what, bool stopped, uint32_t *target,
		     struct kms_err *err)
{
	const struct timespec step = {.tv_nsec = 20000000};
	struct kms_fleet *fleet = ctx;
	struct kms_err own = KMS_ERR_INIT;
	uint32_t run = 0;
	int result;

	*target = 0;
	if (!fleet->attach)
		return kms_err_set(err, -ENOTSUP, "processes cannot be attached here");
	result = fleet->attach(fleet->attach_arg, who, what, stopped, &run, &own);
	if (result)
		fleet_note_refused(fleet, who, what, own.text);
	if (result && err)
		*err = own;
	/* its number comes with the first picture of it; without a call of the process there is none */
	for (int i = 0; !result && !*target && i < ATTACH_LOOKS; i++) {
		if (i)
			nanosleep(&step, NULL);
		fleet->ops.release(fleet, fleet->ops.acquire(fleet));
		*target = kms_fleet_target(fleet, run, 1);
	}
	return result;
}

void fleet_ops_init(struct kms_fleet *fleet)
{
	fleet->ops = (struct kms_view_ops){
		.stack = op_stack,
		.stack_free = op_stack_free,
		.events = op_events,
		.variable_get = op_variable_get,
		.variable_set = op_variable_set,
		.stop = op_stop,
		.resume = op_resume,
		.detach = op_detach,
		.attach = op_attach,
	};
	fleet_query_init(fleet);
	fleet_history_init(fleet);
	fleet_marks_init(fleet);
}
