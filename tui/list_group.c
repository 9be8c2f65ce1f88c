/* SPDX-License-Identifier: BSD-2-Clause */
/* Grouping: see list_group.h. */
#include "tui/list_group.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tui/text.h"

/* Figures of which a sum makes no sense: the largest stands for the group. */
static const char *const not_summed[] = {"object_size", "score",       "age_p50_us", "stack_id",
					 "id",          "utilization", NULL};

/* One group while it is made. */
struct group {
	char *name;
	cJSON *sum;
	size_t first; /* row it begins with */
	int members;
};

struct groups {
	struct group *group;
	size_t n;
	size_t *of; /* by row */
};

static bool is_summed(const char *name)
{
	for (const char *const *other = not_summed; *other; other++)
		if (strcmp(*other, name) == 0)
			return false;
	return true;
}

static void join(cJSON *sum, const cJSON *item)
{
	const cJSON *value;
	cJSON *mine;

	for (value = kms_json_first(item); value; value = value->next) {
		if (!cJSON_IsNumber(value) || strcmp(value->string, "target") == 0)
			continue;
		mine = cJSON_GetObjectItemCaseSensitive(sum, value->string);
		if (!cJSON_IsNumber(mine))
			continue;
		if (is_summed(value->string))
			cJSON_SetNumberHelper(mine, mine->valuedouble + value->valuedouble);
		else if (value->valuedouble > mine->valuedouble)
			cJSON_SetNumberHelper(mine, value->valuedouble);
	}
	if (kms_json_number(sum, "target") != kms_json_number(item, "target"))
		cJSON_ReplaceItemInObjectCaseSensitive(sum, "target", cJSON_CreateNull());
}

static char *group_name(const struct kms_list_kind *kind, const cJSON *item)
{
	const struct kms_column column = {
		.member = kind->group,
		.kind = strcmp(kind->group, "stack") == 0 ? KMS_COLUMN_CALLER : KMS_COLUMN_TEXT,
	};
	struct kms_buf text;
	char *name;

	kms_buf_init(&text, 1024);
	kms_column_text(&column, item, KMS_UNITS_SHORT, &text);
	name = kms_buf_take(&text);
	return name;
}

/* Puts a row into its group, or begins one. */
static int add_row(struct groups *groups, const struct kms_list *list, size_t row)
{
	const cJSON *item = list->row[row].item;
	char *name = group_name(list->kind, item);
	struct group *group;
	size_t i;

	if (!name)
		return -ENOMEM;
	for (i = 0; i < groups->n && strcmp(groups->group[i].name, name) != 0; i++)
		;
	groups->of[row] = i;
	group = &groups->group[i];
	if (i < groups->n) {
		free(name);
		join(group->sum, item);
	} else {
		*group = (struct group){name, cJSON_Duplicate(item, true), row, 0};
		groups->n++;
		if (!group->sum)
			return -ENOMEM;
	}
	group->members++;
	return 0;
}

/* For qsort_r: groups as the list is sorted. */
static int by_column(const void *a, const void *b, void *arg)
{
	const struct group *left = a;
	const struct group *right = b;
	const struct kms_list *list = arg;
	const struct kms_column *column = &list->kind->columns[list->sort];
	int order = kms_column_compare(column, left->sum, right->sum);

	if (!kms_column_is_text(column))
		order = -order;
	if (list->inverted)
		order = -order;
	if (!order)
		order = kms_list_compare_second(list->kind, left->sum, right->sum);
	return order ? order : (left->first > right->first) - (left->first < right->first);
}

/* Members of a group behind its row. A group of one is that one. */
static size_t add_members(const struct kms_list *list, const struct groups *groups,
			  const struct group *group, struct kms_list_row *to)
{
	size_t of = groups->of[group->first];
	size_t n = 0;

	for (size_t i = group->first; i < list->n_rows; i++) {
		if (groups->of[i] != of)
			continue;
		to[n] = list->row[i];
		to[n++].child = true;
	}
	return n;
}

static int make_rows(struct kms_list *list, struct groups *groups)
{
	struct kms_list_row *rows = calloc(list->n_rows + groups->n, sizeof(*rows));
	cJSON *all = cJSON_CreateArray();
	size_t n = 0;

	if (!rows || !all) {
		free(rows);
		cJSON_Delete(all);
		return -ENOMEM;
	}
	qsort_r(groups->group, groups->n, sizeof(*groups->group), by_column, list);
	for (size_t i = 0; i < groups->n; i++) {
		struct group *group = &groups->group[i];

		rows[n].item = group->sum;
		rows[n].order = i;
		rows[n++].children = group->members;
		if (list->grouping == KMS_GROUP_TREE && group->members > 1)
			n += add_members(list, groups, group, rows + n);
		cJSON_AddItemToArray(all, group->sum);
		group->sum = NULL;
	}
	free(list->row);
	list->row = rows;
	list->n_rows = n;
	list->groups = all;
	return 0;
}

int kms_list_group(struct kms_list *list)
{
	struct groups groups = {0};
	int ret = 0;

	if (list->n_rows == 0)
		return 0;
	groups.group = calloc(list->n_rows, sizeof(*groups.group));
	groups.of = calloc(list->n_rows, sizeof(*groups.of));
	if (!groups.group || !groups.of)
		ret = -ENOMEM;
	for (size_t i = 0; i < list->n_rows && ret == 0; i++)
		ret = add_row(&groups, list, i);
	if (ret == 0)
		ret = make_rows(list, &groups);
	for (size_t i = 0; i < groups.n; i++) {
		free(groups.group[i].name);
		cJSON_Delete(groups.group[i].sum);
	}
	free(groups.group);
	free(groups.of);
	return ret;
}
