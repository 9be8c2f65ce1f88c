/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sets of cubes, as in the minimisation of logic: a cube is a product of literals, two bits for each
 * variable (01 negated, 10 plain, 11 any, 00 empty); a cover is a list of cubes that grows by realloc.
 */
#ifndef KMS_BENCH_ALLOC_COVER_H
#define KMS_BENCH_ALLOC_COVER_H

#include <stdbool.h>
#include <stdint.h>

enum {
	COVER_VARIABLES = 512,
	COVER_WORDS = COVER_VARIABLES * 2 / 64,
};

struct cube {
	uint64_t word[COVER_WORDS];
};

struct cover {
	struct cube **cube;
	unsigned n, room;
};

struct cube *cube_new(void); /* all variables "any" */
struct cube *cube_copy(const struct cube *a);
void cube_free(struct cube *a);
void cube_set(struct cube *a, unsigned variable, unsigned literal);
unsigned cube_get(const struct cube *a, unsigned variable);
/** Whether a and b have a point in common. */
bool cube_meets(const struct cube *a, const struct cube *b);
bool cube_contains(const struct cube *a, const struct cube *b);

struct cover *cover_new(void);
struct cover *cover_copy(const struct cover *a);
void cover_free(struct cover *a);
/** Adds a cube and takes it over. */
void cover_add(struct cover *a, struct cube *cube);
/** Takes cube @i out; the last one comes to its place. */
void cover_remove(struct cover *a, unsigned i);
/** Moves all cubes of @from to @a and frees @from. */
void cover_join(struct cover *a, struct cover *from);

#endif
