/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Events that came before their predecessors did.
 *
 * Rings are read one after the other, so an event of an address may be read before the one that it
 * follows, which another ring holds. Its generation tells; it is parked here, in a queue of its
 * address, until its turn or a deadline comes. Bounded: a full park refuses. One thread.
 *
 * Thousands of short-lived threads hand the same few addresses on, and hundreds of lanes wait for one
 * of them. So a queue of more than a few lanes has an index: what an event needs, the lane of its ring
 * and the lanes whose turn may come next, is found in the same time however many there are.
 */
#ifndef KMS_TRACER_PARK_H
#define KMS_TRACER_PARK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/list.h"
#include "tracer/event.h"
#include "tracer/model_memory.h"

enum kms_park_limits {
	KMS_PARK_BUCKETS = 1 << 14,
	KMS_PARK_FEW = 16,   /* lanes that are looked through one by one */
	KMS_PARK_SLOTS = 64, /* of an index */
};

/** What a lane's first event follows: the generation before its own, or anything. */
enum kms_park_key {
	/* 0 to 255: the event has this generation */
	KMS_PARK_KEY_ODD = 256, /* it has none, or is the allocation of a guarded block */
	KMS_PARK_KEYS,
};

/** Where an event came from. */
struct kms_park_origin {
	uint32_t target;
	uint32_t ring;
	uint16_t claim; /* of the ring */
	/** The ancestor whose event it is, if it happened before the target was forked; else 0. */
	uint32_t heir_of;
};

/** A parked event. */
struct kms_parked {
	struct kms_parked *next;
	struct kms_event event;
	uint32_t heir_of;
	uint16_t claim;
};

/** Parked events of one address and ring, in their order; never empty. */
struct kms_park_lane {
	struct kms_park_lane *next;
	struct kms_park_lane **at; /* what points to it: the queue, or the lane before it */
	struct kms_parked *first;
	struct kms_parked *last;
	uint32_t ring;
	uint32_t order; /* lanes that came earlier have a lower one */
	uint16_t key;   /* of its first event, enum kms_park_key */
	/* in the index, if there is one */
	struct kms_park_lane *same_ring;
	struct kms_park_lane *same_key;
};

/** Where lanes are found by ring, and by the key of their first event; chains in no order. */
struct kms_park_index {
	struct kms_park_lane *ring[KMS_PARK_SLOTS];
	struct kms_park_lane *key[KMS_PARK_SLOTS + 1]; /* the last: KMS_PARK_KEY_ODD */
};

/** The parked events of one address; lanes in the order in which they came; never empty. */
struct kms_park_queue {
	struct kms_list age;          /* in kms_park.by_age */
	struct kms_park_queue *chain; /* in its bucket */
	uint64_t address;
	uint64_t since_ns; /* when the first came */
	uint32_t target;
	struct kms_park_lane *lane;
	struct kms_park_lane **end;   /* behind the last lane */
	struct kms_park_index *index; /* NULL: few lanes, or no memory for it */
	uint32_t n_lanes;
	uint32_t next_order;
};

struct kms_park {
	struct kms_memory *memory;
	struct kms_park_queue **bucket;
	struct kms_list by_age; /* oldest first */
	size_t count;           /* of events */
	size_t max;
	uint64_t total; /* events ever parked */
};

/** Errors: -ENOMEM */
int kms_park_init(struct kms_park *park, struct kms_memory *memory, size_t max);
void kms_park_deinit(struct kms_park *park);

/** The queue of an address; NULL if nothing of it is parked. */
struct kms_park_queue *kms_park_find(const struct kms_park *park, uint32_t target,
				     uint64_t address);

/**
 * Parks a copy of an event behind those of its address.
 * Errors: -ENOSPC: the park is full; -ENOMEM
 */
int kms_park_add(struct kms_park *park, const struct kms_park_origin *origin,
		 const struct kms_event *event, uint64_t now_ns);

/** Is an event of this ring in the queue? queue may be NULL. */
bool kms_park_has_ring(const struct kms_park_queue *queue, uint32_t ring);

/**
 * The lanes whose first event has this key, in no order; NULL: none, or no more. Nothing may be taken
 * out between two calls.
 */
struct kms_park_lane *kms_park_first(const struct kms_park_queue *queue, unsigned key);
struct kms_park_lane *kms_park_next(const struct kms_park_queue *queue,
				    const struct kms_park_lane *lane);

/**
 * Takes the first event of a lane out, into *out. Lane and queue are gone with their last event.
 * Returns whether the queue is still there.
 */
bool kms_park_take(struct kms_park *park, struct kms_park_queue *queue, struct kms_park_lane *lane,
		   struct kms_parked *out);

/** The queue whose first event has waited longest; NULL if nothing is parked. */
struct kms_park_queue *kms_park_oldest(const struct kms_park *park);

/** The queue that is next in age, NULL at the end. */
struct kms_park_queue *kms_park_younger(const struct kms_park *park,
					const struct kms_park_queue *queue);

#endif
