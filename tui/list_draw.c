/* SPDX-License-Identifier: BSD-2-Clause */
/* Drawing a list: which columns fit, and each of them. See list.h. */
#include <string.h>

#include "tui/list.h"
#include "tui/text.h"

#define ADDRESS_WIDTH 18 /* "0x" and 16 digits */

/* Columns that are shown, in order, and how wide each is. */
struct fitted {
	size_t column[KMS_LIST_COLUMNS];
	int width[KMS_LIST_COLUMNS];
	size_t n;
};

/* Columns before the first one: the cursor, and the mark of rows that stand out. */
static int margin(const struct kms_list *list)
{
	return list->kind->attention ? 2 : 1;
}

static bool is_wanted(const struct kms_list *list, const struct kms_list_look *look, size_t i)
{
	const struct kms_column *column = &list->kind->columns[i];

	if (!look->targets && strcmp(column->head, "TARGET") == 0)
		return false;
	return i == 0 || i > list->left;
}

/* All columns whose drop is at most @limit; their width together, with the blanks between. */
static int sum_widths(const struct kms_list *list, const struct kms_list_look *look, int limit)
{
	int sum = 0;

	for (size_t i = 0; i < list->kind->n_columns; i++)
		if (is_wanted(list, look, i) && list->kind->columns[i].drop <= limit)
			sum += list->kind->columns[i].width + 1;
	return sum;
}

/* Gives addresses the room that a kernel's take, as far as there is some; what is left of it. */
static int widen_addresses(const struct kms_list *list, struct fitted *fitted, int left)
{
	int more;

	for (size_t i = 0; i < fitted->n; i++) {
		if (list->kind->columns[fitted->column[i]].kind != KMS_COLUMN_HEX)
			continue;
		more = ADDRESS_WIDTH - fitted->width[i];
		if (more > left)
			more = left;
		if (more <= 0)
			continue;
		fitted->width[i] += more;
		left -= more;
	}
	return left;
}

static void fit_columns(const struct kms_list *list, const struct kms_list_look *look,
			struct fitted *fitted)
{
	const struct kms_column *columns = list->kind->columns;
	int limit = 0;
	int left;
	int sum;

	for (int drop = 1;
	     drop < 20 && sum_widths(list, look, drop) + margin(list) - 1 <= look->width; drop++)
		limit = drop;
	sum = sum_widths(list, look, limit);
	left = look->width - sum - (margin(list) - 1);
	fitted->n = 0;
	for (size_t i = 0; i < list->kind->n_columns && fitted->n < KMS_LIST_COLUMNS; i++) {
		if (!is_wanted(list, look, i) || columns[i].drop > limit)
			continue;
		fitted->width[fitted->n] = columns[i].width;
		fitted->column[fitted->n++] = i;
	}
	left = widen_addresses(list, fitted, left);
	for (size_t i = 0; i < fitted->n; i++) {
		if (!columns[fitted->column[i]].flex)
			continue;
		fitted->width[i] += left;
		left = 0;
	}
}

size_t kms_list_column_at(const struct kms_list *list, const struct kms_list_look *look, int x)
{
	struct fitted fitted;
	int at = look->x + margin(list);

	fit_columns(list, look, &fitted);
	for (size_t i = 0; i < fitted.n && x < look->x + look->width; i++) {
		at += fitted.width[i] + 1;
		if (x < at)
			return fitted.column[i];
	}
	return list->kind->n_columns;
}

static void draw_heads(const struct kms_list *list, struct kms_screen *screen,
		       const struct kms_list_look *look, const struct fitted *fitted)
{
	int x = look->x;
	char head[48];

	kms_screen_fill(screen, look->x, look->y, look->width, KMS_INK_HEAD, ' ');
	for (size_t i = 0; i < fitted->n; i++) {
		const struct kms_column *column = &list->kind->columns[fitted->column[i]];
		bool sorted = fitted->column[i] == list->sort;
		bool text = kms_column_is_text(column) || column->kind == KMS_COLUMN_BAR;
		int width = fitted->width[i] + (i == 0 ? margin(list) : 0);

		bool up = (kms_column_is_text(column) || list->kind->tail) != list->inverted;

		/* the mark is there even where the word has no room */
		snprintf(head, sizeof(head), "%.*s%s", sorted ? width - 1 : width, column->head,
			 !sorted ? "" : (up ? "^" : "v"));
		kms_screen_field(screen, (struct kms_strip){x, look->y, width},
				 KMS_INK_HEAD | (sorted ? KMS_INK_REVERSE : 0), !text, head);
		x += width + (i != 0 || fitted->n > 1);
	}
}

static uint8_t cell_ink(const struct kms_list *list, const struct kms_column *column,
			const cJSON *row, bool first)
{
	bool attention = list->kind->attention && kms_json_flag(row, list->kind->attention);

	if (first && attention)
		return KMS_INK_BAD;
	if (first)
		return KMS_INK_HEAD;
	if (column->kind == KMS_COLUMN_RATE && kms_column_number(column, row) > 0)
		return KMS_INK_ACCENT;
	if (column->kind == KMS_COLUMN_GROWTH && kms_column_number(column, row) >= 1)
		return KMS_INK_WARN;
	return KMS_INK_PLAIN;
}

static void draw_cell(const struct kms_list *list, struct kms_screen *screen,
		      const struct kms_list_look *look, const struct kms_list_row *row,
		      const struct kms_column *column, struct kms_strip strip)
{
	struct kms_buf text;
	bool first = column == list->kind->columns;
	const char *shown;
	double use;

	if (column->kind == KMS_COLUMN_BAR) {
		use = kms_column_use(row->item);
		kms_bar_draw(screen, strip, look->glyphs, use,
			     use < 0.25 ? KMS_INK_LOW : (use < 0.75 ? KMS_INK_MID : KMS_INK_HIGH));
		return;
	}
	kms_buf_init(&text, 2048);
	if (first && list->grouping == KMS_GROUP_TREE && list->kind->group)
		kms_buf_add_str(&text, row->child ? "  " : (row->children > 1 ? "- " : ""));
	kms_column_text(column, row->item, look->units, &text);
	/* A count that does not fit is shortened, not cut: 12345678 must not read 1234567~. */
	if (column->kind == KMS_COLUMN_COUNT && (int)text.used_bytes > strip.width) {
		kms_buf_reset(&text);
		kms_buf_add_str(&text,
				kms_fmt_rate((uint64_t)kms_column_number(column, row->item)).text);
	}
	shown = kms_buf_text(&text);
	/* Of an address the end tells one from another: all of a kernel's begin alike. */
	if (column->kind == KMS_COLUMN_HEX && strip.width > 1 &&
	    (int)text.used_bytes > strip.width) {
		shown += text.used_bytes - (size_t)strip.width + 1;
		kms_screen_put(screen, strip.x, strip.y, 1, KMS_INK_DIM, "~");
		strip.x++;
		strip.width--;
	}
	kms_screen_field(screen, strip, cell_ink(list, column, row->item, first),
			 !kms_column_is_text(column), shown);
	kms_buf_deinit(&text);
}

static void draw_row(const struct kms_list *list, struct kms_screen *screen,
		     const struct kms_list_look *look, const struct fitted *fitted, size_t index,
		     int y)
{
	const struct kms_list_row *row = &list->row[index];
	bool selected = index == list->selected;
	bool attention = list->kind->attention && kms_json_flag(row->item, list->kind->attention);
	int x = look->x + margin(list);

	kms_screen_put(screen, look->x, y, 1, KMS_INK_HEAD,
		       !selected ? " " : (list->follow ? "=" : ">"));
	if (attention)
		kms_screen_put(screen, look->x + 1, y, 1, KMS_INK_BAD, "!");
	for (size_t i = 0; i < fitted->n; i++) {
		draw_cell(list, screen, look, row, &list->kind->columns[fitted->column[i]],
			  (struct kms_strip){x, y, fitted->width[i]});
		x += fitted->width[i] + 1;
	}
	if (selected)
		kms_screen_mark(screen, look->x, y, look->width, KMS_INK_REVERSE);
}

static void bring_into_sight(struct kms_list *list, size_t rows)
{
	if (list->selected < list->top)
		list->top = list->selected;
	if (list->selected >= list->top + rows)
		list->top = list->selected - rows + 1;
	if (list->top + rows > list->n_rows)
		list->top = list->n_rows > rows ? list->n_rows - rows : 0;
}

void kms_list_draw(struct kms_list *list, struct kms_screen *screen,
		   const struct kms_list_look *look)
{
	size_t rows = look->height > 1 ? (size_t)look->height - 1 : 0;
	struct fitted fitted;

	fit_columns(list, look, &fitted);
	draw_heads(list, screen, look, &fitted);
	if (rows == 0)
		return;
	bring_into_sight(list, rows);
	for (size_t i = 0; i < rows && list->top + i < list->n_rows; i++)
		draw_row(list, screen, look, &fitted, list->top + i, look->y + 1 + (int)i);
	if (list->n_rows == 0 && !list->loaded)
		kms_screen_put(screen, look->x + 1, look->y + 1, look->width - 1, KMS_INK_DIM,
			       "waiting for data");
	else if (list->n_rows == 0)
		kms_screen_print(screen, look->x + 1, look->y + 1, look->width - 1, KMS_INK_DIM,
				 "%s",
				 list->n_items ? "nothing fits the filter" : list->kind->empty);
}
