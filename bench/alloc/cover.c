/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench/alloc/cover.h"

#include <stdlib.h>
#include <string.h>

#include "bench/alloc/workload.h"

enum {
	FIRST_ROOM = 4,
	WORD_BITS = 64,
};

struct cube *cube_new(void)
{
	struct cube *a = bench_malloc(sizeof(*a));

	memset(a, 0xff, sizeof(*a));
	return a;
}

struct cube *cube_copy(const struct cube *a)
{
	struct cube *b = bench_malloc(sizeof(*b));

	*b = *a;
	return b;
}

void cube_free(struct cube *a)
{
	free(a);
}

void cube_set(struct cube *a, unsigned variable, unsigned literal)
{
	unsigned shift = variable * 2 % WORD_BITS;
	uint64_t *word = &a->word[variable * 2 / WORD_BITS];

	*word = (*word & ~(UINT64_C(3) << shift)) | (uint64_t)literal << shift;
}

unsigned cube_get(const struct cube *a, unsigned variable)
{
	return a->word[variable * 2 / WORD_BITS] >> variable * 2 % WORD_BITS & 3;
}

bool cube_meets(const struct cube *a, const struct cube *b)
{
	for (unsigned i = 0; i < COVER_WORDS; i++) {
		uint64_t both = a->word[i] & b->word[i];

		/* A variable that has neither bit left makes the product empty. */
		if (~(both | both >> 1) & UINT64_C(0x5555555555555555))
			return false;
	}
	return true;
}

bool cube_contains(const struct cube *a, const struct cube *b)
{
	for (unsigned i = 0; i < COVER_WORDS; i++) {
		if (b->word[i] & ~a->word[i])
			return false;
	}
	return true;
}

struct cover *cover_new(void)
{
	struct cover *a = bench_malloc(sizeof(*a));

	*a = (struct cover){0};
	return a;
}

struct cover *cover_copy(const struct cover *a)
{
	struct cover *b = cover_new();

	for (unsigned i = 0; i < a->n; i++)
		cover_add(b, cube_copy(a->cube[i]));
	return b;
}

void cover_free(struct cover *a)
{
	for (unsigned i = 0; i < a->n; i++)
		cube_free(a->cube[i]);
	free(a->cube);
	free(a);
}

void cover_add(struct cover *a, struct cube *cube)
{
	if (a->n == a->room) {
		a->room = a->room ? a->room + a->room / 2 : FIRST_ROOM;
		/* NOLINTNEXTLINE(bugprone-sizeof-expression): pointers */
		a->cube = bench_realloc(a->cube, a->room * sizeof(*a->cube));
	}
	a->cube[a->n++] = cube;
}

void cover_remove(struct cover *a, unsigned i)
{
	cube_free(a->cube[i]);
	a->cube[i] = a->cube[--a->n];
}

void cover_join(struct cover *a, struct cover *from)
{
	for (unsigned i = 0; i < from->n; i++)
		cover_add(a, from->cube[i]);
	free(from->cube);
	free(from);
}
