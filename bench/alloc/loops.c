/* SPDX-License-Identifier: BSD-2-Clause */
/* Workloads that do nothing but allocate and free: cost per call. */
#include <stdlib.h>
#include <string.h>

#include "bench/alloc/workload.h"

enum {
	PAIR_BYTES = 64,
	CHURN_LIVE = 8192,
	CHURN_MIN = 16,
	CHURN_MAX = 512,
	RANDOM_LIVE = 1024,
	RANDOM_BITS = 16, /* up to 64 KiB */
};

/* Makes the compiler believe that the block is used. */
static inline void touch(char *p)
{
	p[0] = 1;
	__asm__ volatile("" : : "r"(p) : "memory");
}

uint64_t bench_pairs(struct bench_work *work)
{
	for (uint64_t i = 0; i < work->scale; i++) {
		char *p = bench_malloc(PAIR_BYTES);

		touch(p);
		free(p);
	}
	work->calls = 2 * work->scale;
	return work->scale;
}

/* Replaces random blocks; sizes come from @size_of. */
static uint64_t replace(struct bench_work *work, char **live, size_t n_live,
			size_t (*size_of)(uint64_t random))
{
	uint64_t state = 1, sum = 0;

	for (uint64_t i = 0; i < work->scale; i++) {
		uint64_t random = bench_next(&state);
		char **slot = &live[random % n_live];
		size_t bytes = size_of(random >> 14);

		free(*slot);
		*slot = bench_malloc(bytes);
		touch(*slot);
		sum += bytes;
	}
	for (size_t i = 0; i < n_live; i++)
		free(live[i]);
	work->calls = 2 * work->scale;
	return sum;
}

static size_t churn_size(uint64_t random)
{
	return CHURN_MIN + random % (CHURN_MAX - CHURN_MIN);
}

uint64_t bench_churn(struct bench_work *work)
{
	static char *live[CHURN_LIVE];

	return replace(work, live, CHURN_LIVE, churn_size);
}

/* Each doubling of the size is half as likely. */
static size_t random_size(uint64_t random)
{
	unsigned bits = 4 + (unsigned)__builtin_ctzll(random | 1u << (RANDOM_BITS - 4));

	return 1 + (random >> 13) % (UINT64_C(1) << (bits > RANDOM_BITS ? RANDOM_BITS : bits));
}

uint64_t bench_random(struct bench_work *work)
{
	static char *live[RANDOM_LIVE];

	return replace(work, live, RANDOM_LIVE, random_size);
}
