/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Batches: growing arrays behind a reference count. See batch.h and batch_build.h.
 */
#include "tracer/batch.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/batch_build.h"

/* A batch and the room of its arrays, in elements. */
struct batch {
	struct kms_batch pub; /* must stay the first field */
	size_t room_blocks, room_tables, room_targets, room_slots, room_rings;
};

static struct batch *whole(struct kms_batch *batch)
{
	return (struct batch *)(void *)batch;
}

struct kms_batch *kms_batch_create(void)
{
	struct batch *batch = calloc(1, sizeof(*batch));

	if (!batch)
		return NULL;
	atomic_init(&batch->pub.refs, 1);
	batch->pub.bytes = sizeof(*batch);
	return &batch->pub;
}

void kms_batch_get(struct kms_batch *batch)
{
	atomic_fetch_add_explicit(&batch->refs, 1, memory_order_relaxed);
}

static void free_content(struct kms_batch *batch)
{
	for (size_t i = 0; i < batch->n_tables; i++)
		free(batch->table[i].data);
	for (size_t i = 0; i < batch->n_slots; i++) {
		free(batch->slot[i].cache_stat);
		free(batch->slot[i].counter);
	}
}

void kms_batch_put(struct kms_batch *batch)
{
	if (!batch)
		return;
	/* release: what this holder read is read; acquire: of all others, before the memory goes */
	if (atomic_fetch_sub_explicit(&batch->refs, 1, memory_order_acq_rel) != 1)
		return;
	free_content(batch);
	free(batch->block);
	free(batch->table);
	free(batch->target);
	free(batch->slot);
	free(batch->ring);
	free(whole(batch));
}

void kms_batch_reset(struct kms_batch *batch)
{
	free_content(batch);
	batch->what = KMS_BATCH_DATA;
	batch->time_ns = 0;
	batch->bytes = sizeof(struct batch);
	batch->n_blocks = batch->n_tables = batch->n_targets = batch->n_slots = batch->n_rings = 0;
}

bool kms_batch_is_empty(const struct kms_batch *batch)
{
	return !(batch->n_blocks || batch->n_tables || batch->n_targets || batch->n_slots ||
		 batch->n_rings);
}

/* Makes room for one more element of an array. */
static bool grow(void *array_at, size_t used, size_t *room, size_t element_bytes)
{
	void *array;
	size_t wanted;

	if (used < *room)
		return true;
	wanted = *room ? *room * 2 : 16;
	memcpy(&array, array_at, sizeof(array));
	array = reallocarray(array, wanted, element_bytes);
	if (!array)
		return false;
	memcpy(array_at, &array, sizeof(array));
	*room = wanted;
	return true;
}

struct kms_batch_block *kms_batch_add_block(struct kms_batch *batch)
{
	struct kms_batch_block *block;

	if (!grow(&batch->block, batch->n_blocks, &whole(batch)->room_blocks, sizeof(*block)))
		return NULL;
	block = &batch->block[batch->n_blocks++];
	memset(block, 0, offsetof(struct kms_batch_block, block.record));
	batch->bytes += sizeof(*block);
	return block;
}

void kms_batch_keep_blocks(struct kms_batch *batch, size_t n)
{
	batch->bytes -= (batch->n_blocks - n) * sizeof(struct kms_batch_block);
	batch->n_blocks = n;
}

struct kms_batch_target *kms_batch_add_target(struct kms_batch *batch)
{
	struct kms_batch_target *target;

	if (!grow(&batch->target, batch->n_targets, &whole(batch)->room_targets, sizeof(*target)))
		return NULL;
	target = &batch->target[batch->n_targets++];
	memset(target, 0, sizeof(*target));
	batch->bytes += sizeof(*target);
	return target;
}

struct kms_batch_ring *kms_batch_add_ring(struct kms_batch *batch)
{
	struct kms_batch_ring *ring;

	if (!grow(&batch->ring, batch->n_rings, &whole(batch)->room_rings, sizeof(*ring)))
		return NULL;
	ring = &batch->ring[batch->n_rings++];
	memset(ring, 0, sizeof(*ring));
	batch->bytes += sizeof(*ring);
	return ring;
}

struct kms_batch_table *kms_batch_add_table(struct kms_batch *batch, uint32_t section,
					    uint32_t first, uint32_t count, uint32_t entry_bytes)
{
	struct kms_batch_table *table;
	unsigned char *data = calloc(count, entry_bytes);

	if (!data ||
	    !grow(&batch->table, batch->n_tables, &whole(batch)->room_tables, sizeof(*table))) {
		free(data);
		return NULL;
	}
	table = &batch->table[batch->n_tables++];
	memset(table, 0, sizeof(*table));
	table->section = section;
	table->first = first;
	table->count = count;
	table->entry_bytes = entry_bytes;
	table->data = data;
	batch->bytes += sizeof(*table) + (size_t)count * entry_bytes;
	return table;
}

struct kms_batch_slot *kms_batch_add_slot(struct kms_batch *batch, uint32_t n_caches)
{
	struct kms_batch_slot *slot;
	struct kms_cache_stat *stat = calloc(n_caches ? n_caches : 1, sizeof(*stat));
	struct kms_counter *counter = calloc(n_caches ? n_caches : 1, sizeof(*counter));

	if (!stat || !counter ||
	    !grow(&batch->slot, batch->n_slots, &whole(batch)->room_slots, sizeof(*slot))) {
		free(stat);
		free(counter);
		return NULL;
	}
	slot = &batch->slot[batch->n_slots++];
	memset(slot, 0, sizeof(*slot));
	slot->n_cache_stats = n_caches;
	slot->cache_stat = stat;
	slot->counter = counter;
	batch->bytes += sizeof(*slot) + n_caches * (sizeof(*stat) + sizeof(*counter));
	return slot;
}
