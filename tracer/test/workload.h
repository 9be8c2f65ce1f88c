/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Seeded event streams that look like programs: a simulated allocator (size classes, slabs,
 * magazines) gives the addresses, simulated call sites the stacks and sizes. They fill blocks by
 * encode.h. For tests of the store and for bench/bench_ingest.c.
 *
 *	python    an interpreter: loops of short operations that allocate and free last in, first
 *	          out, some results kept and dropped later
 *	churn     a number cruncher: few sites, few sizes, everything short-lived
 *	espresso  a C program with a heap: a few hundred sites, many sizes, frees in random order
 *	compiler  thousands of sites, each used a few times, most blocks kept
 */
#ifndef KMS_TRACER_TEST_WORKLOAD_H
#define KMS_TRACER_TEST_WORKLOAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/region.h"

struct workload;

/** Names of all workloads, NULL at the end. */
extern const char *const workload_names[];

/** NULL: no such name, or no memory. */
struct workload *workload_create(const char *name, uint64_t seed);
void workload_destroy(struct workload *w);

/** Fills the next block of the ring. */
void workload_block(struct workload *w, struct kms_block *out);

/** An address that was allocated at some time, chosen at random, and its stack. */
uint64_t workload_some_address(struct workload *w, uint32_t *node);

/** Events so far. */
uint64_t workload_events(const struct workload *w);

#endif
