/* SPDX-License-Identifier: BSD-2-Clause */
/* See model_world.h: the reader's side. */
#include <stdio.h>
#include <string.h>

#include "tracer/test/model_world.h"

enum {
	BATCH_OFFSET_NS = 5000000, /* batch time is the world's, from another zero */
};

static void tell_tables(struct world *w, struct kms_batch *batch)
{
	static const uint32_t bytes[WORLD_CACHES] = {16, 32, 48, 80, 256, 1024, 2048, 0};
	struct kms_batch_table *table;

	table = kms_batch_add_table(batch, KMS_SEC_CACHE, 0, WORLD_CACHES,
				    sizeof(struct kms_cache_entry));
	table->image = w->config.image;
	for (unsigned i = 0; i < WORLD_CACHES; i++) {
		struct kms_cache_entry *e = (struct kms_cache_entry *)(void *)table->data + i;

		(void)snprintf(e->name, sizeof(e->name), "cache-%u", bytes[i]);
		e->object_bytes = bytes[i];
		e->kind = i == WORLD_CACHES - 1 ? KMS_CACHE_LARGE : KMS_CACHE_MALLOC;
		e->ready = 1;
	}
	table = kms_batch_add_table(batch, KMS_SEC_NODE, 0, WORLD_NODES + 1,
				    sizeof(struct kms_node));
	table->image = w->config.image;
	for (unsigned i = 1; i <= WORLD_NODES; i++) {
		struct kms_node *e = (struct kms_node *)(void *)table->data + i;

		e->pc = 0x400000 + i * 16;
		e->parent = i / 2;
		e->epoch_ready = KMS_NODE_READY;
	}
	w->told_tables = true;
}

static void tell_cuts(struct world *w, struct kms_batch *batch)
{
	uint32_t n = w->n_cuts - w->told_cuts;
	struct kms_batch_table *table;

	if (!n)
		return;
	table = kms_batch_add_table(batch, KMS_SEC_FORK_CUT, w->told_cuts, n,
				    sizeof(struct kms_fork_cut));
	table->image = w->config.image;
	memcpy(table->data, &w->cut[w->told_cuts], n * sizeof(struct kms_fork_cut));
	w->told_cuts = w->n_cuts;
}

static void tell_target(struct world *w, struct kms_batch *batch, struct world_process *p)
{
	struct kms_batch_target *target = kms_batch_add_target(batch);

	target->id = p->target;
	target->image = w->config.image;
	target->slot = p->slot;
	target->parent = p->parent;
	target->pid = 1000 + p->target;
	target->state = p->alive ? KMS_STATE_RUNNING : KMS_STATE_EXITED;
	target->start_wall_ns = target->region_start_wall_ns = UINT64_C(1700000000000000000);
	(void)snprintf(target->name, sizeof(target->name), "world-%u", p->target);
	p->announced = true;
	p->told_exit = !p->alive;
}

static void tell_slot(struct world *w, struct kms_batch *batch, const struct world_process *p)
{
	struct kms_batch_slot *slot = kms_batch_add_slot(batch, WORLD_CACHES);

	slot->target = p->target;
	slot->image = w->config.image;
	slot->slot.state = KMS_SLOT_LIVE;
	slot->slot.fork_ns = p->fork_ns;
	slot->slot.fork_cut_first = p->cut_first;
	slot->slot.fork_cut_count = p->cut_count;
}

static bool is_drained(const struct world *w, const struct world_process *p)
{
	for (unsigned i = 0; i < WORLD_RINGS; i++)
		if (w->ring[i].target == p->target && w->ring[i].lagging)
			return false;
	return true;
}

/* Slots before rings: what a parent wrote before a fork is there when the child's slot is. */
static void tell_processes(struct world *w, struct kms_batch *batch)
{
	for (size_t i = 0; i < w->n_processes; i++) {
		struct world_process *p = w->process[i];

		if (!p->claimed)
			continue;
		/* the end of a process is told with its last events or after them */
		if (!p->announced || (!p->alive && !p->told_exit &&
				      (is_drained(w, p) || rng_below(&w->rng, 2) == 0)))
			tell_target(w, batch, p);
		tell_slot(w, batch, p);
	}
}

static void copy_chunk(struct world *w, struct kms_batch *batch, struct world_chunk *chunk,
		       bool complete)
{
	struct kms_batch_block *out;
	int result;

	if (chunk->delivered == chunk->block.fill)
		return;
	out = kms_batch_add_block(batch);
	must(out != NULL);
	out->image = w->config.image;
	out->target = chunk->target;
	out->from_bytes = chunk->delivered;
	out->complete = complete;
	out->block = chunk->block;
	result = kms_block_walk(&out->block, out->from_bytes, &out->summary, NULL, NULL);
	must(result == 0);
	chunk->delivered = chunk->block.fill;
}

static void copy_ring(struct world *w, struct kms_batch *batch, struct world_ring *r)
{
	for (size_t i = r->first; i < r->n_chunks; i++)
		copy_chunk(w, batch, r->chunk[i], i + 1 < r->n_chunks || !r->owner);
	if (r->n_chunks)
		r->first = r->owner ? r->n_chunks - 1 : r->n_chunks;
	r->lagging = false;
}

/* Rings in any order; the blocks of one stay in theirs. */
static void shuffle(struct world *w, unsigned order[WORLD_RINGS])
{
	for (unsigned i = 0; i < WORLD_RINGS; i++)
		order[i] = i;
	for (unsigned i = WORLD_RINGS - 1; i > 0; i--) {
		unsigned k = (unsigned)rng_below(&w->rng, i + 1);
		unsigned t = order[i];

		order[i] = order[k];
		order[k] = t;
	}
}

void world_poll(struct world *w, struct kms_batch *batch, bool still)
{
	unsigned order[WORLD_RINGS];

	w->polls++;
	if (!w->told_tables)
		tell_tables(w, batch);
	tell_cuts(w, batch);
	tell_processes(w, batch);
	shuffle(w, order);
	for (unsigned i = 0; i < WORLD_RINGS; i++) {
		struct world_ring *r = &w->ring[order[i]];

		if (r->n_chunks)
			copy_ring(w, batch, r);
		if (still || !r->owner || !w->config.skew)
			continue;
		for (uint64_t n = rng_below(&w->rng, w->config.skew + 1); n; n--)
			world_step(w);
	}
	batch->time_ns = w->now_ns + BATCH_OFFSET_NS;
}
