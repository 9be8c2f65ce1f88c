/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Workloads of bench_alloc: each does a fixed, seeded amount of work through malloc and free.
 *
 * The same binary runs under every allocator. A workload returns a checksum, so that nothing is
 * optimised away and all allocators can be seen to have done the same work.
 */
#ifndef KMS_BENCH_ALLOC_WORKLOAD_H
#define KMS_BENCH_ALLOC_WORKLOAD_H

#include <stddef.h>
#include <stdint.h>

/** Work of one workload. @calls: malloc and free calls made, where the workload knows them. */
struct bench_work {
	uint64_t scale; /* in: repetitions; each workload says what one is */
	uint64_t calls; /* out; 0 unknown */
};

uint64_t bench_pairs(struct bench_work *work);    /* a block of 64 bytes, freed at once */
uint64_t bench_churn(struct bench_work *work);    /* 16 to 512 bytes, 4096 alive, random order */
uint64_t bench_random(struct bench_work *work);   /* 1 byte to 64 KiB, small ones more often */
uint64_t bench_larson(struct bench_work *work);   /* two threads that free each other's blocks */
uint64_t bench_cfrac(struct bench_work *work);    /* continued fractions with big numbers */
uint64_t bench_espresso(struct bench_work *work); /* minimising covers of logic functions */

/** The next number of a seeded stream. */
static inline uint64_t bench_next(uint64_t *state)
{
	*state = *state * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return *state >> 17;
}

/** malloc that does not fail; a bench has no use for half a run. */
void *bench_malloc(size_t bytes);
void *bench_realloc(void *p, size_t bytes);

#endif
