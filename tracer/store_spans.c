/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Events that become rows besides: slabs (which cache an address belongs to) and marks.
 */
#include <errno.h>

#include "base/hash.h"
#include "tracer/store_impl.h"

static uint64_t span_key(uint32_t target, uint64_t base)
{
	return kms_hash_join(target, base);
}

static int add_span(struct kms_store *store, const struct store_block *block,
		    const struct kms_event *event)
{
	int64_t id = store->next_span++;

	/* If this fails the row still stands, without an end. */
	(void)kms_u64map_set(&store->spans, span_key(block->entry.target, event->address),
			     (uint64_t)id);
	return STORE_ROW(&store->rows, STORE_SPAN, KMS_INT(id), KMS_INT(block->entry.target),
			 KMS_INT(block->entry.image), KMS_INT(event->address),
			 KMS_INT(event->value), KMS_INT(event->cache),
			 KMS_INT(store_run_time(store, block->entry.target, event->time_ns)));
}

static int end_span(struct kms_store *store, const struct store_block *block,
		    const struct kms_event *event)
{
	uint64_t key = span_key(block->entry.target, event->address);
	const uint64_t *id = kms_u64map_find(&store->spans, key);
	int result;

	if (!id)
		return 0; /* its parent's, from before the fork */
	result = STORE_ROW(&store->rows, STORE_SPAN_END, KMS_INT(*id),
			   KMS_INT(store_run_time(store, block->entry.target, event->time_ns)));
	(void)kms_u64map_remove(&store->spans, key);
	return result;
}

static int add_mark(struct kms_store *store, const struct store_block *block,
		    const struct kms_event *event)
{
	char name[256];
	bool has_name = store_string(store, block->entry.image, (uint32_t)event->value, name,
				     sizeof(name)) == 0;

	return STORE_ROW(&store->rows, STORE_MARK,
			 KMS_INT(block->entry.ordinal * KMS_SEQ_PER_BLOCK + event->index),
			 KMS_INT(store_run_time(store, block->entry.target, event->time_ns)),
			 KMS_INT(block->entry.target), KMS_TEXT(has_name ? name : NULL));
}

static bool has_marked(const uint32_t by_kind[KMS_EVENT_KINDS])
{
	return by_kind[KMS_EVENT_SLAB_GROW] || by_kind[KMS_EVENT_SLAB_RELEASE] ||
	       by_kind[KMS_EVENT_MARK];
}

int store_add_marked_events(struct kms_store *store, const struct store_block *block,
			    const struct kms_block_summary *added, uint32_t from_bytes)
{
	size_t n;
	int result = 0;

	if (!has_marked(added->by_kind))
		return 0;
	(void)kms_block_decode(&block->block, store->events, KMS_SEQ_PER_BLOCK,
			       &n); /* the good ones */
	for (size_t i = 0; i < n && result != -ENOMEM; i++) {
		const struct kms_event *event = &store->events[i];

		if (event->offset < from_bytes)
			continue;
		if (event->kind == KMS_EVENT_SLAB_GROW)
			result = add_span(store, block, event);
		else if (event->kind == KMS_EVENT_SLAB_RELEASE)
			result = end_span(store, block, event);
		else if (event->kind == KMS_EVENT_MARK)
			result = add_mark(store, block, event);
	}
	return result == -ENOSPC ? 0 : result; /* dropped and counted */
}
