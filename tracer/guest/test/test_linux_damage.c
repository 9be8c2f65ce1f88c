/* SPDX-License-Identifier: BSD-2-Clause */
/* Damaged memory of a kernel: whatever is in it, an answer comes, and comes soon. */
#include "base/test/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/guest/test/linux_all.h"

enum {
	FLIPS = 24,
	LAYOUTS = 4,
	SECOND_NS = 1000000000,
};

/* Where something is that matters; the rest of RAM is zero. */
static const struct {
	uint32_t begin, end;
} parts[] = {
	{0x10000,  0x50000 }, /* VMCOREINFO */
	{0x200000, 0x204000}, /* BTF, variables */
	{0x300000, 0x301000}, /* names of kallsyms */
	{0x320000, 0x324000}, /* its other tables */
	{0x380000, 0x386000}, /* page tables */
	{0x400000, 0x420000}, /* structs of pages */
	{0x600000, 0x640000}, /* caches, slabs, stacks, ring */
};

struct flip {
	uint32_t at;
	uint8_t before;
};

/* A byte that is not zero, mostly: where there is something to damage. */
static uint32_t place_find(struct fake_linux *fake, struct rng *rng)
{
	size_t part = rng_below(rng, sizeof(parts) / sizeof(parts[0]));
	uint32_t bytes = parts[part].end - parts[part].begin, at = 0;

	for (int try = 0; try < 64; try++) {
		at = parts[part].begin + (uint32_t)rng_below(rng, bytes);
		if (fake->ram.bytes[at])
			break;
	}
	return at;
}

static uint8_t damage_of(struct rng *rng, uint8_t byte)
{
	switch (rng_below(rng, 4)) {
	case 0:
		return (uint8_t)(byte ^ 1U << rng_below(rng, 8));
	case 1:
		return 0xff;
	case 2:
		return 0;
	default:
		return (uint8_t)rng_next(rng);
	}
}

/* A word of another place: a pointer that leads somewhere, only not where it should. */
static void word_copy(struct fake_linux *fake, struct rng *rng, struct flip *flip)
{
	uint32_t from = place_find(fake, rng) & ~7U, to = place_find(fake, rng) & ~7U;

	for (uint32_t i = 0; i < 8; i++) {
		flip[i] = (struct flip){to + i, fake->ram.bytes[to + i]};
		fake->ram.bytes[to + i] = fake->ram.bytes[from + i];
	}
}

static uint64_t now_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * SECOND_NS + (uint64_t)now.tv_nsec;
}

static void damage(struct fake_linux *fake, struct rng *rng, unsigned *opened)
{
	struct flip flip[FLIPS + 8];
	size_t n = 1 + rng_below(rng, FLIPS);
	uint64_t begin = now_ns();

	for (size_t i = 0; i < n; i++) {
		uint32_t at = place_find(fake, rng);

		flip[i] = (struct flip){at, fake->ram.bytes[at]};
		fake->ram.bytes[at] = damage_of(rng, fake->ram.bytes[at]);
	}
	if (n % 2) {
		word_copy(fake, rng, flip + n);
		n += 8;
	}
	*opened += linux_all(fake);
	assert_true(now_ns() - begin < 10ULL * SECOND_NS);
	while (n--)
		fake->ram.bytes[flip[n].at] = flip[n].before;
}

static void damaged_memory_is_survived(void **state)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): nobody changes the environment */
	const char *text = getenv("KMS_ROUNDS");
	unsigned long rounds = text ? strtoul(text, NULL, 10) : 100;
	uint64_t seed = rng_seed();

	(void)state;
	for (uint64_t layout = 0; layout < LAYOUTS; layout++) {
		struct fake_linux *fake = fake_linux_make(seed * LAYOUTS + layout);
		unsigned opened = 0;
		struct rng rng;

		rng_init(&rng, seed + layout);
		for (unsigned long i = 0; i < rounds; i++)
			damage(fake, &rng, &opened);
		/* the damage is small enough to be let in, and large enough to be noticed */
		assert_true(opened > 0);
		assert_true(linux_all(fake)); /* and all of it was undone */
		fake_linux_drop(fake);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(damaged_memory_is_survived),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
