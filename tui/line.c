/* SPDX-License-Identifier: BSD-2-Clause */
/* The line editor: see line.h. */
#include "tui/line.h"

#include <stdlib.h>
#include <string.h>
#include <wctype.h>

#include "base/buf.h"
#include "base/utf8.h"
#include "tui/screen.h"

void kms_line_set(struct kms_line *line, const char *text)
{
	size_t bytes = strlen(text);
	uint32_t c;

	line->n = line->cursor = 0;
	for (size_t i = 0; i < bytes;) {
		i += kms_utf8_decode(text + i, bytes - i, &c);
		kms_line_insert(line, c);
	}
}

void kms_line_begin(struct kms_line *line, struct kms_line_history *history, const char *text)
{
	line->history = history;
	line->at = history ? history->n : 0;
	line->kept[0] = '\0';
	line->searching = false;
	kms_line_set(line, text);
}

static void move_chars(uint32_t *to, const uint32_t *from, int n)
{
	memmove(to, from, (size_t)n * sizeof(*to));
}

void kms_line_insert(struct kms_line *line, uint32_t c)
{
	if (line->n == KMS_LINE_CHARS || c == KMS_UTF8_INVALID || kms_utf8_is_unsafe(c))
		return;
	move_chars(line->c + line->cursor + 1, line->c + line->cursor, line->n - line->cursor);
	line->c[line->cursor++] = c;
	line->n++;
}

/* Takes from @from to @to out; @keep: for yanking. */
static void cut(struct kms_line *line, int from, int to, bool keep)
{
	if (from >= to)
		return;
	if (keep) {
		line->n_killed = to - from;
		move_chars(line->killed, line->c + from, to - from);
	}
	move_chars(line->c + from, line->c + to, line->n - to);
	line->n -= to - from;
	line->cursor = from;
}

static bool in_word(uint32_t c)
{
	return iswalnum((wint_t)c) || c == '_';
}

static int word_left(const struct kms_line *line)
{
	int at = line->cursor;

	while (at > 0 && !in_word(line->c[at - 1]))
		at--;
	while (at > 0 && in_word(line->c[at - 1]))
		at--;
	return at;
}

static int word_right(const struct kms_line *line)
{
	int at = line->cursor;

	while (at < line->n && !in_word(line->c[at]))
		at++;
	while (at < line->n && in_word(line->c[at]))
		at++;
	return at;
}

static int blank_left(const struct kms_line *line)
{
	int at = line->cursor;

	while (at > 0 && line->c[at - 1] == ' ')
		at--;
	while (at > 0 && line->c[at - 1] != ' ')
		at--;
	return at;
}

static void yank(struct kms_line *line)
{
	int n = line->n_killed;

	for (int i = 0; i < n; i++)
		kms_line_insert(line, line->killed[i]);
}

/* The character before the cursor and the one at it change places; at the end, the last two. */
static void swap(struct kms_line *line)
{
	int at = line->cursor == line->n ? line->cursor - 1 : line->cursor;
	uint32_t c;

	if (at < 1)
		return;
	c = line->c[at];
	line->c[at] = line->c[at - 1];
	line->c[at - 1] = c;
	line->cursor = at + 1;
}

static void show_history(struct kms_line *line, size_t at)
{
	const struct kms_line_history *history = line->history;

	if (!history || at > history->n)
		return;
	if (line->at == history->n)
		kms_line_text(line, line->kept);
	line->at = at;
	kms_line_set(line, at == history->n ? line->kept : history->line[at]);
}

/* The keys that move the cursor; the new place, -1: no such key. */
static int move_to(const struct kms_line *line, enum kms_line_key key)
{
	switch (key) {
	case KMS_LINE_LEFT:
		return line->cursor > 0 ? line->cursor - 1 : 0;
	case KMS_LINE_RIGHT:
		return line->cursor < line->n ? line->cursor + 1 : line->n;
	case KMS_LINE_WORD_LEFT:
		return word_left(line);
	case KMS_LINE_WORD_RIGHT:
		return word_right(line);
	case KMS_LINE_HOME:
		return 0;
	case KMS_LINE_END:
		return line->n;
	default:
		return -1;
	}
}

static void edit_text(struct kms_line *line, enum kms_line_key key)
{
	int at = line->cursor;

	switch (key) {
	case KMS_LINE_BACKSPACE:
		cut(line, at > 0 ? at - 1 : 0, at, false);
		break;
	case KMS_LINE_DELETE:
		cut(line, at, at < line->n ? at + 1 : at, false);
		break;
	case KMS_LINE_KILL_WORD:
		cut(line, at, word_right(line), true);
		break;
	case KMS_LINE_KILL_WORD_LEFT:
		cut(line, word_left(line), at, true);
		break;
	case KMS_LINE_KILL_BLANK_LEFT:
		cut(line, blank_left(line), at, true);
		break;
	case KMS_LINE_KILL_END:
		cut(line, at, line->n, true);
		break;
	case KMS_LINE_KILL_BEGIN:
		cut(line, 0, at, true);
		break;
	case KMS_LINE_YANK:
		yank(line);
		break;
	case KMS_LINE_SWAP:
		swap(line);
		break;
	default:
		break;
	}
}

void kms_line_edit(struct kms_line *line, enum kms_line_key key)
{
	int to = move_to(line, key);

	if (to >= 0)
		line->cursor = to;
	else if (key == KMS_LINE_OLDER && line->at > 0)
		show_history(line, line->at - 1);
	else if (key == KMS_LINE_NEWER)
		show_history(line, line->at + 1);
	else
		edit_text(line, key);
}

void kms_line_text(const struct kms_line *line, char text[KMS_LINE_BYTES])
{
	struct kms_buf buf;

	kms_buf_init(&buf, KMS_LINE_BYTES - 1);
	for (int i = 0; i < line->n; i++)
		kms_buf_add_utf8(&buf, line->c[i]);
	memcpy(text, kms_buf_text(&buf), buf.used_bytes + 1);
	kms_buf_deinit(&buf);
}

/* The newest line older than @before that has the pattern. */
static void find_older(struct kms_line *line, size_t before)
{
	if (!line->history || !line->pattern[0])
		return;
	for (size_t i = before; i-- > 0;) {
		if (!strstr(line->history->line[i], line->pattern))
			continue;
		show_history(line, i);
		return;
	}
}

void kms_line_search(struct kms_line *line)
{
	if (line->searching) {
		find_older(line, line->at);
		return;
	}
	line->searching = true;
	line->pattern[0] = '\0';
}

void kms_line_search_add(struct kms_line *line, uint32_t c)
{
	struct kms_buf buf;
	size_t n = strlen(line->pattern);

	if (c == 0) {
		while (n > 0 && (line->pattern[n - 1] & 0xc0) == 0x80)
			n--;
		line->pattern[n ? n - 1 : 0] = '\0';
	} else if (n + 5 < sizeof(line->pattern) && !kms_utf8_is_unsafe(c)) {
		kms_buf_init(&buf, 8);
		kms_buf_add_utf8(&buf, c);
		memcpy(line->pattern + n, kms_buf_text(&buf), buf.used_bytes + 1);
		kms_buf_deinit(&buf);
	}
	find_older(line, line->history ? line->history->n : 0);
}

void kms_line_search_end(struct kms_line *line)
{
	line->searching = false;
}
