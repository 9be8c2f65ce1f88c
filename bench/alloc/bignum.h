/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Natural numbers of any length. Each result is a fresh block, each number is freed by its owner:
 * the way such code is written where memory is cheap. No number is ever changed.
 */
#ifndef KMS_BENCH_ALLOC_BIGNUM_H
#define KMS_BENCH_ALLOC_BIGNUM_H

#include <stdbool.h>
#include <stdint.h>

/** A number: @n_limbs limbs of 32 bits, least significant first, the last one not 0. */
struct big {
	uint32_t n_limbs; /* 0: the number 0 */
	uint32_t limb[];
};

struct big *big_from(uint64_t value);
/** From decimal digits. */
struct big *big_parse(const char *digits);
struct big *big_copy(const struct big *a);
void big_free(struct big *a);

struct big *big_add(const struct big *a, const struct big *b);
/** a - b; b is not greater than a. */
struct big *big_sub(const struct big *a, const struct big *b);
struct big *big_mul(const struct big *a, const struct big *b);
/** Quotient, and in *rest the remainder unless rest is NULL; b is not 0. */
struct big *big_div(const struct big *a, const struct big *b, struct big **rest);
/** Quotient by a small number. */
struct big *big_div_small(const struct big *a, uint32_t b);
/** Remainder by a small number; makes no number. */
uint32_t big_rest_small(const struct big *a, uint32_t b);
/** Largest number whose square is not above a. */
struct big *big_sqrt(const struct big *a);
/** -1, 0, 1. */
int big_compare(const struct big *a, const struct big *b);

static inline bool big_is_one(const struct big *a)
{
	return a->n_limbs == 1 && a->limb[0] == 1;
}

#endif
