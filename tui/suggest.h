/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * "Did you mean": the name of a list that is nearest to a mistyped one.
 */
#ifndef KMS_TUI_SUGGEST_H
#define KMS_TUI_SUGGEST_H

#include <stddef.h>

struct kms_suggest {
	const char *word;
	const char *best; /* NULL: nothing is near enough */
	size_t best_distance;
};

/** Begins with nothing near @word, which is borrowed. */
void kms_suggest_init(struct kms_suggest *suggest, const char *word);

/** Looks at one name; borrowed if it is the best so far. */
void kms_suggest_try(struct kms_suggest *suggest, const char *name);

#endif
