/* SPDX-License-Identifier: BSD-2-Clause */
/* See whatis_past.h. */
#include "tracer/whatis_past.h"

#include <stdbool.h>
#include <string.h>

#include "schema/record.h"
#include "schema/spans.h"

enum {
	ANCESTORS_MAX = 64,
};

/* The last events of an address in one target. */
struct past {
	uint64_t alloc_ns, free_ns, evict_ns;
	struct kms_view_event alloc, free; /* their cache is not kept */
	char cache[sizeof(((struct kms_model_row *)0)->cache)];
};

static int take_event(void *arg, const struct kms_view_event *event)
{
	struct past *past = arg;

	if (event->kind == KMS_EVENT_ALLOC && event->time_ns >= past->alloc_ns) {
		past->alloc_ns = event->time_ns;
		past->alloc = *event;
		past->cache[0] = '\0';
		if (event->cache)
			(void)strncat(past->cache, event->cache, sizeof(past->cache) - 1);
	} else if (event->kind == KMS_EVENT_FREE && event->time_ns >= past->free_ns) {
		past->free_ns = event->time_ns;
		past->free = *event;
	} else if (event->kind == KMS_EVENT_EVICT && event->time_ns >= past->evict_ns) {
		past->evict_ns = event->time_ns;
	}
	return 0;
}

static uint32_t parent_of(const struct kms_snapshot *s, uint32_t target)
{
	for (size_t i = 0; i < s->n_targets; i++)
		if (s->target[i].id == target && s->target[i].parent != target)
			return s->target[i].parent;
	return 0;
}

/* The events of the address in a target, else in the nearest ancestor that has some. */
static int read_past(const struct kms_whatis_ask *ask, uint64_t address, struct past *past,
		     struct kms_err *err)
{
	struct kms_event_query query = {
		.before_seq = UINT64_MAX,
		.to_ns = UINT64_MAX,
		.address = address,
		.kinds = 1u << KMS_EVENT_ALLOC | 1u << KMS_EVENT_FREE | 1u << KMS_EVENT_EVICT,
		.target = ask->target,
		.limit = SIZE_MAX,
	};
	int result = 0;

	for (unsigned i = 0; query.target && i < ANCESTORS_MAX; i++) {
		result = ask->events->ops->events(ask->events->ctx, &query, take_event, past, err);
		if (result < 0 || past->alloc.kind || past->free.kind)
			break;
		query.target = parent_of(ask->snapshot, query.target);
	}
	return result;
}

/* The last owner, as a block that is free: the model knows that it is. */
static void complete(struct kms_model_row *row, uint32_t target, const struct past *past)
{
	struct kms_view_block *block = &row->block;
	bool is_freed = past->free.kind && past->free_ns >= past->alloc_ns;
	bool is_guarded =
		(past->alloc.flags | past->free.flags) & (KMS_ATTR_GUARDED | KMS_CHECK_GUARD);

	block->target = target;
	block->state = is_guarded && is_freed && past->evict_ns < past->free_ns
			       ? KMS_BLOCK_QUARANTINE
			       : KMS_BLOCK_FREE;
	block->bytes = past->alloc.kind ? past->alloc.size : past->free.size;
	block->alloc_ns = past->alloc_ns;
	block->alloc_stack_id = past->alloc.stack_id;
	block->alloc_tid = past->alloc.tid;
	if (is_freed) {
		block->free_ns = past->free_ns;
		block->free_stack_id = past->free.stack_id;
	}
	if (past->cache[0]) {
		memcpy(row->cache, past->cache, sizeof(row->cache));
		block->cache = row->cache;
	}
}

int kms_whatis_past(const struct kms_whatis_ask *ask, struct kms_model_row *row,
		    struct kms_err *err)
{
	uint64_t address = row->block.address ? row->block.address : ask->address;
	struct past past = {0};
	int result;

	if (row->block.address && row->block.state == KMS_BLOCK_LIVE)
		return 0;
	result = read_past(ask, address, &past, err);
	if (result < 0 || (!past.alloc.kind && !past.free.kind))
		return result;
	row->block.address = address;
	complete(row, ask->target, &past);
	return 0;
}
