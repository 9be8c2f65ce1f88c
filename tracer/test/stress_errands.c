/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Many threads have errands done by one that has work of its own: each is done whole, by the owner
 * alone, in slices; when the owner ends, those that wait are told so.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include "tracer/errands.h"
#include "tracer/process.h"

enum {
	ASKERS = 8,
	ERRANDS = 200, /* of each asker */
	STEPS = 5,     /* slices that an errand takes */
};

#define MUST(condition)                                                                            \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);            \
			exit(1);                                                                   \
		}                                                                                  \
	} while (0)

/* What the owner owns: not atomic, so that a second thread in it is a race. */
struct owned {
	uint64_t steps, own_work;
};

struct owner {
	struct kms_errands errands;
	struct owned owned;
	atomic_uint wakes, done;
};

struct errand {
	unsigned steps;
	pthread_t by;
};

static bool step(void *arg, void *owned, uint64_t until_ns)
{
	struct errand *errand = arg;

	MUST(until_ns > 0);
	MUST(errand->steps == 0 || pthread_equal(errand->by, pthread_self()));
	errand->by = pthread_self();
	((struct owned *)owned)->steps++;
	return ++errand->steps == STEPS;
}

static void wake(void *arg)
{
	atomic_fetch_add(&((struct owner *)arg)->wakes, 1);
}

static void *ask(void *arg)
{
	struct owner *owner = arg;

	for (unsigned i = 0; i < ERRANDS; i++) {
		struct errand errand = {0};

		MUST(kms_errands_run(&owner->errands, step, &errand) == 0);
		MUST(errand.steps == STEPS);
		atomic_fetch_add(&owner->done, 1);
	}
	return NULL;
}

/* One that is never done: its end is the owner's. */
static bool step_for_ever(void *arg, void *owned, uint64_t until_ns)
{
	(void)owned;
	(void)until_ns;
	atomic_fetch_add((atomic_uint *)arg, 1);
	return false;
}

static void *ask_for_ever(void *arg)
{
	struct owner *owner = arg;
	atomic_uint steps = 0;

	MUST(kms_errands_run(&owner->errands, step_for_ever, &steps) == -ESHUTDOWN);
	MUST(atomic_load(&steps) > 0);
	return NULL;
}

/* Own work gets its share while errands wait: after each slice as much time as it took. */
static void work(struct owner *owner)
{
	while (atomic_load(&owner->done) < ASKERS * ERRANDS) {
		(void)kms_errands_work(&owner->errands, &owner->owned, true);
		owner->owned.own_work++;
	}
	MUST(owner->owned.steps == (uint64_t)ASKERS * ERRANDS * STEPS);
	MUST(owner->owned.own_work >= owner->owned.steps);
	MUST(atomic_load(&owner->wakes) == ASKERS * ERRANDS);
}

int main(void)
{
	static struct owner owner;
	pthread_t thread[ASKERS], endless;
	struct errand late = {0};

	kms_errands_init(&owner.errands, wake, &owner);
	MUST(!kms_errands_work(&owner.errands, &owner.owned, false));
	for (unsigned i = 0; i < ASKERS; i++)
		MUST(pthread_create(&thread[i], NULL, ask, &owner) == 0);
	work(&owner);
	for (unsigned i = 0; i < ASKERS; i++)
		MUST(pthread_join(thread[i], NULL) == 0);
	MUST(pthread_create(&endless, NULL, ask_for_ever, &owner) == 0);
	while (!kms_errands_work(&owner.errands, &owner.owned, false))
		;
	kms_errands_close(&owner.errands);
	MUST(pthread_join(endless, NULL) == 0);
	MUST(kms_errands_run(&owner.errands, step, &late) == -ESHUTDOWN);
	MUST(late.steps == 0);
	kms_errands_deinit(&owner.errands);
	return 0;
}
