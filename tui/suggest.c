/* SPDX-License-Identifier: BSD-2-Clause */
/* Near names: see suggest.h. */
#include "tui/suggest.h"

#include <string.h>

#include "base/near.h"

enum {
	LONGEST = 40, /* longer words are not compared */
};

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
		found = kms_near_distance(suggest->word, name, suggest->best_distance);
	if (found < suggest->best_distance) {
		suggest->best = name;
		suggest->best_distance = found;
	}
}
