/* SPDX-License-Identifier: BSD-2-Clause */
/* Seeded random numbers for tests; the same everywhere (xorshift64*). */
#ifndef KMS_TRACER_TEST_RNG_H
#define KMS_TRACER_TEST_RNG_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

struct rng {
	uint64_t state;
};

static inline void rng_init(struct rng *rng, uint64_t seed)
{
	rng->state = seed * 0x9e3779b97f4a7c15ull + 1;
}

/** Any 64 bits. */
static inline uint64_t rng_next(struct rng *rng)
{
	rng->state ^= rng->state >> 12;
	rng->state ^= rng->state << 25;
	rng->state ^= rng->state >> 27;
	return rng->state * 0x2545f4914f6cdd1dull;
}

/** 0 to n - 1. */
static inline uint64_t rng_below(struct rng *rng, uint64_t n)
{
	return (rng_next(rng) >> 11) % n;
}

/** The seed from KMS_SEED, else from the clock; printed, so that a failure can be run again. */
static inline uint64_t rng_seed(void)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody changes the environment */
	const char *text = getenv("KMS_SEED");
	uint64_t seed = text ? strtoull(text, NULL, 0) : (uint64_t)time(NULL);

	printf("KMS_SEED=%llu\n", (unsigned long long)seed);
	return seed;
}

#endif
