/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The live model against a made-up world that knows the truth (model_world.h): random histories of
 * many rings and processes, read in any legal order, must end in the same live sets and the same
 * figures of every site. KMS_SEED repeats a run; KMS_ROUNDS sets how many worlds.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/test/unit.h"
#include "tracer/test/model_world.h"

enum {
	STEPS_A_POLL = 400,
};

/* One history, and how the model fared. */
struct history {
	struct world_config config;
	unsigned polls;
	uint64_t park_ns;
};

static unsigned rounds(unsigned otherwise)
{
	const char *text = getenv("KMS_ROUNDS");

	return text ? (unsigned)strtoul(text, NULL, 0) : otherwise;
}

static void feed(struct kms_model *model, struct kms_batch *batch)
{
	struct kms_err err = {0};

	assert_int_equal(kms_model_feed(model, batch, &err), 0);
	kms_batch_put(batch);
}

/* Plays a history to its end; the model is left for more questions. */
static struct kms_model *play(const struct history *history, uint64_t seed, struct world **world)
{
	const struct kms_model_config config = {.park_ns = history->park_ns};
	struct kms_model *model = kms_model_create(&config);
	struct world *w = world_create(&history->config, seed);
	struct kms_batch *batch;

	assert_non_null(model);
	assert_non_null(w);
	for (unsigned i = 0; i < history->polls; i++) {
		for (uint64_t n = rng_below(&w->rng, STEPS_A_POLL); n; n--)
			world_step(w);
		batch = kms_batch_create();
		assert_non_null(batch);
		world_poll(w, batch, false);
		feed(model, batch);
	}
	world_settle(w);
	for (unsigned i = 0; i < 2;
	     i++) { /* what forked during the last poll is told by the next */
		batch = kms_batch_create();
		world_poll(w, batch, true);
		feed(model, batch);
	}
	*world = w;
	return model;
}

static void end(struct kms_model *model)
{
	struct kms_batch *batch = kms_batch_create();

	assert_non_null(batch);
	batch->what = KMS_BATCH_END;
	feed(model, batch);
}

/* All that was written must have arrived, whatever became of it. */
static void check_totals(const struct world *w, const struct kms_model *model)
{
	assert_int_equal(model->stored, w->emitted);
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

static void histories(const struct history *history, unsigned n, bool in_order)
{
	uint64_t seed = rng_seed();

	for (unsigned i = 0; i < rounds(n); i++) {
		struct kms_model_counts counts;
		struct world *w;
		struct kms_model *model = play(history, seed + i, &w);
		bool good;

		if ((in_order || getenv("KMS_VERBOSE")) && model->park.count)
			print_parked(model);
		if (in_order)
			assert_int_equal(model->park.count, 0);
		end(model);
		kms_model_get_counts(model, &counts);
		good = world_check(w, model);
		if (!good || getenv("KMS_VERBOSE"))
			printf("seed %llu: events %llu parked %llu forced %llu outdated %llu foreign %llu "
			       "reopened %llu forks %llu forced %llu inexact %llu\n",
			       (unsigned long long)(seed + i), (unsigned long long)w->emitted,
			       (unsigned long long)counts.parked, (unsigned long long)counts.forced,
			       (unsigned long long)counts.outdated,
			       (unsigned long long)counts.foreign,
			       (unsigned long long)counts.reopened,
			       (unsigned long long)counts.forks,
			       (unsigned long long)counts.forks_forced,
			       (unsigned long long)counts.forks_inexact);
		assert_true(good);
		check_totals(w, model);
		if (in_order) {
			assert_int_equal(counts.forced, 0);
			assert_int_equal(counts.foreign, 0);
			assert_int_equal(counts.reopened, 0);
			assert_int_equal(counts.forks_forced, 0);
		}
		world_destroy(w);
		kms_model_destroy(model);
	}
}

static void one_ring_is_exact(void **state)
{
	const struct history history = {
		.config = {.image = 1, .first_target = 1, .guard = true, .regrow = true, .large = true},
		.polls = 60,
		.park_ns = UINT64_MAX
        };

	(void)state;
	histories(&history, 10, true);
}

static void threads_that_free_for_each_other_are_exact(void **state)
{
	const struct history history = {
		.config = {.image = 1,
			   .first_target = 1,
			   .cross = true,
			   .guard = true,
			   .thread = 300,
			   .skew = 40},
		.polls = 100,
		.park_ns = UINT64_MAX
        };

	(void)state;
	histories(&history, 20, true);
}

static void slabs_that_come_and_go_are_exact(void **state)
{
	const struct history history = {
		.config = {.image = 1,
			   .first_target = 1,
			   .cross = true,
			   .regrow = true,
			   .thread = 300,
			   .skew = 40},
		.polls = 100,
		.park_ns = UINT64_MAX
        };

	(void)state;
	histories(&history, 20, false);
}

static void forked_children_begin_at_the_cut(void **state)
{
	const struct history history = {
		.config = {.image = 1,
			   .first_target = 1,
			   .cross = true,
			   .thread = 300,
			   .fork = 400,
			   .exit = 2000,
			   .skew = 40},
		.polls = 100,
		.park_ns = UINT64_MAX
        };

	(void)state;
	histories(&history, 20, true);
}

static void children_that_are_late_begin_at_the_cut(void **state)
{
	const struct history history = {
		.config = {.image = 1,
			   .first_target = 1,
			   .cross = true,
			   .guard = true,
			   .thread = 300,
			   .fork = 400,
			   .exit = 2000,
			   .late = 3000,
			   .skew = 40},
		.polls = 100,
		.park_ns = UINT64_MAX
        };

	(void)state;
	histories(&history, 20, true);
}

static void everything_at_once_is_exact(void **state)
{
	const struct history history = {
		.config = {.image = 1,
			   .first_target = 1,
			   .cross = true,
			   .guard = true,
			   .regrow = true,
			   .thread = 200,
			   .fork = 500,
			   .exit = 2000,
			   .late = 1000,
			   .skew = 60},
		.polls = 120,
		.park_ns = UINT64_MAX
        };

	(void)state;
	histories(&history, 20, false);
}

static void addresses_without_lost_events_are_exact(void **state)
{
	const struct history history = {
		.config = {.image = 1,
			   .first_target = 1,
			   .cross = true,
			   .thread = 300,
			   .fork = 1000,
			   .lose = 500,
			   .skew = 40},
		.polls = 100,
		.park_ns = 0
        };

	(void)state;
	histories(&history, 20, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_ring_is_exact),
		cmocka_unit_test(threads_that_free_for_each_other_are_exact),
		cmocka_unit_test(slabs_that_come_and_go_are_exact),
		cmocka_unit_test(forked_children_begin_at_the_cut),
		cmocka_unit_test(children_that_are_late_begin_at_the_cut),
		cmocka_unit_test(everything_at_once_is_exact),
		cmocka_unit_test(addresses_without_lost_events_are_exact),
	};

	cmocka_set_test_filter(getenv("KMS_TEST"));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
