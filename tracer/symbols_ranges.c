/* SPDX-License-Identifier: BSD-2-Clause */
/* A set of address ranges: sorted array, binary search, and a walk back that knows when to stop. */
#include "tracer/symbols_ranges.h"

#include <stdlib.h>

enum {
	WALK_MAX =
		4096, /* ranges looked at before an address is given up; real files need a handful */
};

void kms_symbols_ranges_deinit(struct kms_symbols_ranges *set)
{
	free(set->ranges);
	*set = (struct kms_symbols_ranges){0};
}

bool kms_symbols_ranges_add(struct kms_symbols_ranges *set, uint64_t start, uint64_t end,
			    uint64_t ref)
{
	if (start == 0 || start >= end)
		return true;
	if (set->n == set->size) {
		size_t size = set->size ? set->size * 2 : 64;
		if (size > KMS_SYMBOLS_RANGES_MAX)
			return false;
		void *ranges = realloc(set->ranges, size * sizeof(*set->ranges));
		if (!ranges)
			return false;
		set->ranges = ranges;
		set->size = size;
	}
	set->ranges[set->n++] = (struct kms_symbols_range){.start = start, .end = end, .ref = ref};
	return true;
}

static int compare_ranges(const void *a, const void *b)
{
	const struct kms_symbols_range *x = a, *y = b;
	if (x->start != y->start)
		return x->start < y->start ? -1 : 1;
	if (x->end != y->end)
		return x->end > y->end ? -1 : 1;
	return x->ref < y->ref ? -1 : x->ref > y->ref;
}

void kms_symbols_ranges_sort(struct kms_symbols_ranges *set)
{
	if (set->n == 0)
		return;
	qsort(set->ranges, set->n, sizeof(*set->ranges), compare_ranges);
	uint64_t furthest = 0;
	for (size_t i = 0; i < set->n; i++) {
		if (set->ranges[i].end > furthest)
			furthest = set->ranges[i].end;
		set->ranges[i].furthest = furthest;
	}
}

/* How many ranges begin at or before an address. */
static size_t count_started(const struct kms_symbols_ranges *set, uint64_t address)
{
	size_t low = 0, high = set->n;
	while (low < high) {
		size_t middle = low + (high - low) / 2;
		if (set->ranges[middle].start <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

const struct kms_symbols_range *kms_symbols_ranges_find(const struct kms_symbols_ranges *set,
							uint64_t address)
{
	size_t at = count_started(set, address);
	for (size_t n_walked = 0; at > 0 && n_walked < WALK_MAX; n_walked++) {
		const struct kms_symbols_range *range = &set->ranges[--at];
		if (address < range->end)
			return range;
		if (address >= range->furthest)
			break;
	}
	return NULL;
}

uint64_t kms_symbols_ranges_last_start(const struct kms_symbols_ranges *set, uint64_t address)
{
	size_t n = count_started(set, address);
	return n > 0 ? set->ranges[n - 1].start : 0;
}
