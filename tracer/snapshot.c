/* SPDX-License-Identifier: BSD-2-Clause */
/* Snapshots and their box: see snapshot.h. */
#include "tracer/snapshot.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	SLOT_SHIFT = 56, /* below it, more readers than there can ever be */
	ALIGN = 8,
};

struct kms_snapshot_arena *kms_snapshot_create(size_t bytes)
{
	struct kms_snapshot_arena *arena = calloc(1, sizeof(*arena) + bytes);

	if (arena)
		arena->room_bytes = bytes;
	return arena;
}

void kms_snapshot_destroy(struct kms_snapshot_arena *arena)
{
	free(arena);
}

void *kms_snapshot_take(struct kms_snapshot_arena *arena, size_t bytes)
{
	void *p = arena->bytes + arena->used_bytes;

	bytes = (bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	assert(bytes <= arena->room_bytes - arena->used_bytes);
	arena->used_bytes += bytes;
	return p;
}

const char *kms_snapshot_string(struct kms_snapshot_arena *arena, const char *text, size_t limit)
{
	size_t n = strnlen(text, limit);
	char *copy = kms_snapshot_take(arena, n + 1);

	memcpy(copy, text, n);
	return copy;
}

void kms_snapshot_box_init(struct kms_snapshot_box *box, struct kms_snapshot_arena *first)
{
	memset(box, 0, sizeof(*box));
	first->slot = 0;
	atomic_init(&box->slot[0].arena, first);
	atomic_init(&box->current, 0);
}

/* Adds to a slot's count; at zero the snapshot is nobody's. */
static void slot_settle(struct kms_snapshot_box *box, unsigned slot, int64_t change)
{
	struct kms_snapshot_arena *arena;

	/* release: this reader is done; acquire: and so are all others, before the memory goes */
	if (atomic_fetch_add_explicit(&box->slot[slot].readers, change, memory_order_acq_rel) +
		    change !=
	    0)
		return;
	arena = atomic_load_explicit(&box->slot[slot].arena, memory_order_relaxed);
	/* pairs with slot_find: the slot may be used again */
	atomic_store_explicit(&box->slot[slot].arena, NULL, memory_order_release);
	kms_snapshot_destroy(arena);
}

static int64_t readers_of(uint64_t current)
{
	return (int64_t)(current & ((UINT64_C(1) << SLOT_SHIFT) - 1));
}

static int slot_find(struct kms_snapshot_box *box)
{
	for (int slot = 0; slot < KMS_SNAPSHOT_SLOTS; slot++)
		if (!atomic_load_explicit(&box->slot[slot].arena, memory_order_acquire))
			return slot;
	return -EAGAIN;
}

int kms_snapshot_publish(struct kms_snapshot_box *box, struct kms_snapshot_arena *arena)
{
	int slot = slot_find(box);
	uint64_t old;

	if (slot < 0)
		return slot;
	arena->slot = (unsigned)slot;
	atomic_store_explicit(&box->slot[slot].arena, arena, memory_order_relaxed);
	/* pairs with acquire: the snapshot's content is there */
	old = atomic_exchange_explicit(&box->current, (uint64_t)slot << SLOT_SHIFT,
				       memory_order_acq_rel);
	/*
	 * Readers took one each from a count that began at 0, so it is below zero until this; with
	 * the borrowed ones added it is the number of readers left.
	 */
	slot_settle(box, (unsigned)(old >> SLOT_SHIFT), readers_of(old));
	return 0;
}

void kms_snapshot_box_deinit(struct kms_snapshot_box *box)
{
	uint64_t old = atomic_load_explicit(&box->current, memory_order_acquire);

	slot_settle(box, (unsigned)(old >> SLOT_SHIFT), readers_of(old));
}

const struct kms_snapshot *kms_snapshot_acquire(struct kms_snapshot_box *box)
{
	/* pairs with publish: the snapshot's content is there */
	uint64_t old = atomic_fetch_add_explicit(&box->current, 1, memory_order_acquire);

	return &atomic_load_explicit(&box->slot[old >> SLOT_SHIFT].arena, memory_order_relaxed)
			->pub;
}

void kms_snapshot_release(struct kms_snapshot_box *box, const struct kms_snapshot *snapshot)
{
	const void *first = snapshot; /* field of its arena */
	const struct kms_snapshot_arena *arena = first;

	slot_settle(box, arena->slot, -1);
}
