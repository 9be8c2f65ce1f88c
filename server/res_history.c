/* SPDX-License-Identifier: BSD-2-Clause */
/* /api/v1/history/{address}: every owner that an address had, newest first. */
#include <inttypes.h>

#include "base/fmt.h"
#include "server/exchange.h"
#include "server/owners.h"
#include "server/write.h"

static void write_owner(struct kms_exchange *x, const struct kms_moment_pair *owner)
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
static bool is_behind(const struct kms_exchange *x, const struct kms_moment_pair *owner)
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

static void write_page(struct kms_exchange *x, const struct kms_owners *h)
{
	uint64_t key[KMS_CURSOR_KEYS] = {0};
	size_t sent = 0;
	bool more = false;

	for (size_t i = 0; i < h->n_owners && !more; i++) {
		const struct kms_moment_pair *owner = &h->owner[i];

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

void kms_res_history(struct kms_exchange *x)
{
	struct kms_owners h = {0};
	struct kms_err err = KMS_ERR_INIT;
	uint64_t address, begin;

	if (!x->view->ops->events) {
		kms_problem(x, KMS_PROBLEM_NOT_OFFERED, "this source records no events");
		return;
	}
	if (kms_parse_addr(x->arg, &address) < 0) {
		kms_problem(x, KMS_PROBLEM_NO_ITEM, "%s is no address: hexadecimal digits", x->arg);
		return;
	}
	begin = kms_owners_begin(x->view, x->snapshot, x->query.target, address);
	if (kms_owners_read(x->view, x->query.target, begin, &h, &err) < 0) {
		kms_problem(x, KMS_PROBLEM_INTERNAL, "events cannot be read: %s", err.text);
	} else {
		kms_json_object_begin(&x->json, NULL);
		kms_write_snapshot(x);
		kms_json_address(&x->json, "asked", address);
		kms_json_address(&x->json, "address", begin);
		kms_json_bool(&x->json, "incomplete",
			      h.cut || x->snapshot->incomplete || x->snapshot->stats.lost);
		kms_json_array_begin(&x->json, "items");
		write_page(x, &h);
	}
	kms_owners_deinit(&h);
}
