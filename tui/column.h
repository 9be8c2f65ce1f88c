/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Columns of the screen's lists, by table: where a value stands in a row's JSON, how it is written and
 * compared, and who gives way when the screen is narrow. Pure.
 */
#ifndef KMS_TUI_COLUMN_H
#define KMS_TUI_COLUMN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "base/buf.h"
#include "base/fmt.h"

/** How sizes are written; the key b goes through them. */
enum kms_units {
	KMS_UNITS_SHORT, /* 12.4M */
	KMS_UNITS_BYTES, /* 13,001,120 */
	KMS_UNITS_PAGES, /* 3175p */
	KMS_UNITS,
};

enum kms_column_kind {
	KMS_COLUMN_TEXT,
	KMS_COLUMN_COUNT,
	KMS_COLUMN_BYTES,
	KMS_COLUMN_RATE,
	KMS_COLUMN_GROWTH,  /* bytes a second, with a sign */
	KMS_COLUMN_AGE,     /* microseconds */
	KMS_COLUMN_SECONDS, /* nanoseconds as seconds */
	KMS_COLUMN_SCORE,
	KMS_COLUMN_USE,    /* live of all objects in slabs, in percent */
	KMS_COLUMN_BAR,    /* the same as a bar */
	KMS_COLUMN_CALLER, /* the first frame of "stack" outside of the allocator */
	KMS_COLUMN_WORDS,  /* an array of strings */
	KMS_COLUMN_HEX,    /* an address */
	KMS_COLUMN_ID,     /* a number that names something */
	KMS_COLUMN_FLAG,   /* true: "yes" */
};

/** A column. */
struct kms_column {
	const char *head;
	const char *member; /* of the row; "a.b": b of its a */
	enum kms_column_kind kind;
	int width;   /* columns, at least */
	int drop;    /* 0: always there; else the highest gives way first */
	bool flex;   /* takes what is left */
	char letter; /* in the sort menu */
};

/** The member of a row that a path "a.b" names; NULL: none. */
const cJSON *kms_row_member(const cJSON *row, const char *path);

/** The value as a number; 0 of what is none. */
double kms_column_number(const struct kms_column *column, const cJSON *row);

/** Adds the value as text, "-" where it is not known. Foreign text is not made printable yet. */
void kms_column_text(const struct kms_column *column, const cJSON *row, enum kms_units units,
		     struct kms_buf *text);

/** Whether it is sorted as text, smallest first, and stands on the left. */
bool kms_column_is_text(const struct kms_column *column);

/** Compares two rows: below, at or above 0. */
int kms_column_compare(const struct kms_column *column, const cJSON *a, const cJSON *b);

/** The part of a row's objects that live, 0 to 1. */
double kms_column_use(const cJSON *row);

/** A size in few columns: "980", "12.4M"; or in the units asked for. */
struct kms_fmt kms_fmt_size(uint64_t bytes, enum kms_units units);

/** A duration in few columns: "850us", "3.2s", "2m05s". */
struct kms_fmt kms_fmt_age(uint64_t us);

#endif
