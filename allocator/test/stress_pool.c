/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * pool_cache(9) under threads that take, put, destruct, invalidate and switch checks: no object has two
 * owners, each is constructed when it is taken, and at the end each constructor has had its
 * destructor.
 */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "allocator/kmem.h"
#include "tests/support/kt.h"

enum {
	THREADS = 4,
	HELD = 40,
	ROUNDS = 200000,
	POOLS = 3,
	MAGIC = 0x706f6f6c,
};

struct object {
	uint32_t magic; /* set by the constructor, and nobody else */
	uint32_t owner; /* 0: nobody */
	uint64_t filler[8];
};

/** A pool with its books. */
struct pool {
	pool_cache_t pc;
	uint64_t constructed, destructed; /* atomic */
};

static struct pool pool[POOLS];

static int construct(void *argument, void *object, int flags)
{
	struct pool *p = argument;
	struct object *o = object;

	(void)flags;
	o->magic = MAGIC;
	o->owner = 0;
	__atomic_add_fetch(&p->constructed, 1, __ATOMIC_RELAXED);
	return 0;
}

static void destruct(void *argument, void *object)
{
	struct pool *p = argument;
	struct object *o = object;

	KT_CHECK(o->magic == MAGIC, "destructed %p: magic %x", object, o->magic);
	KT_CHECK(o->owner == 0, "destructed %p: owned by %u", object, o->owner);
	o->magic = 0;
	__atomic_add_fetch(&p->destructed, 1, __ATOMIC_RELAXED);
}

/** A thread of the test. */
struct worker {
	pthread_t thread;
	uint32_t number; /* from 1 */
	uint64_t random;
	struct object *held[HELD];
	unsigned pool_of[HELD];
};

static void take(struct worker *w, unsigned i)
{
	struct object *o;

	w->pool_of[i] = (unsigned)(kt_random(&w->random) % POOLS);
	o = pool_cache_get(pool[w->pool_of[i]].pc, PR_WAITOK);
	KT_CHECK(o, "PR_WAITOK gave nothing");
	if (o) {
		KT_CHECK(o->magic == MAGIC, "taken %p: not constructed", (void *)o);
		KT_CHECK(o->owner == 0, "taken %p: owned by %u", (void *)o, o->owner);
		o->owner = w->number;
	}
	w->held[i] = o;
}

static void give(struct worker *w, unsigned i)
{
	struct object *o = w->held[i];

	KT_CHECK(o->owner == w->number, "put %p: owned by %u", (void *)o, o->owner);
	o->owner = 0;
	w->held[i] = NULL;
	if (kt_random(&w->random) % 16)
		pool_cache_put(pool[w->pool_of[i]].pc, o);
	else
		pool_cache_destruct_object(pool[w->pool_of[i]].pc, o);
}

static void disturb(struct worker *w, int round)
{
	if (round % 512 == 0)
		pool_cache_invalidate(pool[kt_random(&w->random) % POOLS].pc);
	if (round % 1024 == 0 && w->number == 1)
		KT_CHECK(!kmem_variable_set("kmem_redzone", (uint64_t)round / 1024 % 2),
			 "variable");
}

static void *work(void *argument)
{
	struct worker *w = argument;

	for (int round = 1; round <= ROUNDS; round++) {
		unsigned i = (unsigned)(kt_random(&w->random) % HELD);

		if (w->held[i])
			give(w, i);
		else
			take(w, i);
		disturb(w, round);
	}
	for (unsigned i = 0; i < HELD; i++) {
		if (w->held[i])
			give(w, i);
	}
	return NULL;
}

int main(int argc, char **argv)
{
	static struct worker worker[THREADS];
	uint64_t seed = kt_seed(argc > 1 ? argv[1] : NULL);

	for (int i = 0; i < POOLS; i++) {
		pool[i].pc =
			pool_cache_init(sizeof(struct object), 0, 0, i ? PR_LARGECACHE : 0,
					"stress", NULL, IPL_NONE, construct, destruct, &pool[i]);
		KT_CHECK(pool[i].pc, "no pool");
	}
	for (uint32_t i = 0; i < THREADS; i++) {
		worker[i] = (struct worker){.number = i + 1, .random = seed + i};
		KT_CHECK(!pthread_create(&worker[i].thread, NULL, work, &worker[i]), "no thread");
	}
	for (int i = 0; i < THREADS; i++)
		pthread_join(worker[i].thread, NULL);
	for (int i = 0; i < POOLS; i++) {
		pool_cache_destroy(pool[i].pc);
		KT_CHECK(pool[i].constructed == pool[i].destructed,
			 "%llu constructed, %llu destructed",
			 (unsigned long long)pool[i].constructed,
			 (unsigned long long)pool[i].destructed);
	}
	return KT_PASS;
}
