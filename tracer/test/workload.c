/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/test/workload.h"

#include <stdlib.h>
#include <string.h>

#include "tracer/test/encode.h"
#include "tracer/test/rng.h"

enum {
	CLASSES = 52,
	STEPS_MAX = 24,
	SITES_MAX = 16384,
	KEPT_MAX = 1 << 16,
	SLAB_BYTES = 16 << 10,
	STAMP_EVERY = 64,
};

/* What makes a program look like itself. */
struct shape {
	const char *name;
	uint32_t sites;
	uint32_t operations;   /* kinds of operations: fixed sequences of allocations */
	uint32_t steps;        /* allocations in the longest */
	uint32_t loop;         /* operations in a loop */
	uint32_t turns;        /* of a loop, at most */
	uint32_t varied;       /* of 100 sites so many ask for a size that varies */
	uint32_t sizes;        /* largest usual size */
	uint32_t keep_percent; /* of the blocks live on, in a pool of ... */
	uint32_t kept;
	bool random_free; /* ... and leave it in random order, else oldest first */
	uint32_t ns;      /* between events */
};

static const struct shape shapes[] = {
	{"python",   2000,  300,  12, 6,  1500, 3,  500,  2,  30000, false, 60},
	{"churn",    24,    12,   4,  6,  4000, 15, 96,   1,  200,   true,  20},
	{"espresso", 400,   120,  8,  6,  100,  12, 3000, 8,  1000,  true,  30},
	{"compiler", 12000, 6000, 10, 12, 12,   12, 2000, 15, 60000, false, 80},
};

const char *const workload_names[] = {"python", "churn", "espresso", "compiler", NULL};

struct site {
	uint32_t alloc_node, free_node;
	uint32_t size;
	bool varied;
};

struct operation {
	uint32_t steps;
	uint16_t site[STEPS_MAX];
};

struct live {
	uint64_t address;
	uint64_t size;
	uint32_t site;
};

struct magazine {
	uint64_t *address;
	size_t n, room;
};

struct workload {
	const struct shape *shape;
	struct rng rng;
	struct site site[SITES_MAX];
	struct operation *operation;
	uint32_t loop[16];
	uint32_t turns_left, at; /* in the loop */
	struct live open[STEPS_MAX];
	uint32_t n_open;
	bool freeing; /* the second half of an operation */
	uint32_t step;
	struct live kept[KEPT_MAX];
	uint32_t n_kept, oldest;
	struct live pending; /* left out by the last block for want of room */
	bool has_pending, pending_free;
	struct magazine class[CLASSES];
	uint32_t class_bytes[CLASSES];
	uint64_t next_slab;
	uint64_t events, time_ns, number, seq, last_address;
};

static void setup_classes(struct workload *w)
{
	uint32_t n = 0;

	for (uint32_t bytes = 16; bytes <= 128; bytes += 16)
		w->class_bytes[n++] = bytes;
	for (uint32_t base = 128; n < CLASSES; base *= 2)
		for (uint32_t part = 1; part <= 4 && n < CLASSES; part++)
			w->class_bytes[n++] = base + base / 4 * part;
}

static struct magazine *class_of(struct workload *w, uint64_t size)
{
	for (unsigned i = 0; i < CLASSES; i++)
		if (w->class_bytes[i] >= size + 2)
			return &w->class[i];
	return &w->class[CLASSES - 1];
}

static void magazine_push(struct magazine *m, uint64_t address)
{
	if (m->n == m->room) {
		m->room = m->room ? m->room * 2 : 64;
		m->address = realloc(m->address, m->room * sizeof(*m->address));
		if (!m->address)
			abort();
	}
	m->address[m->n++] = address;
}

static uint64_t take_block(struct workload *w, uint64_t size)
{
	struct magazine *m = class_of(w, size);
	uint32_t bytes = w->class_bytes[m - w->class];
	uint32_t slab = bytes < SLAB_BYTES / 8 ? SLAB_BYTES : bytes * 8;

	if (!m->n) {
		for (uint32_t i = (slab - 16) / bytes; i-- > 0;)
			magazine_push(m, w->next_slab + 16 + (uint64_t)i * bytes);
		w->next_slab += (slab + 4095) & ~4095u;
	}
	return m->address[--m->n];
}

static uint32_t usual_size(struct workload *w)
{
	/* small ones are commoner: a product of two */
	uint64_t limit = w->shape->sizes;

	return (uint32_t)(8 + rng_below(&w->rng, limit) * rng_below(&w->rng, limit) / limit);
}

static void setup_program(struct workload *w)
{
	uint32_t node = 1;

	for (uint32_t i = 0; i < w->shape->sites; i++) {
		struct site *s = &w->site[i];

		node += 1 + (uint32_t)rng_below(&w->rng, 4);
		s->alloc_node = node;
		node += 1 + (uint32_t)rng_below(&w->rng, 3);
		s->free_node = node;
		s->size = usual_size(w);
		s->varied = rng_below(&w->rng, 100) < w->shape->varied;
	}
	for (uint32_t i = 0; i < w->shape->operations; i++) {
		struct operation *o = &w->operation[i];

		o->steps = 1 + (uint32_t)rng_below(&w->rng, w->shape->steps);
		for (uint32_t k = 0; k < o->steps; k++)
			o->site[k] = (uint16_t)rng_below(&w->rng, w->shape->sites);
	}
}

struct workload *workload_create(const char *name, uint64_t seed)
{
	struct workload *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	rng_init(&w->rng, seed);
	for (size_t i = 0; i < sizeof(shapes) / sizeof(*shapes); i++)
		if (strcmp(shapes[i].name, name) == 0)
			w->shape = &shapes[i];
	if (w->shape)
		w->operation = calloc(w->shape->operations, sizeof(*w->operation));
	if (!w->operation) {
		free(w);
		return NULL;
	}
	w->next_slab = UINT64_C(0x7f1200000000);
	w->last_address = w->next_slab;
	w->time_ns = 1000;
	setup_classes(w);
	setup_program(w);
	return w;
}

void workload_destroy(struct workload *w)
{
	if (!w)
		return;
	for (unsigned i = 0; i < CLASSES; i++)
		free(w->class[i].address);
	free(w->operation);
	free(w);
}

static void next_operation(struct workload *w)
{
	if (++w->at < w->shape->loop)
		return;
	w->at = 0;
	if (w->turns_left-- > 0)
		return;
	w->turns_left = (uint32_t)rng_below(&w->rng, w->shape->turns);
	for (uint32_t i = 0; i < w->shape->loop; i++) {
		/* few operations make most loops */
		uint64_t n = w->shape->operations;

		w->loop[i] = (uint32_t)(rng_below(&w->rng, n) * rng_below(&w->rng, n) / n);
	}
}

static struct live new_block(struct workload *w, uint32_t site)
{
	struct live block = {.site = site, .size = w->site[site].size};

	if (w->site[site].varied)
		block.size += rng_below(&w->rng, 1 + block.size / 2);
	block.address = take_block(w, block.size);
	return block;
}

/* A block outlives its operation; if the pool is full another one leaves it. */
static bool keep(struct workload *w, struct live *block)
{
	struct live gone;
	uint32_t at;

	if (w->n_kept < w->shape->kept) {
		w->kept[w->n_kept++] = *block;
		return false;
	}
	at = w->shape->random_free ? (uint32_t)rng_below(&w->rng, w->n_kept)
				   : w->oldest++ % w->n_kept;
	gone = w->kept[at];
	w->kept[at] = *block;
	*block = gone;
	return true;
}

/* The next event; @is_free says which. */
static struct live next_event(struct workload *w, bool *is_free)
{
	for (;;) {
		const struct operation *o = &w->operation[w->loop[w->at]];

		if (!w->freeing && w->step < o->steps) {
			struct live block = new_block(w, o->site[w->step++]);

			w->open[w->n_open++] = block;
			*is_free = false;
			return block;
		}
		w->freeing = true;
		if (w->n_open) {
			struct live block = w->open[--w->n_open];

			if (rng_below(&w->rng, 100) < w->shape->keep_percent && !keep(w, &block))
				continue;
			*is_free = true;
			return block;
		}
		w->freeing = false;
		w->step = 0;
		next_operation(w);
	}
}

static bool put_event(struct workload *w, struct enc_writer *enc, const struct live *block,
		      bool is_free)
{
	const struct site *site = &w->site[block->site];
	struct enc_event e = {
		.kind = is_free ? KMS_EVENT_FREE : KMS_EVENT_ALLOC,
		.stack = is_free ? site->free_node : site->alloc_node,
		.address = block->address,
		.size = block->size,
		.checks = KMS_CHECK_SIZE | KMS_CHECK_REDZONE,
	};

	if ((w->events + 1) % STAMP_EVERY == 0) {
		e.stamp = true;
		e.time_ns = w->time_ns;
	}
	return enc_put(enc, &e);
}

void workload_block(struct workload *w, struct kms_block *out)
{
	struct enc_writer enc;
	struct enc_open open = {
		.number = ++w->number,
		.first_seq = w->seq,
		.time_ns = w->time_ns,
		.base_address = w->last_address,
		.checks = KMS_CHECK_SIZE | KMS_CHECK_REDZONE,
	};

	memset(out, 0, sizeof(*out));
	enc_begin(&enc, out, &open);
	for (;;) {
		if (!w->has_pending)
			w->pending = next_event(w, &w->pending_free);
		w->has_pending = !put_event(w, &enc, &w->pending, w->pending_free);
		if (w->has_pending)
			return;
		if (w->pending_free)
			magazine_push(class_of(w, w->pending.size), w->pending.address);
		w->last_address = w->pending.address & ~UINT64_C(7);
		w->events++;
		w->seq++;
		w->time_ns += w->shape->ns / 2 + rng_below(&w->rng, w->shape->ns);
	}
}

uint64_t workload_some_address(struct workload *w, uint32_t *node)
{
	const struct live *block = &w->kept[rng_below(&w->rng, w->n_kept ? w->n_kept : 1)];

	*node = w->site[block->site].alloc_node;
	return block->address;
}

uint64_t workload_events(const struct workload *w)
{
	return w->events;
}
