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
		.number = 1,
		.time_ns = s->now_ns,
		.base_address = SCRIPT_BASE,
		.slot = 0,
		.thread = 1 + i,
		.ring = (uint16_t)(i % 2),
	};

	r->target = i / 2 + 1;
	enc_begin(&r->writer, &r->block, &open);
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
		ring_begin(s, i);
	for (uint32_t target = 1; target <= SCRIPT_RINGS / 2; target++)
		script_state(s, target, KMS_STATE_RUNNING);
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
	event->stamp = true;
	event->time_ns = s->now_ns;
	fits = enc_put(&s->ring[ring].writer, event);
	assert_true(fits);
}

void script_slab(struct script *s, unsigned ring, unsigned page)
{
	struct enc_event event = {
		.kind = KMS_EVENT_SLAB_GROW,
		.address = SCRIPT_BASE + (uint64_t)page * KMS_PAGE_BYTES,
		.value = 1,
		.cache = 3,
		.stride = 64,
	};

	put(s, ring, &event);
}

void script_put(struct script *s, unsigned ring, uint32_t kind, uint64_t address, int generation)
{
	struct enc_event event = {
		.kind = kind,
		.address = address,
		.size = 100,
		.stack = SCRIPT_STACK,
		.has_generation = generation != SCRIPT_NO_GENERATION,
		.generation = (uint8_t)generation,
	};

	put(s, ring, &event);
}

void script_read(struct script *s, unsigned ring)
{
	struct script_ring *r = &s->ring[ring];
	struct kms_batch_block *block;
	int result;

	if (r->read == r->block.fill)
		return;
	block = kms_batch_add_block(batch_of(s));
	assert_non_null(block);
	block->image = block->target = r->target;
	block->from_bytes = r->read;
	block->block = r->block;
	result = kms_block_walk(&block->block, block->from_bytes, &block->summary, NULL, NULL);
	assert_int_equal(result, 0);
	r->read = r->block.fill;
}

void script_state(struct script *s, uint32_t target, uint32_t state)
{
	struct kms_batch_target *news = kms_batch_add_target(batch_of(s));

	assert_non_null(news);
	news->id = news->image = target;
	news->state = state;
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

const struct kms_snapshot *script_snapshot(struct script *s)
{
	const struct kms_snapshot *snapshot;

	kms_model_publish(s->model, true);
	snapshot = kms_model_acquire(s->model);
	kms_model_release(s->model, snapshot); /* the model keeps it until the next is published */
	return snapshot;
}
