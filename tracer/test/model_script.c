/* SPDX-License-Identifier: BSD-2-Clause */
/* See model_script.h. */
#include "tracer/test/model_script.h"

#include <stdlib.h>
#include <string.h>

#include "base/test/unit.h"

static void ring_begin(struct script *s, unsigned i)
{
	struct script_ring *r = &s->ring[i];
	const struct enc_open open = {
		.number = ++r->number,
		.time_ns = s->now_ns,
		.base_address = SCRIPT_BASE,
		.thread = 1 + i,
		.ring = (uint16_t)i,
	};
	const struct enc_event lost = {.kind = KMS_EVENT_LOST, .value = r->lost};
	bool fits;

	enc_begin(&r->writer, &r->block, &open);
	r->begun = true;
	r->read = 0;
	if (!r->lost)
		return;
	fits = enc_put(&r->writer, &lost);
	assert_true(fits);
	r->lost = 0;
}

static struct kms_batch *batch_of(struct script *s)
{
	if (!s->batch)
		s->batch = kms_batch_create();
	assert_non_null(s->batch);
	return s->batch;
}

int script_setup(void **state)
{
	struct script *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	s->model = kms_model_create(NULL);
	assert_non_null(s->model);
	s->now_ns = SCRIPT_POLL_NS;
	for (unsigned i = 0; i < SCRIPT_RINGS; i++)
		s->ring[i].target = 1;
	script_state(s, 1, KMS_STATE_RUNNING);
	script_feed(s);
	*state = s;
	return 0;
}

int script_teardown(void **state)
{
	struct script *s = *state;

	kms_batch_put(s->batch);
	kms_model_destroy(s->model);
	free(s);
	return 0;
}

static void put(struct script *s, unsigned ring, struct enc_event *event)
{
	bool fits;

	s->now_ns += 10000; /* pages' stamps are that coarse */
	if (!s->ring[ring].begun)
		ring_begin(s, ring);
	event->stamp = true;
	event->session = s->ring[ring].session;
	event->time_ns = s->now_ns;
	fits = enc_put(&s->ring[ring].writer, event);
	assert_true(fits);
}

void script_slab(struct script *s, unsigned ring)
{
	struct enc_event event = {
		.kind = KMS_EVENT_SLAB_GROW,
		.address = SCRIPT_BASE,
		.value = 1,
		.cache = 3,
		.stride = 64,
	};

	put(s, ring, &event);
}

void script_large(struct script *s, unsigned ring, uint32_t kind)
{
	struct enc_event event = {.kind = kind, .address = SCRIPT_BASE, .value = 8, .cache = 5};

	put(s, ring, &event);
}

void script_put(struct script *s, unsigned ring, uint32_t kind, uint64_t address, int generation)
{
	struct enc_event event = {
		.kind = kind,
		.address = address,
		.size = SCRIPT_BYTES,
		.stack = SCRIPT_STACK,
		.has_generation = generation != SCRIPT_NO_GENERATION,
		.generation = (uint8_t)generation,
	};

	put(s, ring, &event);
}

void script_put_told(struct script *s, unsigned ring, uint32_t kind, uint64_t address,
		     uint32_t cache)
{
	struct enc_event event = {
		.kind = kind,
		.address = address,
		.size = SCRIPT_BYTES,
		.stack = SCRIPT_STACK,
		.told = cache + 1,
	};

	put(s, ring, &event);
}

void script_claim(struct script *s, unsigned ring, uint32_t target)
{
	assert_int_equal(s->ring[ring].read, s->ring[ring].block.fill);
	s->ring[ring].begun = false;
	s->ring[ring].target = target;
}

void script_lose(struct script *s, unsigned ring)
{
	assert_false(s->ring[ring].begun);
	s->ring[ring].lost++;
}

void script_read(struct script *s, unsigned ring)
{
	struct script_ring *r = &s->ring[ring];
	struct kms_batch_block *block;
	int result;

	if (!r->begun || r->read == r->block.fill)
		return;
	block = kms_batch_add_block(batch_of(s));
	assert_non_null(block);
	block->image = 1;
	block->target = r->target;
	block->from_bytes = r->read;
	block->block = r->block;
	result = kms_block_walk(&block->block, block->from_bytes, &block->summary, NULL, NULL);
	assert_int_equal(result, 0);
	r->read = r->block.fill;
}

static struct kms_batch_target *tell(struct script *s, uint32_t target, uint32_t state)
{
	struct kms_batch_target *news = kms_batch_add_target(batch_of(s));

	assert_non_null(news);
	news->id = target;
	news->image = 1;
	news->state = state;
	return news;
}

void script_state(struct script *s, uint32_t target, uint32_t state)
{
	(void)tell(s, target, state);
}

/* Where a ring's owner is in its sequence. */
static uint64_t ring_seq(const struct script_ring *r)
{
	return r->begun ? r->writer.seq : r->lost;
}

void script_fork(struct script *s, uint32_t child, uint32_t parent)
{
	struct kms_batch_slot *slot = kms_batch_add_slot(batch_of(s), 0);
	struct kms_fork_cut cut[SCRIPT_RINGS];
	struct kms_batch_table *table;
	uint32_t n = 0;

	s->now_ns += 10000;
	for (unsigned i = 0; i < SCRIPT_RINGS; i++)
		if (s->ring[i].target == parent)
			cut[n++] = (struct kms_fork_cut){
				.ring = i, .ready = 1, .seq = ring_seq(&s->ring[i])};
	table = kms_batch_add_table(s->batch, KMS_SEC_FORK_CUT, s->n_cuts, n, sizeof(cut[0]));
	assert_non_null(slot);
	assert_non_null(table);
	table->image = slot->image = 1;
	memcpy(table->data, cut, n * sizeof(cut[0]));
	slot->target = child;
	slot->slot.state = KMS_SLOT_LIVE;
	slot->slot.fork_ns = s->now_ns;
	slot->slot.fork_cut_first = s->n_cuts;
	slot->slot.fork_cut_count = n;
	s->n_cuts += n;
	tell(s, child, KMS_STATE_RUNNING)->parent = parent;
}

void script_feed(struct script *s)
{
	struct kms_batch *batch = batch_of(s);
	struct kms_err err = {0};
	int result;

	s->batch_ns += SCRIPT_POLL_NS;
	batch->time_ns = s->batch_ns;
	result = kms_model_feed(s->model, batch, &err);
	assert_int_equal(result, 0);
	kms_batch_put(batch);
	s->batch = NULL;
}

void script_deadline(struct script *s)
{
	s->batch_ns += s->model->config.park_ns;
	script_feed(s);
}

bool script_is_live(const struct script *s, uint32_t target, uint64_t address)
{
	const struct kms_live *live =
		kms_live_find(&kms_model_target_find(s->model, target)->set, address);

	return live && live->low_bits & KMS_LIVE_LIVE;
}

const struct kms_snapshot *script_snapshot(struct script *s)
{
	const struct kms_snapshot *snapshot;

	kms_model_publish(s->model, true);
	snapshot = kms_model_acquire(s->model);
	kms_model_release(s->model, snapshot); /* the model keeps it until the next is published */
	return snapshot;
}
