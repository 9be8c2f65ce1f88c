/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Like a server: threads replace random blocks of a table of their own, and at times the tables
 * change hands, so that blocks are freed by another thread than the one that allocated them.
 */
#include <pthread.h>
#include <stdlib.h>

#include "bench/alloc/workload.h"

enum {
	THREADS = 2,
	TABLE = 2048,
	ROUNDS = 64,
	BLOCK_MIN = 10,
	BLOCK_MAX = 500,
};

struct worker {
	pthread_t thread;
	unsigned number;
	uint64_t replacements; /* in a round */
	uint64_t sum;
	char *(*table)[TABLE]; /* THREADS of them */
	pthread_barrier_t *barrier;
};

static void replace(struct worker *worker, char **table, uint64_t *state)
{
	for (uint64_t i = 0; i < worker->replacements; i++) {
		uint64_t random = bench_next(state);
		char **slot = &table[random % TABLE];
		size_t bytes = BLOCK_MIN + (random >> 20) % (BLOCK_MAX - BLOCK_MIN);

		free(*slot);
		*slot = bench_malloc(bytes);
		**slot = 1;
		worker->sum += bytes;
	}
}

static void *work_in_rounds(void *argument)
{
	struct worker *worker = argument;
	uint64_t state = worker->number + 1;

	for (unsigned round = 0; round < ROUNDS; round++) {
		replace(worker, worker->table[(worker->number + round) % THREADS], &state);
		pthread_barrier_wait(worker->barrier);
	}
	return NULL;
}

uint64_t bench_larson(struct bench_work *work)
{
	static char *table[THREADS][TABLE];
	struct worker worker[THREADS];
	pthread_barrier_t barrier;
	uint64_t sum = 0;

	pthread_barrier_init(&barrier, NULL, THREADS);
	for (unsigned i = 0; i < THREADS; i++) {
		worker[i] = (struct worker){
			.number = i,
			.replacements = work->scale / ROUNDS / THREADS,
			.table = table,
			.barrier = &barrier,
		};
		if (pthread_create(&worker[i].thread, NULL, work_in_rounds, &worker[i]))
			abort();
	}
	for (unsigned i = 0; i < THREADS; i++) {
		pthread_join(worker[i].thread, NULL);
		sum += worker[i].sum;
		work->calls += 2 * ROUNDS * worker[i].replacements;
	}
	pthread_barrier_destroy(&barrier);
	for (unsigned i = 0; i < THREADS * TABLE; i++)
		free(table[i / TABLE][i % TABLE]);
	return sum;
}
