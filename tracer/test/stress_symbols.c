/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Several threads resolve the same and different addresses through one resolver while its helper is killed again and
 * again. Each answer must be right, or a reason that may be asked again, and no module may be given up for it.
 */
#include <assert.h>
#include <limits.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/symbols.h"
#include "tracer/test/symbols_fixture.h"

enum {
	N_THREADS = 4,
	N_ROUNDS = 400,
	N_FILES = 3,
	N_OFFSETS = 16,
	N_REQS = N_FILES * N_OFFSETS,
	DEADLINE_MS = 10000,
};

static const char *const files[N_FILES] = {"inline", "inline_dwarf4", "symtab_only"};

struct stress {
	struct kms_symbols *sym;
	uint32_t modules[N_FILES];
	uint64_t outer;
	atomic_bool is_over;
	atomic_uint n_wrong;
	atomic_uint n_again; /* answers that the killing has cost */
	atomic_uint n_rounds;
};

/* A wrong name is an error; without a name it must be a reason that goes away. */
static void check(struct stress *stress, const struct kms_symbol_answer *answer)
{
	if (answer->reason == KMS_SYMBOL_OK) {
		const struct kms_symbol_frame *last = &answer->frames[answer->n_frames - 1];
		if (!last->function || strcmp(last->function, "outer") != 0)
			atomic_fetch_add(&stress->n_wrong, 1);
	} else if (answer->reason == KMS_SYMBOL_HELPER_DIED ||
		   answer->reason == KMS_SYMBOL_TIMEOUT) {
		atomic_fetch_add(&stress->n_again, 1);
	} else {
		atomic_fetch_add(&stress->n_wrong, 1);
	}
}

static void *resolve_often(void *data)
{
	struct stress *stress = data;
	struct kms_symbol_request reqs[N_REQS];
	struct kms_symbol_answer answers[N_REQS];
	for (uint64_t round = 0; round < N_ROUNDS; round++) {
		for (size_t i = 0; i < N_REQS; i++)
			reqs[i] = (struct kms_symbol_request){
				.module = stress->modules[i % N_FILES],
				.offset = stress->outer + 1 + i / N_FILES,
				.is_return = (round + i) % 2,
			};
		int rc = kms_symbols_resolve(stress->sym, reqs, N_REQS, answers);
		assert(rc == 0);
		for (size_t i = 0; i < N_REQS; i++)
			check(stress, &answers[i]);
		/* Each round is a module of its own: never in the cache, never blamed for long. */
		char path[FIXTURE_PATH_BYTES];
		struct kms_symbols_module module = {
			.path = fixture_path(path, files[round % N_FILES]),
			.mapped_bytes = round + 1,
		};
		struct kms_symbol_request req = {.offset = stress->outer + 1};
		rc = kms_symbols_module(stress->sym, &module, &req.module, NULL);
		assert(rc == 0);
		rc = kms_symbols_resolve(stress->sym, &req, 1, answers);
		assert(rc == 0);
		check(stress, &answers[0]);
		atomic_fetch_add(&stress->n_rounds, 1);
	}
	return NULL;
}

/* At most once a round: on a busy machine no helper would live long enough to answer. */
static void *kill_often(void *data)
{
	struct stress *stress = data;
	unsigned killed_in = UINT_MAX;
	pid_t last = 0;
	while (!atomic_load(&stress->is_over)) {
		pid_t pid = kms_symbols_helper_pid(stress->sym);
		unsigned round = atomic_load(&stress->n_rounds);
		if (pid > 0 && pid != last && round != killed_in) {
			(void)kill(pid, SIGKILL); /* it may have ended by itself */
			killed_in = round;
			last = pid;
		}
		(void)poll(NULL, 0, 2); /* how often, not how long anything takes */
	}
	return NULL;
}

static void run(struct stress *stress)
{
	pthread_t threads[N_THREADS], killer;
	int rc = pthread_create(&killer, NULL, kill_often, stress);
	for (size_t i = 0; i < N_THREADS && rc == 0; i++)
		rc = pthread_create(&threads[i], NULL, resolve_often, stress);
	assert(rc == 0);
	for (size_t i = 0; i < N_THREADS; i++)
		(void)pthread_join(threads[i], NULL); /* only fails on our own mistake */
	atomic_store(&stress->is_over, true);
	(void)pthread_join(killer, NULL);
}

int main(int argc, char *argv[])
{
	if (kms_symbols_is_helper(argc, argv))
		return kms_symbols_helper_main(argc, argv);
	static struct stress stress;
	struct kms_symbols_config cfg = {.deadline_ms = DEADLINE_MS};
	struct kms_err err = KMS_ERR_INIT;
	stress.sym = kms_symbols_create(&cfg, &err);
	if (!stress.sym) {
		fprintf(stderr, "%s: %s\n", err.subject, err.text);
		return 1;
	}
	stress.outer = fixture_address("inline", "outer");
	for (size_t i = 0; i < N_FILES; i++) {
		char path[FIXTURE_PATH_BYTES];
		stress.modules[i] = fixture_module(stress.sym, fixture_path(path, files[i]));
		if (fixture_address(i == 2 ? "inline" : files[i], "outer") != stress.outer)
			return 77; /* this compiler lays the two out differently */
	}
	run(&stress);
	struct kms_symbols_stats stats;
	kms_symbols_stats(stress.sym, &stats);
	printf("%u wrong, %u to be asked again, helper started %d times, %d modules given up\n",
	       stress.n_wrong, stress.n_again, (int)stats.n_helper_starts,
	       (int)stats.n_blacklisted);
	kms_symbols_destroy(stress.sym);
	return stress.n_wrong == 0 && stats.n_helper_starts > 1 && stats.n_blacklisted == 0 ? 0 : 1;
}
