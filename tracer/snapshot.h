/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Snapshots: one block of memory each, never changed once published, given to any number of readers
 * in any thread without a lock, freed by whoever is last.
 */
#ifndef KMS_TRACER_SNAPSHOT_H
#define KMS_TRACER_SNAPSHOT_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/snapshot.h"

enum kms_snapshot_limits {
	KMS_SNAPSHOT_SLOTS = 64, /* snapshots that can be held at a time */
};

/**
 * A snapshot with all that it points to. Filled by one thread with kms_snapshot_take(), then
 * published.
 */
struct kms_snapshot_arena {
	struct kms_snapshot pub; /* must stay the first field */
	size_t room_bytes;
	size_t used_bytes;
	unsigned slot;
	_Alignas(16) unsigned char bytes[];
};

/** An arena with room for @bytes behind the snapshot; NULL without memory. */
struct kms_snapshot_arena *kms_snapshot_create(size_t bytes);

/** For one that was not published. */
void kms_snapshot_destroy(struct kms_snapshot_arena *arena);

/** Zeroed memory of the arena, aligned to 8. The room must suffice. */
void *kms_snapshot_take(struct kms_snapshot_arena *arena, size_t bytes);

/** A copy of at most @limit bytes up to a NUL; always terminated. Takes that length and 8 bytes. */
const char *kms_snapshot_string(struct kms_snapshot_arena *arena, const char *text, size_t limit);

/**
 * Where the newest snapshot hangs.
 *
 * A reader adds one to @current, whose highest byte is the slot it then borrows. When
 * a new snapshot takes the place, that count goes to the slot, from which each reader that is done
 * takes one; who brings it to zero frees the snapshot.
 */
struct kms_snapshot_box {
	_Atomic uint64_t current;

	struct {
		_Atomic int64_t readers;                  /* borrowed while current - given back */
		struct kms_snapshot_arena *_Atomic arena; /* NULL: the slot is free */
	} slot[KMS_SNAPSHOT_SLOTS];
};

/** Begins with a first snapshot, which the box takes over. */
void kms_snapshot_box_init(struct kms_snapshot_box *box, struct kms_snapshot_arena *first);

/** Ends; every snapshot must have been given back. */
void kms_snapshot_box_deinit(struct kms_snapshot_box *box);

/**
 * Puts a new snapshot in place of the present one and takes it over. One thread.
 * Errors: -EAGAIN: readers hold on to so many old ones that there is no slot; nothing changed
 */
int kms_snapshot_publish(struct kms_snapshot_box *box, struct kms_snapshot_arena *arena);

/** Borrow the newest (any thread). */
const struct kms_snapshot *kms_snapshot_acquire(struct kms_snapshot_box *box);
void kms_snapshot_release(struct kms_snapshot_box *box, const struct kms_snapshot *snapshot);

#endif
