/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/u64set.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

enum {
	FIRST_ROOM = 4096,
	DIGIT_BITS = 11,
	DIGITS = 1 << DIGIT_BITS,
};

void kms_u64set_deinit(struct kms_u64set *set)
{
	free(set->item);
	free(set->scratch);
	memset(set, 0, sizeof(*set));
}

int kms_u64set_grow(struct kms_u64set *set)
{
	size_t room = set->room ? set->room * 2 : FIRST_ROOM;
	uint64_t *item = malloc(room * sizeof(*item));
	uint64_t *scratch = malloc(room * sizeof(*scratch));

	if (!item || !scratch) {
		free(item);
		free(scratch);
		return -ENOMEM;
	}
	if (set->n)
		memcpy(item, set->item, set->n * sizeof(*item));
	free(set->item);
	free(set->scratch);
	set->item = item;
	set->scratch = scratch;
	set->room = room;
	return 0;
}

/* One pass of a radix sort: by the digit at @shift, stable. False: all have the same, nothing done. */
static bool sort_digit(const uint64_t *in, uint64_t *out, size_t n, uint64_t min, unsigned shift)
{
	size_t at[DIGITS] = {0};
	size_t sum = 0;

	for (size_t i = 0; i < n; i++)
		at[(in[i] - min) >> shift & (DIGITS - 1)]++;
	if (at[(in[0] - min) >> shift & (DIGITS - 1)] == n)
		return false;
	for (size_t d = 0; d < DIGITS; d++) {
		size_t here = at[d];

		at[d] = sum;
		sum += here;
	}
	for (size_t i = 0; i < n; i++)
		out[at[(in[i] - min) >> shift & (DIGITS - 1)]++] = in[i];
	return true;
}

static size_t drop_repeats(uint64_t *item, size_t n)
{
	size_t kept = 0;

	for (size_t i = 0; i < n; i++)
		if (!kept || item[kept - 1] != item[i])
			item[kept++] = item[i];
	return kept;
}

size_t kms_u64set_sorted(struct kms_u64set *set, const uint64_t **out)
{
	uint64_t min = UINT64_MAX, max = 0;

	for (size_t i = 0; i < set->n; i++) {
		min = set->item[i] < min ? set->item[i] : min;
		max = set->item[i] > max ? set->item[i] : max;
	}
	for (unsigned shift = 0; set->n && shift < 64 && (max - min) >> shift;
	     shift += DIGIT_BITS) {
		uint64_t *sorted = set->scratch;

		if (!sort_digit(set->item, sorted, set->n, min, shift))
			continue;
		set->scratch = set->item;
		set->item = sorted;
	}
	set->n = drop_repeats(set->item, set->n);
	*out = set->item;
	return set->n;
}
