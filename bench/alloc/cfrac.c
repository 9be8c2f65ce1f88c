/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The first half of factoring by continued fractions: the expansion of sqrt(N), whose denominators
 * are tried against a base of small primes. Nearly every step makes numbers of a few limbs that live
 * for a moment. Layers and recursion as in a real program: calls reach malloc ten frames deep or more.
 */
#include <stdlib.h>

#include "bench/alloc/bignum.h"
#include "bench/alloc/workload.h"

#define LAYER __attribute__((noinline))

enum {
	PRIMES = 200,
	TRIES = 20, /* primes that one layer tries before it hands on to the next */
};

static const char number_digits[] = "17545186520507317056371138836327483792789528917";

/* The state of the expansion: sqrt(N) = [q0; q1, ...], convergents A modulo N. */
struct expansion {
	struct big *n, *root, *p, *q, *digit, *a, *a_before;
};

static void replace(struct big **number, struct big *by)
{
	big_free(*number);
	*number = by;
}

static void expansion_init(struct expansion *x, const char *digits)
{
	x->n = big_parse(digits);
	x->root = big_sqrt(x->n);
	x->p = big_from(0);
	x->q = big_from(1);
	x->digit = big_copy(x->root);
	x->a_before = big_from(1);
	x->a = big_copy(x->root);
}

static void expansion_deinit(struct expansion *x)
{
	struct big *all[] = {x->n, x->root, x->p, x->q, x->digit, x->a, x->a_before};

	for (size_t i = 0; i < sizeof(all) / sizeof(all[0]); i++)
		big_free(all[i]);
}

/* a * b mod n */
static LAYER struct big *multiply_modulo(const struct big *a, const struct big *b,
					 const struct big *n)
{
	struct big *product = big_mul(a, b), *rest;

	big_free(big_div(product, n, &rest));
	big_free(product);
	return rest;
}

/* p becomes digit * q - p */
static LAYER void next_p(struct expansion *x)
{
	struct big *product = big_mul(x->digit, x->q);

	replace(&x->p, big_sub(product, x->p));
	big_free(product);
}

/* q becomes (n - p * p) / q */
static LAYER void next_q(struct expansion *x)
{
	struct big *square = big_mul(x->p, x->p);
	struct big *difference = big_sub(x->n, square);

	replace(&x->q, big_div(difference, x->q, NULL));
	big_free(square);
	big_free(difference);
}

static LAYER void next_digit(struct expansion *x)
{
	struct big *sum = big_add(x->root, x->p);

	replace(&x->digit, big_div(sum, x->q, NULL));
	big_free(sum);
}

/* a becomes digit * a + a_before, modulo n */
static LAYER void next_convergent(struct expansion *x)
{
	struct big *product = multiply_modulo(x->digit, x->a, x->n);
	struct big *sum = big_add(product, x->a_before);
	struct big *rest;

	big_free(big_div(sum, x->n, &rest));
	big_free(product);
	big_free(sum);
	big_free(x->a_before);
	x->a_before = x->a;
	x->a = rest;
}

static LAYER void expansion_step(struct expansion *x)
{
	next_p(x);
	next_q(x);
	next_digit(x);
	next_convergent(x);
}

static void fill_primes(uint32_t *prime)
{
	uint32_t n = 0;

	for (uint32_t candidate = 2; n < PRIMES; candidate++) {
		uint32_t divisor = 2;

		while (candidate % divisor)
			divisor++;
		if (divisor == candidate)
			prime[n++] = candidate;
	}
}

/* Divides by one prime as often as it goes. */
static LAYER struct big *remove_prime(struct big *number, uint32_t prime)
{
	while (big_rest_small(number, prime) == 0) {
		struct big *quotient = big_div_small(number, prime);

		big_free(number);
		number = quotient;
	}
	return number;
}

/* Tries a part of the base, then the rest one level deeper. Takes over the number. */
static LAYER bool is_smooth(struct big *number, const uint32_t *prime, unsigned n_primes)
{
	unsigned n = n_primes < TRIES ? n_primes : TRIES;
	bool smooth;

	for (unsigned i = 0; i < n; i++)
		number = remove_prime(number, prime[i]);
	smooth = big_is_one(number);
	if (smooth || n == n_primes) {
		big_free(number);
		return smooth;
	}
	return is_smooth(number, prime + n, n_primes - n);
}

uint64_t bench_cfrac(struct bench_work *work)
{
	struct expansion x;
	uint32_t prime[PRIMES];
	uint64_t sum = 0;

	fill_primes(prime);
	expansion_init(&x, number_digits);
	for (uint64_t i = 0; i < work->scale; i++) {
		expansion_step(&x);
		sum = sum * 31 + x.a->limb[0] + is_smooth(big_copy(x.q), prime, PRIMES);
	}
	expansion_deinit(&x);
	return sum;
}
