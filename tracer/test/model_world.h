/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A made-up world for the live model: processes that fork, threads with rings, an allocator with
 * slabs, large and guarded blocks. It writes what a target would (tracer/test/encode.h), and knows
 * the truth: which blocks are live, and what each site did. A reader copies the rings one after the
 * other while the world goes on, as the tracer's does.
 */
#ifndef KMS_TRACER_TEST_MODEL_WORLD_H
#define KMS_TRACER_TEST_MODEL_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "schema/spans.h"
#include "tracer/batch_build.h"
#include "tracer/model_internal.h"
#include "tracer/test/encode.h"
#include "tracer/test/rng.h"

enum {
	WORLD_SLABS = 24, /* places where a slab can be */
	WORLD_LARGE = 8,  /* ... a large block */
	WORLD_GUARD = 16, /* ... a guarded block */
	WORLD_PLACES = WORLD_SLABS + WORLD_LARGE + WORLD_GUARD,
	WORLD_BLOCKS = 64, /* of a slab at most */
	WORLD_CACHES = 8,
	WORLD_NODES = 200,
	WORLD_TARGETS = 96,
	WORLD_RINGS = 64,
};

/** A world that cannot go on ends the test. */
static inline void must(bool condition)
{
	if (!condition)
		abort();
}

/** What may happen. Shares are in 1 of so many steps, 0 never. */
struct world_config {
	uint32_t image;
	uint32_t first_target;
	bool cross;  /* frees by other threads than the owner's */
	bool regrow; /* slabs are released and made again */
	bool large;  /* large blocks come and go */
	bool guard;
	unsigned fork; /* a process forks */
	unsigned exit;
	unsigned thread; /* a thread begins or ends */
	unsigned lose;   /* a ring begins to lose events */
	unsigned trace;  /* a process switches recording off, or on again */
	unsigned late;   /* a forked child makes its first call only after up to so many steps */
	unsigned skew;   /* steps that pass while one ring is copied, at most */
};

/** A block of one process. */
struct world_block {
	uint64_t address;
	uint64_t size;
	uint32_t node;
	uint32_t owner; /* target that allocated it */
	uint16_t cache;
	uint16_t last_ring;
	uint64_t last_poll;
	uint8_t generation;
	uint32_t heard; /* session of its last event + 1, if it was recorded in time */
	bool live;
	bool known;   /* its allocation was recorded in the present session */
	bool tainted; /* an event of its address was lost */
};

enum world_kind {
	WORLD_IS_SLAB = 0,
	WORLD_IS_LARGE = 1,
	WORLD_IS_GUARD = 2,
};

/** A place of the address space in one process. */
struct world_place {
	enum world_kind kind;
	uint64_t base;
	uint32_t pages, stride, count;
	uint16_t cache;
	bool made;
	bool used; /* was made before: its memory is not fresh */
	bool tainted;
	uint64_t freed_poll; /* guard: when it went into the FIFO */
	struct world_block block[WORLD_BLOCKS];
};

struct world_process {
	uint32_t target; /* 0 not in use */
	uint32_t parent;
	uint32_t slot;
	bool alive;
	bool claimed;   /* has its slot; a forked child gets it with its first call */
	bool announced; /* the reader told the model */
	bool told_exit;
	bool traced;
	uint8_t session;     /* of recording */
	uint8_t told;        /* the last session that an event was written in */
	uint64_t forked_ns;  /* when its last child made its first call */
	uint64_t first_call; /* step at which that will be */
	uint64_t fork_ns;
	uint32_t cut_first, cut_count;
	struct kms_fork_cut cut[WORLD_RINGS];
	uint32_t n_cuts;
	uint32_t n_rings;
	struct world_place place[WORLD_PLACES];
};

struct world_chunk {
	struct kms_block block;
	uint32_t delivered;
	uint32_t target;
};

struct world_ring {
	struct world_process *owner; /* NULL closed */
	uint32_t target;
	struct enc_writer writer;
	struct world_chunk **chunk;
	size_t n_chunks, room;
	size_t first; /* chunk not yet wholly delivered */
	uint64_t seq, number, lost;
	bool traced;       /* as its thread has noticed */
	uint8_t session;   /* likewise */
	bool in_call;      /* its thread notices what is new only with its next call but one */
	unsigned dropping; /* events that will still be lost */
	bool lagging;      /* something is still to be delivered */
};

/** What a site did. */
struct world_site {
	uint64_t allocs, frees, live, live_bytes;
};

struct world {
	struct world_config config;
	struct rng rng;
	uint64_t now_ns;
	uint64_t step, polls;
	bool stamp; /* events get times of their own */
	uint64_t emitted, dropped;
	struct world_process *process[WORLD_TARGETS];
	size_t n_processes;
	struct world_ring ring[WORLD_RINGS];
	struct kms_fork_cut cut[KMS_MAX_FORK_CUTS];
	uint32_t n_cuts, told_cuts;
	struct world_site site[WORLD_TARGETS][WORLD_NODES + 1][WORLD_CACHES];
	bool told_tables;
};

struct world *world_create(const struct world_config *config, uint64_t seed);
void world_destroy(struct world *world);

/** One thing happens. */
void world_step(struct world *world);

/** No ring loses anything any more, and what was lost is written. */
void world_settle(struct world *world);

/** Copies all rings into a batch, the world going on meanwhile unless @still. */
void world_poll(struct world *world, struct kms_batch *batch, bool still);

/** Compares the model with the truth; prints the first difference. */
bool world_check(const struct world *world, const struct kms_model *model);

/** Where nothing was lost: lists of blocks and slabs, and what addresses are, against the truth. */
bool world_check_query(const struct world *world, const struct kms_model *model);

/** Do the model's figures fit each other, the peak among them? Prints the first that does not. */
bool world_check_figures(const struct kms_model *model);

#endif
