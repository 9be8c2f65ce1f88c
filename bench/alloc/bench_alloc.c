/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * bench_alloc WORKLOAD [SCALE]: runs a workload once and prints one JSON line:
 *
 *	{"workload": "churn", "calls": 20000000, "ns": 182000000, "end_ns": 991234567, ...}
 *
 * ns is the time of the work alone, without the start of the process; cpu_ns what it took of a CPU,
 * the kernel's part included; end_ns when it ended, on CLOCK_MONOTONIC.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/alloc/workload.h"

static const struct {
	const char *name;
	uint64_t (*run)(struct bench_work *work);
	uint64_t scale; /* about one second under glibc on the reference machine */
} workloads[] = {
	{"pairs",    bench_pairs,    100000000},
        {"churn",    bench_churn,    40000000 },
	{"random",   bench_random,   60000000 },
        {"larson",   bench_larson,   60000000 },
	{"cfrac",    bench_cfrac,    600000   },
        {"espresso", bench_espresso, 1600     },
};

enum {
	N_WORKLOADS = sizeof(workloads) / sizeof(workloads[0]),
	NS_PER_S = 1000000000,
};

void *bench_malloc(size_t bytes)
{
	void *p = malloc(bytes);

	if (!p)
		abort();
	return p;
}

void *bench_realloc(void *p, size_t bytes)
{
	void *q = realloc(p, bytes);

	if (!q)
		abort();
	return q;
}

static uint64_t now_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

int main(int argc, char **argv)
{
	for (int i = 0; argc > 1 && i < N_WORKLOADS; i++) {
		struct bench_work work = {.scale = workloads[i].scale};
		uint64_t begin, end, cpu, checksum;

		if (strcmp(workloads[i].name, argv[1]) != 0)
			continue;
		if (argc > 2)
			work.scale = strtoull(argv[2], NULL, 0);
		begin = now_ns(CLOCK_MONOTONIC);
		cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID);
		checksum = workloads[i].run(&work);
		cpu = now_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
		end = now_ns(CLOCK_MONOTONIC);
		printf("{\"workload\": \"%s\", \"calls\": %llu, \"ns\": %llu, \"end_ns\": %llu, "
		       "\"cpu_ns\": %llu, \"checksum\": %llu}\n",
		       argv[1], (unsigned long long)work.calls, (unsigned long long)(end - begin),
		       (unsigned long long)end, (unsigned long long)cpu,
		       (unsigned long long)checksum);
		return 0;
	}
	fputs("usage: bench_alloc pairs|churn|random|larson|cfrac|espresso [SCALE]\n", stderr);
	return 2;
}
