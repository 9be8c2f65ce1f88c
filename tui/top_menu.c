/* SPDX-License-Identifier: BSD-2-Clause */
/* The menus: sort by, and options. See top.h. */
#include <stdio.h>
#include <string.h>

#include "tui/top.h"

static const char *const glyph_words[] = {"ascii", "block", "braille"};

static void text_glyphs(const struct kms_top *top, char *text, size_t bytes)
{
	snprintf(text, bytes, "graphs: %s", glyph_words[top->options.glyphs]);
}

/* A terminal that shows ASCII only is not asked for more. */
static void choose_glyphs(struct kms_top *top)
{
	if (!top->options.ascii)
		top->options.glyphs = (enum kms_glyphs)(((int)top->options.glyphs + 1) % 3);
}

static void text_units(const struct kms_top *top, char *text, size_t bytes)
{
	static const char *const words[] = {"short", "bytes", "pages"};

	snprintf(text, bytes, "sizes: %s", words[top->units]);
}

static void choose_units(struct kms_top *top)
{
	top->units = (enum kms_units)(((int)top->units + 1) % KMS_UNITS);
}

static void text_interval(const struct kms_top *top, char *text, size_t bytes)
{
	snprintf(text, bytes, "interval: %.1f s", (double)top->options.interval_ms / 1000);
}

static void choose_interval(struct kms_top *top)
{
	static const unsigned steps[] = {100, 200, 500, 1000, 2000, 5000, 10000};
	size_t n = sizeof(steps) / sizeof(steps[0]);
	size_t i;

	for (i = 0; i < n && steps[i] <= top->options.interval_ms; i++)
		;
	top->options.interval_ms = steps[i == n ? 0 : i];
}

static void text_clock(const struct kms_top *top, char *text, size_t bytes)
{
	snprintf(text, bytes, "clock: %s", top->options.local_time ? "local" : "UTC");
}

static void choose_clock(struct kms_top *top)
{
	top->options.local_time = !top->options.local_time;
}

static const struct {
	void (*text)(const struct kms_top *top, char *text, size_t bytes);
	void (*choose)(struct kms_top *top);
} options[] = {
	{text_interval, choose_interval},
	{text_units,    choose_units   },
	{text_glyphs,   choose_glyphs  },
	{text_clock,    choose_clock   },
};

#define OPTIONS (sizeof(options) / sizeof(options[0]))

static const struct kms_list *sorted_list(const struct kms_top *top)
{
	const struct kms_level *level = top->n_levels ? &top->level[top->n_levels - 1] : NULL;

	return level ? &level->list : &top->list[top->tab];
}

size_t kms_menu_lines(const struct kms_top *top)
{
	return top->menu.kind == KMS_MENU_SORT ? sorted_list(top)->kind->n_columns : OPTIONS;
}

void kms_menu_text(const struct kms_top *top, size_t index, char *text, size_t bytes)
{
	const struct kms_list *list = sorted_list(top);

	if (top->menu.kind == KMS_MENU_OPTIONS)
		options[index].text(top, text, bytes);
	else
		snprintf(text, bytes, "%c  %s%s", list->kind->columns[index].letter,
			 list->kind->columns[index].head,
			 index != list->sort ? "" : (list->inverted ? "  (inverted)" : "  *"));
}

void kms_menu_choose(struct kms_top *top, size_t index)
{
	struct kms_level *level = kms_top_level(top);

	if (top->menu.kind == KMS_MENU_OPTIONS) {
		options[index].choose(top);
		return;
	}
	kms_list_sort(kms_top_list(top), index);
	if (level)
		kms_level_fill(level);
	else
		kms_top_reload(top);
	top->mode = KMS_MODE_BROWSE;
}

/* In the sort menu a column's letter chooses it. */
static bool is_letter(struct kms_top *top, uint32_t key)
{
	const struct kms_list *list = sorted_list(top);

	for (size_t i = 0; top->menu.kind == KMS_MENU_SORT && i < list->kind->n_columns; i++) {
		if ((uint32_t)list->kind->columns[i].letter != key)
			continue;
		kms_menu_choose(top, i);
		return true;
	}
	return false;
}

/* A line chooses, anything beside the menu closes it. */
static void click(struct kms_top *top, const struct kms_input *input)
{
	int line = input->y - top->menu_y;

	if (input->x < top->menu_x || input->x >= top->menu_x + KMS_MENU_WIDTH || line < 0 ||
	    (size_t)line >= kms_menu_lines(top))
		top->mode = KMS_MODE_BROWSE;
	else
		kms_menu_choose(top, (size_t)line);
}

void kms_menu_key(struct kms_top *top, const struct kms_input *input)
{
	size_t n = kms_menu_lines(top);

	if (input->key == KMS_KEY_CLICK) {
		click(top, input);
		return;
	}
	if (is_letter(top, input->key))
		return;
	switch (input->key) {
	case KMS_KEY_UP:
	case 'k':
		top->menu.selected = (top->menu.selected + n - 1) % n;
		break;
	case KMS_KEY_DOWN:
	case 'j':
		top->menu.selected = (top->menu.selected + 1) % n;
		break;
	case KMS_KEY_ENTER:
	case ' ':
		kms_menu_choose(top, top->menu.selected);
		break;
	case KMS_KEY_ESC:
	case 'q':
	case KMS_KEY_F1 + 1:
	case KMS_KEY_F1 + 5:
	case KMS_KEY_F1 + 9:
		top->mode = KMS_MODE_BROWSE;
		break;
	default:
		break;
	}
}
