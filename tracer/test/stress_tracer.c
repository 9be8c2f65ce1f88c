/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tracer under everything at once: threads that fill rings and give them back, one that makes
 * tables grow, clients that look, while regions come and go. Every event has to be in the file.
 *
 * One process, so that the thread sanitizer sees both sides.
 */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tracer/test/rng.h"
#include "tracer/test/synth.h"
#include "tracer/tracer.h"

enum {
	N_REGIONS = 3,
	N_THREADS = 4, /* of each region, with a ring each */
	N_CLAIMS = 12,
	N_EVENTS = 3000, /* of each claim: some rounds of a ring */
};

#define MUST(condition) must(condition, __LINE__, #condition)

static void must(bool condition, int line, const char *text)
{
	if (condition)
		return;
	fprintf(stderr, "%s:%d: %s\n", __FILE__, line, text);
	abort();
}

struct world {
	char dir[64];
	char file[96];
	struct kms_tracer *tracer;
	struct synth region[N_REGIONS];
	atomic_bool stop;
	uint64_t seed;
};

struct producer {
	struct world *world;
	struct synth *s;
	uint32_t ring;
	uint64_t seed;
	uint64_t allocs, frees;
	pthread_t thread;
};

static void put_some(struct producer *p, struct synth_ring *ring, struct rng *rng, uint32_t node)
{
	struct enc_event slab = {.kind = KMS_EVENT_SLAB_GROW,
				 .checks = 3,
				 .value = 1024,
				 .address = (1 + p->ring) << 24,
				 .stride = 64};

	synth_ring_put(ring, &slab);
	for (uint64_t i = 0; i < N_EVENTS; i++) {
		struct enc_event e = {.kind = KMS_EVENT_ALLOC,
				      .size = 1 + rng_below(rng, 64),
				      .address = slab.address + rng_below(rng, 1000) * 64,
				      .stack = node,
				      .checks = 3};

		e.kind += (uint32_t)rng_below(rng, 2);
		p->allocs += e.kind == KMS_EVENT_ALLOC;
		p->frees += e.kind == KMS_EVENT_FREE;
		synth_ring_put(ring, &e);
	}
}

static void *produce(void *arg)
{
	struct producer *p = arg;
	const struct kms_pair *position =
		(const struct kms_pair *)synth_at(p->s, KMS_SEC_TRACER, 256) + p->ring;
	struct rng rng;

	rng_init(&rng, p->seed);
	for (int claim = 0; claim < N_CLAIMS; claim++) {
		uint32_t node = synth_node(p->s, 0, rng_next(&rng));
		struct synth_ring ring;

		synth_ring_claim(&ring, p->s, p->ring, 0);
		put_some(p, &ring, &rng, synth_node(p->s, node, rng_next(&rng)));
		synth_ring_close(&ring);
		/* drained: it may be claimed again */
		while (__atomic_load_n(&position->v, __ATOMIC_ACQUIRE) <= ring.block)
			sched_yield();
	}
	return NULL;
}

static int count_event(void *arg, const struct kms_view_event *event)
{
	uint64_t *n = arg;

	(void)event;
	return ++*n > 5000;
}

/* A client: looks at everything again and again. */
static void *look(void *arg)
{
	struct kms_event_query query = {
		.before_seq = UINT64_MAX, .to_ns = UINT64_MAX, .limit = 5000};
	struct world *world = arg;
	struct kms_view view = kms_tracer_view(world->tracer);

	while (!atomic_load(&world->stop)) {
		const struct kms_snapshot *snapshot = view.ops->acquire(view.ctx);
		struct kms_view_stack stack;
		uint64_t n = 0;

		for (size_t i = 0; i < snapshot->n_leaks && i < 5; i++) {
			if (view.ops->stack(view.ctx, snapshot->leak[i].stack_id, &stack, NULL) ==
			    0)
				view.ops->stack_free(view.ctx, &stack);
		}
		view.ops->release(view.ctx, snapshot);
		(void)view.ops->events(view.ctx, &query, count_event, &n, NULL); /* may be busy */
		(void)view.ops->variable_set(view.ctx, "test", 0, KMS_VAR_GUARD_DEPTH, 512, NULL);
	}
	return NULL;
}

static void check_file(const struct world *world, uint64_t allocs, uint64_t frees)
{
	const struct kms_snapshot *snapshot;
	struct kms_err err = KMS_ERR_INIT;
	struct kms_file *file;
	struct kms_view view;

	if (kms_file_open(world->file, &file, &err)) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	view = kms_file_view(file);
	snapshot = view.ops->acquire(view.ctx);
	printf("%llu allocs, %llu frees, %llu lost\n",
	       (unsigned long long)snapshot->stats.events[KMS_EVENT_ALLOC],
	       (unsigned long long)snapshot->stats.events[KMS_EVENT_FREE],
	       (unsigned long long)snapshot->stats.lost);
	MUST(snapshot->finished && snapshot->stats.lost == 0);
	MUST(snapshot->stats.events[KMS_EVENT_ALLOC] == allocs);
	MUST(snapshot->stats.events[KMS_EVENT_FREE] == frees);
	MUST(snapshot->n_targets == N_REGIONS);
	for (size_t i = 0; i < snapshot->n_targets; i++)
		MUST(snapshot->target[i].state == KMS_STATE_EXITED);
	view.ops->release(view.ctx, snapshot);
	kms_file_close(file);
}

static void open_regions(struct world *world, struct producer producer[N_REGIONS][N_THREADS])
{
	for (uint32_t i = 0; i < N_REGIONS; i++) {
		struct synth *s = &world->region[i];
		char path[128];

		snprintf(path, sizeof(path), "%s/img-%u", world->dir, i);
		synth_create(s, path,
			     &(struct synth_config){.rings = N_THREADS, .unpublished = true});
		synth_slot(s, 0, (uint32_t)getpid(), KMS_NO_INDEX);
		synth_publish(s);
		for (uint32_t j = 0; j < N_THREADS; j++) {
			struct producer *p = &producer[i][j];

			*p = (struct producer){.world = world,
					       .s = s,
					       .ring = j,
					       .seed = world->seed * 100 + (uint64_t)i * N_THREADS +
						       j};
			MUST(pthread_create(&p->thread, NULL, produce, p) == 0);
		}
	}
}

static void run(struct world *world)
{
	static struct producer producer[N_REGIONS][N_THREADS];
	uint64_t allocs = 0, frees = 0;
	pthread_t client[2];

	for (int i = 0; i < 2; i++)
		MUST(pthread_create(&client[i], NULL, look, world) == 0);
	open_regions(world, producer);
	for (uint32_t i = 0; i < N_REGIONS; i++) {
		for (uint32_t j = 0; j < N_THREADS; j++) {
			MUST(pthread_join(producer[i][j].thread, NULL) == 0);
			allocs += producer[i][j].allocs;
			frees += producer[i][j].frees;
		}
		synth_close(&world->region[i]);
	}
	kms_tracer_exited(world->tracer, getpid(), -1);
	while (kms_tracer_wait(world->tracer, 1000) != KMS_TRACER_OVER)
		;
	atomic_store(&world->stop, true);
	for (int i = 0; i < 2; i++)
		MUST(pthread_join(client[i], NULL) == 0);
	MUST(kms_tracer_stop(world->tracer, NULL) == 0);
	check_file(world, allocs, frees);
}

int main(int argc, char **argv)
{
	struct world world = {.dir = "/dev/shm/kms-stress-tracer-XXXXXX"};
	struct kms_tracer_config config = {.run_dir = world.dir,
					   .output = world.file,
					   .command = "stress",
					   .first_pid = getpid()};
	struct kms_err err = KMS_ERR_INIT;

	if (kms_symbols_is_helper(argc, argv))
		return kms_symbols_helper_main(argc, argv);
	alarm(280); /* a wait that never ends is a failure with a core to look at */
	world.seed = rng_seed();
	MUST(mkdtemp(world.dir));
	snprintf(world.file, sizeof(world.file), "%s/out.kms", world.dir);
	world.tracer = kms_tracer_start(&config, &err);
	if (!world.tracer) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	run(&world);
	unlink(world.file);
	return rmdir(world.dir) ? 1 : 0;
}
