/* SPDX-License-Identifier: BSD-2-Clause */
/* Seeded random numbers, the same on every machine. Not for security. */
#ifndef KMS_ALLOCATOR_DEMO_RNG_H
#define KMS_ALLOCATOR_DEMO_RNG_H

#include <stdint.h>

#include "base/hash.h"

struct kms_rng {
	uint64_t counter;
};

/** A stream of its own for each (@seed, @stream). */
static inline void kms_rng_init(struct kms_rng *rng, uint64_t seed, uint64_t stream)
{
	rng->counter = kms_hash_join(kms_hash_u64(seed + 1), stream);
}

static inline uint64_t kms_rng_next(struct kms_rng *rng)
{
	return kms_hash_u64(++rng->counter);
}

/** 0 to @n - 1; n is not 0. */
static inline uint64_t kms_rng_below(struct kms_rng *rng, uint64_t n)
{
	return (kms_rng_next(rng) >> 16) % n;
}

/** @low to @high, both included. */
static inline uint64_t kms_rng_between(struct kms_rng *rng, uint64_t low, uint64_t high)
{
	return low + kms_rng_below(rng, high - low + 1);
}

#endif
