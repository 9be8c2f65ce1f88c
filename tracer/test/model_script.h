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
};

#define SCRIPT_BASE    UINT64_C(0x7f0000000000)
#define SCRIPT_POLL_NS UINT64_C(1000000)
#define SCRIPT_STACK   7

struct script_ring {
	struct kms_block block;
	struct enc_writer writer;
	uint32_t read; /* bytes that the model has */
	uint32_t target;
};

/** A model, and rings that tests write. Ring i belongs to target i / 2 + 1, each in its own image. */
struct script {
	struct kms_model *model;
	struct kms_batch *batch; /* of the poll under way */
	uint64_t now_ns, batch_ns;
	struct script_ring ring[SCRIPT_RINGS];
};

/** The group's fixtures: *state is a script whose targets are announced. */
int script_setup(void **state);
int script_teardown(void **state);

/** A slab of one page of blocks of 64 bytes at SCRIPT_BASE + 4096 * page. */
void script_slab(struct script *s, unsigned ring, unsigned page);

/** An alloc or free of @address; 100 bytes. */
void script_put(struct script *s, unsigned ring, uint32_t kind, uint64_t address, int generation);

/** The model reads what a ring has got; several calls, then script_feed(). */
void script_read(struct script *s, unsigned ring);
void script_state(struct script *s, uint32_t target, uint32_t state);
void script_feed(struct script *s);

/** Time goes by until nothing may wait any more. */
void script_deadline(struct script *s);

/** Picture of now; valid until the next call. */
const struct kms_snapshot *script_snapshot(struct script *s);

#endif
