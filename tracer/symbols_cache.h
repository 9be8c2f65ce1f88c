/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Answers of the symbol resolver, kept until it is destroyed.
 *
 * Frames and names are handed out to callers as plain pointers, so nothing is ever moved or thrown away; the cache has a
 * limit instead and refuses what does not fit. Names are stored once however many frames show them. No locks: the
 * resolver holds its own.
 */
#ifndef KMS_TRACER_SYMBOLS_CACHE_H
#define KMS_TRACER_SYMBOLS_CACHE_H

#include <stdint.h>

#include "tracer/symbols.h"
#include "tracer/symbols_wire.h"

struct kms_symbols_cache_block; /* memory for frames and names */

/** What is known of one address. Lives in the table, which moves when it grows: copy it. */
struct kms_symbols_cache_entry {
	const struct kms_symbol_frame *frames;
	uint64_t offset;
	uint32_t module; /* plus 1; 0 is an empty place */
	uint8_t is_return;
	uint8_t reason; /* enum kms_symbol_reason */
	uint8_t n_frames;
};

/** A name in the table of names. */
struct kms_symbols_cache_name {
	const char *text; /* NUL-terminated; NULL is an empty place */
	uint32_t hash;
	uint32_t length;
};

/** Two open hash tables, at most three quarters full, and the memory that they point into. */
struct kms_symbols_cache {
	struct kms_symbols_cache_entry *entries;
	struct kms_symbols_cache_name *names;
	struct kms_symbols_cache_block *blocks; /* newest first */
	uint64_t seed;       /* of the hashes: names and offsets come from strangers */
	uint64_t used_bytes; /* blocks and tables */
	uint64_t max_bytes;
	size_t n_entries, entries_size; /* sizes are powers of two */
	size_t n_names, names_size;
};

/** Makes an empty cache that takes at most max_bytes. Allocates nothing yet. */
void kms_symbols_cache_init(struct kms_symbols_cache *cache, uint64_t max_bytes);

/** Frees all that the cache has handed out. */
void kms_symbols_cache_deinit(struct kms_symbols_cache *cache);

/** Finds the answer for an address; NULL if there is none. Borrowed until the next kms_symbols_cache_put. */
const struct kms_symbols_cache_entry *kms_symbols_cache_find(const struct kms_symbols_cache *cache,
							     uint32_t module, uint64_t offset,
							     bool is_return);

/**
 * Keeps an answer, as checked by kms_symbols_wire_next_answer.
 *
 * Shape:  the address must not be in the cache yet. Texts are copied.
 * Errors: NULL when the limit is reached or no memory is left; the cache is as before then, but for names.
 */
const struct kms_symbols_cache_entry *
kms_symbols_cache_put(struct kms_symbols_cache *cache, const struct kms_symbols_wire_entry *address,
		      const struct kms_symbols_wire_answer *answer);

#endif
