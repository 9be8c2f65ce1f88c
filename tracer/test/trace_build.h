/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A run for tests of the store: rings that fill with random events, and the batches that a reader
 * would make of them. What went in is kept, to compare with what comes out.
 */
#ifndef KMS_TRACER_TEST_TRACE_BUILD_H
#define KMS_TRACER_TEST_TRACE_BUILD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tracer/batch.h"
#include "tracer/test/encode.h"
#include "tracer/test/rng.h"

enum {
	TB_RINGS_MAX = 64,
	TB_FIRST_TID = 1000, /* of ring 0; each ring is one thread */
	TB_SLAB_PAGES = 4,
	TB_OBJECT_BYTES = 64,
};

#define TB_START_WALL_NS UINT64_C(1700000000000000000)
#define TB_HEAP_BASE     UINT64_C(0x7f3400000000)

/** A thread and its ring. */
struct tb_ring {
	struct enc_writer enc;
	struct kms_block block;
	bool is_open;
	uint32_t sent_bytes; /* of the open block, in batches made so far */
	uint64_t number, seq;
	struct enc_event *event; /* all of them, in order */
	size_t n_events, room;
};

struct tb {
	struct rng rng;
	uint32_t n_rings;
	struct tb_ring ring[TB_RINGS_MAX];
	struct kms_batch *batch; /* next to be sent */
	uint64_t time_ns;
	uint32_t n_nodes, sent_nodes;
	uint32_t n_slabs; /* each of TB_SLAB_PAGES, cache = number % 3 */
	bool introduced;  /* targets, threads and caches were sent */
	uint32_t targets; /* rings belong to target 1 + ring % targets; one image each */
	uint64_t produced;
};

/** Exits the program without memory. */
void tb_init(struct tb *tb, uint64_t seed, uint32_t n_rings, uint32_t n_targets);
void tb_deinit(struct tb *tb);

/** Lets the rings write n more events. */
void tb_run(struct tb *tb, size_t n);

/** Writes one event into a ring. Takes a block more if it does not fit. */
void tb_put(struct tb *tb, uint32_t ring, struct enc_event event);

/** Adds entries of an image's table to the next batch; zero until the caller writes them. */
struct kms_batch_table *tb_table(struct tb *tb, uint32_t image, uint32_t section, uint32_t first,
				 uint32_t count, uint32_t entry_bytes);

/** Adds a string to an image's table; returns its index. For tests with one string only. */
uint32_t tb_string(struct tb *tb, uint32_t image, const char *text);

/**
 * What a reader would send now.
 * Shape:  @all: open blocks of all rings too, else of some
 * Owner:  the caller puts it
 */
struct kms_batch *tb_poll(struct tb *tb, bool all);

/** Puts the ring's open block, whatever it holds, into the next batch as complete. */
void tb_complete(struct tb *tb, uint32_t ring);

/** The same as the run ends: every block complete, targets exited. */
struct kms_batch *tb_end(struct tb *tb);

/** Target that a ring belongs to. */
static inline uint32_t tb_target(const struct tb *tb, uint32_t ring)
{
	return 1 + ring % tb->targets;
}

/** Name of the cache at an address of a slab. */
const char *tb_cache_name(uint64_t address);

#endif
