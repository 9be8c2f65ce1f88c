/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One thread writes a trace, others look at it through one view, all at once, in one process: as a
 * tracer and its server do. Each picture and each list of events must be of one commit.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "tracer/file.h"
#include "tracer/stack_id.h"
#include "tracer/store.h"
#include "tracer/test/trace_build.h"

#define TRACE "stress_file.kms"

enum {
	READERS = 3,
	ROUNDS = 40,
};

static atomic_bool done;
static struct kms_file *file;

#define CHECK(condition)                                                                           \
	do {                                                                                       \
		if (!(condition)) {                                                                \
			(void)fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);      \
			abort();                                                                   \
		}                                                                                  \
	} while (0)

/* Events come in order; each ring's are without a gap, as far as its sequence tells. */
struct seen {
	uint64_t last_seq, n;
};

static int take_event(void *arg, const struct kms_view_event *event)
{
	struct seen *seen = arg;

	CHECK(event->seq > seen->last_seq);
	CHECK(event->tid >= TB_FIRST_TID && event->tid < TB_FIRST_TID + TB_RINGS_MAX);
	seen->last_seq = event->seq;
	seen->n++;
	return 0;
}

static void look(const struct kms_view *view, uint64_t *stored)
{
	const struct kms_event_query all = {.before_seq = UINT64_MAX, .limit = SIZE_MAX};
	const struct kms_snapshot *s = view->ops->acquire(view->ctx);
	struct kms_view_stack stack;
	struct seen seen = {0};

	CHECK(s->stats.stored + s->stats.lost == s->stats.produced);
	CHECK(s->stats.stored >= *stored);
	*stored = s->stats.stored;
	view->ops->release(view->ctx, s);
	CHECK(view->ops->events(view->ctx, &all, take_event, &seen, NULL) == 0);
	CHECK(seen.n >= *stored);
	CHECK(view->ops->stack(view->ctx, kms_stack_id(1, 3), &stack, NULL) == 0);
	view->ops->stack_free(view->ctx, &stack);
}

static void *read_all(void *arg)
{
	struct kms_view view = kms_file_view(file);
	uint64_t stored = 0;

	(void)arg;
	while (!atomic_load(&done))
		look(&view, &stored);
	look(&view, &stored);
	return NULL;
}

static void write_all(struct kms_store *store, struct tb *tb)
{
	for (unsigned i = 0; i < ROUNDS; i++) {
		struct kms_batch *batch;

		tb_run(tb, 3000);
		batch = tb_poll(tb, true);
		CHECK(kms_store_add(store, batch, NULL) == 0);
		CHECK(kms_store_commit(store, true, NULL) == 0);
		kms_batch_put(batch);
	}
}

int main(void)
{
	struct kms_store_config config = {.path = TRACE};
	struct kms_store *store;
	pthread_t reader[READERS];
	struct kms_batch *batch;
	struct tb tb;

	(void)unlink(TRACE);
	tb_init(&tb, rng_seed(), 12, 2);
	CHECK(kms_store_create(&config, &store, NULL) == 0);
	tb_run(&tb, 100);
	batch = tb_poll(&tb, true);
	CHECK(kms_store_add(store, batch, NULL) == 0);
	CHECK(kms_store_commit(store, true, NULL) == 0);
	kms_batch_put(batch);
	CHECK(kms_file_open(TRACE, &file, NULL) == 0);
	for (unsigned i = 0; i < READERS; i++)
		CHECK(pthread_create(&reader[i], NULL, read_all, NULL) == 0);
	write_all(store, &tb);
	atomic_store(&done, true);
	for (unsigned i = 0; i < READERS; i++)
		CHECK(pthread_join(reader[i], NULL) == 0);
	kms_file_close(file);
	CHECK(kms_store_close(store, NULL) == 0);
	tb_deinit(&tb);
	(void)unlink(TRACE);
	(void)unlink(TRACE "-wal");
	(void)unlink(TRACE "-shm");
	return 0;
}
