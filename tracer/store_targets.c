/* SPDX-License-Identifier: BSD-2-Clause */
/* Targets, their slots, and the figures of rings. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/cleanup.h"
#include "tracer/store_impl.h"
#include "tracer/store_names.h"

static struct store_target *find_target(const struct kms_store *store, uint32_t id)
{
	const uint64_t *index = kms_u64map_find(&store->target_index, id);

	return index ? store->target[*index] : NULL;
}

static struct store_target *new_target(struct kms_store *store, uint32_t id)
{
	size_t n = store->n_targets;
	struct store_target **targets;
	struct store_slot **slots;

	targets = realloc(store->target, (n + 1) * sizeof(struct store_target *));
	if (!targets)
		return NULL;
	store->target = targets;
	slots = realloc(store->slot, (n + 1) * sizeof(struct store_slot *));
	if (!slots)
		return NULL;
	store->slot = slots;
	targets[n] = calloc(1, sizeof(**targets));
	slots[n] = NULL;
	if (!targets[n])
		return NULL;
	if (kms_u64map_set(&store->target_index, id, n) < 0) {
		free(targets[n]);
		return NULL;
	}
	store->n_targets++;
	return targets[n];
}

/* A name that fills its array has no NUL. */
static void terminate(char *text, size_t bytes)
{
	text[bytes - 1] = '\0';
}

int store_add_target(struct kms_store *store, const struct kms_batch_target *from)
{
	struct store_target *t = find_target(store, from->id);
	struct kms_batch_target *last;

	if (!t)
		t = new_target(store, from->id);
	if (!t)
		return -ENOMEM;
	last = &t->last;
	*last = *from;
	terminate(last->name, sizeof(last->name));
	terminate(last->command, sizeof(last->command));
	if (!store->run_start_wall_ns && from->region_start_wall_ns) {
		store->run_start_wall_ns = from->region_start_wall_ns;
		if (STORE_ROW(&store->rows, STORE_META, KMS_TEXT("run_start_wall_ns"),
			      KMS_INT(store->run_start_wall_ns)) == -ENOMEM)
			return -ENOMEM;
	}
	t->offset_ns = from->region_start_wall_ns
			       ? (int64_t)(from->region_start_wall_ns - store->run_start_wall_ns)
			       : 0;
	return STORE_ROW(&store->rows, STORE_TARGET, KMS_INT(last->id), KMS_TEXT(last->name),
			 KMS_INT(last->pid), KMS_TEXT(kms_name_of(KMS_NAMES_STATE, last->state)),
			 KMS_INT(last->start_wall_ns), KMS_INT(last->end_wall_ns),
			 KMS_INT(last->exit_status), KMS_INT(last->parent), KMS_TEXT(last->command),
			 KMS_INT(last->image), KMS_INT(last->slot),
			 KMS_INT(last->region_start_wall_ns));
}

uint64_t store_run_time(const struct kms_store *store, uint32_t target, uint64_t region_ns)
{
	const struct store_target *t = find_target(store, target);
	int64_t time = (int64_t)region_ns + (t ? t->offset_ns : 0);

	return time > 0 ? (uint64_t)time : 0;
}

/* Threads that found no ring free have a row of their own, as if they had shared a ring. */
static int note_unringed(struct kms_store *store, uint32_t target, uint64_t lost)
{
	int64_t index = store_ring_index(store, target, KMS_VIEW_NO_RING);
	struct store_ring *ring;

	if (index < 0)
		return (int)index;
	ring = &store->ring[index];
	ring->dirty |= ring->lost != lost;
	ring->produced = ring->lost = lost;
	return 0;
}

int store_add_slot(struct kms_store *store, const struct kms_batch_slot *from)
{
	const uint64_t *index = kms_u64map_find(&store->target_index, from->target);
	struct store_slot *slot;

	if (!index)
		return 0; /* a target that nobody introduced */
	if (!store->slot[*index])
		store->slot[*index] = calloc(1, sizeof(*slot));
	slot = store->slot[*index];
	if (!slot)
		return -ENOMEM;
	slot->target = from->target;
	slot->image = from->image;
	slot->slot = from->slot;
	slot->n_stats = from->n_cache_stats < KMS_MAX_CACHES ? from->n_cache_stats : KMS_MAX_CACHES;
	memcpy(slot->stat, from->cache_stat, slot->n_stats * sizeof(*slot->stat));
	memcpy(slot->counter, from->counter, slot->n_stats * sizeof(*slot->counter));
	slot->dirty = true;
	return from->slot.lost_unringed
		       ? note_unringed(store, from->target, from->slot.lost_unringed)
		       : 0;
}

int64_t store_ring_index(struct kms_store *store, uint32_t target, uint32_t ring)
{
	uint64_t key = (uint64_t)target << 11 | (ring < KMS_MAX_RINGS ? ring : KMS_MAX_RINGS);
	const uint64_t *found = kms_u64map_find(&store->ring_index, key);

	if (found)
		return (int64_t)*found;
	if (store->n_rings == store->rings_room) {
		size_t room = store->rings_room ? store->rings_room * 2 : 64;
		struct store_ring *rings = realloc(store->ring, room * sizeof(*rings));

		if (!rings)
			return -ENOMEM;
		store->ring = rings;
		store->rings_room = room;
	}
	if (kms_u64map_set(&store->ring_index, key, store->n_rings) < 0)
		return -ENOMEM;
	store->ring[store->n_rings] =
		(struct store_ring){.target = target, .ring = ring, .dirty = true};
	return (int64_t)store->n_rings++;
}

int store_add_ring(struct kms_store *store, const struct kms_batch_ring *from)
{
	int64_t index = store_ring_index(store, from->target, from->ring);
	struct store_ring *ring;

	if (index < 0)
		return (int)index;
	ring = &store->ring[index];
	if (ring->claimed && ring->claim != from->claim) {
		ring->prior_produced += ring->produced;
		ring->prior_lost += ring->lost;
	}
	ring->claimed = true;
	ring->claim = from->claim;
	ring->produced = from->produced;
	ring->lost = from->lost;
	ring->dirty = true;
	return 0;
}

uint64_t store_ring_produced(const struct store_ring *ring)
{
	uint64_t produced = ring->prior_produced + ring->produced;
	uint64_t seen = ring->stored + ring->prior_lost + ring->lost;

	return produced > seen ? produced : seen;
}

static int write_rings(struct kms_store *store)
{
	int rc = SQLITE_DONE;

	for (size_t i = 0; rc == SQLITE_DONE && i < store->n_rings; i++) {
		const struct store_ring *r = &store->ring[i];

		if (r->dirty)
			rc = KMS_RUN(store->stmt[STORE_RING], KMS_INT(r->target),
				     KMS_INT(r->ring == KMS_VIEW_NO_RING ? -1 : (int64_t)r->ring),
				     KMS_INT(store_ring_produced(r)), KMS_INT(r->stored),
				     KMS_INT(r->prior_lost + r->lost));
	}
	return rc;
}

/* Layout of slot_copies.data, a zstd frame: u64 count, slot page, stats, counters. */
static size_t slot_bytes(const struct store_slot *slot)
{
	return sizeof(uint64_t) + sizeof(slot->slot) +
	       slot->n_stats * (sizeof(*slot->stat) + sizeof(*slot->counter));
}

static void slot_flatten(const struct store_slot *slot, uint8_t *out)
{
	uint64_t n = slot->n_stats;

	memcpy(out, &n, sizeof(n));
	out += sizeof(n);
	memcpy(out, &slot->slot, sizeof(slot->slot));
	out += sizeof(slot->slot);
	memcpy(out, slot->stat, n * sizeof(*slot->stat));
	out += n * sizeof(*slot->stat);
	memcpy(out, slot->counter, n * sizeof(*slot->counter));
}

static int write_slot(struct kms_store *store, const struct store_slot *slot)
{
	size_t bytes = slot_bytes(slot), room = ZSTD_compressBound(bytes), packed;
	KMS_AUTO_FREE uint8_t *memory = malloc(bytes + room);

	if (!memory)
		return SQLITE_NOMEM;
	slot_flatten(slot, memory);
	packed = ZSTD_compress(memory + bytes, room, memory, bytes, 1);
	if (ZSTD_isError(packed))
		return SQLITE_NOMEM;
	return KMS_RUN(store->stmt[STORE_SLOT], KMS_INT(slot->target), KMS_INT(slot->image),
		       KMS_BLOB(memory + bytes, packed));
}

int store_write_targets(struct kms_store *store, bool all)
{
	int rc = write_rings(store);

	for (size_t i = 0; all && rc == SQLITE_DONE && i < store->n_targets; i++)
		if (store->slot[i] && store->slot[i]->dirty)
			rc = write_slot(store, store->slot[i]);
	return rc;
}

void store_targets_written(struct kms_store *store, bool all)
{
	for (size_t i = 0; i < store->n_rings; i++)
		store->ring[i].dirty = false;
	for (size_t i = 0; all && i < store->n_targets; i++) {
		uint32_t state = store->target[i]->last.state;

		if (store->slot[i])
			store->slot[i]->dirty = false;
		/* thousands of short processes must not add up */
		if (state != KMS_STATE_RUNNING && state != KMS_STATE_STOPPED) {
			free(store->slot[i]);
			store->slot[i] = NULL;
		}
	}
}

void store_targets_free(struct kms_store *store)
{
	for (size_t i = 0; i < store->n_targets; i++) {
		free(store->target[i]);
		free(store->slot[i]);
	}
	free(store->target);
	free(store->slot);
	free(store->ring);
	kms_u64map_deinit(&store->target_index);
	kms_u64map_deinit(&store->ring_index);
}
