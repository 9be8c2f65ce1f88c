/* SPDX-License-Identifier: BSD-2-Clause */
/* A table from 64-bit keys to 64-bit values, for indexes and ids. */
#ifndef KMS_TRACER_U64MAP_H
#define KMS_TRACER_U64MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/** A pointer as a value of a map, and back. */
static inline uint64_t kms_u64map_value(const void *pointer)
{
	return (uintptr_t)pointer;
}

static inline void *kms_u64map_pointer(uint64_t value)
{
	uintptr_t address = (uintptr_t)value;
	void *pointer;

	memcpy(&pointer, &address, sizeof(pointer));
	return pointer;
}

struct kms_u64map_slot {
	uint64_t key;
	uint64_t value;
};

/**
 * The table. Values may be anything but UINT64_MAX, which marks a free slot.
 *
 * Owner:  the memory belongs to the map until kms_u64map_deinit(). All zero is an empty map.
 * Invariant: at most three quarters of the slots are in use.
 */
struct kms_u64map {
	struct kms_u64map_slot *slot;
	size_t slots; /* power of two, or 0 */
	size_t count;
};

void kms_u64map_deinit(struct kms_u64map *map);

/** The value behind a key; NULL without one. Valid until the map is next changed. */
uint64_t *kms_u64map_find(const struct kms_u64map *map, uint64_t key);

/** Sets a key's value, whether it had one or not. Errors: -ENOMEM: the map is as before. */
int kms_u64map_set(struct kms_u64map *map, uint64_t key, uint64_t value);

/** Takes a key out; false if it was not in. */
bool kms_u64map_remove(struct kms_u64map *map, uint64_t key);

#endif
