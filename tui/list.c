/* SPDX-License-Identifier: BSD-2-Clause */
/* Rows of a list: see list.h. Drawing is in list_draw.c. */
#include "tui/list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tui/list_group.h"
#include "tui/text.h"

void kms_list_init(struct kms_list *list, const struct kms_list_kind *kind)
{
	memset(list, 0, sizeof(*list));
	list->kind = kind;
	list->sort = kind->sort;
	list->inverted = kind->ascending;
}

static void drop_rows(struct kms_list *list)
{
	free(list->row);
	cJSON_Delete(list->groups);
	list->row = NULL;
	list->groups = NULL;
	list->n_rows = list->n_items = list->n_more = 0;
}

void kms_list_deinit(struct kms_list *list)
{
	drop_rows(list);
}

void kms_list_key(const struct kms_list_kind *kind, const cJSON *row, char key[KMS_LIST_KEY_BYTES])
{
	struct kms_column column = {.kind = KMS_COLUMN_TEXT};
	struct kms_buf text;

	kms_buf_init(&text, KMS_LIST_KEY_BYTES - 1);
	for (size_t i = 0; i < sizeof(kind->key) / sizeof(kind->key[0]) && kind->key[i]; i++) {
		column.member = kind->key[i];
		kms_column_text(&column, row, KMS_UNITS_SHORT, &text);
		kms_buf_add_char(&text, ' ');
	}
	memcpy(key, kms_buf_text(&text), text.used_bytes + 1);
	kms_buf_deinit(&text);
}

int kms_list_compare_second(const struct kms_list_kind *kind, const cJSON *left, const cJSON *right)
{
	return kind->second ? -kms_column_compare(&kind->columns[kind->second], left, right) : 0;
}

/* For qsort_r: by the sort column, largest figures and smallest texts first; then by the second one. */
static int by_column(const void *a, const void *b, void *arg)
{
	const struct kms_list_row *left = a;
	const struct kms_list_row *right = b;
	const struct kms_list *list = arg;
	const struct kms_column *column = &list->kind->columns[list->sort];
	int order = kms_column_compare(column, left->item, right->item);

	if (!kms_column_is_text(column) && !list->kind->tail)
		order = -order;
	if (list->inverted)
		order = -order;
	if (!order)
		order = kms_list_compare_second(list->kind, left->item, right->item);
	if (order)
		return order;
	return (left->order > right->order) - (left->order < right->order);
}

static void sort_rows(struct kms_list *list)
{
	if (list->n_rows > 1)
		qsort_r(list->row, list->n_rows, sizeof(*list->row), by_column, list);
}

/* Rows that the filter leaves, in the document's order. */
static int take_rows(struct kms_list *list, const cJSON *items)
{
	const struct kms_list_kind *kind = list->kind;
	int n = cJSON_GetArraySize(items);
	const cJSON *item;
	size_t order = 0;

	if (n <= 0)
		return 0;
	list->row = calloc((size_t)n, sizeof(*list->row));
	if (!list->row)
		return -ENOMEM;
	list->n_items = (size_t)n;
	for (item = kms_json_first(items); item; item = item->next, order++)
		if (kms_row_filter_fits(&list->filter, kind->columns, kind->n_columns, item))
			list->row[list->n_rows++] =
				(struct kms_list_row){.item = item, .order = order};
	return 0;
}

/* The place of the row with the key that is followed. */
static void keep_selection(struct kms_list *list)
{
	char key[KMS_LIST_KEY_BYTES];

	if (list->selected >= list->n_rows)
		list->selected = list->n_rows ? list->n_rows - 1 : 0;
	for (size_t i = 0; list->follow && i < list->n_rows; i++) {
		kms_list_key(list->kind, list->row[i].item, key);
		if (strcmp(key, list->key) != 0)
			continue;
		list->selected = i;
		break;
	}
}

int kms_list_load(struct kms_list *list, const cJSON *document)
{
	const cJSON *items = kms_json_member(document, list->kind->items);
	bool at_end = list->kind->tail && !list->follow && list->selected + 1 >= list->n_rows;
	uint64_t total = kms_json_number(document, "total");
	int ret;

	drop_rows(list);
	list->loaded |= document != NULL;
	ret = take_rows(list, items);
	if (total > list->n_items)
		list->n_more = (size_t)(total - list->n_items);
	sort_rows(list);
	if (ret == 0 && list->grouping != KMS_GROUP_NONE && list->kind->group)
		ret = kms_list_group(list);
	if (at_end && list->n_rows)
		list->selected = list->n_rows - 1;
	keep_selection(list);
	return ret;
}

void kms_list_refresh(struct kms_list *list, const cJSON *document)
{
	(void)kms_list_load(list, document); /* no memory: no rows */
}

static void remember(struct kms_list *list)
{
	if (list->selected < list->n_rows)
		kms_list_key(list->kind, list->row[list->selected].item, list->key);
}

void kms_list_select(struct kms_list *list, size_t index)
{
	list->selected = index < list->n_rows ? index : 0;
	if (index >= list->n_rows && list->n_rows)
		list->selected = list->n_rows - 1;
	remember(list);
}

void kms_list_move(struct kms_list *list, long by)
{
	long to = (long)list->selected + by;

	kms_list_select(list, to < 0 ? 0 : (size_t)to);
}

const cJSON *kms_list_selected(const struct kms_list *list)
{
	return list->selected < list->n_rows ? list->row[list->selected].item : NULL;
}

void kms_list_sort(struct kms_list *list, size_t column)
{
	list->inverted = list->sort == column ? !list->inverted : false;
	list->sort = column;
}

int kms_list_filter(struct kms_list *list, const char *text, struct kms_err *err)
{
	const struct kms_list_kind *kind = list->kind;
	struct kms_row_filter filter;
	int ret = kms_row_filter_parse(text, kind->columns, kind->n_columns, &filter, err);

	if (ret < 0)
		return ret;
	list->filter = filter;
	snprintf(list->filter_text, sizeof(list->filter_text), "%s", text);
	return 0;
}

bool kms_list_find(struct kms_list *list, const char *word, size_t from, int step)
{
	const struct kms_list_kind *kind = list->kind;
	size_t at = from;

	for (size_t i = 0; i < list->n_rows; i++) {
		at = at >= list->n_rows ? (step > 0 ? 0 : list->n_rows - 1) : at;
		if (kms_row_has(kind->columns, kind->n_columns, list->row[at].item, word)) {
			kms_list_select(list, at);
			return true;
		}
		at += step > 0 ? 1 : SIZE_MAX; /* SIZE_MAX: one back, round the corner */
	}
	return false;
}
