/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See collect.h.
 */
#include "tracer/test/collect.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/block.h"

#define MUST(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

void collect_init(struct collect *c)
{
	memset(c, 0, sizeof(*c));
}

void collect_deinit(struct collect *c)
{
	for (size_t i = 0; i < COLLECT_IMAGES; i++)
		free(c->image[i]);
}

static struct collect_image *image_of(struct collect *c, uint32_t ordinal)
{
	MUST(ordinal && ordinal < COLLECT_IMAGES);
	if (!c->image[ordinal])
		c->image[ordinal] = calloc(1, sizeof(struct collect_image));
	MUST(c->image[ordinal]);
	return c->image[ordinal];
}

static void take_node(struct collect_image *image, uint32_t index, const unsigned char *data)
{
	struct kms_node node;

	memcpy(&node, data, sizeof(node));
	if (!(node.epoch_ready & KMS_NODE_READY))
		return;
	MUST(index < COLLECT_NODES);
	/* every entry names only lower entries, and those were sent before */
	MUST(node.parent < index);
	image->node[index] = true;
}

static void take_table(struct collect *c, const struct kms_batch_table *table)
{
	struct collect_image *image = image_of(c, table->image);
	uint32_t end = table->first + table->count;

	switch (table->section) {
	case KMS_SEC_NODE:
		for (uint32_t i = 0; i < table->count; i++)
			take_node(image, table->first + i,
				  table->data + (size_t)i * sizeof(struct kms_node));
		break;
	case KMS_SEC_THREAD:
		image->n_threads = end > image->n_threads ? end : image->n_threads;
		break;
	case KMS_SEC_MODULE:
		image->n_modules = end > image->n_modules ? end : image->n_modules;
		break;
	case KMS_SEC_FAULT:
		image->n_faults = end > image->n_faults ? end : image->n_faults;
		break;
	case KMS_SEC_CACHE:
		image->n_caches = end > image->n_caches ? end : image->n_caches;
		break;
	case KMS_SEC_STRING:
		image->n_strings++;
		break;
	default:
		break;
	}
}

static void check_event(const struct collect_image *image, const struct kms_event *event)
{
	MUST(event->stack < COLLECT_NODES && (!event->stack || image->node[event->stack]));
	MUST(event->thread == KMS_NO_INDEX || event->thread < image->n_threads);
	MUST(event->kind != KMS_EVENT_FAULT || event->value < image->n_faults);
	MUST(event->kind != KMS_EVENT_MAP || event->value < image->n_modules);
	MUST((event->kind != KMS_EVENT_MARK && event->kind != KMS_EVENT_EXEC) || image->n_strings);
}

static void take_block(struct collect *c, const struct kms_batch_block *block)
{
	static struct kms_event event[KMS_SEQ_PER_BLOCK];
	struct collect_image *image = image_of(c, block->image);
	struct collect_target *target;
	uint32_t counted = 0;
	size_t n;

	MUST(block->target && block->target < COLLECT_TARGETS);
	target = &c->target[block->target];
	MUST(target->is_known && target->info.image == block->image);
	MUST(kms_block_decode(&block->block, event, KMS_SEQ_PER_BLOCK, &n) == 0);
	for (size_t i = 0; i < n; i++) {
		if (event[i].offset < block->from_bytes)
			continue;
		counted++;
		if (!c->is_hostile)
			check_event(image, &event[i]);
		target->by_kind[event[i].kind]++;
		if (event[i].kind == KMS_EVENT_ALLOC)
			target->size_sum += event[i].size;
	}
	MUST(counted == block->summary.events);
	c->events += counted;
	c->blocks++;
}

static void take_slot(struct collect *c, const struct kms_batch_slot *slot)
{
	struct collect_target *target;

	MUST(slot->target && slot->target < COLLECT_TARGETS);
	target = &c->target[slot->target];
	MUST(target->is_known);
	target->slots++;
	target->counted_allocs = target->counted_frees = 0;
	for (uint32_t i = 0; i < slot->n_cache_stats; i++) {
		target->counted_allocs += slot->counter[i].allocs;
		target->counted_frees += slot->counter[i].frees;
	}
}

void collect_batch(struct collect *c, const struct kms_batch *batch)
{
	c->batches++;
	for (size_t i = 0; i < batch->n_targets; i++) {
		const struct kms_batch_target *info = &batch->target[i];

		MUST(info->id && info->id < COLLECT_TARGETS);
		c->target[info->id].is_known = true;
		c->target[info->id].info = *info;
	}
	for (size_t i = 0; i < batch->n_tables; i++)
		take_table(c, &batch->table[i]);
	for (size_t i = 0; i < batch->n_blocks; i++)
		take_block(c, &batch->block[i]);
	for (size_t i = 0; i < batch->n_slots; i++)
		take_slot(c, &batch->slot[i]);
	for (size_t i = 0; i < batch->n_rings; i++) {
		MUST(batch->ring[i].target && c->target[batch->ring[i].target].is_known);
		MUST(batch->ring[i].lost <= batch->ring[i].produced);
	}
}
