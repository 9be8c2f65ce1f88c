/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A consumer of batches for tests: counts, and checks the contract of tracer/batch.h on the way:
 * whatever a block names is in its batch or in an earlier one, sequences go on, targets are known.
 */
#ifndef KMS_TRACER_TEST_COLLECT_H
#define KMS_TRACER_TEST_COLLECT_H

#include <stdbool.h>
#include <stdint.h>

#include "tracer/batch.h"

enum {
	COLLECT_TARGETS = 1024,
	COLLECT_IMAGES = 1024,
	COLLECT_NODES = 1 << 16,
};

struct collect_image {
	bool node[COLLECT_NODES]; /* ready entries seen */
	uint32_t n_threads, n_modules, n_faults, n_caches, n_strings;
};

struct collect_target {
	bool is_known;
	struct kms_batch_target info;
	uint64_t by_kind[KMS_EVENT_KINDS];
	uint64_t size_sum;       /* of allocs */
	uint64_t counted_allocs; /* by the counters, as last sent */
	uint64_t counted_frees;
	uint64_t slots; /* how often its slot was sent */
};

struct collect {
	struct collect_target target[COLLECT_TARGETS]; /* by id */
	struct collect_image *image[COLLECT_IMAGES];   /* by ordinal */
	uint64_t events, blocks, batches;
	bool is_hostile; /* entries may be missing: a scribble made holes of them */
};

void collect_init(struct collect *c);
void collect_deinit(struct collect *c);
/** Takes a batch; ends the program if it breaks the contract. */
void collect_batch(struct collect *c, const struct kms_batch *batch);

#endif
