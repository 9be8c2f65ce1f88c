/* SPDX-License-Identifier: BSD-2-Clause */
/* See model_world.h: what happens in the world. */
#include "tracer/test/model_world.h"

#include <stdlib.h>
#include <string.h>

#define WORLD_BASE UINT64_C(0x7f0000000000)

enum {
	PLACE_STRIDE = 1 << 18,
	SLAB_PAGES = 4,
	GUARD_PAGES = 2,
	FORK_NS = 60000000, /* after so long a child has its set */
	LARGE_CACHE = WORLD_CACHES - 1,
};

static const uint32_t strides[WORLD_CACHES] = {16, 32, 48, 80, 256, 1024, 2048, 0};

static bool chance(struct world *w, unsigned one_in)
{
	return one_in && rng_below(&w->rng, one_in) == 0;
}

static void place_init(struct world_place *place, unsigned index)
{
	place->base = WORLD_BASE + (uint64_t)index * PLACE_STRIDE;
	if (index < WORLD_SLABS) {
		place->kind = WORLD_IS_SLAB;
		place->pages = SLAB_PAGES;
	} else if (index < WORLD_SLABS + WORLD_LARGE) {
		place->kind = WORLD_IS_LARGE;
		place->cache = LARGE_CACHE;
		place->count = 1;
	} else {
		place->kind = WORLD_IS_GUARD;
		place->pages = GUARD_PAGES;
		place->count = 1;
		place->made = true;
	}
}

static struct world_process *process_create(struct world *w)
{
	struct world_process *p = calloc(1, sizeof(*p));

	must(p && w->n_processes < WORLD_TARGETS);
	p->target = w->config.first_target + (uint32_t)w->n_processes;
	p->slot = (uint32_t)w->n_processes;
	p->alive = p->traced = true;
	w->process[w->n_processes++] = p;
	return p;
}

static struct world_site *site_of(struct world *w, uint32_t target, uint32_t node, uint16_t cache)
{
	return &w->site[target - w->config.first_target][node][cache];
}

/* Opens the next block of a ring. */
static void ring_open_block(struct world *w, struct world_ring *r)
{
	struct world_chunk *chunk = calloc(1, sizeof(*chunk));
	struct enc_open open = {
		.number = ++r->number,
		.first_seq = r->seq,
		.time_ns = w->now_ns,
		.base_address = WORLD_BASE,
		.slot = r->owner->slot,
		.thread = 1 + (uint32_t)(r - w->ring),
		.ring = (uint16_t)(r - w->ring),
	};

	must(chunk != NULL);
	chunk->target = r->target;
	if (r->n_chunks == r->room) {
		r->room = r->room ? r->room * 2 : 16;
		r->chunk = realloc(r->chunk, r->room * sizeof(struct world_chunk *));
		must(r->chunk != NULL);
	}
	r->chunk[r->n_chunks++] = chunk;
	enc_begin(&r->writer, &chunk->block, &open);
	r->lagging = true;
}

static struct world_ring *ring_free(struct world *w)
{
	for (unsigned i = 0; i < WORLD_RINGS; i++)
		if (!w->ring[i].owner && !w->ring[i].lagging)
			return &w->ring[i];
	return NULL;
}

static struct world_ring *ring_of(struct world *w, const struct world_process *p)
{
	unsigned start = (unsigned)rng_below(&w->rng, WORLD_RINGS);

	for (unsigned i = 0; i < WORLD_RINGS; i++)
		if (w->ring[(start + i) % WORLD_RINGS].owner == p)
			return &w->ring[(start + i) % WORLD_RINGS];
	return NULL;
}

/* Writes what was lost at the begin of a new block. */
static void ring_tell_lost(struct world *w, struct world_ring *r)
{
	struct enc_event lost = {.kind = KMS_EVENT_LOST, .value = r->lost};
	bool fits;

	if (!r->lost)
		return;
	r->seq -= r->lost;
	ring_open_block(w, r);
	fits = enc_put(&r->writer, &lost);
	must(fits);
	r->seq += r->lost;
	w->dropped += r->lost;
	r->lost = 0;
}

/* Writes an event, or loses it; false if lost. */
static bool emit(struct world *w, struct world_ring *r, struct enc_event *event)
{
	bool slow = event->kind > KMS_EVENT_FREE;

	w->now_ns += 20 + rng_below(&w->rng, 400);
	if (!r->traced)
		return true;
	if (!r->dropping && chance(w, w->config.lose))
		r->dropping = 1 + (unsigned)rng_below(&w->rng, 20);
	if (r->dropping) {
		r->dropping--;
		r->seq++;
		r->lost++;
		return false;
	}
	ring_tell_lost(w, r);
	event->stamp = slow || w->stamp || r->session != r->writer.session || chance(w, 8);
	event->time_ns = w->now_ns;
	event->session = r->session;
	if (!enc_put(&r->writer, event)) {
		ring_open_block(w, r);
		if (!enc_put(&r->writer, event))
			abort();
	}
	r->seq++;
	r->lagging = true;
	w->emitted++;
	if (r->owner && r->session == r->owner->session)
		r->owner->told = r->session;
	return true;
}

static void ring_claim(struct world *w, struct world_ring *r, struct world_process *p)
{
	struct enc_event event = {.kind = KMS_EVENT_THREAD, .value = 1};

	r->owner = p;
	r->target = p->target;
	r->seq = 0;
	r->dropping = 0;
	r->lost = 0;
	r->traced = p->traced;
	r->session = p->session;
	r->in_call = false;
	p->n_rings++;
	ring_open_block(w, r);
	(void)emit(w, r, &event); /* a ring without events has no place in a fork's cuts */
}

/* What a ring leaves in the blocks it wrote of: another mark in each session. */
static uint16_t mark_of(const struct world *w, const struct world_ring *r)
{
	return (uint16_t)((r - w->ring + 1) | (r->session & 31) << 11);
}

/* Does the ring's thread know what its process does? */
static bool is_current(const struct world_ring *r)
{
	return r->traced == r->owner->traced && r->session == r->owner->session;
}

/* Does the block take a guard slot, whose generation is of other addresses too? */
static bool has_slot(uint32_t kind, uint32_t attributes)
{
	return kind == KMS_EVENT_ALLOC && attributes & KMS_ATTR_GUARDED;
}

/* An alloc or free as the allocator records it. */
static void emit_block(struct world *w, struct world_ring *r, struct world_block *b, uint32_t kind,
		       uint32_t node, uint32_t attributes)
{
	uint16_t mark = mark_of(w, r);
	struct enc_event event = {
		.kind = kind,
		.address = b->address,
		.size = b->size,
		.stack = node,
		.attributes = attributes,
		.has_generation = r->session ? b->last_ring != mark || has_slot(kind, attributes)
					     : b->last_ring != mark && b->last_ring,
		.generation = (uint8_t)(b->generation + 1),
	};

	if (!emit(w, r, &event))
		b->tainted = true;
	b->generation = r->traced ? (uint8_t)(b->generation + 1) : (uint8_t)rng_next(&w->rng);
	b->heard = r->traced && is_current(r) ? r->session + 1u : 0;
	b->last_ring = r->traced ? mark : KMS_SIDE_UNRECORDED;
	b->last_poll = w->polls;
}

static void do_alloc(struct world *w, struct world_ring *r, struct world_block *b, uint64_t size,
		     uint32_t attributes)
{
	struct world_site *site;

	b->size = size;
	b->node = 1 + (uint32_t)rng_below(&w->rng, WORLD_NODES);
	b->owner = r->target;
	site = site_of(w, b->owner, b->node, b->cache);
	emit_block(w, r, b, KMS_EVENT_ALLOC, b->node, attributes);
	b->live = true;
	b->known = r->traced && is_current(r);
	site->allocs++;
	site->live++;
	site->live_bytes += size;
}

static void do_free(struct world *w, struct world_ring *r, struct world_block *b,
		    uint32_t attributes)
{
	struct world_site *site = site_of(w, b->owner, b->node, b->cache);

	emit_block(w, r, b, KMS_EVENT_FREE, 1 + (uint32_t)rng_below(&w->rng, WORLD_NODES),
		   attributes);
	b->live = b->known = false;
	if (b->owner != r->target)
		return; /* inherited: its parent's site has it still */
	site->frees++;
	site->live--;
	site->live_bytes -= b->size;
}

static void slab_event(struct world *w, struct world_ring *r, struct world_place *place, bool grow)
{
	struct enc_event event = {
		.kind = grow ? KMS_EVENT_SLAB_GROW : KMS_EVENT_SLAB_RELEASE,
		.address = place->base,
		.value = place->pages,
		.cache = place->cache,
		.stride = place->stride,
		.first = 16,
	};

	w->now_ns += 10000; /* slow, and page stamps are that coarse */
	if (!emit(w, r, &event))
		place->tainted = true;
	w->now_ns += 10000;
}

static void place_make(struct world *w, struct world_ring *r, struct world_place *place)
{
	if (place->kind == WORLD_IS_SLAB) {
		place->cache = (uint16_t)rng_below(&w->rng, LARGE_CACHE);
		place->stride = strides[place->cache];
		place->count = (place->pages * 4096 - 16) / place->stride;
		place->count = place->count < WORLD_BLOCKS ? place->count : WORLD_BLOCKS;
	} else {
		place->pages = 1 + (uint32_t)rng_below(&w->rng, 40);
		place->stride = place->pages * 4096;
	}
	slab_event(w, r, place, true);
	for (uint32_t i = 0; i < place->count; i++)
		place->block[i] = (struct world_block){
			.address = place->base + 16 + (uint64_t)i * place->stride,
			.cache = place->cache,
			.last_ring = place->used ? KMS_SIDE_UNRECORDED : 0,
			.tainted = place->tainted,
		};
	place->made = place->used = true;
}

/*
 * Can this ring's thread give the slab up? It does so when the last block comes back out of its own
 * magazines; those of others came back before.
 */
static bool place_is_idle(const struct world *w, const struct world_ring *r,
			  const struct world_place *place)
{
	for (uint32_t i = 0; i < place->count; i++) {
		const struct world_block *b = &place->block[i];

		if (b->live || (b->last_ring != mark_of(w, r) && b->last_poll + 2 > w->polls))
			return false;
	}
	return true;
}

/* A call that began before recording was switched has nothing to do with what came after. */
static bool is_too_young(const struct world_ring *r, const struct world_block *b)
{
	return !is_current(r) && b->heard == r->owner->session + 1u;
}

static void step_guard(struct world *w, struct world_ring *r, struct world_place *place)
{
	struct world_block *b = &place->block[0];
	uint64_t size = 1 + rng_below(&w->rng, 2000);

	if (is_too_young(r, b))
		return;
	if (b->live) {
		do_free(w, r, b, KMS_ATTR_GUARDED);
		place->freed_poll = w->polls;
		return;
	}
	if (place->used && w->polls < place->freed_poll + 2)
		return; /* still in the FIFO */
	place->used = true;
	b->address = place->base + ((4096 - size) & ~UINT64_C(15));
	b->cache = 0;
	while (strides[b->cache] < size)
		b->cache++;
	do_alloc(w, r, b, size, KMS_ATTR_GUARDED);
}

static void step_block(struct world *w, struct world_ring *r, struct world_place *place)
{
	struct world_block *b = &place->block[rng_below(&w->rng, place->count)];
	uint16_t mark = mark_of(w, r);
	/* now and then the same block many times, as the top of a magazine is used */
	unsigned times = chance(w, 10) ? 1 + (unsigned)rng_below(&w->rng, 30) : 1;

	if (b->live && !w->config.cross && b->last_ring != mark)
		return;
	for (unsigned i = 0; i < times; i++) {
		if (is_too_young(r, b))
			return;
		if (b->live)
			do_free(w, r, b, 0);
		else
			do_alloc(w, r, b, 1 + rng_below(&w->rng, place->stride - 1), 0);
	}
}

static void step_large(struct world *w, struct world_ring *r, struct world_place *place)
{
	if (is_too_young(r, &place->block[0]))
		return;
	w->stamp = true; /* as the allocator does: a slow path */
	if (!place->made) {
		place_make(w, r, place);
		do_alloc(w, r, &place->block[0], place->stride - 100, 0);
	} else {
		do_free(w, r, &place->block[0], 0);
		slab_event(w, r, place, false);
		place->made = false;
	}
	w->stamp = false;
}

static void step_slab(struct world *w, struct world_ring *r, struct world_place *place)
{
	if (!place->made) {
		place_make(w, r, place);
	} else if (w->config.regrow && chance(w, 8) && place_is_idle(w, r, place)) {
		slab_event(w, r, place, false);
		place->made = false;
		return;
	}
	step_block(w, r, place);
}

static void step_memory(struct world *w, struct world_process *p, struct world_ring *r)
{
	unsigned limit = w->config.guard ? WORLD_PLACES : WORLD_SLABS + WORLD_LARGE;
	unsigned at = (unsigned)rng_below(&w->rng, limit);
	struct world_place *place = &p->place[at];

	if (place->kind == WORLD_IS_GUARD)
		step_guard(w, r, place);
	else if (place->kind == WORLD_IS_SLAB)
		step_slab(w, r, place);
	else if (w->config.large || !place->used)
		step_large(w, r, place);
}

/* Does a forked child that has not yet made a call hold its parent's copy? */
static bool has_pending_child(const struct world *w, const struct world_process *p)
{
	for (size_t i = 0; i < w->n_processes; i++)
		if (w->process[i]->parent == p->target && !w->process[i]->claimed)
			return true;
	return false;
}

/* Has a thread not written anything yet? A cut of its ring says nothing. */
static bool has_mute_thread(const struct world *w, const struct world_process *p)
{
	for (unsigned i = 0; i < WORLD_RINGS; i++)
		if (w->ring[i].owner == p && !w->ring[i].seq)
			return true;
	return false;
}

static void do_fork(struct world *w, struct world_process *p)
{
	struct world_process *child;
	uint32_t target, slot;

	if (w->n_processes == WORLD_TARGETS || !ring_free(w) || has_mute_thread(w, p))
		return;
	child = process_create(w);
	target = child->target;
	slot = child->slot;
	*child = *p;
	child->target = target;
	child->slot = slot;
	child->parent = p->target;
	child->claimed = child->announced = child->told_exit = false;
	child->forked_ns = 0;
	child->n_rings = 0;
	child->n_cuts = 0;
	child->cut_count = 0;
	child->first_call = w->step + (w->config.late ? rng_below(&w->rng, w->config.late) : 0);
	for (unsigned i = 0; i < WORLD_RINGS; i++) {
		if (w->ring[i].owner != p)
			continue;
		child->cut[child->n_cuts].ring = i;
		child->cut[child->n_cuts].ready = 1;
		child->cut[child->n_cuts++].seq = w->ring[i].seq;
	}
}

static struct world_process *parent_of(const struct world *w, const struct world_process *p)
{
	return w->process[p->parent - w->config.first_target];
}

/* A forked child's first call: slot, cuts, ring, then the record. */
static bool first_call(struct world *w, struct world_process *p)
{
	struct world_ring *r = ring_free(w);
	struct enc_event event = {.kind = KMS_EVENT_FORK, .value = p->slot};

	if (!r || w->n_cuts + p->n_cuts > KMS_MAX_FORK_CUTS)
		return false;
	p->fork_ns = w->now_ns;
	p->cut_first = w->n_cuts;
	p->cut_count = p->n_cuts;
	memcpy(&w->cut[w->n_cuts], p->cut, p->n_cuts * sizeof(p->cut[0]));
	w->n_cuts += p->n_cuts;
	p->claimed = true;
	parent_of(w, p)->forked_ns = w->now_ns;
	ring_claim(w, r, p);
	emit(w, r, &event);
	return true;
}

static void do_exit(struct world *w, struct world_process *p)
{
	if (p == w->process[0] || has_pending_child(w, p))
		return;
	for (unsigned i = 0; i < WORLD_RINGS; i++) {
		if (w->ring[i].owner != p)
			continue;
		ring_tell_lost(w, &w->ring[i]);
		w->ring[i].owner = NULL;
	}
	p->alive = false;
	p->n_rings = 0;
}

static void step_thread(struct world *w, struct world_process *p)
{
	struct world_ring *r;

	if (has_pending_child(w, p))
		return; /* when the fork was is known no better than by that child's first call */
	if (p->n_rings > 1 && chance(w, 2)) {
		r = ring_of(w, p);
		ring_tell_lost(w, r);
		r->owner = NULL;
		p->n_rings--;
		return;
	}
	r = ring_free(w);
	if (r)
		ring_claim(w, r, p);
}

/* Nothing of what is there is known any more. */
static void forget(struct world_process *p)
{
	for (unsigned i = 0; i < WORLD_PLACES; i++)
		for (unsigned k = 0; k < WORLD_BLOCKS; k++)
			p->place[i].block[k].known = false;
}

static void step_trace(struct world *w, struct world_process *p)
{
	if (has_pending_child(w, p) || (p->forked_ns && p->forked_ns + FORK_NS > w->now_ns))
		return; /* a child needs what its parent knew at the fork */
	p->traced = !p->traced;
	if (p->traced) {
		p->session++;
		forget(p);
	}
	for (unsigned i = 0; i < WORLD_RINGS; i++)
		if (w->ring[i].owner == p)
			w->ring[i].in_call = chance(w, 2);
}

/* The ring's thread makes a call, or goes on with one. */
static struct world_ring *ring_call(struct world *w, struct world_process *p)
{
	struct world_ring *r = ring_of(w, p);

	if (!r->in_call) {
		r->traced = p->traced;
		r->session = p->session;
	}
	r->in_call = false;
	return r;
}

void world_step(struct world *w)
{
	struct world_process *p = w->process[rng_below(&w->rng, w->n_processes)];

	w->step++;
	w->now_ns += rng_below(&w->rng, 300);
	if (!p->alive || (!p->claimed && (p->first_call > w->step || !first_call(w, p))))
		return;
	if (chance(w, w->config.fork))
		do_fork(w, p);
	else if (chance(w, w->config.thread))
		step_thread(w, p);
	else if (chance(w, w->config.exit))
		do_exit(w, p);
	else if (chance(w, w->config.trace))
		step_trace(w, p);
	else
		step_memory(w, p, ring_call(w, p));
}

/* Whoever lives records in the end, and says so. */
static void resume(struct world *w, struct world_process *p)
{
	struct enc_event event = {.kind = KMS_EVENT_THREAD, .value = 1};
	struct world_ring *r;

	if (!p->alive || !p->claimed || !w->config.trace)
		return;
	if (!p->traced) {
		p->traced = true;
		p->session++;
		forget(p);
	}
	r = ring_of(w, p);
	r->traced = true;
	r->session = p->session;
	(void)emit(w, r, &event); /* nothing is lost any more */
}

void world_settle(struct world *w)
{
	w->config.lose = 0;
	for (size_t i = 0; i < w->n_processes; i++)
		resume(w, w->process[i]);
	for (unsigned i = 0; i < WORLD_RINGS; i++) {
		w->ring[i].dropping = 0;
		if (w->ring[i].owner)
			ring_tell_lost(w, &w->ring[i]);
	}
}

struct world *world_create(const struct world_config *config, uint64_t seed)
{
	struct world *w = calloc(1, sizeof(*w));
	struct world_process *first;

	if (!w)
		return NULL;
	w->config = *config;
	rng_init(&w->rng, seed);
	w->now_ns = 1000000;
	first = process_create(w);
	first->claimed = true;
	for (unsigned i = 0; i < WORLD_PLACES; i++)
		place_init(&first->place[i], i);
	ring_claim(w, &w->ring[0], first);
	return w;
}

void world_destroy(struct world *w)
{
	for (unsigned i = 0; i < WORLD_RINGS; i++) {
		for (size_t k = 0; k < w->ring[i].n_chunks; k++)
			free(w->ring[i].chunk[k]);
		free(w->ring[i].chunk);
	}
	for (size_t i = 0; i < w->n_processes; i++)
		free(w->process[i]);
	free(w);
}
