/* SPDX-License-Identifier: BSD-2-Clause */
/* Near names: see suggest.h. */
#include "tui/suggest.h"

#include <string.h>

enum {
	LONGEST = 40, /* longer words are not compared */
};

static size_t min3(size_t a, size_t b, size_t c)
{
	size_t ab = a < b ? a : b;

	return ab < c ? ab : c;
}

/* Edits (insert, delete, replace, swap of neighbours) from a to b, both at most LONGEST long. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	size_t row[3][LONGEST + 1]; /* the row before the last, the last, this one; turned around */
	size_t *two = row[0];
	size_t *one = row[1];
	size_t *now = row[2];
	size_t *turn;

	for (size_t j = 0; j <= b_len; j++)
		one[j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		now[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			now[j] = min3(one[j] + 1, now[j - 1] + 1,
				      one[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    two[j - 2] + 1 < now[j])
				now[j] = two[j - 2] + 1;
		}
		turn = two;
		two = one;
		one = now;
		now = turn;
	}
	return one[b_len];
}

void kms_suggest_init(struct kms_suggest *suggest, const char *word)
{
	size_t length = strlen(word);

	suggest->word = word;
	suggest->best = NULL;
	/* a third of the letters may be wrong; of two, one */
	suggest->best_distance = length / 3 + 1 + (length == 2);
}

void kms_suggest_try(struct kms_suggest *suggest, const char *name)
{
	size_t word_len = strlen(suggest->word);
	size_t name_len = strlen(name);
	size_t found;

	if (word_len == 0 || word_len > LONGEST || name_len > LONGEST)
		return;
	if (word_len >= 3 && strncmp(name, suggest->word, word_len) == 0)
		found = 1; /* the beginning of the name: as good as one letter wrong */
	else
		found = distance(suggest->word, word_len, name, name_len);
	if (found < suggest->best_distance) {
		suggest->best = name;
		suggest->best_distance = found;
	}
}
