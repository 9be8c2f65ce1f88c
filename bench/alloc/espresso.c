/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Minimising a random logic function: its complement by recursion over variables, its cubes expanded
 * against the complement, contained cubes dropped. Covers are made, grown by realloc and freed at
 * every level of the recursion.
 */
#include <stdlib.h>

#include "bench/alloc/cover.h"
#include "bench/alloc/workload.h"

#define LAYER __attribute__((noinline))

enum {
	CUBES = 128,
	USED_VARIABLES = 15,
	LITERAL_ONE_IN = 3,
	NEGATED = 1,
	PLAIN = 2,
	ANY = 3,
	SPREAD = COVER_VARIABLES / USED_VARIABLES, /* used variables lie all over a cube */
};

static struct cover *random_cover(uint64_t *state)
{
	struct cover *cover = cover_new();

	for (int i = 0; i < CUBES; i++) {
		struct cube *cube = cube_new();

		for (unsigned v = 0; v < USED_VARIABLES * SPREAD; v += SPREAD) {
			uint64_t random = bench_next(state);

			if (random % LITERAL_ONE_IN == 0)
				cube_set(cube, v, random >> 20 & 1 ? PLAIN : NEGATED);
		}
		cover_add(cover, cube);
	}
	return cover;
}

/* What is left of the cover where the variable has this literal. */
static LAYER struct cover *cofactor(const struct cover *cover, unsigned variable, unsigned literal)
{
	struct cover *part = cover_new();

	for (unsigned i = 0; i < cover->n; i++) {
		struct cube *cube;

		if (!(cube_get(cover->cube[i], variable) & literal))
			continue;
		cube = cube_copy(cover->cube[i]);
		cube_set(cube, variable, ANY);
		cover_add(part, cube);
	}
	return part;
}

/* The variable that most cubes have a literal of. */
static unsigned busiest_variable(const struct cover *cover)
{
	unsigned best = 0, most = 0;

	for (unsigned v = 0; v < USED_VARIABLES * SPREAD; v += SPREAD) {
		unsigned n = 0;

		for (unsigned i = 0; i < cover->n; i++)
			n += cube_get(cover->cube[i], v) != ANY;
		if (n > most) {
			most = n;
			best = v;
		}
	}
	return best;
}

static bool has_full_cube(const struct cover *cover)
{
	struct cube *full = cube_new();
	bool found = false;

	for (unsigned i = 0; i < cover->n && !found; i++)
		found = cube_contains(cover->cube[i], full);
	cube_free(full);
	return found;
}

/* Drops cubes that another one contains. */
static LAYER void drop_contained(struct cover *cover)
{
	for (unsigned i = 0; i < cover->n; i++) {
		for (unsigned j = 0; j < cover->n; j++) {
			if (i != j && cube_contains(cover->cube[j], cover->cube[i])) {
				cover_remove(cover, i--);
				break;
			}
		}
	}
}

static struct cover *complement(const struct cover *cover);

static LAYER struct cover *complement_half(const struct cover *cover, unsigned variable,
					   unsigned literal)
{
	struct cover *part = cofactor(cover, variable, literal);
	struct cover *result = complement(part);

	for (unsigned i = 0; i < result->n; i++)
		cube_set(result->cube[i], variable, literal);
	cover_free(part);
	return result;
}

static LAYER struct cover *complement(const struct cover *cover)
{
	struct cover *result;
	unsigned variable;

	if (!cover->n || has_full_cube(cover)) {
		result = cover_new();
		if (!cover->n)
			cover_add(result, cube_new());
		return result;
	}
	variable = busiest_variable(cover);
	result = complement_half(cover, variable, PLAIN);
	cover_join(result, complement_half(cover, variable, NEGATED));
	return result;
}

/* Makes a cube as large as the complement allows. */
static LAYER struct cube *expand(const struct cube *cube, const struct cover *off)
{
	struct cube *larger = cube_copy(cube);

	for (unsigned v = 0; v < USED_VARIABLES * SPREAD; v += SPREAD) {
		struct cube *attempt;
		bool meets = false;

		if (cube_get(larger, v) == ANY)
			continue;
		attempt = cube_copy(larger);
		cube_set(attempt, v, ANY);
		for (unsigned i = 0; i < off->n && !meets; i++)
			meets = cube_meets(attempt, off->cube[i]);
		cube_free(meets ? attempt : larger);
		larger = meets ? larger : attempt;
	}
	return larger;
}

static LAYER struct cover *minimise(const struct cover *on)
{
	struct cover *off = complement(on);
	struct cover *result = cover_new();

	for (unsigned i = 0; i < on->n; i++)
		cover_add(result, expand(on->cube[i], off));
	drop_contained(result);
	cover_free(off);
	return result;
}

uint64_t bench_espresso(struct bench_work *work)
{
	uint64_t state = 7, sum = 0;

	for (uint64_t i = 0; i < work->scale; i++) {
		struct cover *on = random_cover(&state);
		struct cover *minimal = minimise(on);

		sum = sum * 31 + minimal->n;
		for (unsigned k = 0; k < minimal->n; k++)
			sum ^= minimal->cube[k]->word[0];
		cover_free(minimal);
		cover_free(on);
	}
	return sum;
}
