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
	kms_memory_free(park->memory, queue->index, sizeof(*queue->index));
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
	queue->end = &queue->lane;
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

static unsigned key_of(const struct kms_event *event)
{
	bool moves = event->kind == KMS_EVENT_ALLOC && event->flags & KMS_ATTR_GUARDED;

	return event->has_generation && !moves ? event->generation : KMS_PARK_KEY_ODD;
}

static struct kms_park_lane **ring_slot(struct kms_park_index *index, uint32_t ring)
{
	return &index->ring[ring % KMS_PARK_SLOTS];
}

static struct kms_park_lane **key_slot(struct kms_park_index *index, unsigned key)
{
	return &index->key[key == KMS_PARK_KEY_ODD ? KMS_PARK_SLOTS : key % KMS_PARK_SLOTS];
}

static void index_key(struct kms_park_index *index, struct kms_park_lane *lane)
{
	struct kms_park_lane **slot = key_slot(index, lane->key);

	lane->same_key = *slot;
	*slot = lane;
}

static void unindex_key(struct kms_park_index *index, const struct kms_park_lane *lane)
{
	struct kms_park_lane **link = key_slot(index, lane->key);

	while (*link != lane)
		link = &(*link)->same_key;
	*link = lane->same_key;
}

static void index_ring(struct kms_park_index *index, struct kms_park_lane *lane)
{
	struct kms_park_lane **slot = ring_slot(index, lane->ring);

	lane->same_ring = *slot;
	*slot = lane;
}

static void unindex_ring(struct kms_park_index *index, const struct kms_park_lane *lane)
{
	struct kms_park_lane **link = ring_slot(index, lane->ring);

	while (*link != lane)
		link = &(*link)->same_ring;
	*link = lane->same_ring;
}

/* Without memory for an index its lanes are looked through. */
static void index_make(struct kms_park *park, struct kms_park_queue *queue)
{
	queue->index = kms_memory_alloc(park->memory, sizeof(*queue->index));
	for (struct kms_park_lane *lane = queue->lane; queue->index && lane; lane = lane->next) {
		index_ring(queue->index, lane);
		index_key(queue->index, lane);
	}
}

static struct kms_park_lane *lane_find(const struct kms_park_queue *queue, uint32_t ring)
{
	struct kms_park_lane *lane = queue->index ? *ring_slot(queue->index, ring) : queue->lane;

	while (lane && lane->ring != ring)
		lane = queue->index ? lane->same_ring : lane->next;
	return lane;
}

/* The next lane of this key from @lane on. */
static struct kms_park_lane *with_key(const struct kms_park_queue *queue,
				      struct kms_park_lane *lane, unsigned key)
{
	while (lane && lane->key != key)
		lane = queue->index ? lane->same_key : lane->next;
	return lane;
}

struct kms_park_lane *kms_park_first(const struct kms_park_queue *queue, unsigned key)
{
	return with_key(queue, queue->index ? *key_slot(queue->index, key) : queue->lane, key);
}

struct kms_park_lane *kms_park_next(const struct kms_park_queue *queue,
				    const struct kms_park_lane *lane)
{
	return with_key(queue, queue->index ? lane->same_key : lane->next, lane->key);
}

/* A lane with its first event, behind the others. NULL: no memory */
static struct kms_park_lane *lane_new(struct kms_park *park, struct kms_park_queue *queue,
				      uint32_t ring, const struct kms_event *first)
{
	struct kms_park_lane *lane = kms_memory_alloc(park->memory, sizeof(*lane));

	if (!lane)
		return NULL;
	lane->ring = ring;
	lane->order = queue->next_order++;
	lane->key = (uint16_t)key_of(first);
	lane->at = queue->end;
	*queue->end = lane;
	queue->end = &lane->next;
	if (queue->index) {
		index_ring(queue->index, lane);
		index_key(queue->index, lane);
	}
	if (++queue->n_lanes > KMS_PARK_FEW && !queue->index)
		index_make(park, queue);
	return lane;
}

static void lane_drop(struct kms_park *park, struct kms_park_queue *queue,
		      struct kms_park_lane *lane)
{
	if (queue->index)
		unindex_ring(queue->index, lane);
	*lane->at = lane->next;
	if (lane->next)
		lane->next->at = lane->at;
	else
		queue->end = lane->at;
	queue->n_lanes--;
	kms_memory_free(park->memory, lane, sizeof(*lane));
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
	lane = queue ? lane_find(queue, origin->ring) : NULL;
	if (queue && !lane)
		lane = lane_new(park, queue, origin->ring, event);
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
	return queue && lane_find(queue, ring);
}

bool kms_park_take(struct kms_park *park, struct kms_park_queue *queue, struct kms_park_lane *lane,
		   struct kms_parked *out)
{
	struct kms_parked *parked = lane->first;

	*out = *parked;
	lane->first = parked->next;
	kms_memory_free(park->memory, parked, sizeof(*parked));
	park->count--;
	if (queue->index)
		unindex_key(queue->index, lane);
	if (lane->first) {
		lane->key = (uint16_t)key_of(&lane->first->event);
		if (queue->index)
			index_key(queue->index, lane);
		return true;
	}
	lane_drop(park, queue, lane);
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
