/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The filter of a list, as it is typed: words joined by blanks must all fit, | separates alternatives,
 * ! before a word turns it round. A word is text to be found anywhere in the row, or a column:
 *
 *	cache:net  site:fs_  kind:free   the column has the text
 *	size>4K  age>5s  count<10        the column's number is above, below, or = equal
 *
 * Upper and lower case are the same. Pure.
 */
#ifndef KMS_TUI_ROW_FILTER_H
#define KMS_TUI_ROW_FILTER_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "tui/column.h"

enum {
	KMS_FILTER_TERMS = 16,
	KMS_FILTER_WORD_BYTES = 64,
};

struct kms_filter_term {
	char field[KMS_FILTER_WORD_BYTES]; /* "": the whole row */
	char op;                           /* : > < = */
	bool negated;
	bool alternative; /* begins the next alternative */
	char word[KMS_FILTER_WORD_BYTES];
	double number; /* of > < = */
};

/** All zero: everything fits. */
struct kms_row_filter {
	struct kms_filter_term term[KMS_FILTER_TERMS];
	size_t n;
};

/**
 * Reads a filter.
 *
 * Shape:  columns are those of the list, n of them; a field is a column's head, its member's name, or
 *         one of size, age, cache, site
 * Errors: -EINVAL: err says which word is wrong; -E2BIG: more words than fit. filter is empty then.
 */
int kms_row_filter_parse(const char *text, const struct kms_column *columns, size_t n,
			 struct kms_row_filter *filter, struct kms_err *err);

/** Whether a row fits. */
bool kms_row_filter_fits(const struct kms_row_filter *filter, const struct kms_column *columns,
			 size_t n, const cJSON *row);

/** Whether one of the row's columns has the text. */
bool kms_row_has(const struct kms_column *columns, size_t n, const cJSON *row, const char *word);

#endif
