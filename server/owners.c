/* SPDX-License-Identifier: BSD-2-Clause */
/* The owners that an address had: see owners.h. */
#include "server/owners.h"

#include <errno.h>
#include <stdlib.h>

#include "schema/record.h"

enum {
	EVENTS_MAX = 1 << 20, /* of one address: 48 MiB while they are sorted */
	TICK_NS = 5000000,    /* times of events of different rings are good to a tick */
};

static int take_event(void *arg, const struct kms_view_event *event)
{
	struct kms_owners *h = arg;

	if (h->n == EVENTS_MAX) {
		h->cut = true;
		return 1;
	}
	if (h->n == h->room) {
		size_t room = h->room ? h->room * 2 : 64;
		struct kms_moment *more = reallocarray(h->moment, room, sizeof(*more));

		if (!more) {
			h->no_memory = true;
			return 1;
		}
		h->moment = more;
		h->room = room;
	}
	h->moment[h->n] = (struct kms_moment){.time_ns = event->time_ns,
					      .size = event->size,
					      .stack_id = event->stack_id,
					      .target = event->target,
					      .tid = event->tid,
					      .place = (uint32_t)h->n,
					      .is_free = event->kind == KMS_EVENT_FREE};
	h->n++;
	return 0;
}

static int by_target_and_time(const void *a, const void *b)
{
	const struct kms_moment *x = a, *y = b;

	if (x->target != y->target)
		return x->target < y->target ? -1 : 1;
	if (x->time_ns != y->time_ns)
		return x->time_ns < y->time_ns ? -1 : 1;
	return (x->place > y->place) - (x->place < y->place);
}

static int newest_first(const void *a, const void *b)
{
	const struct kms_moment_pair *x = a, *y = b;

	if (x->alloc->time_ns != y->alloc->time_ns)
		return x->alloc->time_ns > y->alloc->time_ns ? -1 : 1;
	if (x->alloc->target != y->alloc->target)
		return x->alloc->target < y->alloc->target ? -1 : 1;
	return (x->alloc->place < y->alloc->place) - (x->alloc->place > y->alloc->place);
}

/*
 * Each allocation is an owner and the free that follows its end. The free may seem to come a moment
 * before, from another ring: then nobody was there whom it could have ended.
 */
static void find_owners(struct kms_owners *h)
{
	const struct kms_moment *early = NULL;
	struct kms_moment_pair *open = NULL;

	for (size_t i = 0; i < h->n; i++) {
		const struct kms_moment *m = &h->moment[i];

		if (i && m->target != h->moment[i - 1].target) {
			open = NULL;
			early = NULL;
		}
		if (m->is_free) {
			if (open)
				open->free = m;
			early = open ? NULL : m;
			open = NULL;
			continue;
		}
		open = &h->owner[h->n_owners++];
		*open = (struct kms_moment_pair){.alloc = m};
		if (early && m->time_ns - early->time_ns <= TICK_NS) {
			open->free = early;
			open = NULL;
		}
		early = NULL;
	}
	if (h->n_owners)
		qsort(h->owner, h->n_owners, sizeof(*h->owner), newest_first);
}

int kms_owners_read(const struct kms_view *view, uint32_t target, uint64_t address,
		    struct kms_owners *h, struct kms_err *err)
{
	const struct kms_event_query wanted = {
		.before_seq = UINT64_MAX,
		.address = address,
		.to_ns = UINT64_MAX,
		.kinds = 1u << KMS_EVENT_ALLOC | 1u << KMS_EVENT_FREE,
		.target = target,
		.limit = SIZE_MAX,
	};
	int ret;

	if (!view->ops->events)
		return kms_err_set(err, -ENOTSUP, "this source records no events");
	ret = view->ops->events(view->ctx, &wanted, take_event, h, err);
	if (ret < 0)
		return ret;
	h->owner = calloc(h->n + 1, sizeof(*h->owner));
	if (h->no_memory || !h->owner)
		return kms_err_set(err, -ENOMEM, "out of memory");
	if (h->n)
		qsort(h->moment, h->n, sizeof(*h->moment), by_target_and_time);
	find_owners(h);
	return 0;
}

void kms_owners_deinit(struct kms_owners *history)
{
	free(history->moment);
	free(history->owner);
	*history = (struct kms_owners){0};
}

uint64_t kms_owners_begin(const struct kms_view *view, const struct kms_snapshot *s,
			  uint32_t target, uint64_t address)
{
	struct kms_view_block block = {0};

	for (size_t i = 0; view->ops->whatis && i < s->n_targets; i++)
		if ((!target || target == s->target[i].id) &&
		    view->ops->whatis(view->ctx, s->target[i].id, address, &block, NULL) == 0 &&
		    block.address)
			return block.address;
	return address;
}
