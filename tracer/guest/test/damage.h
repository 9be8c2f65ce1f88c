/* SPDX-License-Identifier: BSD-2-Clause */
/* What is done to the memory of a guest before it is read: kinds of damage, and where. */
#ifndef KMS_TRACER_GUEST_TEST_DAMAGE_H
#define KMS_TRACER_GUEST_TEST_DAMAGE_H

#include <stddef.h>
#include <stdint.h>

#include "tracer/guest/test/watched.h"
#include "tracer/test/rng.h"

enum damage_kind {
	DAMAGE_RING,        /* events: of our rings, or of the trace ring */
	DAMAGE_PAGE_TABLES, /* entries that are used */
	DAMAGE_SYMBOLS,     /* kallsyms; the ELF file that our kernel carries */
	DAMAGE_TYPES,       /* BTF; the tables of our region: caches, stacks, modules, strings */
	DAMAGE_LISTS,       /* of slabs; slots, counters and faults of our region */
	DAMAGE_LOOPS, /* a pointer of such a list becomes another one's: loops, and crossings */
	DAMAGE_KINDS,
};

extern const char *const damage_names[DAMAGE_KINDS];

/** A stretch of guest memory. */
struct damage_place {
	uint64_t at;
	uint64_t bytes;
};

/** Where a kind of damage is done. */
struct damage_places {
	struct damage_place *place; /* n used */
	size_t n;
};

/** Adds a place. Ends the test without memory. */
void damage_add(struct damage_places *places, uint64_t at, uint64_t bytes);
void damage_drop(struct damage_places *places);

/** Flips and overwrites 1 to 16 bytes of some places. Shape: places->n > 0 */
void damage_bits(struct watched *watched, const struct damage_places *places, struct rng *rng);

/**
 * Copies 1 to 4 words from a place to the same offset of another of the same size: a list then goes on
 * elsewhere, or where it came from.
 * Shape: word 4 or 8 bytes
 */
void damage_loops(struct watched *watched, const struct damage_places *places, size_t word,
		  struct rng *rng);

/** The entries in use of the page tables below a root, of x86-64 with @levels. */
void damage_find_tables(struct watched *watched, uint64_t root, int levels,
			struct damage_places *places);

/** Adds those of some places that were read. */
void damage_add_used(const struct watched *watched, const struct damage_places *some,
		     struct damage_places *places);

#endif
