/* SPDX-License-Identifier: BSD-2-Clause */
/* Parked events: see park.h. */
#include "tracer/park.h"

#include <errno.h>

#include "base/hash.h"

int kms_park_init(struct kms_park *park, struct kms_memory *memory, size_t max)
{
	*park = (struct kms_park){.memory = memory, .max = max};
	kms_list_init(&park->by_age);
	/* NOLINTNEXTLINE(bugprone-sizeof-expression): pointers */
	park->bucket = kms_memory_alloc(memory, KMS_PARK_BUCKETS * sizeof(*park->bucket));
	return park->bucket ? 0 : -ENOMEM;
}

static void lane_free(struct kms_park *park, struct kms_park_lane *lane)
{
	struct kms_parked *next;

	for (struct kms_parked *parked = lane->first; parked; parked = next) {
		next = parked->next;
		kms_memory_free(park->memory, parked, sizeof(*parked));
	}
	kms_memory_free(park->memory, lane, sizeof(*lane));
}

static void queue_free(struct kms_park *park, struct kms_park_queue *queue)
{
	struct kms_park_lane *next;

	for (struct kms_park_lane *lane = queue->lane; lane; lane = next) {
		next = lane->next;
		lane_free(park, lane);
	}
	kms_memory_free(park->memory, queue, sizeof(*queue));
}

void kms_park_deinit(struct kms_park *park)
{
	struct kms_list *link;

	if (!park->memory)
		return;
	while ((link = kms_list_pop_front(&park->by_age)))
		queue_free(park, KMS_CONTAINER_OF(link, struct kms_park_queue, age));
	/* NOLINTNEXTLINE(bugprone-sizeof-expression): pointers */
	kms_memory_free(park->memory, park->bucket, KMS_PARK_BUCKETS * sizeof(*park->bucket));
	park->memory = NULL;
}

static struct kms_park_queue **bucket_of(const struct kms_park *park, uint32_t target,
					 uint64_t address)
{
	return &park->bucket[kms_hash_join(target, address) & (KMS_PARK_BUCKETS - 1)];
}

struct kms_park_queue *kms_park_find(const struct kms_park *park, uint32_t target, uint64_t address)
{
	struct kms_park_queue *queue = *bucket_of(park, target, address);

	while (queue && (queue->address != address || queue->target != target))
		queue = queue->chain;
	return queue;
}

static struct kms_park_queue *queue_new(struct kms_park *park, uint32_t target, uint64_t address,
					uint64_t now_ns)
{
	struct kms_park_queue **bucket = bucket_of(park, target, address);
	struct kms_park_queue *queue = kms_memory_alloc(park->memory, sizeof(*queue));

	if (!queue)
		return NULL;
	queue->address = address;
	queue->target = target;
	queue->since_ns = now_ns;
	queue->chain = *bucket;
	*bucket = queue;
	kms_list_init(&queue->age);
	kms_list_push_back(&park->by_age, &queue->age);
	return queue;
}

static void queue_drop(struct kms_park *park, struct kms_park_queue *queue)
{
	struct kms_park_queue **link = bucket_of(park, queue->target, queue->address);

	while (*link != queue)
		link = &(*link)->chain;
	*link = queue->chain;
	kms_list_remove(&queue->age);
	queue_free(park, queue);
}

/* The place of a ring's lane, or that behind the last one. */
static struct kms_park_lane **lane_place(struct kms_park_queue *queue, uint32_t ring)
{
	struct kms_park_lane **place = &queue->lane;

	while (*place && (*place)->ring != ring)
		place = &(*place)->next;
	return place;
}

static struct kms_park_lane *lane_get(struct kms_park *park, struct kms_park_queue *queue,
				      uint32_t ring)
{
	struct kms_park_lane **place = lane_place(queue, ring);

	if (*place)
		return *place;
	*place = kms_memory_alloc(park->memory, sizeof(**place));
	if (*place)
		(*place)->ring = ring;
	return *place;
}

/* An event without a generation comes right after its ring's last one of the address; only guard
 * slots go on counting while their block lies elsewhere. */
static void lane_append(struct kms_park_lane *lane, struct kms_parked *parked)
{
	if (lane->last && lane->last->event.has_generation && !parked->event.has_generation &&
	    !(parked->event.flags & KMS_ATTR_GUARDED)) {
		parked->event.generation = (uint8_t)(lane->last->event.generation + 1);
		parked->event.has_generation = 1;
	}
	if (lane->last)
		lane->last->next = parked;
	else
		lane->first = parked;
	lane->last = parked;
}

int kms_park_add(struct kms_park *park, const struct kms_park_origin *origin,
		 const struct kms_event *event, uint64_t now_ns)
{
	struct kms_park_queue *queue = kms_park_find(park, origin->target, event->address);
	struct kms_park_lane *lane;
	struct kms_parked *parked;

	if (park->count >= park->max)
		return -ENOSPC;
	parked = kms_memory_alloc(park->memory, sizeof(*parked));
	if (!parked)
		return -ENOMEM;
	if (!queue)
		queue = queue_new(park, origin->target, event->address, now_ns);
	lane = queue ? lane_get(park, queue, origin->ring) : NULL;
	if (!lane) {
		kms_memory_free(park->memory, parked, sizeof(*parked));
		if (queue && !queue->lane)
			queue_drop(park, queue);
		return -ENOMEM;
	}
	parked->event = *event;
	parked->claim = origin->claim;
	parked->heir_of = origin->heir_of;
	lane_append(lane, parked);
	park->count++;
	park->total++;
	return 0;
}

bool kms_park_has_ring(const struct kms_park_queue *queue, uint32_t ring)
{
	if (!queue)
		return false;
	for (const struct kms_park_lane *lane = queue->lane; lane; lane = lane->next)
		if (lane->ring == ring)
			return true;
	return false;
}

bool kms_park_take(struct kms_park *park, struct kms_park_queue *queue, struct kms_park_lane *lane,
		   struct kms_parked *out)
{
	struct kms_parked *parked = lane->first;

	*out = *parked;
	lane->first = parked->next;
	kms_memory_free(park->memory, parked, sizeof(*parked));
	park->count--;
	if (lane->first)
		return true;
	*lane_place(queue, lane->ring) = lane->next;
	kms_memory_free(park->memory, lane, sizeof(*lane));
	if (queue->lane)
		return true;
	queue_drop(park, queue);
	return false;
}

struct kms_park_queue *kms_park_oldest(const struct kms_park *park)
{
	struct kms_list *link = kms_list_first(&park->by_age);

	return link ? KMS_CONTAINER_OF(link, struct kms_park_queue, age) : NULL;
}

struct kms_park_queue *kms_park_younger(const struct kms_park *park,
					const struct kms_park_queue *queue)
{
	struct kms_list *link = kms_list_next(&park->by_age, &queue->age);

	return link ? KMS_CONTAINER_OF(link, struct kms_park_queue, age) : NULL;
}
