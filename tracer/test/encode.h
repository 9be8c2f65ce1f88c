/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A second writer of blocks, from schema/record.h alone: tests compare the tracer's reader with it,
 * and the synthetic producer fills rings with it. It shares no code with the allocator's.
 */
#ifndef KMS_TRACER_TEST_ENCODE_H
#define KMS_TRACER_TEST_ENCODE_H

#include <stdbool.h>
#include <stdint.h>

#include "schema/record.h"
#include "schema/region.h"

/** What to write; @kind decides which members count, as in tracer/event.h. */
struct enc_event {
	uint32_t kind;
	uint32_t stack;
	uint32_t attributes; /* KMS_ATTR_* */
	uint32_t cache;
	uint32_t thread; /* context */
	uint32_t level;  /* context */
	uint32_t first;  /* slab_grow */
	uint32_t told;   /* alloc, free: 1 + the cache of a CACHE record before it; 0 none */
	uint8_t generation;
	bool has_generation;
	bool stamp;       /* a TIME record before it */
	uint8_t checks;   /* a CHECKS record before it, if not those in force */
	uint8_t session;  /* a RESUME record before it, if not the one in force */
	uint64_t time_ns; /* of the TIME record */
	uint64_t address;
	uint64_t size;
	uint64_t value;  /* index, slot, count lost, pages */
	uint64_t stride; /* slab_grow */
};

struct enc_site {
	uint32_t node;
	uint64_t size;
};

/** State of the block being written. */
struct enc_writer {
	struct kms_block *block;
	uint32_t fill; /* private; block->fill follows by release */
	uint64_t address;
	uint64_t time_ns;
	uint64_t seq;
	uint8_t checks, session;
	struct enc_site site[KMS_SITE_CACHE_ENTRIES];
};

/** How a block begins. */
struct enc_open {
	uint64_t number;
	uint64_t first_seq;
	uint64_t time_ns;
	uint64_t base_address;
	uint32_t slot;
	uint32_t thread;
	uint16_t ring;
	uint8_t level;
	uint8_t checks;
};

/** Opens a block in the order that schema/region.h asks for. */
void enc_begin(struct enc_writer *w, struct kms_block *block, const struct enc_open *open);

/** Writes an event and publishes it; false: no room, nothing was written. */
bool enc_put(struct enc_writer *w, const struct enc_event *event);

/** Writes raw bytes and publishes them. */
bool enc_put_bytes(struct enc_writer *w, const uint8_t *bytes, uint32_t n);

#endif
