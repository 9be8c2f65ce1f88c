/* SPDX-License-Identifier: BSD-2-Clause */
/* Blocks to events and into the live model, and one picture at the end. Those in between take one
 * part in twenty of the thread's time at most, however fast it is. */
#include <string.h>

#include "bench/ingest/ingest.h"
#include "tracer/batch_build.h"
#include "tracer/model.h"

enum {
	BATCH_BLOCKS = 64, /* copied in one poll */
};

static void feed(struct kms_model *model, struct kms_batch *batch)
{
	struct kms_err err = KMS_ERR_INIT;

	if (kms_model_feed(model, batch, &err) < 0)
		ingest_fail("model", err.text);
	kms_batch_reset(batch);
}

static void tell_target(struct kms_batch *batch)
{
	struct kms_batch_target *target = kms_batch_add_target(batch);

	if (!target)
		ingest_fail("batch", "out of memory");
	target->id = target->image = 1;
	target->state = KMS_STATE_RUNNING;
}

static void add_block(struct kms_batch *batch, const struct kms_block *block)
{
	struct kms_batch_block *b = kms_batch_add_block(batch);

	if (!b)
		ingest_fail("batch", "out of memory");
	b->image = b->target = 1;
	b->complete = true;
	memcpy(&b->block, block, sizeof(b->block));
	batch->time_ns = block->base_time_ns + 1;
}

struct ingest_result ingest_model(const struct ingest_blocks *in)
{
	struct kms_model *model = kms_model_create(NULL);
	struct kms_batch *batch = kms_batch_create();
	struct ingest_result r = {.events = in->events};
	struct ingest_time begin, end;

	if (!model || !batch)
		ingest_fail("model", "out of memory");
	tell_target(batch);
	begin = ingest_now();
	for (size_t i = 0; i < in->n; i++) {
		add_block(batch, &in->block[i]);
		if ((i + 1) % BATCH_BLOCKS == 0 || i + 1 == in->n)
			feed(model, batch);
	}
	kms_model_publish(model, true);
	end = ingest_now();
	r.cpu_s = end.cpu_s - begin.cpu_s;
	r.wall_s = end.wall_s - begin.wall_s;
	kms_batch_put(batch);
	kms_model_destroy(model);
	return r;
}
