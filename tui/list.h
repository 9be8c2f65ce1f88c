/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A list of the screen: rows of a document, filtered, sorted, grouped, one of them selected. Pure: what
 * keys do to it is called from elsewhere, and it draws into a grid.
 */
#ifndef KMS_TUI_LIST_H
#define KMS_TUI_LIST_H

#include "tui/column.h"
#include "tui/glyph.h"
#include "tui/row_filter.h"
#include "tui/screen.h"

enum {
	KMS_LIST_COLUMNS = 24,
	KMS_LIST_KEY_BYTES = 128,
};

/** What the rows of a list are; static. */
struct kms_list_kind {
	const char *name;
	const struct kms_column *columns;
	size_t n_columns;
	const char *items;  /* member of the document with the rows */
	const char *key[3]; /* members that name a row; NULL behind the last */
	const char *group;  /* member that rows are grouped by, "stack": the caller; NULL: never */
	size_t sort;        /* column at first */
	size_t second;      /* column that decides between equals, largest first; 0: as they came */
	bool tail;          /* newest at the end, and shown first */
	bool ascending;     /* smallest figure first, at first */
	const char *empty;  /* what stands there without rows */
	const char *attention; /* member whose truth makes a row stand out; NULL: none */
};

/** The order of two rows that the sort column calls equal: negative, the left one first; 0, as they came. */
int kms_list_compare_second(const struct kms_list_kind *kind, const cJSON *left,
			    const cJSON *right);

/** How rows of several targets are put together. */
enum kms_grouping {
	KMS_GROUP_NONE,   /* each row by itself */
	KMS_GROUP_MERGED, /* one row for each group, its sums */
	KMS_GROUP_TREE,   /* the group's row, and below it its members */
};

struct kms_list_row {
	const cJSON *item;
	size_t order; /* in the document, so that sorting is stable */
	bool child;
	int children; /* of a group's row */
};

/** A list and its state. */
struct kms_list {
	const struct kms_list_kind *kind;
	struct kms_list_row *row;
	size_t n_rows;
	size_t n_items; /* before the filter */
	size_t n_more;  /* rows that the document does not hold */
	cJSON *groups;  /* rows made of several; owned */
	size_t sort;
	bool inverted;
	enum kms_grouping grouping;
	struct kms_row_filter filter;
	char filter_text[256];
	size_t selected;
	size_t top;
	size_t left; /* first column that is shown behind the first one */
	bool follow;
	bool loaded;                  /* a document was there */
	char key[KMS_LIST_KEY_BYTES]; /* of the selected row */
};

/** Where and how a list is drawn. */
struct kms_list_look {
	int x, y, width, height; /* headings included */
	enum kms_units units;
	enum kms_glyphs glyphs;
	bool targets; /* the column TARGET is of use */
};

void kms_list_init(struct kms_list *list, const struct kms_list_kind *kind);
void kms_list_deinit(struct kms_list *list);

/**
 * Takes the rows of a document, which must stay as long as they are shown; NULL: there are none yet.
 * The selection stays where it is, or with its row if it is followed. -ENOMEM: no rows.
 */
int kms_list_load(struct kms_list *list, const cJSON *document);

/** Puts the selection somewhere: @by rows on, or to the first or last row. */
void kms_list_move(struct kms_list *list, long by);
void kms_list_select(struct kms_list *list, size_t index);

/** The selected row; NULL: none. */
const cJSON *kms_list_selected(const struct kms_list *list);

/** Sorts by a column (its index); the same again turns it round. */
void kms_list_sort(struct kms_list *list, size_t column);

/** Sets the filter. Errors as kms_row_filter_parse(); the old one stays then. */
int kms_list_filter(struct kms_list *list, const char *text, struct kms_err *err);

/** Selects the next row, from @from on and in direction @step, that has the text; false: none has. */
bool kms_list_find(struct kms_list *list, const char *word, size_t from, int step);

/** Sorts and filters again after a change. */
void kms_list_refresh(struct kms_list *list, const cJSON *document);

/** Draws it; the selection is brought into sight. */
void kms_list_draw(struct kms_list *list, struct kms_screen *screen,
		   const struct kms_list_look *look);

/** The column whose heading is at a place of a list that was drawn so; its kind's n_columns: none. */
size_t kms_list_column_at(const struct kms_list *list, const struct kms_list_look *look, int x);

/** What names a row. */
void kms_list_key(const struct kms_list_kind *kind, const cJSON *row, char key[KMS_LIST_KEY_BYTES]);

#endif
