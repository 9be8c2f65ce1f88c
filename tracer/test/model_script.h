/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Events written by hand for the live model: each test says which ring wrote what, and in which
 * order the model gets to read the rings.
 */
#ifndef KMS_TRACER_TEST_MODEL_SCRIPT_H
#define KMS_TRACER_TEST_MODEL_SCRIPT_H

#include <stdint.h>

#include "tracer/batch_build.h"
#include "tracer/model_internal.h"
#include "tracer/test/encode.h"

enum {
	SCRIPT_RINGS = 4,
	SCRIPT_NO_GENERATION = -1,
	SCRIPT_STACK = 7,
	SCRIPT_BYTES = 100, /* of every block */
};

#define SCRIPT_BASE    UINT64_C(0x7f0000000000)
#define SCRIPT_POLL_NS UINT64_C(1000000)

struct script_ring {
	struct kms_block block;
	struct enc_writer writer;
	bool begun;    /* the claim has opened its first block */
	uint32_t read; /* bytes that the model has */
	uint32_t target;
	uint64_t number, lost;
	uint8_t session; /* of recording, KMS_REC_RESUME */
};

/** A model, and rings of one image that tests write; all of target 1 to begin with. */
struct script {
	struct kms_model *model;
	struct kms_batch *batch; /* of the poll under way */
	uint64_t now_ns, batch_ns;
	uint32_t n_cuts;
	struct script_ring ring[SCRIPT_RINGS];
};

/** A test's fixtures: *state is a script whose target 1 is announced. */
int script_setup(void **state);
int script_teardown(void **state);

/** A slab of one page of blocks of 64 bytes, at SCRIPT_BASE. */
void script_slab(struct script *s, unsigned ring);

/** A slab that one block fills, at SCRIPT_BASE, is made or released. */
void script_large(struct script *s, unsigned ring, uint32_t kind);

/** An alloc or free of @address. */
void script_put(struct script *s, unsigned ring, uint32_t kind, uint64_t address, int generation);

/** The same with @cache in its record (KMS_REC_CACHE). */
void script_put_told(struct script *s, unsigned ring, uint32_t kind, uint64_t address,
		     uint32_t cache);

/** Another owner has the ring; the model has read all that was in it. */
void script_claim(struct script *s, unsigned ring, uint32_t target);

/** A claim's first event is lost: its block begins with the next one. */
void script_lose(struct script *s, unsigned ring);

/** The model is told of a target; of a child, cut where its parent's rings are now. */
void script_state(struct script *s, uint32_t target, uint32_t state);
void script_fork(struct script *s, uint32_t child, uint32_t parent);

/** The model reads what a ring has got; several calls, then script_feed(). */
void script_read(struct script *s, unsigned ring);
void script_feed(struct script *s);

/** Time goes by until nothing may wait any more. */
void script_deadline(struct script *s);

/** Is a block live in a target? */
bool script_is_live(const struct script *s, uint32_t target, uint64_t address);

/** Picture of now; valid until the next call. */
const struct kms_snapshot *script_snapshot(struct script *s);

#endif
