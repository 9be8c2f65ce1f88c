/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The table of sites when it is full: where stacks without a site of their own are counted, how that
 * is found again, and what happens when there is room once more. The tree: node n hangs on n / 2.
 */
#include "base/test/unit.h"
#include "tracer/sites.h"
#include "tracer/test/rng.h"

enum {
	MAX = 100,
	NODES = 20000,
	CACHE = 3,
	TARGET = 1,
};

struct world {
	struct kms_memory memory;
	struct kms_sites sites;
	struct kms_site_owner owner;
	uint32_t first;
	unsigned parents_asked;
};

static uint32_t parent_of(const void *tree, uint32_t node)
{
	/* the tree is the world's own, const to the table only */
	((struct world *)(uintptr_t)tree)->parents_asked++;
	return node / 2;
}

static void setup(struct world *w)
{
	*w = (struct world){.memory.limit_bytes = 64 << 20, .first = KMS_SITE_NONE};
	assert_int_equal(kms_sites_init(&w->sites, &w->memory, MAX), 0);
	w->owner = (struct kms_site_owner){
		.target = TARGET, .first = &w->first, .parent = parent_of, .tree = w};
}

static uint32_t get(struct world *w, uint32_t node)
{
	return kms_sites_get(&w->sites, &w->owner, node, CACHE);
}

static void teardown(struct world *w)
{
	kms_sites_deinit(&w->sites);
	assert_int_equal(w->memory.used_bytes, 0);
}

static void fill(struct world *w)
{
	for (uint32_t node = NODES; !kms_sites_is_full(&w->sites); node++)
		assert_int_not_equal(get(w, node), KMS_SITE_OVERFLOW);
}

static void a_full_table_folds_a_stack_into_one_further_out(void **state)
{
	struct world w;
	uint32_t index;

	(void)state;
	setup(&w);
	fill(&w);
	index = get(&w, 5000);
	assert_true(w.sites.site[index].flags & KMS_SITE_FOLDED);
	assert_int_equal(w.sites.site[index].node, 2500);
	assert_int_equal(w.sites.folded, 1);
	teardown(&w);
}

static void a_folded_stack_is_found_again_without_asking_for_its_parents(void **state)
{
	uint32_t index[50];
	struct world w;
	unsigned asked;

	(void)state;
	setup(&w);
	fill(&w);
	for (uint32_t i = 0; i < 50; i++)
		index[i] = get(&w, 5000 + 64 * i);
	asked = w.parents_asked;
	for (uint32_t i = 0; i < 50; i++)
		assert_int_equal(get(&w, 5000 + 64 * i), index[i]);
	/* two of them may share a place of the memory for that */
	assert_true(w.parents_asked - asked < asked / 4);
	assert_int_equal(w.sites.folded, 100);
	teardown(&w);
}

static void a_dropped_site_is_no_longer_where_a_stack_is_folded_into(void **state)
{
	uint32_t folded, *link;
	struct world w;

	(void)state;
	setup(&w);
	fill(&w);
	folded = get(&w, 5000);
	for (link = &w.first; *link != folded; link = &w.sites.past[*link].next)
		assert_int_not_equal(*link, KMS_SITE_NONE);
	kms_sites_drop(&w.sites, link);
	/* the place went to a site of its own, or to another folded one: never a stale answer */
	for (uint32_t node = 5000; node < 5010; node++) {
		uint32_t index = get(&w, node);

		assert_true(w.sites.site[index].flags & KMS_SITE_USED);
		assert_int_equal(kms_sites_find(&w.sites, TARGET, w.sites.site[index].node,
						w.sites.site[index].cache),
				 index);
	}
	teardown(&w);
}

/* The kin of a site as the list says, checked against the model: caches that were put to each stack. */
static void check_kin(const struct world *w, uint32_t node, uint64_t caches)
{
	uint32_t lead = KMS_SITE_NONE;
	uint64_t seen = 0;

	for (uint16_t cache = 0; cache < 64; cache++) {
		uint32_t index = kms_sites_find(&w->sites, TARGET, node, cache);

		assert_int_equal(index != KMS_SITE_NONE, caches >> cache & 1);
		if (index == KMS_SITE_NONE)
			continue;
		if (lead == KMS_SITE_NONE)
			lead = w->sites.kin[index].lead;
		assert_int_equal(w->sites.kin[index].lead, node ? lead : index);
	}
	for (uint32_t i = lead; node && i != KMS_SITE_NONE; i = w->sites.kin[i].next) {
		assert_int_equal(w->sites.site[i].node, node);
		assert_false(seen >> w->sites.site[i].cache & 1);
		seen |= UINT64_C(1) << w->sites.site[i].cache;
	}
	if (node)
		assert_int_equal(seen, caches);
}

static void drop(struct world *w, uint32_t node, uint16_t cache)
{
	uint32_t index = kms_sites_find(&w->sites, TARGET, node, cache);
	uint32_t *link = &w->first;

	while (*link != index) {
		assert_int_not_equal(*link, KMS_SITE_NONE);
		link = &w->sites.past[*link].next;
	}
	kms_sites_drop(&w->sites, link);
}

static void sites_of_one_stack_are_kin_whatever_comes_and_goes(void **state)
{
	enum {
		STACKS = 12,
	};

	uint64_t caches[STACKS] = {0};
	struct world w;
	struct rng rng;

	(void)state;
	setup(&w);
	rng_init(&rng, rng_seed());
	for (unsigned i = 0; i < 20000; i++) {
		uint32_t node = (uint32_t)rng_below(&rng, STACKS);
		uint16_t cache = (uint16_t)rng_below(&rng, 8);

		if (caches[node] >> cache & 1)
			drop(&w, node, cache);
		else
			(void)kms_sites_get(&w.sites, &w.owner, node, cache);
		caches[node] ^= UINT64_C(1) << cache;
		for (uint32_t k = 0; k < STACKS; k++)
			check_kin(&w, k, caches[k]);
	}
	teardown(&w);
}

static void what_is_known_of_a_stack_survives_the_site_it_stood_at(void **state)
{
	struct world w;
	uint32_t first, second;

	(void)state;
	setup(&w);
	first = kms_sites_get(&w.sites, &w.owner, 77, 1);
	second = kms_sites_get(&w.sites, &w.owner, 77, 2);
	assert_int_equal(w.sites.kin[second].lead, first);
	w.sites.past[first].grown = 5;
	w.sites.past[first].epoch_count = 6;
	w.sites.past[first].median_ns = 7;
	w.sites.past[first].leak_id = 8;
	kms_site_add(&w.sites, second, 100, 1);
	drop(&w, 77, 1);
	assert_int_equal(w.sites.kin[second].lead, second);
	assert_int_equal(w.sites.past[second].grown, 5);
	assert_int_equal(w.sites.past[second].epoch_count, 6);
	assert_int_equal(w.sites.past[second].median_ns, 7);
	assert_int_equal(w.sites.past[second].leak_id, 8);
	assert_int_equal(kms_site_kin_count(&w.sites, second), 1);
	teardown(&w);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_full_table_folds_a_stack_into_one_further_out),
		cmocka_unit_test(a_folded_stack_is_found_again_without_asking_for_its_parents),
		cmocka_unit_test(a_dropped_site_is_no_longer_where_a_stack_is_folded_into),
		cmocka_unit_test(sites_of_one_stack_are_kin_whatever_comes_and_goes),
		cmocka_unit_test(what_is_known_of_a_stack_survives_the_site_it_stood_at),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
