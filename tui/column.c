/* SPDX-License-Identifier: BSD-2-Clause */
/* Values of rows as numbers and as text: see column.h. */
#include "tui/column.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tui/text.h"

enum {
	PAGE_BYTES = 4096,
};

struct kms_fmt kms_fmt_size(uint64_t bytes, enum kms_units units)
{
	static const char letters[] = "KMGTPE";
	struct kms_fmt out;
	double value = (double)bytes;
	int unit = -1;

	if (units == KMS_UNITS_BYTES)
		return kms_fmt_count(bytes);
	if (units == KMS_UNITS_PAGES) {
		snprintf(out.text, sizeof(out.text), "%" PRIu64 "p",
			 bytes / PAGE_BYTES + (bytes % PAGE_BYTES != 0));
		return out;
	}
	for (; value >= 1023.95 && unit < 5; unit++)
		value /= 1024;
	if (unit < 0)
		snprintf(out.text, sizeof(out.text), "%" PRIu64, bytes);
	else
		snprintf(out.text, sizeof(out.text), "%.1f%c", value, letters[unit]);
	return out;
}

struct kms_fmt kms_fmt_age(uint64_t us)
{
	struct kms_fmt out = kms_fmt_ns(us > UINT64_MAX / 1000 ? UINT64_MAX : us * 1000);
	char *blank = strchr(out.text, ' ');

	if (blank)
		memmove(blank, blank + 1, strlen(blank));
	return out;
}

const cJSON *kms_row_member(const cJSON *row, const char *path)
{
	const char *dot;
	char name[48];

	while (row && (dot = strchr(path, '.'))) {
		snprintf(name, sizeof(name), "%.*s", (int)(dot - path), path);
		row = kms_json_member(row, name);
		path = dot + 1;
	}
	return row ? kms_json_member(row, path) : NULL;
}

static double number_of(const cJSON *value)
{
	if (cJSON_IsNumber(value))
		return value->valuedouble;
	if (cJSON_IsString(value)) /* above 2^53, or an address */
		return (double)strtoull(value->valuestring, NULL, 0);
	return cJSON_IsTrue(value) ? 1 : 0;
}

double kms_column_use(const cJSON *row)
{
	/* guarded blocks are in no slab */
	double guarded = kms_json_fraction(row, "objects_guarded");
	double total = kms_json_fraction(row, "objects_total") - guarded;
	double live = kms_json_fraction(row, "objects_live") - guarded;

	return total > 0 && live > 0 ? live / total : 0;
}

double kms_column_number(const struct kms_column *column, const cJSON *row)
{
	if (column->kind == KMS_COLUMN_USE || column->kind == KMS_COLUMN_BAR)
		return kms_column_use(row);
	return number_of(kms_row_member(row, column->member));
}

static uint64_t whole(double value)
{
	return value > 0 && value < 0x1p64 ? (uint64_t)value : 0;
}

static const char *last_part(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash && slash[1] ? slash + 1 : path;
}

/* In few columns: the file without its folder. */
static void add_caller(const struct kms_column *column, const cJSON *row, struct kms_buf *text)
{
	const cJSON *frame = kms_stack_caller(kms_row_member(row, column->member));
	const char *function = kms_json_text(frame, "function");
	const char *file = last_part(kms_json_text(frame, "file"));

	if (!frame)
		kms_buf_add_str(text, "(no stack)");
	else if (*function && *file)
		kms_buf_addf(text, "%s %s:%" PRIu64, function, file,
			     kms_json_number(frame, "line"));
	else if (*function)
		kms_buf_addf(text, "%s %s", function, last_part(kms_json_text(frame, "module")));
	else
		kms_buf_addf(text, "%s+0x%" PRIx64, last_part(kms_json_text(frame, "module")),
			     kms_json_number(frame, "offset"));
}

static void add_words(const cJSON *list, struct kms_buf *text)
{
	const cJSON *word;

	for (word = kms_json_first(list); word; word = word->next)
		kms_buf_addf(text, "%s%s", text->used_bytes ? " " : "",
			     cJSON_IsString(word) ? word->valuestring : "");
}

static void add_growth(double value, enum kms_units units, struct kms_buf *text)
{
	if (fabs(value) < 0.5)
		kms_buf_add_char(text, '0');
	else
		kms_buf_addf(text, "%c%s", value < 0 ? '-' : '+',
			     kms_fmt_size(whole(fabs(value)), units).text);
}

static void add_plain(const cJSON *value, struct kms_buf *text)
{
	if (cJSON_IsString(value))
		kms_buf_add_str(text, value->valuestring);
	else if (cJSON_IsNumber(value))
		kms_buf_addf(text, "%" PRIu64, whole(value->valuedouble));
	else
		kms_buf_add_char(text, '-');
}

/* A figure that is null, or not there at all: not known, which 0 would not say. */
static bool is_unknown(const struct kms_column *column, const cJSON *row)
{
	const cJSON *value;

	switch (column->kind) {
	case KMS_COLUMN_BYTES:
	case KMS_COLUMN_RATE:
	case KMS_COLUMN_GROWTH:
	case KMS_COLUMN_AGE:
	case KMS_COLUMN_SECONDS:
	case KMS_COLUMN_SCORE:
		value = kms_row_member(row, column->member);
		return !value || cJSON_IsNull(value);
	default:
		return false;
	}
}

void kms_column_text(const struct kms_column *column, const cJSON *row, enum kms_units units,
		     struct kms_buf *text)
{
	double number = kms_column_number(column, row);

	if (is_unknown(column, row)) {
		kms_buf_add_char(text, '-');
		return;
	}
	switch (column->kind) {
	case KMS_COLUMN_BYTES:
		kms_buf_add_str(text, kms_fmt_size(whole(number), units).text);
		break;
	case KMS_COLUMN_RATE:
		kms_buf_add_str(text, kms_fmt_rate(whole(number)).text);
		break;
	case KMS_COLUMN_GROWTH:
		add_growth(number, units, text);
		break;
	case KMS_COLUMN_AGE:
		kms_buf_add_str(text, kms_fmt_age(whole(number)).text);
		break;
	case KMS_COLUMN_SECONDS:
		kms_buf_addf(text, "%.6f", number / 1e9);
		break;
	case KMS_COLUMN_SCORE:
		kms_buf_addf(text, "%.0f", number);
		break;
	case KMS_COLUMN_USE:
	case KMS_COLUMN_BAR:
		kms_buf_addf(text, "%.0f%%", 100 * number);
		break;
	case KMS_COLUMN_CALLER:
		add_caller(column, row, text);
		break;
	case KMS_COLUMN_WORDS:
		add_words(kms_row_member(row, column->member), text);
		break;
	case KMS_COLUMN_FLAG:
		kms_buf_add_str(text, number > 0 ? "yes" : "");
		break;
	case KMS_COLUMN_COUNT:
	case KMS_COLUMN_TEXT:
	case KMS_COLUMN_HEX:
	case KMS_COLUMN_ID:
		add_plain(kms_row_member(row, column->member), text);
		break;
	}
}

bool kms_column_is_text(const struct kms_column *column)
{
	switch (column->kind) {
	case KMS_COLUMN_TEXT:
	case KMS_COLUMN_CALLER:
	case KMS_COLUMN_WORDS:
		return true;
	default:
		return false;
	}
}

int kms_column_compare(const struct kms_column *column, const cJSON *a, const cJSON *b)
{
	struct kms_buf texts[2];
	double left;
	double right;
	int order;

	if (!kms_column_is_text(column)) {
		left = kms_column_number(column, a);
		right = kms_column_number(column, b);
		return (left > right) - (left < right);
	}
	for (int i = 0; i < 2; i++) {
		kms_buf_init(&texts[i], 1024);
		kms_column_text(column, i ? b : a, KMS_UNITS_SHORT, &texts[i]);
	}
	order = strcmp(kms_buf_text(&texts[0]), kms_buf_text(&texts[1]));
	kms_buf_deinit(&texts[0]);
	kms_buf_deinit(&texts[1]);
	return order;
}
