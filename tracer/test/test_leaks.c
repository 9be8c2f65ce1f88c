/* SPDX-License-Identifier: BSD-2-Clause */
/* Scores of leak suspects: what is worth a look (50 and more), and what is not. */
#include "base/test/unit.h"
#include "tracer/leaks.h"

enum {
	WORTH_A_LOOK = 50,
};

static double score(const struct kms_leak_facts *facts)
{
	struct kms_view_evidence evidence;

	return kms_leak_score(facts, &evidence);
}

/* Every epoch it has more blocks than before, and keeps them. */
static void steady_growth_is_worth_a_look(void **state)
{
	const struct kms_leak_facts facts = {
		.count = 1000,
		.bytes = 48000,
		.allocs = 1000,
		.total_bytes = 1000000,
		.median_age_ns = 1000000000,
		.grown = 0xffffffff,
		.epochs = 32,
	};

	(void)state;
	assert_true(score(&facts) >= WORTH_A_LOOK);
}

/*
 * One block that comes and goes: at the end of some epochs it is there and at the end of others not.
 * Joined epochs have grown if one of the two has, so the bits say that it always grows.
 */
static void one_block_that_comes_and_goes_is_not(void **state)
{
	const struct kms_leak_facts facts = {
		.count = 1,
		.bytes = 4096,
		.allocs = 50000,
		.frees = 49999,
		.total_bytes = 8192,
		.median_age_ns = 100000000,
		.lifetime_p99_ns = 10000,
		.grown = 0xffffffff,
		.epochs = 32,
		.at_exit = true,
	};

	(void)state;
	assert_true(score(&facts) < WORTH_A_LOOK);
}

static void no_blocks_no_score(void **state)
{
	const struct kms_leak_facts facts = {.allocs = 10, .frees = 10, .grown = 1, .epochs = 4};

	(void)state;
	assert_true(score(&facts) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(steady_growth_is_worth_a_look),
		cmocka_unit_test(one_block_that_comes_and_goes_is_not),
		cmocka_unit_test(no_blocks_no_score),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
