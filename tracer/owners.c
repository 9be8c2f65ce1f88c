/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/owners.h"

#include <errno.h>
#include <stdlib.h>

#include "tracer/process.h"

enum {
	EVENTS_MAX = 1 << 20, /* of one address */
	TICK_NS = 5000000,    /* times of events are not exact, but within a tick */
};

struct owner_event {
	struct kms_view_event event;
	size_t place; /* of two at one time the first stored was first */
};

/* The events of one address, until they are owners. */
struct search {
	const struct kms_model *model;
	const struct kms_model_owners_gap *gap;
	struct owner_event *event;
	size_t n, room;
	bool no_memory;
};

static int take_event(void *arg, const struct kms_view_event *event)
{
	struct search *s = arg;

	if (!kms_model_is_past_of(s->model, event->target, s->gap->target))
		return 0;
	if (s->n == s->room) {
		size_t room = s->room ? s->room * 2 : 256;
		struct owner_event *more = reallocarray(s->event, room, sizeof(*more));

		if (!more) {
			s->no_memory = true;
			return 1;
		}
		s->event = more;
		s->room = room;
	}
	s->event[s->n] = (struct owner_event){.event = *event, .place = s->n};
	return ++s->n == EVENTS_MAX;
}

static int by_time(const void *a, const void *b)
{
	const struct owner_event *x = a, *y = b;

	if (x->event.time_ns != y->event.time_ns)
		return x->event.time_ns < y->event.time_ns ? -1 : 1;
	return (x->place > y->place) - (x->place < y->place);
}

static void end_owner(struct kms_view_owner *owner, const struct kms_view_event *event)
{
	owner->free_ns = event->time_ns;
	owner->free_stack_id = event->stack_id;
}

/*
 * Each allocation is an owner, the free that follows its end. Of another ring it may seem to come a
 * moment before: then nobody was there whom it could have ended.
 */
static size_t make_owners(const struct search *s, struct kms_view_owner *out)
{
	const struct kms_view_event *early = NULL;
	size_t n = 0;

	for (size_t i = 0; i < s->n; i++) {
		const struct kms_view_event *event = &s->event[i].event;
		bool is_open = n && !out[n - 1].free_ns;

		if (event->kind == KMS_EVENT_FREE) {
			if (is_open)
				end_owner(&out[n - 1], event);
			early = is_open ? NULL : event;
			continue;
		}
		if (event->time_ns >= s->gap->until_ns)
			break;
		out[n++] = (struct kms_view_owner){.alloc_ns = event->time_ns,
						   .bytes = event->size,
						   .alloc_stack_id = event->stack_id,
						   .thread = event->tid};
		if (early && event->time_ns - early->time_ns <= TICK_NS)
			end_owner(&out[n - 1], early);
		early = NULL;
	}
	return n;
}

/* What the model remembers goes by more than the exact address: the longer list has it all. */
static int set_owners(struct kms_model *model, struct search *s)
{
	struct kms_view_owner *owner = calloc(s->n + 1, sizeof(*owner));
	int result = 0;
	size_t n;

	if (!owner)
		return -ENOMEM;
	if (s->n)
		qsort(s->event, s->n, sizeof(*s->event), by_time);
	n = make_owners(s, owner);
	if (n > s->gap->known)
		result = kms_model_owners_set(model, s->gap->fault, owner, n);
	free(owner);
	return result;
}

static int complete_one(struct kms_model *model, const struct kms_view *events,
			const struct kms_model_owners_gap *gap, struct kms_err *err)
{
	const struct kms_event_query query = {
		.before_seq = UINT64_MAX,
		.address = gap->address,
		.kinds = 1u << KMS_EVENT_ALLOC | 1u << KMS_EVENT_FREE,
		.limit = SIZE_MAX,
	};
	struct search s = {.model = model, .gap = gap};
	int result = events->ops->events(events->ctx, &query, take_event, &s, err);

	if (!result && s.no_memory)
		result = kms_err_set(err, -ENOMEM, "out of memory");
	if (!result && set_owners(model, &s))
		result = kms_err_set(err, -ENOMEM, "out of memory");
	free(s.event);
	return result;
}

int kms_owners_complete(struct kms_model *model, const struct kms_view *events, uint64_t until_ns,
			struct kms_err *err)
{
	struct kms_model_owners_gap gap;
	size_t at = 0;
	int result = 0;

	while (!result && kms_mono_ns() < until_ns && kms_model_owners_gap(model, &at, &gap))
		result = complete_one(model, events, &gap, err);
	return result;
}
