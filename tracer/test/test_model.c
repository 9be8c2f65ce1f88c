/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The live model against a made-up world that knows the truth (model_world.h): random histories of
 * many rings and processes, read in any legal order, must end in the same live sets and the same
 * figures of every site. KMS_SEED is the first seed, KMS_ROUNDS how many follow it for each kind of
 * history; every seed is played, those that failed are printed. KMS_TEST chooses kinds by name.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/test/unit.h"
#include "tracer/test/model_world.h"

enum {
	STEPS_A_POLL = 400,
	POLLS_MIN = 8,
	POLLS_MAX = 110,
	ROUNDS = 3,
};

/* A kind of history, and how the model must fare. */
struct history {
	const char *name;
	struct world_config config;
	uint64_t park_ns;
	bool in_order;        /* every event gets its turn */
	uint64_t once_failed; /* a seed that did, 0 none: it is played too */
};

static uint64_t number_from(const char *variable, uint64_t otherwise)
{
	const char *text = getenv(variable);

	return text ? strtoull(text, NULL, 0) : otherwise;
}

static void feed(struct kms_model *model, struct kms_batch *batch)
{
	struct kms_err err = {0};

	assert_int_equal(kms_model_feed(model, batch, &err), 0);
	kms_batch_put(batch);
}

/* What waits although everything has come. */
static void print_parked(const struct kms_model *model)
{
	for (struct kms_park_queue *q = kms_park_oldest(&model->park); q;
	     q = kms_park_younger(&model->park, q)) {
		const struct kms_model_target *target = kms_model_target_find(model, q->target);
		const struct kms_live *live = kms_live_find(&target->set, q->address);

		printf("target %u address %llx: bits %x generation %u\n", q->target,
		       (unsigned long long)q->address, live ? live->low_bits >> 12 : 0,
		       live ? kms_live_generation(live) : 0);
		for (const struct kms_park_lane *lane = q->lane; lane; lane = lane->next)
			for (const struct kms_parked *e = lane->first; e; e = e->next)
				printf("  ring %u seq %llu kind %u generation %d flags %x\n",
				       lane->ring, (unsigned long long)e->event.ring_seq,
				       e->event.kind,
				       e->event.has_generation ? e->event.generation : -1,
				       e->event.flags);
	}
}

/* Plays a history to its end, which is soon for some seeds and late for others. */
static bool play(const struct history *history, struct world *w, struct kms_model *model)
{
	uint64_t polls = POLLS_MIN + rng_below(&w->rng, POLLS_MAX - POLLS_MIN);
	struct kms_batch *batch;
	bool good = true;

	for (uint64_t i = 0; good && i < polls; i++) {
		for (uint64_t n = rng_below(&w->rng, STEPS_A_POLL); n; n--)
			world_step(w);
		batch = kms_batch_create();
		assert_non_null(batch);
		world_poll(w, batch, false);
		feed(model, batch);
		good = world_check_figures(model);
	}
	world_settle(w);
	for (unsigned i = 0; i < 2;
	     i++) { /* what forked during the last poll is told by the next */
		batch = kms_batch_create();
		assert_non_null(batch);
		world_poll(w, batch, true);
		feed(model, batch);
	}
	if (history->in_order && model->park.count)
		print_parked(model);
	return good && (!history->in_order || model->park.count == 0);
}

static void end(struct kms_model *model)
{
	struct kms_batch *batch = kms_batch_create();

	assert_non_null(batch);
	batch->what = KMS_BATCH_END;
	feed(model, batch);
}

/* Must the model have guessed although nothing was lost? */
static bool has_guessed(const struct kms_model_counts *counts)
{
	return counts->forced || counts->foreign || counts->reopened || counts->forks_forced;
}

static void print_counts(uint64_t seed, const struct world *w,
			 const struct kms_model_counts *counts)
{
	printf("KMS_SEED=%llu failed: events %llu parked %llu forced %llu outdated %llu foreign %llu "
	       "reopened %llu forks %llu forced %llu inexact %llu\n",
	       (unsigned long long)seed, (unsigned long long)w->emitted,
	       (unsigned long long)counts->parked, (unsigned long long)counts->forced,
	       (unsigned long long)counts->outdated, (unsigned long long)counts->foreign,
	       (unsigned long long)counts->reopened, (unsigned long long)counts->forks,
	       (unsigned long long)counts->forks_forced, (unsigned long long)counts->forks_inexact);
}

static bool is_good(const struct history *history, uint64_t seed)
{
	const struct kms_model_config config = {.park_ns = history->park_ns};
	struct kms_model *model = kms_model_create(&config);
	struct world *w = world_create(&history->config, seed);
	struct kms_model_counts counts;
	bool good;

	assert_non_null(model);
	assert_non_null(w);
	good = play(history, w, model);
	end(model);
	kms_model_get_counts(model, &counts);
	/* all that was written must have arrived, whatever became of it */
	good = good && world_check(w, model) && world_check_figures(model) &&
	       model->stored == w->emitted && !(history->in_order && has_guessed(&counts)) &&
	       (w->dropped || world_check_query(w, model));
	if (!good)
		print_counts(seed, w, &counts);
	world_destroy(w);
	kms_model_destroy(model);
	return good;
}

static void play_seeds(void **state)
{
	const struct history *history = *state;
	uint64_t first = rng_seed();
	uint64_t failed = 0;

	if (history->once_failed)
		failed += !is_good(history, history->once_failed);
	for (uint64_t i = 0; i < number_from("KMS_ROUNDS", ROUNDS); i++)
		failed += !is_good(history, first + i);
	assert_int_equal(failed, 0);
}

/* Shares that most kinds have in common. */
#define THREADS .image = 1, .first_target = 1, .cross = true, .thread = 300, .skew = 40
#define FORKS   .fork = 400, .exit = 2000

static const struct history histories[] = {
	{
         .name = "one_ring_is_exact",
         .config = {.image = 1,
			   .first_target = 1,
			   .guard = true,
			   .regrow = true,
			   .large = true},
         .park_ns = UINT64_MAX,
         .in_order = true,
	 },
	{
         .name = "threads_that_free_for_each_other_are_exact",
         .config = {THREADS, .guard = true},
         .park_ns = UINT64_MAX,
         .in_order = true,
	 },
	{
         .name = "slabs_that_come_and_go_are_exact",
         .config = {THREADS, .regrow = true},
         .park_ns = UINT64_MAX,
	 },
	{
         .name = "large_blocks_that_come_and_go_are_exact",
         .config = {THREADS, .regrow = true, .large = true},
         .park_ns = UINT64_MAX,
	 },
	{
         .name = "forked_children_begin_at_the_cut",
         .config = {THREADS, FORKS},
         .park_ns = UINT64_MAX,
         .in_order = true,
	 },
	{
         .name = "children_that_are_late_begin_at_the_cut",
         .config = {THREADS, FORKS, .guard = true, .late = 3000},
         .park_ns = UINT64_MAX,
         .in_order = true,
	 },
	{
         .name = "everything_at_once_is_exact",
         .config = {THREADS, FORKS, .guard = true, .regrow = true, .large = true,
			   .late = 1000},
         .park_ns = UINT64_MAX,
	 },
	{
         .name = "recording_that_is_switched_off_and_on_begins_anew",
         .config = {THREADS, .guard = true, .large = true, .trace = 2000},
	 },
	{
         .name = "recording_switched_while_slabs_come_and_go",
         .config = {THREADS, .guard = true, .regrow = true, .large = true, .trace = 2000},
	 },
	{
         .name = "recording_switched_among_forks",
         .config = {THREADS, FORKS, .guard = true, .late = 1000, .trace = 2000},
         .once_failed = 1614,
	 },
	{
         .name = "addresses_without_lost_events_are_exact",
         .config = {THREADS, .fork = 1000, .lose = 500},
	 },
};

int main(void)
{
	enum { KINDS = sizeof(histories) / sizeof(histories[0]) };
	struct CMUnitTest tests[KINDS];

	for (unsigned i = 0; i < KINDS; i++) {
		/* cmocka's state is not const; ours is only read */
		void *state = (void *)(uintptr_t)&histories[i];

		tests[i] = (struct CMUnitTest){histories[i].name, play_seeds, NULL, NULL, state};
	}
	cmocka_set_test_filter(getenv("KMS_TEST"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
