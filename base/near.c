/* SPDX-License-Identifier: BSD-2-Clause */
/* Distance of names: see near.h. Optimal string alignment, row by row, given up early. */
#include "base/near.h"

#include <string.h>

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t ab = a < b ? a : b;

	return ab < c ? ab : c;
}

/* Three rows of the matrix: the one before the last, the last, this one. */
struct rows {
	size_t *two, *one, *now;
};

/* Fills the row of a[i - 1]; returns the least of it. */
static size_t fill(const struct rows *rows, const char *a, size_t i, const char *b, size_t b_len)
{
	size_t least = rows->now[0] = i;

	for (size_t j = 1; j <= b_len; j++) {
		size_t best = min3(rows->one[j] + 1, rows->now[j - 1] + 1,
				   rows->one[j - 1] + (a[i - 1] != b[j - 1]));

		if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
		    rows->two[j - 2] + 1 < best)
			best = rows->two[j - 2] + 1;
		rows->now[j] = best;
		least = best < least ? best : least;
	}
	return least;
}

size_t kms_near_distance(const char *a, const char *b, size_t most)
{
	size_t row[3][KMS_NEAR_BYTES + 1];
	struct rows rows = {row[0], row[1], row[2]};
	size_t a_len = strlen(a), b_len = strlen(b);
	size_t longer = a_len > b_len ? a_len : b_len;

	if (longer > KMS_NEAR_BYTES || longer - (a_len < b_len ? a_len : b_len) > most)
		return most + 1;
	for (size_t j = 0; j <= b_len; j++)
		rows.one[j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t *turn = rows.two;

		/* a swap looks two rows back, at a least that was no smaller */
		if (fill(&rows, a, i, b, b_len) > most + 1)
			return most + 1;
		rows.two = rows.one;
		rows.one = rows.now;
		rows.now = turn;
	}
	return rows.one[b_len] < most ? rows.one[b_len] : rows.one[b_len] == most ? most : most + 1;
}
