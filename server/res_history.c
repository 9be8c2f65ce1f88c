/* SPDX-License-Identifier: BSD-2-Clause */
/* /api/v1/history/{address}: every owner that an address had, newest first. */
#include <inttypes.h>
#include <stdlib.h>

#include "base/fmt.h"
#include "schema/record.h"
#include "server/exchange.h"
#include "server/write.h"

enum {
	EVENTS_MAX = 1 << 20, /* of one address: 48 MiB while they are sorted */
	TICK_NS = 5000000,    /* times of events of different rings are good to a tick */
};

/* An event of the address; rings interleave, so order has to be made. */
struct moment {
	uint64_t time_ns, size, stack_id;
	uint32_t target, tid, place;
	bool is_free;
};

/* An owner: its allocation, and its free if that came. */
struct owner {
	const struct moment *alloc, *free;
};

struct history {
	struct moment *moment;
	size_t n, room;
	struct owner *owner; /* newest first */
	size_t n_owners;
	bool no_memory, cut;
};

static int take_event(void *arg, const struct kms_view_event *event)
{
	struct history *h = arg;

	if (h->n == EVENTS_MAX) {
		h->cut = true;
		return 1;
	}
	if (h->n == h->room) {
		size_t room = h->room ? h->room * 2 : 64;
		struct moment *more = reallocarray(h->moment, room, sizeof(*more));

		if (!more) {
			h->no_memory = true;
			return 1;
		}
		h->moment = more;
		h->room = room;
	}
	h->moment[h->n] = (struct moment){.time_ns = event->time_ns,
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
	const struct moment *x = a, *y = b;

	if (x->target != y->target)
		return x->target < y->target ? -1 : 1;
	if (x->time_ns != y->time_ns)
		return x->time_ns < y->time_ns ? -1 : 1;
	return (x->place > y->place) - (x->place < y->place);
}

static int newest_first(const void *a, const void *b)
{
	const struct owner *x = a, *y = b;

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
static void find_owners(struct history *h)
{
	const struct moment *early = NULL;
	struct owner *open = NULL;

	for (size_t i = 0; i < h->n; i++) {
		const struct moment *m = &h->moment[i];

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
		*open = (struct owner){.alloc = m};
		if (early && m->time_ns - early->time_ns <= TICK_NS) {
			open->free = early;
			open = NULL;
		}
		early = NULL;
	}
	if (h->n_owners)
		qsort(h->owner, h->n_owners, sizeof(*h->owner), newest_first);
}

static bool read_history(struct kms_exchange *x, uint64_t address, struct history *h)
{
	const struct kms_event_query wanted = {
		.before_seq = UINT64_MAX,
		.address = address,
		.to_ns = UINT64_MAX,
		.kinds = 1u << KMS_EVENT_ALLOC | 1u << KMS_EVENT_FREE,
		.target = x->query.target,
		.limit = SIZE_MAX,
	};
	struct kms_err err = KMS_ERR_INIT;

	if (x->view->ops->events(x->view->ctx, &wanted, take_event, h, &err) < 0) {
		kms_problem(x, KMS_PROBLEM_INTERNAL, "events cannot be read: %s", err.text);
		return false;
	}
	h->owner = calloc(h->n + 1, sizeof(*h->owner));
	if (h->no_memory || !h->owner) {
		kms_problem(x, KMS_PROBLEM_INTERNAL, "out of memory");
		return false;
	}
	if (h->n)
		qsort(h->moment, h->n, sizeof(*h->moment), by_target_and_time);
	find_owners(h);
	return true;
}

static void write_owner(struct kms_exchange *x, const struct owner *owner)
{
	struct kms_json *json = &x->json;

	kms_json_object_begin(json, NULL);
	kms_json_u64(json, "target", owner->alloc->target);
	kms_json_u64(json, "alloc_time_ns", owner->alloc->time_ns);
	if (owner->free)
		kms_json_u64(json, "free_time_ns", owner->free->time_ns);
	else
		kms_json_null(json, "free_time_ns");
	kms_json_u64(json, "size", owner->alloc->size);
	kms_json_u64(json, "thread", owner->alloc->tid);
	kms_write_stack(x, "alloc_stack", owner->alloc->stack_id);
	kms_write_stack(x, "free_stack", owner->free ? owner->free->stack_id : 0);
	kms_json_object_end(json);
}

/* Is the row behind the one that the last page ended with? */
static bool is_behind(const struct kms_exchange *x, const struct owner *owner)
{
	const uint64_t *key = x->query.cursor.key;

	if (!(x->query.given & KMS_PARAM_BIT(KMS_PARAM_CURSOR)))
		return true;
	if (owner->alloc->time_ns != key[0])
		return owner->alloc->time_ns < key[0];
	if (owner->alloc->target != key[1])
		return owner->alloc->target > key[1];
	return owner->alloc->place < key[2];
}

static void write_page(struct kms_exchange *x, const struct history *h)
{
	uint64_t key[KMS_CURSOR_KEYS] = {0};
	size_t sent = 0;
	bool more = false;

	for (size_t i = 0; i < h->n_owners && !more; i++) {
		const struct owner *owner = &h->owner[i];

		if (!is_behind(x, owner))
			continue;
		more = sent == x->query.limit;
		if (more)
			break;
		write_owner(x, owner);
		key[0] = owner->alloc->time_ns;
		key[1] = owner->alloc->target;
		key[2] = owner->alloc->place;
		sent++;
	}
	kms_write_list_end(x, h->n_owners, more, key);
}

/* Where the block begins that holds the address; events name that. */
static uint64_t begin_of_block(struct kms_exchange *x, uint64_t address)
{
	const struct kms_snapshot *s = x->snapshot;
	const struct kms_view *view = x->view;
	struct kms_view_block block = {0};

	for (size_t i = 0; view->ops->whatis && i < s->n_targets; i++)
		if ((!x->query.target || x->query.target == s->target[i].id) &&
		    view->ops->whatis(view->ctx, s->target[i].id, address, &block, NULL) == 0 &&
		    block.address)
			return block.address;
	return address;
}

void kms_res_history(struct kms_exchange *x)
{
	struct history h = {0};
	uint64_t address, begin;

	if (kms_parse_addr(x->arg, &address) < 0) {
		kms_problem(x, KMS_PROBLEM_NO_ITEM, "%s is no address: hexadecimal digits", x->arg);
		return;
	}
	begin = begin_of_block(x, address);
	if (read_history(x, begin, &h)) {
		kms_json_object_begin(&x->json, NULL);
		kms_write_snapshot(x);
		kms_json_address(&x->json, "asked", address);
		kms_json_address(&x->json, "address", begin);
		kms_json_bool(&x->json, "incomplete",
			      h.cut || x->snapshot->incomplete || x->snapshot->stats.lost);
		kms_json_array_begin(&x->json, "items");
		write_page(x, &h);
	}
	free(h.moment);
	free(h.owner);
}
