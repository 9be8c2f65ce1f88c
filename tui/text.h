/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Text for people: styles, aligned tables, members of JSON documents as words.
 */
#ifndef KMS_TUI_TEXT_H
#define KMS_TUI_TEXT_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "base/buf.h"
#include "tui/cli.h"

/** What a piece of text is, not what colour it has. */
enum kms_style {
	KMS_STYLE_PLAIN,
	KMS_STYLE_HEAD, /* headings */
	KMS_STYLE_BAD,  /* findings */
	KMS_STYLE_DIM,  /* less important */
};

/** A text under construction and whether it may carry colours. */
struct kms_text {
	struct kms_buf buf;
	bool color;
	char folder
		[PATH_MAX]; /* the current one and a slash; paths below it are shown from there */
};

/** An empty text for the command's output; freed by kms_text_print() or kms_text_deinit(). */
void kms_text_init(struct kms_text *text, const struct kms_cli *cli);
void kms_text_deinit(struct kms_text *text);

/** Writes it out and frees it. */
void kms_text_print(struct kms_text *text, FILE *to);

/** Formatted text of our own. */
void kms_text_addf(struct kms_text *text, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/** A foreign string, made printable; NULL adds nothing. */
void kms_text_name(struct kms_text *text, const char *name);

/** A path, as short as it can be from the current folder. */
void kms_text_path(struct kms_text *text, const char *path);

/** Begins and ends a style, for text that is put together in between. */
void kms_text_on(struct kms_text *text, enum kms_style style);
void kms_text_off(struct kms_text *text);

/** Formatted text of our own in a style. */
void kms_text_style(struct kms_text *text, enum kms_style style, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

enum {
	KMS_TABLE_COLUMNS = 16,
};

/** A table whose columns become as wide as their widest cell. */
struct kms_table {
	size_t n_columns;
	size_t n_cells;
	const char *head[KMS_TABLE_COLUMNS];
	bool right[KMS_TABLE_COLUMNS];
	char **cell; /* n_cells, row by row */
	bool oom;
};

/** Begins a table; a heading that begins with ">" is of a right-aligned column (without the ">"). */
void kms_table_init(struct kms_table *table, const char *const *heads);

/** Adds the next cell; foreign text is made printable. */
void kms_table_cell(struct kms_table *table, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/** Adds the table to @text, each line behind @indent blanks, and frees it. */
void kms_table_print(struct kms_table *table, struct kms_text *text, int indent);

/* Members of JSON objects; a member that is missing or of another type is 0, "", false, NULL. */
const cJSON *kms_json_member(const cJSON *object, const char *name);
uint64_t kms_json_number(const cJSON *object, const char *name); /* a string of digits too */
double kms_json_fraction(const cJSON *object, const char *name);
const char *kms_json_text(const cJSON *object, const char *name);
bool kms_json_flag(const cJSON *object, const char *name);

/** First element of an array or object, then ->next; NULL of anything else. */
const cJSON *kms_json_first(const cJSON *list);

/**
 * "function (file:line)", "function (module+0xoff)", "module+0xoff" or the address, of a frame of the
 * API.
 */
void kms_text_frame(struct kms_text *text, const cJSON *frame);

/** Adds a frame as the next cell; paths as in @text. */
void kms_table_frame(struct kms_table *table, const struct kms_text *text, const cJSON *frame);

/** Lines of a stack, innermost frame first, at most @max (0 all), each behind @indent blanks. */
void kms_text_stack(struct kms_text *text, const cJSON *stack, int max, int indent);

/** The first frame outside the allocator; NULL of an empty stack. */
const cJSON *kms_stack_caller(const cJSON *stack);

/** "1 block", "2 blocks" */
const char *kms_plural(uint64_t n);

/** A count such as 84100 as "84.1k". */
struct kms_fmt kms_fmt_rate(uint64_t n);

#endif
