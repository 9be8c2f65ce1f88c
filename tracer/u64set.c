/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/u64set.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

enum {
	FIRST_SLOTS = 1024,
	KEEP_SLOTS = 1 << 16, /* a reset set holds on to this many */
	DIGIT_BITS = 11,
	DIGITS = 1 << DIGIT_BITS,
};

void kms_u64set_deinit(struct kms_u64set *set)
{
	free(set->slot);
	free(set->sorted);
	free(set->scratch);
	memset(set, 0, sizeof(*set));
}

void kms_u64set_reset(struct kms_u64set *set)
{
	if (set->slots > KEEP_SLOTS) {
		kms_u64set_deinit(set);
		return;
	}
	if (set->count)
		memset(set->slot, 0, set->slots * sizeof(*set->slot));
	set->count = 0;
}

/* The slot that holds the value, or the free one where it belongs. */
static uint64_t *find(const struct kms_u64set *set, uint64_t value)
{
	size_t i = value * set->factor >> set->shift;

	while (set->slot[i] && set->slot[i] != value + 1)
		i = (i + 1) & (set->slots - 1);
	return &set->slot[i];
}

static uint64_t random_factor(void)
{
	uint64_t factor;

	if (getrandom(&factor, sizeof(factor), GRND_NONBLOCK) != sizeof(factor))
		factor = UINT64_C(0x9e3779b97f4a7c15); /* early in the boot: good, but known */
	return factor | 1;
}

static int grow(struct kms_u64set *set)
{
	struct kms_u64set bigger = *set;

	bigger.slots = set->slots ? set->slots * 2 : FIRST_SLOTS;
	bigger.shift = 64u - (unsigned)__builtin_ctzll(bigger.slots);
	bigger.factor = set->factor ? set->factor : random_factor();
	bigger.slot = calloc(bigger.slots, sizeof(*bigger.slot));
	if (!bigger.slot)
		return -ENOMEM;
	for (size_t i = 0; i < set->slots; i++)
		if (set->slot[i])
			*find(&bigger, set->slot[i] - 1) = set->slot[i];
	free(set->slot);
	*set = bigger;
	return 0;
}

int kms_u64set_add(struct kms_u64set *set, uint64_t value)
{
	uint64_t *slot;

	if (set->count * 2 >= set->slots && grow(set) < 0)
		return -ENOMEM;
	slot = find(set, value);
	if (*slot)
		return 0;
	*slot = value + 1;
	set->count++;
	return 1;
}

/* One pass of a radix sort: by the digit at @shift, stable. */
static void sort_digit(const uint64_t *in, uint64_t *out, size_t n, uint64_t min, unsigned shift)
{
	size_t at[DIGITS] = {0};
	size_t sum = 0;

	for (size_t i = 0; i < n; i++)
		at[(in[i] - min) >> shift & (DIGITS - 1)]++;
	for (size_t d = 0; d < DIGITS; d++) {
		size_t here = at[d];

		at[d] = sum;
		sum += here;
	}
	for (size_t i = 0; i < n; i++)
		out[at[(in[i] - min) >> shift & (DIGITS - 1)]++] = in[i];
}

static int reserve(struct kms_u64set *set)
{
	if (set->count <= set->room && set->sorted)
		return 0;
	free(set->sorted);
	free(set->scratch);
	set->room = set->slots;
	set->sorted = malloc(set->room * sizeof(*set->sorted) + 1);
	set->scratch = malloc(set->room * sizeof(*set->scratch) + 1);
	if (set->sorted && set->scratch)
		return 0;
	set->room = 0;
	return -ENOMEM;
}

int kms_u64set_sorted(struct kms_u64set *set, const uint64_t **out)
{
	uint64_t min = UINT64_MAX, max = 0;
	size_t n = 0;

	if (reserve(set) < 0)
		return -ENOMEM;
	for (size_t i = 0; i < set->slots; i++) {
		if (!set->slot[i])
			continue;
		set->sorted[n] = set->slot[i] - 1;
		min = set->sorted[n] < min ? set->sorted[n] : min;
		max = set->sorted[n] > max ? set->sorted[n] : max;
		n++;
	}
	for (unsigned shift = 0; n && shift < 64 && (max - min) >> shift; shift += DIGIT_BITS) {
		uint64_t *sorted = set->scratch;

		sort_digit(set->sorted, sorted, n, min, shift);
		set->scratch = set->sorted;
		set->sorted = sorted;
	}
	*out = set->sorted;
	return 0;
}
