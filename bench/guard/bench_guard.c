/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bench_guard [PAIRS]: what a guarded allocation and its free cost, next to the bare system calls of
 * the same back end in turns within one run. One JSON line for each back end:
 *
 *	{"backend": "uffd", "bare_ns": 4300, "kmem_ns": 4800, "ratio": 1.12, "unguarded": 0, ...}
 *
 * ns are of one pair: allocate, touch, free; medians over the turns. A back end that this system
 * does not have is left out. "live" is how many guarded blocks could be held at one time, of those
 * asked for, and "maps" how many mappings the process had then. "unguarded" counts pairs that got an
 * ordinary block: the ratio means nothing unless it is 0.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "allocator/kmem.h"
#include "bench/guard/bare.h"

enum {
	TURNS = 7,
	DEPTH = 30000,
	BLOCK_BYTES = 64,
	PAGE_BYTES = 4096,
	LIVE_WANTED = 200000,
	NS_PER_S = 1000000000,
};

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

static double bare_pairs(struct bare *bare, uint64_t pairs)
{
	uint64_t begin = now_ns();

	for (uint64_t i = 0; i < pairs; i++) {
		volatile char *p = bare_open(bare, i);

		*p = 1;
		bare_shut(bare, i);
	}
	return (double)(now_ns() - begin) / (double)pairs;
}

/* A guarded block ends with its page. */
static bool is_guarded(const volatile void *p)
{
	return ((uintptr_t)p & (PAGE_BYTES - 1)) == PAGE_BYTES - BLOCK_BYTES;
}

static double kmem_pairs(uint64_t pairs, uint64_t *unguarded)
{
	uint64_t begin = now_ns();

	for (uint64_t i = 0; i < pairs; i++) {
		volatile char *p = kmem_alloc(BLOCK_BYTES, KM_SLEEP);

		*p = 1;
		*unguarded += !is_guarded(p);
		kmem_free((void *)p, BLOCK_BYTES);
	}
	return (double)(now_ns() - begin) / (double)pairs;
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

static unsigned count_maps(void)
{
	FILE *maps = fopen("/proc/self/maps", "re");
	unsigned n = 0;
	int c;

	if (!maps)
		return 0;
	while ((c = getc(maps)) != EOF)
		n += c == '\n';
	(void)fclose(maps); /* only read */
	return n;
}

/* Holds many blocks at once, with the FIFO full as well; how many of them were guarded. */
static uint64_t hold_many(unsigned *maps)
{
	static void *block[LIVE_WANTED];
	uint64_t guarded = 0;

	for (int i = 0; i < LIVE_WANTED; i++)
		block[i] = kmem_alloc(BLOCK_BYTES, KM_SLEEP);
	*maps = count_maps();
	for (int i = 0; i < LIVE_WANTED; i++) {
		guarded += is_guarded(block[i]);
		kmem_free(block[i], BLOCK_BYTES);
	}
	return guarded;
}

static void measure(unsigned backend, uint64_t pairs)
{
	double bare_ns[TURNS], kmem_ns[TURNS], ratio[TURNS];
	uint64_t live, unguarded = 0;
	unsigned maps;
	struct bare bare;

	if (bare_init(&bare, backend) || kmem_variable_set("kmem_guard_backend", backend) ||
	    kmem_variable_set("kmem_guard_depth", DEPTH)) {
		fprintf(stderr, "bench_guard: no back end %s here\n", bare_name(backend));
		return;
	}
	kmem_pairs(DEPTH + DEPTH / 8,
		   &unguarded); /* fill the FIFO: from then on each free evicts */
	bare_pairs(&bare, pairs);
	for (int i = 0; i < TURNS; i++) {
		bare_ns[i] = bare_pairs(&bare, pairs);
		kmem_ns[i] = kmem_pairs(pairs, &unguarded);
		ratio[i] = kmem_ns[i] / bare_ns[i];
	}
	live = hold_many(&maps);
	qsort(bare_ns, TURNS, sizeof(*bare_ns), ascending);
	qsort(kmem_ns, TURNS, sizeof(*kmem_ns), ascending);
	qsort(ratio, TURNS, sizeof(*ratio), ascending);
	printf("{\"backend\": \"%s\", \"bare_ns\": %.0f, \"kmem_ns\": %.0f, \"ratio\": %.2f, "
	       "\"unguarded\": %" PRIu64 ", \"live\": %" PRIu64 ", \"live_asked\": %d, "
	       "\"maps\": %u}\n",
	       bare_name(backend), bare_ns[TURNS / 2], kmem_ns[TURNS / 2], ratio[TURNS / 2],
	       unguarded, live, LIVE_WANTED, maps);
	bare_deinit(&bare);
}

int main(int argc, char **argv)
{
	uint64_t pairs = argc > 2 ? strtoull(argv[2], NULL, 0) : 20000;

	/* A process keeps its back end: each is measured in a process of its own. */
	if (argc < 2) {
		fputs("usage: bench_guard 1|2|3 [PAIRS]   (userfaultfd, markers, mprotect)\n",
		      stderr);
		return 2;
	}
	measure((unsigned)strtoul(argv[1], NULL, 0), pairs);
	return 0;
}
