/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Events that wait, of one address and of several hundred rings: what is found is the same as by
 * looking through all of them, with an index and without.
 */
#include "base/test/unit.h"
#include "tracer/park.h"
#include "tracer/test/rng.h"

enum {
	RINGS = 300,
	STEPS = 6000,
	LANE_MAX = 8, /* events that a ring has waiting */
	TARGET = 3,
	LITTLE_MEMORY = 512, /* an event and its lane, but no index */
};

static const uint64_t address = UINT64_C(0x7f0000001040);

/* What a ring has waiting, and since when. */
struct ring {
	struct kms_event event[LANE_MAX];
	unsigned n;
	uint64_t since; /* step at which the first one came */
};

struct crowd {
	struct kms_memory memory;
	struct kms_park park;
	struct ring ring[RINGS];
	unsigned n_waiting; /* rings */
	struct rng rng;
	uint64_t step;
	bool without_index;
	bool had_index;
};

static unsigned key_of(const struct kms_event *event)
{
	if (!event->has_generation ||
	    (event->kind == KMS_EVENT_ALLOC && event->flags & KMS_ATTR_GUARDED))
		return KMS_PARK_KEY_ODD;
	return event->generation;
}

static struct kms_event some_event(struct crowd *c)
{
	return (struct kms_event){
		.address = address,
		.time_ns = ++c->step,
		.kind = rng_below(&c->rng, 2) ? KMS_EVENT_ALLOC : KMS_EVENT_FREE,
		.generation = (uint8_t)rng_below(&c->rng, 256),
		.has_generation = rng_below(&c->rng, 8) != 0,
		.flags = rng_below(&c->rng, 8) ? 0 : KMS_ATTR_GUARDED,
	};
}

/* As the park does: without a generation it is the one after its ring's last. */
static void remember(struct crowd *c, struct ring *ring, struct kms_event event)
{
	const struct kms_event *last = ring->n ? &ring->event[ring->n - 1] : NULL;

	if (last && last->has_generation && !event.has_generation &&
	    !(event.flags & KMS_ATTR_GUARDED)) {
		event.has_generation = 1;
		event.generation = (uint8_t)(last->generation + 1);
	}
	if (!ring->n) {
		ring->since = c->step;
		c->n_waiting++;
	}
	ring->event[ring->n++] = event;
}

static void add(struct crowd *c, uint32_t ring)
{
	const struct kms_park_origin origin = {.target = TARGET, .ring = ring};
	struct kms_event event = some_event(c);

	if (c->ring[ring].n == LANE_MAX)
		return;
	if (c->without_index)
		c->memory.limit_bytes = c->memory.used_bytes + LITTLE_MEMORY;
	assert_int_equal(kms_park_add(&c->park, &origin, &event, c->step), 0);
	remember(c, &c->ring[ring], event);
}

static struct kms_park_lane *lane_of(struct kms_park_queue *queue, uint32_t ring)
{
	struct kms_park_lane *lane = queue->lane;

	while (lane && lane->ring != ring)
		lane = lane->next;
	return lane;
}

static void take(struct crowd *c, uint32_t number)
{
	struct kms_park_queue *queue = kms_park_find(&c->park, TARGET, address);
	struct ring *ring = &c->ring[number];
	struct kms_parked parked;
	bool more;

	assert_int_equal(kms_park_has_ring(queue, number), ring->n != 0);
	if (!ring->n)
		return;
	more = kms_park_take(&c->park, queue, lane_of(queue, number), &parked);
	assert_int_equal(parked.event.time_ns, ring->event[0].time_ns);
	assert_int_equal(parked.event.has_generation, ring->event[0].has_generation);
	assert_int_equal(parked.event.generation, ring->event[0].generation);
	for (unsigned i = 1; i < ring->n; i++)
		ring->event[i - 1] = ring->event[i];
	if (!--ring->n)
		c->n_waiting--;
	assert_int_equal(more, c->n_waiting != 0);
	assert_int_equal(kms_park_find(&c->park, TARGET, address) != NULL, more);
}

/* Lanes stand in the order in which they came, each with its ring's first event. */
static void check_order(const struct crowd *c, const struct kms_park_queue *queue)
{
	uint64_t since = 0;
	unsigned n = 0;

	for (const struct kms_park_lane *lane = queue->lane; lane; lane = lane->next, n++) {
		const struct ring *ring = &c->ring[lane->ring];

		assert_true(ring->since > since);
		assert_true(!lane->next || lane->order < lane->next->order);
		since = ring->since;
		assert_int_equal(lane->first->event.time_ns, ring->event[0].time_ns);
	}
	assert_int_equal(n, c->n_waiting);
	assert_int_equal(queue->n_lanes, n);
}

/* Every lane is found by the key of its first event, once, and by no other. */
static void check_keys(const struct crowd *c, const struct kms_park_queue *queue)
{
	unsigned found = 0;

	for (unsigned key = 0; key < KMS_PARK_KEYS; key++) {
		for (const struct kms_park_lane *lane = kms_park_first(queue, key); lane;
		     lane = kms_park_next(queue, lane), found++)
			assert_int_equal(key_of(&c->ring[lane->ring].event[0]), key);
	}
	assert_int_equal(found, c->n_waiting);
}

static void check(struct crowd *c)
{
	const struct kms_park_queue *queue = kms_park_find(&c->park, TARGET, address);

	assert_int_equal(queue != NULL, c->n_waiting != 0);
	if (!queue)
		return;
	c->had_index |= queue->index != NULL;
	check_order(c, queue);
	check_keys(c, queue);
}

/* Rings come and go; first there are more and more of them, then fewer. */
static void play(struct crowd *c)
{
	for (unsigned i = 0; i < STEPS; i++) {
		bool grows = rng_below(&c->rng, STEPS) > i;
		uint32_t ring = (uint32_t)rng_below(&c->rng, RINGS);

		if (grows)
			add(c, ring);
		else
			take(c, ring);
		if (i % 16 == 0)
			check(c);
	}
	for (uint32_t ring = 0; ring < RINGS; ring++)
		while (c->ring[ring].n)
			take(c, ring);
	assert_int_equal(c->park.count, 0);
}

static void a_crowd_is_found(bool without_index)
{
	struct crowd *c = calloc(1, sizeof(*c));

	assert_non_null(c);
	rng_init(&c->rng, rng_seed());
	c->memory.limit_bytes = SIZE_MAX;
	c->without_index = without_index;
	assert_int_equal(kms_park_init(&c->park, &c->memory, STEPS), 0);
	play(c);
	assert_int_equal(c->had_index, !without_index);
	kms_park_deinit(&c->park);
	assert_int_equal(c->memory.used_bytes, 0);
	free(c);
}

static void lanes_of_hundreds_of_rings_are_found_by_ring_and_by_key(void **state)
{
	(void)state;
	a_crowd_is_found(false);
}

static void without_memory_for_an_index_they_are_found_as_well(void **state)
{
	(void)state;
	a_crowd_is_found(true);
}

static void what_still_waits_is_given_back(void **state)
{
	struct crowd *c = calloc(1, sizeof(*c));

	(void)state;
	assert_non_null(c);
	rng_init(&c->rng, 1);
	c->memory.limit_bytes = SIZE_MAX;
	assert_int_equal(kms_park_init(&c->park, &c->memory, STEPS), 0);
	for (uint32_t ring = 0; ring < RINGS; ring++)
		add(c, ring);
	kms_park_deinit(&c->park);
	assert_int_equal(c->memory.used_bytes, 0);
	free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lanes_of_hundreds_of_rings_are_found_by_ring_and_by_key),
		cmocka_unit_test(without_memory_for_an_index_they_are_found_as_well),
		cmocka_unit_test(what_still_waits_is_given_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
