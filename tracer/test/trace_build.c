/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/test/trace_build.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/snapshot.h"
#include "tracer/batch_build.h"
#include "tracer/block.h"

static const char *const cache_names[] = {"malloc-64", "kmem-64", "pool"};

static void must(bool ok)
{
	if (!ok)
		abort();
}

void tb_init(struct tb *tb, uint64_t seed, uint32_t n_rings, uint32_t n_targets)
{
	memset(tb, 0, sizeof(*tb));
	rng_init(&tb->rng, seed);
	tb->n_rings = n_rings;
	tb->targets = n_targets;
	tb->n_nodes = 1;
	tb->time_ns = 1000;
	tb->batch = kms_batch_create();
	must(tb->batch != NULL);
}

void tb_deinit(struct tb *tb)
{
	for (uint32_t i = 0; i < tb->n_rings; i++)
		free(tb->ring[i].event);
	kms_batch_put(tb->batch);
}

const char *tb_cache_name(uint64_t address)
{
	return cache_names[(address - TB_HEAP_BASE) / ((uint64_t)TB_SLAB_PAGES * KMS_PAGE_BYTES) %
			   3];
}

/* Copies what the block gained into the batch. */
static void send_block(struct tb *tb, uint32_t ring, bool complete)
{
	struct tb_ring *r = &tb->ring[ring];
	struct kms_batch_block *b = kms_batch_add_block(tb->batch);

	must(b != NULL);
	b->target = b->image = tb_target(tb, ring);
	b->from_bytes = r->sent_bytes;
	b->complete = complete;
	memcpy(&b->block, &r->block, sizeof(b->block));
	must(kms_block_walk(&b->block, r->sent_bytes, &b->summary, NULL, NULL) == 0);
	r->sent_bytes = r->block.fill;
	if (complete)
		r->is_open = false;
}

static void open_block(struct tb *tb, uint32_t ring)
{
	struct tb_ring *r = &tb->ring[ring];
	struct enc_open open = {
		.number = ++r->number,
		.first_seq = r->seq,
		.time_ns = tb->time_ns,
		.base_address = TB_HEAP_BASE,
		.thread = ring,
		.ring = (uint16_t)ring,
	};

	memset(&r->block, 0, sizeof(r->block));
	enc_begin(&r->enc, &r->block, &open);
	r->is_open = true;
	r->sent_bytes = 0;
}

void tb_put(struct tb *tb, uint32_t ring, struct enc_event event)
{
	struct tb_ring *r = &tb->ring[ring];

	if (!r->is_open)
		open_block(tb, ring);
	while (!enc_put(&r->enc, &event)) {
		send_block(tb, ring, true);
		open_block(tb, ring);
	}
	if (r->n_events == r->room) {
		r->room = r->room ? r->room * 2 : 256;
		r->event = realloc(r->event, r->room * sizeof(*r->event));
		must(r->event != NULL);
	}
	r->event[r->n_events++] = event;
	r->seq += event.kind == KMS_EVENT_LOST ? event.value : 1;
	tb->produced += event.kind == KMS_EVENT_LOST ? event.value : 1;
}

/* In every target: each has the same addresses. */
static void grow_slab(struct tb *tb)
{
	struct enc_event e = {
		.kind = KMS_EVENT_SLAB_GROW,
		.address = TB_HEAP_BASE + (uint64_t)tb->n_slabs * TB_SLAB_PAGES * KMS_PAGE_BYTES,
		.value = TB_SLAB_PAGES,
		.cache = tb->n_slabs % 3,
		.first = 16,
		.stride = TB_OBJECT_BYTES,
		.checks = 3,
		.stamp = true,
		.time_ns = tb->time_ns,
	};

	for (uint32_t ring = 0; ring < tb->targets; ring++)
		tb_put(tb, ring, e);
	tb->n_slabs++;
}

static struct enc_event random_event(struct tb *tb)
{
	uint64_t objects = TB_SLAB_PAGES * KMS_PAGE_BYTES / TB_OBJECT_BYTES;
	struct enc_event e = {
		.kind = 1 + (uint32_t)rng_below(&tb->rng, 2),
		.stack = (uint32_t)rng_below(&tb->rng, tb->n_nodes),
		.address =
			TB_HEAP_BASE + rng_below(&tb->rng, tb->n_slabs * objects) * TB_OBJECT_BYTES,
		.size = 1 + rng_below(&tb->rng, 64),
		.checks = 3,
		.time_ns = tb->time_ns,
	};

	if (rng_below(&tb->rng, 40) == 0)
		e.stamp = true;
	if (rng_below(&tb->rng, 50) == 0)
		e.attributes = KMS_ATTR_REALLOC;
	if (rng_below(&tb->rng, 300) == 0)
		e = (struct enc_event){
			.kind = KMS_EVENT_LOST, .value = 1 + rng_below(&tb->rng, 9), .checks = 3};
	else if (rng_below(&tb->rng, 300) == 0)
		e.kind = KMS_EVENT_ALLOC_FAILED;
	else if (rng_below(&tb->rng, 300) == 0)
		e.kind = KMS_EVENT_CHECK;
	return e;
}

void tb_run(struct tb *tb, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		/* one ring writes most, some next to nothing */
		uint64_t pick = rng_below(&tb->rng, tb->n_rings) * rng_below(&tb->rng, 100) / 99;
		uint32_t ring = (uint32_t)pick % tb->n_rings;

		tb->time_ns += rng_below(&tb->rng, 200);
		if (tb->n_slabs < 3 || rng_below(&tb->rng, 2000) == 0)
			grow_slab(tb);
		if (rng_below(&tb->rng, 50) == 0 && tb->n_nodes < 100000)
			tb->n_nodes++;
		tb_put(tb, ring, random_event(tb));
	}
}

struct kms_batch_table *tb_table(struct tb *tb, uint32_t image, uint32_t section, uint32_t first,
				 uint32_t count, uint32_t entry_bytes)
{
	struct kms_batch_table *t =
		kms_batch_add_table(tb->batch, section, first, count, entry_bytes);

	must(t != NULL);
	t->image = image;
	return t;
}

static void send_nodes(struct tb *tb)
{
	uint32_t first = tb->sent_nodes, n = tb->n_nodes - first;

	for (uint32_t image = 1; n && image <= tb->targets; image++) {
		struct kms_batch_table *t =
			tb_table(tb, image, KMS_SEC_NODE, first, n, sizeof(struct kms_node));

		for (uint32_t i = 0; i < n; i++) {
			struct kms_node node = {
				.pc = 0x400000 + (first + i) * 16,
				.parent = (first + i) / 2,
				.epoch_ready = KMS_NODE_READY,
			};

			memcpy(t->data + i * sizeof(node), &node, sizeof(node));
		}
	}
	tb->sent_nodes = tb->n_nodes;
}

static void send_names(struct tb *tb, uint32_t image)
{
	struct kms_batch_table *t =
		tb_table(tb, image, KMS_SEC_CACHE, 0, 3, sizeof(struct kms_cache_entry));

	for (uint32_t i = 0; i < 3; i++) {
		struct kms_cache_entry cache = {
			.object_bytes = 64, .stride_bytes = 64, .ready = 1, .kind = 1 + i};

		(void)snprintf(cache.name, sizeof(cache.name), "%s", cache_names[i]);
		memcpy(t->data + i * sizeof(cache), &cache, sizeof(cache));
	}
	t = tb_table(tb, image, KMS_SEC_THREAD, 0, tb->n_rings, sizeof(struct kms_thread));
	for (uint32_t i = 0; i < tb->n_rings; i++) {
		struct kms_thread thread = {.tid = TB_FIRST_TID + i, .name = "worker", .ready = 1};

		memcpy(t->data + i * sizeof(thread), &thread, sizeof(thread));
	}
}

uint32_t tb_string(struct tb *tb, uint32_t image, const char *text)
{
	uint32_t length = (uint32_t)strlen(text), units = 1 + (length + 7) / 8;
	struct kms_string_head head = {.ready = length + 1};
	uint32_t first = 2;
	struct kms_batch_table *t = tb_table(tb, image, KMS_SEC_STRING, first, units, 8);

	memset(t->data, 0, (size_t)units * 8);
	memcpy(t->data, &head, sizeof(head));
	memcpy(t->data + sizeof(head), text, length);
	return first;
}

static void send_targets(struct tb *tb, uint32_t state)
{
	for (uint32_t id = 1; id <= tb->targets; id++) {
		struct kms_batch_target *t = kms_batch_add_target(tb->batch);

		must(t != NULL);
		t->id = t->image = id;
		t->pid = 500 + id;
		t->state = state;
		t->exit_status = state == KMS_STATE_EXITED ? 0 : -1;
		t->start_wall_ns = TB_START_WALL_NS;
		t->region_start_wall_ns = TB_START_WALL_NS;
		(void)snprintf(t->name, sizeof(t->name), "program");
		(void)snprintf(t->command, sizeof(t->command), "program --with arguments");
	}
}

static void send_rings(struct tb *tb)
{
	for (uint32_t i = 0; i < tb->n_rings; i++) {
		struct kms_batch_ring *r = kms_batch_add_ring(tb->batch);
		uint64_t lost = 0;

		must(r != NULL);
		for (size_t k = 0; k < tb->ring[i].n_events; k++)
			if (tb->ring[i].event[k].kind == KMS_EVENT_LOST)
				lost += tb->ring[i].event[k].value;
		r->target = r->image = tb_target(tb, i);
		r->ring = i;
		r->claim = 1;
		r->produced = tb->ring[i].seq;
		r->lost = lost;
	}
}

static struct kms_batch *take_batch(struct tb *tb)
{
	struct kms_batch *batch = tb->batch;

	batch->time_ns = tb->time_ns;
	tb->batch = kms_batch_create();
	must(tb->batch != NULL);
	return batch;
}

struct kms_batch *tb_poll(struct tb *tb, bool all)
{
	if (!tb->introduced) {
		send_targets(tb, KMS_STATE_RUNNING);
		for (uint32_t image = 1; image <= tb->targets; image++)
			send_names(tb, image);
		tb->introduced = true;
	}
	for (uint32_t i = 0; i < tb->n_rings; i++)
		if (tb->ring[i].is_open && tb->ring[i].sent_bytes < tb->ring[i].block.fill &&
		    (all || rng_below(&tb->rng, 2)))
			send_block(tb, i, false);
	send_nodes(tb);
	send_rings(tb);
	return take_batch(tb);
}

void tb_complete(struct tb *tb, uint32_t ring)
{
	send_block(tb, ring, true);
}

struct kms_batch *tb_end(struct tb *tb)
{
	for (uint32_t i = 0; i < tb->n_rings; i++)
		if (tb->ring[i].is_open)
			send_block(tb, i, true);
	send_nodes(tb);
	send_rings(tb);
	send_targets(tb, KMS_STATE_EXITED);
	tb->batch->what = KMS_BATCH_END;
	return take_batch(tb);
}
