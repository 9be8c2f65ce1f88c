/* SPDX-License-Identifier: BSD-2-Clause */
/* The row that a page is about: as the list has it now, or what has become of it. See top.h. */
#include <inttypes.h>
#include <string.h>

#include "tui/top.h"

static const cJSON *document_of(const struct kms_top *top)
{
	const struct kms_doc *doc = top->doc[kms_tab_document(top->tab)];

	return doc ? doc->json : NULL;
}

static bool has_key(const struct kms_list *list, const cJSON *row, const char *key)
{
	char other[KMS_LIST_KEY_BYTES];

	kms_list_key(list->kind, row, other);
	return strcmp(other, key) == 0;
}

/* Among the rows that are shown, which may be sums; then among those that the filter left out. */
static const cJSON *find_row(const struct kms_list *list, const cJSON *document, const char *key)
{
	const cJSON *item;

	for (size_t i = 0; i < list->n_rows; i++)
		if (!list->row[i].child && has_key(list, list->row[i].item, key))
			return list->row[i].item;
	item = kms_json_first(kms_json_member(document, list->kind->items));
	for (; item; item = item->next)
		if (has_key(list, item, key))
			return item;
	return NULL;
}

static void take_row(struct kms_level *level, const cJSON *row, uint64_t time_ns)
{
	cJSON *copy = cJSON_Duplicate(row, true);

	if (!copy) /* the old figures, and their time */
		return;
	cJSON_Delete(level->row);
	level->row = copy;
	level->row_time_ns = time_ns;
	level->fate = KMS_LEVEL_LISTED;
}

void kms_top_refresh_level(struct kms_top *top)
{
	struct kms_level *level = &top->level[0];
	const struct kms_list *list = &top->list[top->tab];
	const cJSON *document = document_of(top);
	const cJSON *row;
	uint64_t time_ns = kms_json_number(kms_json_member(document, "snapshot"), "time_ns");

	if (!top->n_levels || !level->kind->gone || !level->row || !document)
		return;
	row = find_row(list, document, level->key);
	if (row)
		take_row(level, row, time_ns);
	else if (list->n_more || (list->filter_text[0] && list->grouping != KMS_GROUP_NONE))
		level->fate = KMS_LEVEL_UNLISTED;
	else
		level->fate = KMS_LEVEL_GONE;
	kms_level_fill(level);
}

void kms_level_show_fate(struct kms_text *text, const struct kms_level *level)
{
	uint64_t seconds = level->row_time_ns / 1000000000;

	if (level->fate == KMS_LEVEL_LISTED)
		return;
	if (level->fate == KMS_LEVEL_GONE)
		kms_text_style(text, KMS_STYLE_BAD, "GONE: %s.", level->kind->gone);
	else
		kms_text_style(text, KMS_STYLE_BAD, "no longer among the rows of the list.");
	kms_text_addf(text,
		      " What follows was so at +%02" PRIu64 ":%02" PRIu64 ":%02" PRIu64 ".\n\n",
		      seconds / 3600, seconds / 60 % 60, seconds % 60);
}
