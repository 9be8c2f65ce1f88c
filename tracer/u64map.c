/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/u64map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

enum {
	FIRST_SLOTS = 64,
};

#define FREE_VALUE UINT64_MAX

void kms_u64map_deinit(struct kms_u64map *map)
{
	free(map->slot);
	memset(map, 0, sizeof(*map));
}

static size_t home(const struct kms_u64map *map, uint64_t key)
{
	return kms_hash_join(0, key) & (map->slots - 1);
}

/* The slot with the key, or the free one where it belongs. */
static struct kms_u64map_slot *find(const struct kms_u64map *map, uint64_t key)
{
	size_t i = home(map, key);

	while (map->slot[i].value != FREE_VALUE && map->slot[i].key != key)
		i = (i + 1) & (map->slots - 1);
	return &map->slot[i];
}

uint64_t *kms_u64map_find(const struct kms_u64map *map, uint64_t key)
{
	struct kms_u64map_slot *slot;

	if (!map->slots)
		return NULL;
	slot = find(map, key);
	return slot->value == FREE_VALUE ? NULL : &slot->value;
}

static int grow(struct kms_u64map *map)
{
	struct kms_u64map bigger = {.slots = map->slots ? map->slots * 2 : FIRST_SLOTS};

	bigger.count = map->count;
	bigger.slot = malloc(bigger.slots * sizeof(*bigger.slot));
	if (!bigger.slot)
		return -ENOMEM;
	memset(bigger.slot, 0xff, bigger.slots * sizeof(*bigger.slot));
	for (size_t i = 0; i < map->slots; i++)
		if (map->slot[i].value != FREE_VALUE)
			*find(&bigger, map->slot[i].key) = map->slot[i];
	free(map->slot);
	*map = bigger;
	return 0;
}

int kms_u64map_set(struct kms_u64map *map, uint64_t key, uint64_t value)
{
	struct kms_u64map_slot *slot;

	if (map->count * 4 >= map->slots * 3 && grow(map) < 0)
		return -ENOMEM;
	slot = find(map, key);
	map->count += slot->value == FREE_VALUE;
	slot->key = key;
	slot->value = value;
	return 0;
}

bool kms_u64map_remove(struct kms_u64map *map, uint64_t key)
{
	struct kms_u64map_slot *slot = map->slots ? find(map, key) : NULL;
	size_t hole, i;

	if (!slot || slot->value == FREE_VALUE)
		return false;
	map->count--;
	/* Move up what could no longer be found past the hole. */
	hole = i = (size_t)(slot - map->slot);
	for (;;) {
		i = (i + 1) & (map->slots - 1);
		if (map->slot[i].value == FREE_VALUE)
			break;
		if (((i - home(map, map->slot[i].key)) & (map->slots - 1)) <
		    ((i - hole) & (map->slots - 1)))
			continue;
		map->slot[hole] = map->slot[i];
		hole = i;
	}
	map->slot[hole].value = FREE_VALUE;
	return true;
}
