/* SPDX-License-Identifier: BSD-2-Clause */
/* The filter of a list: see row_filter.h. */
#include "tui/row_filter.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#include "tui/text.h"

/* Names for columns that are called otherwise in some lists: kinds, then members. */
static const struct {
	const char *name, *member;
} aliases[] = {
	{"size",  "object_size" },
        {"size",  "bytes"       },
        {"size",  "live_bytes"  },
	{"age",   "age_p50_us"  },
        {"cache", "name"        },
        {"site",  "stack"       },
	{"count", "objects_live"},
        {"count", "live_objects"},
};

static bool is_named(const struct kms_column *column, const char *name)
{
	return strcasecmp(column->head, name) == 0 ||
	       (column->member && strcasecmp(column->member, name) == 0);
}

static const struct kms_column *find_column(const struct kms_column *columns, size_t n,
					    const char *name)
{
	for (size_t i = 0; i < n; i++)
		if (is_named(&columns[i], name))
			return &columns[i];
	for (size_t a = 0; a < sizeof(aliases) / sizeof(aliases[0]); a++)
		for (size_t i = 0; i < n; i++)
			if (strcasecmp(aliases[a].name, name) == 0 &&
			    is_named(&columns[i], aliases[a].member))
				return &columns[i];
	return NULL;
}

/* The number of a comparison in the column's own unit. */
static int parse_number(const struct kms_column *column, struct kms_filter_term *term,
			struct kms_err *err)
{
	uint64_t value;
	int ret;

	if (column->kind == KMS_COLUMN_AGE || column->kind == KMS_COLUMN_SECONDS) {
		ret = kms_parse_ns(term->word, &value);
		term->number = column->kind == KMS_COLUMN_AGE ? (double)value / 1e3 : (double)value;
	} else {
		ret = kms_parse_u64(term->word, &value);
		term->number = (double)value;
		if (column->kind == KMS_COLUMN_USE || column->kind == KMS_COLUMN_BAR)
			term->number /= 100;
	}
	if (ret == 0)
		return 0;
	return kms_err_set(err, -EINVAL, "%s%c needs a number such as %s, not \"%s\"", term->field,
			   term->op, column->kind == KMS_COLUMN_AGE ? "5s" : "4K", term->word);
}

static int parse_word(const char *word, size_t bytes, const struct kms_column *columns, size_t n,
		      struct kms_filter_term *term, struct kms_err *err)
{
	const struct kms_column *column;
	size_t field;

	if (bytes && *word == '!') {
		term->negated = true;
		word++;
		bytes--;
	}
	for (field = 0; field < bytes && !strchr(":<>=", word[field]); field++)
		;
	if (bytes == 0 || bytes >= KMS_FILTER_WORD_BYTES)
		return kms_err_set(err, -EINVAL, "a word is missing, or longer than %d characters",
				   KMS_FILTER_WORD_BYTES - 1);
	memcpy(term->field, word, field);
	column = field < bytes ? find_column(columns, n, term->field) : NULL;
	if (field == bytes || (!column && word[field] == ':')) { /* text such as a::b, too */
		term->field[0] = '\0';
		memcpy(term->word, word, bytes);
		return 0;
	}
	if (!column)
		return kms_err_set(err, -EINVAL, "there is no column \"%s\" here", term->field);
	term->op = word[field];
	memcpy(term->word, word + field + 1, bytes - field - 1);
	return term->op == ':' ? 0 : parse_number(column, term, err);
}

int kms_row_filter_parse(const char *text, const struct kms_column *columns, size_t n,
			 struct kms_row_filter *filter, struct kms_err *err)
{
	bool alternative = false;
	size_t bytes;
	int ret = 0;

	memset(filter, 0, sizeof(*filter));
	for (; *text && ret == 0; text += bytes) {
		bytes = strspn(text, " |");
		if (bytes) {
			alternative |= memchr(text, '|', bytes) != NULL;
			continue;
		}
		bytes = strcspn(text, " |");
		if (filter->n == KMS_FILTER_TERMS)
			ret = kms_err_set(err, -E2BIG, "more than %d words", KMS_FILTER_TERMS);
		else
			ret = parse_word(text, bytes, columns, n, &filter->term[filter->n], err);
		if (ret == 0)
			filter->term[filter->n++].alternative = alternative;
		alternative = false;
	}
	if (ret < 0)
		memset(filter, 0, sizeof(*filter));
	return ret;
}

static bool column_has(const struct kms_column *column, const cJSON *row, const char *word)
{
	struct kms_buf text;
	bool has;

	kms_buf_init(&text, 2048);
	kms_column_text(column, row, KMS_UNITS_SHORT, &text);
	has = strcasestr(kms_buf_text(&text), word) != NULL;
	kms_buf_deinit(&text);
	return has;
}

bool kms_row_has(const struct kms_column *columns, size_t n, const cJSON *row, const char *word)
{
	for (size_t i = 0; i < n; i++)
		if (columns[i].kind != KMS_COLUMN_BAR && column_has(&columns[i], row, word))
			return true;
	return false;
}

static bool term_fits(const struct kms_filter_term *term, const struct kms_column *columns,
		      size_t n, const cJSON *row)
{
	const struct kms_column *column;
	double number;

	if (!term->field[0])
		return kms_row_has(columns, n, row, term->word);
	column = find_column(columns, n, term->field);
	if (!column)
		return false;
	if (term->op == ':')
		return column_has(column, row, term->word);
	number = kms_column_number(column, row);
	if (term->op == '=')
		return number >= term->number && number <= term->number;
	return term->op == '>' ? number > term->number : number < term->number;
}

bool kms_row_filter_fits(const struct kms_row_filter *filter, const struct kms_column *columns,
			 size_t n, const cJSON *row)
{
	bool fits = true;

	for (size_t i = 0; i < filter->n; i++) {
		const struct kms_filter_term *term = &filter->term[i];

		if (term->alternative && i) {
			if (fits)
				return true;
			fits = true;
		}
		if (fits && term_fits(term, columns, n, row) == term->negated)
			fits = false;
	}
	return fits;
}
