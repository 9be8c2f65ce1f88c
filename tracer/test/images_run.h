/* SPDX-License-Identifier: BSD-2-Clause */
/* A run's folder with a tracer's eyes on it, for the tests of images. */
#ifndef KMS_TRACER_TEST_IMAGES_RUN_H
#define KMS_TRACER_TEST_IMAGES_RUN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tracer/images.h"
#include "tracer/test/collect.h"
#include "tracer/test/synth.h"

#define RUN_DEADLINE_NS UINT64_C(20000000000)

enum {
	RUN_CHILDREN = 2,
};

struct run {
	char dir[64];
	pid_t child[RUN_CHILDREN]; /* of this test; a red one leaves none behind. 0: none */
	struct kms_images *images;
	struct kms_guest_link *guest; /* of run_start(), NULL none */
	struct kms_batch *batch;
	struct collect collect;
	char said[512]; /* the last line, of n_said */
	int n_said;
};

/* Set-up and tear-down of a test; the latter ends its children and fails if a region was left behind. */
int run_set_up(void **state);
int run_tear_down(void **state);

/** Kills one of the test's children. */
void run_end_child(struct run *run, pid_t pid);

/** Opens the tracer's eyes. */
void run_start(struct run *run, pid_t first_pid, bool first_only);

/** Path of a file in the run's folder; static. */
const char *run_file(const struct run *run, const char *name);

/** One poll of everything, and a wait of at most a millisecond. */
struct kms_images_state run_poll(struct run *run);

/** Polls until every image so far is over, and at least n there were. */
void run_poll_until_over(struct run *run, uint32_t n);

/** Polls until so many events were read. */
void run_poll_until_events(struct run *run, uint64_t n);

/** Puts n allocations of different stacks, with a new node now and then. */
void run_put_allocs(struct synth *s, struct synth_ring *ring, uint64_t n);

/** Is a whole little process: region, slot, ring, n events. */
void run_be_target(const char *path, uint32_t ring_nr, uint64_t n);

/** The same in a child. */
pid_t run_spawn_target(const char *path, uint64_t n);

#endif
