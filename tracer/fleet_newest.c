/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The newest events of all runs. Each run is asked for as many as are wanted, since all of them may be
 * its; the newest of those are given on. See fleet.h.
 */
#include <errno.h>
#include <stdlib.h>

#include "tracer/fleet_impl.h"

struct newest {
	struct fleet_events *e;
	struct kms_view_event *event;
	size_t n, room;
	bool no_memory;
};

static int take(void *arg, const struct kms_view_event *event)
{
	struct newest *newest = arg;
	size_t room = newest->room ? newest->room * 2 : 128;
	struct kms_view_event *grown;

	if (newest->n == newest->room) {
		grown = reallocarray(newest->event, room, sizeof(*grown));
		newest->no_memory = !grown;
		if (!grown)
			return 1;
		newest->event = grown;
		newest->room = room;
	}
	newest->event[newest->n] = fleet_event(newest->e, event);
	/* it is the source's until the call returns */
	newest->event[newest->n++].cache =
		kms_name_pool_keep(&newest->e->fleet->names, event->cache);
	return 0;
}

static int newest_first(const void *a, const void *b)
{
	const struct kms_view_event *x = a, *y = b;

	if (x->time_ns != y->time_ns)
		return x->time_ns > y->time_ns ? -1 : 1;
	return x->seq > y->seq ? -1 : x->seq < y->seq;
}

static int ask(const struct kms_view *view, uint32_t target, void *arg, struct kms_err *err)
{
	struct newest *newest = arg;
	struct kms_event_query query;
	size_t n = newest->n;
	int result;

	if (!view->ops->events || !fleet_events_localise(newest->e, target, &query))
		return 0;
	result = view->ops->events(view->ctx, &query, take, newest, err);
	if (result < 0)
		newest->n = n; /* its file may be asked in its place */
	return result;
}

static int ask_part(struct newest *newest, struct fleet_part *part, uint32_t target,
		    struct kms_err *err)
{
	newest->e->run = part->run;
	if (!fleet_offset(newest->e->fleet, part->run, &newest->e->offset_ns))
		return 0;
	return fleet_call_part(newest->e->fleet, part, target, ask, newest, err);
}

int fleet_newest_events(struct fleet_events *e, struct kms_err *err)
{
	struct newest newest = {.e = e};
	struct fleet_part *part;
	uint32_t target = 0;
	int result = 0;

	if (e->query->target) {
		part = fleet_hold_target(e->fleet, e->query->target, &target, err);
		if (!part)
			return -ESRCH;
		result = ask_part(&newest, part, target, err);
		fleet_drop(e->fleet, part);
	}
	for (uint32_t after = 0;
	     !e->query->target && !result && (part = fleet_hold_next(e->fleet, after)) != NULL;
	     fleet_drop(e->fleet, part)) {
		after = part->run;
		result = ask_part(&newest, part, 0, err);
	}
	if (!result && newest.no_memory)
		result = kms_err_set(err, -ENOMEM, "no memory for events");
	if (newest.n > 1)
		qsort(newest.event, newest.n, sizeof(*newest.event), newest_first);
	for (size_t i = 0; !result && i < newest.n && i < e->query->limit; i++)
		if (e->emit(e->arg, &newest.event[i]))
			break;
	free(newest.event);
	return result;
}
