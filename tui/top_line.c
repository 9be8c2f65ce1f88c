/* SPDX-License-Identifier: BSD-2-Clause */
/* Keys while a line is edited: the prompt, the search, the filter. See top.h. */
#include <errno.h>
#include <string.h>

#include "tui/top.h"

/* Keys of the editor. */
static const struct {
	uint32_t key;
	enum kms_line_key edit;
} edits[] = {
	{KMS_KEY_LEFT,                    KMS_LINE_LEFT           },
	{KMS_CTRL('b'),                   KMS_LINE_LEFT           },
	{KMS_KEY_RIGHT,                   KMS_LINE_RIGHT          },
	{KMS_CTRL('f'),                   KMS_LINE_RIGHT          },
	{KMS_KEY_ALT | 'b',               KMS_LINE_WORD_LEFT      },
	{KMS_KEY_ALT | 'f',               KMS_LINE_WORD_RIGHT     },
	{KMS_KEY_HOME,                    KMS_LINE_HOME           },
	{KMS_CTRL('a'),                   KMS_LINE_HOME           },
	{KMS_KEY_END,                     KMS_LINE_END            },
	{KMS_CTRL('e'),                   KMS_LINE_END            },
	{KMS_KEY_BACKSPACE,               KMS_LINE_BACKSPACE      },
	{KMS_KEY_DELETE,                  KMS_LINE_DELETE         },
	{KMS_CTRL('d'),                   KMS_LINE_DELETE         },
	{KMS_KEY_ALT | 'd',               KMS_LINE_KILL_WORD      },
	{KMS_KEY_ALT | KMS_KEY_BACKSPACE, KMS_LINE_KILL_WORD_LEFT },
	{KMS_CTRL('w'),                   KMS_LINE_KILL_BLANK_LEFT},
	{KMS_CTRL('k'),                   KMS_LINE_KILL_END       },
	{KMS_CTRL('u'),                   KMS_LINE_KILL_BEGIN     },
	{KMS_CTRL('y'),                   KMS_LINE_YANK           },
	{KMS_CTRL('t'),                   KMS_LINE_SWAP           },
	{KMS_KEY_UP,		      KMS_LINE_OLDER          },
	{KMS_CTRL('p'),                   KMS_LINE_OLDER          },
	{KMS_KEY_DOWN,                    KMS_LINE_NEWER          },
	{KMS_CTRL('n'),                   KMS_LINE_NEWER          },
};

static bool edit(struct kms_line *line, uint32_t key)
{
	for (size_t i = 0; i < sizeof(edits) / sizeof(edits[0]); i++) {
		if (edits[i].key != key)
			continue;
		kms_line_edit(line, edits[i].edit);
		return true;
	}
	return false;
}

bool kms_line_has_key(const struct kms_top *top, uint32_t key)
{
	if (top->mode == KMS_MODE_BROWSE || top->mode == KMS_MODE_MENU)
		return false;
	for (size_t i = 0; i < sizeof(edits) / sizeof(edits[0]); i++)
		if (edits[i].key == key)
			return true;
	return false;
}

static bool is_text(uint32_t key)
{
	return key >= ' ' && key != 127 && key < 0x110000;
}

/* The line of the prompt goes out; the prompt stays. */
static void send(struct kms_top *top)
{
	char text[KMS_LINE_BYTES];

	kms_line_text(&top->line, text);
	if (text[strspn(text, " ")] == '\0')
		return;
	if (top->history)
		kms_line_history_add(top->history, text);
	memcpy(top->out, text, sizeof(top->out));
	top->waiting++;
	kms_line_begin(&top->line, top->history, "");
}

static void search(struct kms_top *top)
{
	struct kms_level *level = kms_top_level(top);
	struct kms_list *list = kms_top_list(top);
	char text[KMS_LINE_BYTES];
	bool found;

	kms_line_text(&top->line, text);
	snprintf(top->search, sizeof(top->search), "%.*s", (int)sizeof(top->search) - 1, text);
	if (!top->search[0])
		return;
	found = list ? kms_list_find(list, top->search, top->before_search, 1)
		     : kms_page_find(&level->page, top->search, top->before_search, 1);
	if (!found)
		kms_top_say(top, "not found: %s", top->search);
	else if (!level)
		kms_top_refresh_pane(top);
}

static void filter(struct kms_top *top, const char *text)
{
	struct kms_level *level = kms_top_level(top);
	struct kms_err err = KMS_ERR_INIT;

	if (kms_list_filter(kms_top_list(top), text, &err) < 0) {
		kms_top_say(top, "%s", err.text);
		return;
	}
	if (level)
		kms_level_fill(level);
	else
		kms_top_reload(top);
}

static void changed(struct kms_top *top)
{
	char text[KMS_LINE_BYTES];

	if (top->mode == KMS_MODE_SEARCH)
		search(top);
	if (top->mode != KMS_MODE_FILTER)
		return;
	kms_line_text(&top->line, text);
	filter(top, text);
}

static void leave(struct kms_top *top)
{
	if (top->mode == KMS_MODE_FILTER)
		filter(top, top->before_filter);
	else if (top->mode == KMS_MODE_SEARCH && kms_top_list(top))
		kms_list_select(kms_top_list(top), top->before_search);
	top->mode = KMS_MODE_BROWSE;
}

static void enter(struct kms_top *top)
{
	if (top->pasting)
		kms_line_insert(&top->line, ' ');
	else if (top->mode == KMS_MODE_DB)
		send(top);
	else
		top->mode = KMS_MODE_BROWSE;
}

/* Keys of the search in the history; false: it is over, and the key is one of the line's. */
static bool search_key(struct kms_top *top, uint32_t key)
{
	struct kms_line *line = &top->line;

	if (key == KMS_CTRL('r')) {
		kms_line_search(line);
	} else if (key == KMS_KEY_BACKSPACE) {
		kms_line_search_add(line, 0);
	} else if (is_text(key)) {
		kms_line_search_add(line, key);
	} else {
		kms_line_search_end(line);
		return key == KMS_KEY_ESC || key == KMS_CTRL('g');
	}
	return true;
}

/* Function keys end the line and do what they do everywhere; F9 and F10 only end it. */
static bool function_key(struct kms_top *top, uint32_t key)
{
	if (key < KMS_KEY_F1 || key > KMS_KEY_F12)
		return false;
	if (top->mode == KMS_MODE_SEARCH && key == KMS_KEY_F1 + 2) {
		kms_top_press(top, 'n');
	} else if (key == KMS_KEY_F1 + 8 || key == KMS_KEY_F1 + 9) {
		leave(top);
	} else {
		top->mode = KMS_MODE_BROWSE;
		kms_top_press(top, key);
	}
	return true;
}

void kms_top_line_key(struct kms_top *top, const struct kms_input *input)
{
	uint32_t key = input->key;

	if (top->line.searching && search_key(top, key))
		return;
	if (function_key(top, key))
		return;
	if (key == KMS_KEY_ESC || key == KMS_CTRL('g')) {
		leave(top);
	} else if (key == KMS_KEY_ENTER) {
		enter(top);
	} else if (top->mode == KMS_MODE_DB && key == KMS_KEY_TAB && !top->pasting) {
		kms_top_complete(top);
	} else if (top->mode == KMS_MODE_DB && key == KMS_CTRL('r')) {
		kms_line_search(&top->line);
	} else if (key == KMS_KEY_PAGE_UP || key == KMS_KEY_WHEEL_UP) {
		kms_page_scroll(&top->log_page, -5, 5);
	} else if (key == KMS_KEY_PAGE_DOWN || key == KMS_KEY_WHEEL_DOWN) {
		kms_page_scroll(&top->log_page, 5, 5);
	} else if (edit(&top->line, key)) {
		changed(top);
	} else if (is_text(key)) {
		kms_line_insert(&top->line, key);
		changed(top);
	}
}
