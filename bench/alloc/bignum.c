/* SPDX-License-Identifier: BSD-2-Clause */
#include "bench/alloc/bignum.h"

#include <stdlib.h>
#include <string.h>

#include "bench/alloc/workload.h"

enum {
	LIMB_BITS = 32,
};

/* Like a library: a layer between the numbers and malloc. */
static __attribute__((noinline)) struct big *big_new(uint32_t n_limbs)
{
	struct big *a = bench_malloc(sizeof(*a) + n_limbs * sizeof(a->limb[0]));

	a->n_limbs = n_limbs;
	return a;
}

static struct big *trim(struct big *a)
{
	while (a->n_limbs && !a->limb[a->n_limbs - 1])
		a->n_limbs--;
	return a;
}

void big_free(struct big *a)
{
	free(a);
}

struct big *big_from(uint64_t value)
{
	struct big *a = big_new(2);

	a->limb[0] = (uint32_t)value;
	a->limb[1] = (uint32_t)(value >> LIMB_BITS);
	return trim(a);
}

struct big *big_copy(const struct big *a)
{
	struct big *b = big_new(a->n_limbs);

	memcpy(b->limb, a->limb, a->n_limbs * sizeof(a->limb[0]));
	return b;
}

struct big *big_parse(const char *digits)
{
	struct big *a = big_from(0), *ten = big_from(10);

	for (; *digits; digits++) {
		struct big *times = big_mul(a, ten), *digit = big_from((uint64_t)(*digits - '0'));

		big_free(a);
		a = big_add(times, digit);
		big_free(times);
		big_free(digit);
	}
	big_free(ten);
	return a;
}

int big_compare(const struct big *a, const struct big *b)
{
	if (a->n_limbs != b->n_limbs)
		return a->n_limbs < b->n_limbs ? -1 : 1;
	for (uint32_t i = a->n_limbs; i-- > 0;) {
		if (a->limb[i] != b->limb[i])
			return a->limb[i] < b->limb[i] ? -1 : 1;
	}
	return 0;
}

struct big *big_add(const struct big *a, const struct big *b)
{
	uint32_t n = (a->n_limbs > b->n_limbs ? a->n_limbs : b->n_limbs) + 1;
	struct big *sum = big_new(n);
	uint64_t carry = 0;

	for (uint32_t i = 0; i < n; i++) {
		carry += i < a->n_limbs ? a->limb[i] : 0;
		carry += i < b->n_limbs ? b->limb[i] : 0;
		sum->limb[i] = (uint32_t)carry;
		carry >>= LIMB_BITS;
	}
	return trim(sum);
}

struct big *big_sub(const struct big *a, const struct big *b)
{
	struct big *difference = big_new(a->n_limbs);
	int64_t borrow = 0;

	for (uint32_t i = 0; i < a->n_limbs; i++) {
		borrow += (int64_t)a->limb[i] - (i < b->n_limbs ? b->limb[i] : 0);
		difference->limb[i] = (uint32_t)borrow;
		borrow >>= LIMB_BITS;
	}
	return trim(difference);
}

struct big *big_mul(const struct big *a, const struct big *b)
{
	struct big *product = big_new(a->n_limbs + b->n_limbs);

	memset(product->limb, 0, product->n_limbs * sizeof(product->limb[0]));
	for (uint32_t i = 0; i < a->n_limbs; i++) {
		uint64_t carry = 0;

		for (uint32_t j = 0; j < b->n_limbs; j++) {
			carry += (uint64_t)a->limb[i] * b->limb[j] + product->limb[i + j];
			product->limb[i + j] = (uint32_t)carry;
			carry >>= LIMB_BITS;
		}
		product->limb[i + b->n_limbs] = (uint32_t)carry;
	}
	return trim(product);
}

uint32_t big_rest_small(const struct big *a, uint32_t b)
{
	uint64_t left = 0;

	for (uint32_t i = a->n_limbs; i-- > 0;)
		left = (left << LIMB_BITS | a->limb[i]) % b;
	return (uint32_t)left;
}

struct big *big_div_small(const struct big *a, uint32_t b)
{
	struct big *quotient = big_new(a->n_limbs);
	uint64_t left = 0;

	for (uint32_t i = a->n_limbs; i-- > 0;) {
		left = left << LIMB_BITS | a->limb[i];
		quotient->limb[i] = (uint32_t)(left / b);
		left %= b;
	}
	return trim(quotient);
}

static struct big *shift_left(const struct big *a, unsigned bits)
{
	struct big *shifted = big_new(a->n_limbs + 1);
	uint64_t carry = 0;

	for (uint32_t i = 0; i < a->n_limbs; i++) {
		carry |= (uint64_t)a->limb[i] << bits;
		shifted->limb[i] = (uint32_t)carry;
		carry >>= LIMB_BITS;
	}
	shifted->limb[a->n_limbs] = (uint32_t)carry;
	return shifted; /* not trimmed: long division wants the extra limb */
}

static struct big *shift_right(struct big *a, unsigned bits)
{
	struct big *shifted = big_new(a->n_limbs);

	for (uint32_t i = 0; i < a->n_limbs; i++) {
		uint64_t two = a->limb[i];

		if (i + 1 < a->n_limbs)
			two |= (uint64_t)a->limb[i + 1] << LIMB_BITS;
		shifted->limb[i] = (uint32_t)(two >> bits);
	}
	return trim(shifted);
}

/* Subtracts digit * b from a at limb @at. True: it was one too much and a is negative there. */
static bool subtract_multiple(struct big *a, const struct big *b, uint64_t digit, uint32_t at)
{
	uint64_t carry = 0;
	int64_t borrow = 0;

	for (uint32_t i = 0; i <= b->n_limbs; i++) {
		uint64_t product = carry + (i < b->n_limbs ? digit * b->limb[i] : 0);

		borrow += (int64_t)a->limb[at + i] - (uint32_t)product;
		a->limb[at + i] = (uint32_t)borrow;
		borrow >>= LIMB_BITS;
		carry = product >> LIMB_BITS;
	}
	return borrow < 0;
}

static void add_back(struct big *a, const struct big *b, uint32_t at)
{
	uint64_t carry = 0;

	for (uint32_t i = 0; i <= b->n_limbs; i++) {
		carry += (uint64_t)a->limb[at + i] + (i < b->n_limbs ? b->limb[i] : 0);
		a->limb[at + i] = (uint32_t)carry;
		carry >>= LIMB_BITS;
	}
}

/* One digit of the quotient: estimated from the leading limbs, corrected afterwards. */
static uint32_t quotient_digit(struct big *a, const struct big *b, uint32_t at)
{
	uint64_t top =
		(uint64_t)a->limb[at + b->n_limbs] << LIMB_BITS | a->limb[at + b->n_limbs - 1];
	uint64_t digit = top / b->limb[b->n_limbs - 1];

	if (digit > UINT32_MAX)
		digit = UINT32_MAX;
	if (subtract_multiple(a, b, digit, at)) {
		do {
			digit--;
			add_back(a, b, at);
		} while (a->limb[at + b->n_limbs]); /* still "negative" */
	}
	return (uint32_t)digit;
}

/* Schoolbook division with the divisor's top bit set. */
static struct big *long_division(const struct big *a, const struct big *b, struct big **rest)
{
	unsigned bits = (unsigned)__builtin_clz(b->limb[b->n_limbs - 1]);
	struct big *left = shift_left(a, bits);
	struct big *divisor = trim(shift_left(b, bits));
	uint32_t n = a->n_limbs - b->n_limbs + 1;
	struct big *quotient = big_new(n);

	for (uint32_t i = n; i-- > 0;)
		quotient->limb[i] = quotient_digit(left, divisor, i);
	if (rest)
		*rest = shift_right(trim(left), bits);
	big_free(left);
	big_free(divisor);
	return trim(quotient);
}

struct big *big_div(const struct big *a, const struct big *b, struct big **rest)
{
	if (big_compare(a, b) < 0) {
		if (rest)
			*rest = big_copy(a);
		return big_from(0);
	}
	if (b->n_limbs > 1)
		return long_division(a, b, rest);
	if (rest)
		*rest = big_from(big_rest_small(a, b->limb[0]));
	return big_div_small(a, b->limb[0]);
}

struct big *big_sqrt(const struct big *a)
{
	struct big *two = big_from(2);
	struct big *root = big_copy(a);

	/* Newton from above: falls until it is right. */
	for (;;) {
		struct big *quotient = big_div(a, root, NULL);
		struct big *sum = big_add(root, quotient);
		struct big *better = big_div(sum, two, NULL);
		bool done = big_compare(better, root) >= 0;

		big_free(quotient);
		big_free(sum);
		if (done) {
			big_free(better);
			big_free(two);
			return root;
		}
		big_free(root);
		root = better;
	}
}
