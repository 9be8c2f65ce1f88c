/* SPDX-License-Identifier: BSD-2-Clause */
/* Pages of text: see page.h. */
#include "tui/page.h"

#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"
#include "tui/page_fit.h"

enum {
	LINE_BYTES = 4096,
	WIDTH_AT_FIRST = 80,
	SHOWN_BYTES = 256 << 20, /* as a text's */
};

/* The styles of tui/text.h, which are the only escape sequences that a text can have. */
static const struct {
	const char *sequence;
	uint8_t ink;
} styles[] = {
	{"\x1b[0m",    KMS_INK_PLAIN},
	{"\x1b[1m",    KMS_INK_HEAD },
	{"\x1b[1;31m", KMS_INK_BAD  },
	{"\x1b[2m",    KMS_INK_DIM  },
};

void kms_page_text(struct kms_text *text)
{
	const struct kms_cli cli = {.color = true};

	kms_text_init(text, &cli);
}

/* Takes a style off the front of a text; false: there is none. */
static bool take_style(const char **text, uint8_t *ink)
{
	size_t n;

	for (size_t i = 0; i < sizeof(styles) / sizeof(styles[0]); i++) {
		n = strlen(styles[i].sequence);
		if (strncmp(*text, styles[i].sequence, n) != 0)
			continue;
		*text += n;
		*ink = styles[i].ink;
		return true;
	}
	return false;
}

/* Bytes of the first part of a line that fits, up to its end or to the blank where it is broken. */
static size_t fitting(const char *line, int width)
{
	const char *at = line;
	const char *blank = NULL;
	char character[8];
	uint8_t ink;
	uint32_t c;
	int used = 0;
	size_t n;

	while (*at && *at != '\n') {
		if (take_style(&at, &ink))
			continue;
		n = kms_utf8_decode(at, strnlen(at, 4), &c);
		memcpy(character, at, n);
		character[n] = '\0';
		used += kms_screen_columns(character);
		if (used > width)
			break;
		if (*at == ' ' && used > width / 2)
			blank = at;
		at += n;
	}
	if (!*at || *at == '\n' || at == line)
		return (size_t)(at - line) + (at == line && *at && *at != '\n');
	return (size_t)((blank ? blank : at) - line);
}

static bool add_line(struct kms_page *page, size_t begin, size_t bytes)
{
	struct kms_page_line *grown = page->line;

	if (page->n_lines == page->room) {
		page->room = page->room ? 2 * page->room : 64;
		grown = realloc(page->line, page->room * sizeof(*grown));
	}
	if (!grown) {
		page->room = page->n_lines;
		return false;
	}
	page->line = grown;
	page->line[page->n_lines++] = (struct kms_page_line){begin, bytes};
	return true;
}

/* An ordinary line, broken at blanks. */
static void add_broken(struct kms_buf *out, const char *line, size_t bytes, int width)
{
	size_t at = 0;
	size_t n;

	do {
		n = fitting(line + at, width);
		kms_buf_add(out, line + at, n);
		kms_buf_add_char(out, '\n');
		at += n;
		at += at < bytes && line[at] == ' ' && n;
	} while (at < bytes);
}

/* Makes the lines for a width; without memory the last ones are missing. */
static void break_lines(struct kms_page *page, int width)
{
	const char *text = kms_buf_text(&page->text);
	size_t bytes;

	page->width = width;
	page->n_lines = 0;
	kms_buf_deinit(&page->shown);
	kms_buf_init(&page->shown, SHOWN_BYTES);
	for (; *text; text += bytes + (text[bytes] == '\n')) {
		bytes = strcspn(text, "\n");
		if (!kms_page_fit(&page->shown, text, bytes, width))
			add_broken(&page->shown, text, bytes, width);
	}
	text = kms_buf_text(&page->shown);
	for (size_t at = 0; text[at]; at += bytes + 1) {
		bytes = strcspn(text + at, "\n");
		if (!add_line(page, at, bytes))
			return;
		if (text[at + bytes] == '\0')
			return;
	}
}

void kms_page_deinit(struct kms_page *page)
{
	kms_buf_deinit(&page->text);
	kms_buf_deinit(&page->shown);
	free(page->line);
	memset(page, 0, sizeof(*page));
}

void kms_page_set(struct kms_page *page, struct kms_text *text)
{
	kms_buf_deinit(&page->text);
	page->text = text->buf;
	memset(&text->buf, 0, sizeof(text->buf));
	if (page->width == 0)
		page->width = WIDTH_AT_FIRST;
	break_lines(page, page->width);
}

void kms_page_scroll(struct kms_page *page, long by, int height)
{
	long top = (long)page->top + by;
	long last = (long)page->n_lines - height;

	if (top > last)
		top = last;
	page->top = top < 0 ? 0 : (size_t)top;
}

static void copy_line(const struct kms_page *page, size_t index, char line[LINE_BYTES])
{
	const struct kms_page_line *l = &page->line[index];
	size_t n = l->bytes < LINE_BYTES ? l->bytes : LINE_BYTES - 1;

	memcpy(line, kms_buf_text(&page->shown) + l->begin, n);
	line[n] = '\0';
}

bool kms_page_find(struct kms_page *page, const char *word, size_t from, int step)
{
	char line[LINE_BYTES];
	size_t at = from;

	for (size_t i = 0; i < page->n_lines; i++) {
		if (at >= page->n_lines)
			at = step > 0 ? 0 : page->n_lines - 1;
		copy_line(page, at, line);
		if (strcasestr(line, word)) {
			page->found = at + 1;
			page->top = at > 2 ? at - 2 : 0;
			return true;
		}
		at += step > 0 ? 1 : SIZE_MAX; /* SIZE_MAX: one back, round the corner */
	}
	return false;
}

static void draw_line(struct kms_screen *screen, const char *text, const struct kms_page_look *look,
		      int y, uint8_t *ink)
{
	char piece[LINE_BYTES];
	int x = 0;
	size_t n;

	while (*text) {
		if (take_style(&text, ink))
			continue;
		n = strcspn(text + 1, "\x1b") + 1;
		memcpy(piece, text, n);
		piece[n] = '\0';
		text += n;
		x += kms_screen_put(screen, look->x + x, y, look->width - x, *ink, piece);
	}
}

void kms_page_draw(struct kms_page *page, struct kms_screen *screen,
		   const struct kms_page_look *look)
{
	char line[LINE_BYTES];
	uint8_t ink = KMS_INK_PLAIN;

	if (page->width != look->width)
		break_lines(page, look->width);
	kms_page_scroll(page, 0, look->height);
	for (int i = 0; i < look->height && page->top + (size_t)i < page->n_lines; i++) {
		copy_line(page, page->top + (size_t)i, line);
		draw_line(screen, line, look, look->y + i, &ink);
		if (page->found == page->top + (size_t)i + 1)
			kms_screen_mark(screen, look->x, look->y + i, look->width, KMS_INK_REVERSE);
	}
}
