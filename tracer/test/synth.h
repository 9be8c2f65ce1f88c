/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A synthetic target: makes regions and fills rings from schema/ alone, so that the tracer is tested
 * against the contract and not against one allocator. It keeps the protocol of schema/region.h,
 * waiting for room included.
 */
#ifndef KMS_TRACER_TEST_SYNTH_H
#define KMS_TRACER_TEST_SYNTH_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/region.h"
#include "tracer/test/encode.h"

enum {
	SYNTH_KINDS = KMS_SEC_FORK_CUT + 1,
	SYNTH_WAIT_NS = 10 * 1000 * 1000,
};

/** Sizes; 0 takes a small default. */
struct synth_config {
	uint32_t rings;
	uint32_t slots;
	uint32_t blocks_per_ring;
	uint32_t nodes;
	uint32_t pid;     /* 0: the caller's */
	bool unpublished; /* magic stays 0 until synth_publish() */
};

struct synth {
	char path[PATH_MAX];
	uint8_t *map;
	size_t bytes;
	struct kms_region_header *head;
	struct kms_section *section[SYNTH_KINDS]; /* rows of the header, by kind */
};

/** Makes PATH. Exits the program on failure: a test cannot go on. */
void synth_create(struct synth *s, const char *path, const struct synth_config *config);
void synth_publish(struct synth *s);
/** Unmaps; the file stays. */
void synth_close(struct synth *s);

/** Address of an entry. */
void *synth_at(const struct synth *s, unsigned kind, uint64_t index);

/** Claims a slot and makes it live. */
void synth_slot(struct synth *s, uint32_t slot, uint32_t pid, uint32_t parent_slot);

/* Table entries, ready at once; each returns its index. */
uint32_t synth_node(struct synth *s, uint32_t parent, uint64_t pc);
uint32_t synth_cache(struct synth *s, const char *name, uint32_t object_bytes);
uint32_t synth_string(struct synth *s, const char *text);
uint32_t synth_module(struct synth *s, const char *path, uint64_t start, uint64_t end);
uint32_t synth_thread(struct synth *s, uint32_t slot, uint32_t tid, const char *name);
uint32_t synth_fault(struct synth *s, uint32_t kind, uint64_t address, uint32_t stack);
/** Reserves entries without finishing them. */
uint32_t synth_reserve(struct synth *s, unsigned kind, uint32_t count);

/** A thread's ring. */
struct synth_ring {
	struct synth *s;
	struct kms_ring_desc *desc;
	struct enc_writer enc;
	uint32_t ring;
	uint32_t slot;
	uint64_t block; /* being filled, 0 none yet */
	uint64_t seq;
	uint64_t lost_pending;
	bool drop; /* count instead of waiting */
	uint64_t waits;
};

/** Claims a ring that is free or drained. */
void synth_ring_claim(struct synth_ring *r, struct synth *s, uint32_t ring, uint32_t slot);

/** Writes an event; waits for room, or counts it as lost with ->drop. */
void synth_ring_put(struct synth_ring *r, const struct enc_event *event);

/** Writes ready-made records of @n_events events, which have to fit an empty block. */
void synth_ring_put_bytes(struct synth_ring *r, const uint8_t *bytes, uint32_t n,
			  uint32_t n_events);

/** Says goodbye: the ring may be claimed again once it is read. */
void synth_ring_close(struct synth_ring *r);

#endif
