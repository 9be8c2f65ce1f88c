/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A set of address ranges that is filled, sorted once, and then asked which range covers an address. The ranges may lie
 * within each other and overlap: files are what they are.
 */
#ifndef KMS_TRACER_SYMBOLS_RANGES_H
#define KMS_TRACER_SYMBOLS_RANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	KMS_SYMBOLS_RANGES_MAX =
		1 << 23, /* no file of ours has so many; a hostile one gets no further */
};

/** Addresses [start, end) and what the owner of the set has there. */
struct kms_symbols_range {
	uint64_t start;
	uint64_t end;
	uint64_t furthest; /* largest end of this range and all before it in the set */
	uint64_t ref;
};

/** The set. All zero is empty. */
struct kms_symbols_ranges {
	struct kms_symbols_range *ranges; /* sorted by start, larger ones first, then by ref */
	size_t n;
	size_t size;
};

/** Frees the set and makes it empty. */
void kms_symbols_ranges_deinit(struct kms_symbols_ranges *set);

/**
 * Adds a range; empty ones are left out, and so is what begins at 0: functions that the linker has dropped.
 *
 * Errors: false if the set is full or no memory is left.
 */
bool kms_symbols_ranges_add(struct kms_symbols_ranges *set, uint64_t start, uint64_t end,
			    uint64_t ref);

/** Makes the set ready for kms_symbols_ranges_find. */
void kms_symbols_ranges_sort(struct kms_symbols_ranges *set);

/**
 * Finds the range that covers an address and starts last: the innermost, where they lie within each other. Of several
 * equal ones the one with the largest ref.
 *
 * Returns NULL if there is none. Borrowed until the set changes.
 */
const struct kms_symbols_range *kms_symbols_ranges_find(const struct kms_symbols_ranges *set,
							uint64_t address);

/** Where the last range begins that begins at or before an address, whether it covers it or not; 0 if there is none. */
uint64_t kms_symbols_ranges_last_start(const struct kms_symbols_ranges *set, uint64_t address);

#endif
