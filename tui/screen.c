/* SPDX-License-Identifier: BSD-2-Clause */
/* The grid of cells: see screen.h. */
#include "tui/screen.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <wchar.h>

#include "base/utf8.h"

enum {
	MAX_SIDE = 1000,
	REPLACEMENT = 0xfffd,
	PRINT_BYTES = 1024,
};

void kms_screen_init(struct kms_screen *screen)
{
	memset(screen, 0, sizeof(*screen));
}

void kms_screen_deinit(struct kms_screen *screen)
{
	free(screen->cell);
	kms_screen_init(screen);
}

static int side(int n)
{
	if (n < 1)
		return 1;
	return n > MAX_SIDE ? MAX_SIDE : n;
}

int kms_screen_resize(struct kms_screen *screen, int width, int height)
{
	width = side(width);
	height = side(height);
	if (width != screen->width || height != screen->height) {
		free(screen->cell);
		screen->cell = calloc((size_t)width * (size_t)height, sizeof(*screen->cell));
		screen->width = screen->cell ? width : 0;
		screen->height = screen->cell ? height : 0;
	}
	kms_screen_clear(screen);
	return screen->cell ? 0 : -ENOMEM;
}

void kms_screen_clear(struct kms_screen *screen)
{
	const struct kms_cell blank = {.c = ' ', .width = 1};
	size_t n = (size_t)screen->width * (size_t)screen->height;

	for (size_t i = 0; i < n; i++)
		screen->cell[i] = blank;
}

static struct kms_cell *at(const struct kms_screen *screen, int x, int y)
{
	return &screen->cell[(size_t)y * (size_t)screen->width + (size_t)x];
}

const struct kms_cell *kms_screen_at(const struct kms_screen *screen, int x, int y)
{
	return at(screen, x, y);
}

/* Half of a wide character that is overwritten leaves a blank, not the other half. */
static void free_cell(const struct kms_screen *screen, int x, int y)
{
	struct kms_cell *cell = at(screen, x, y);

	if (cell->c == 0 && x > 0) {
		cell[-1].c = ' ';
		cell[-1].width = 1;
	}
	if (cell->width == 2 && x + 1 < screen->width) {
		cell[1].c = ' ';
		cell[1].width = 1;
	}
}

static void set_cell(const struct kms_screen *screen, int x, int y, uint8_t ink, uint32_t c,
		     int width)
{
	free_cell(screen, x, y);
	if (width == 2)
		free_cell(screen, x + 1, y);
	*at(screen, x, y) = (struct kms_cell){.c = c, .ink = ink, .width = (uint8_t)width};
	if (width == 2)
		*at(screen, x + 1, y) = (struct kms_cell){.ink = ink};
}

/* What is drawn for a character, and how wide it is. */
static int shape(const struct kms_screen *screen, uint32_t *c)
{
	int width;

	if (*c == KMS_UTF8_INVALID || kms_utf8_is_unsafe(*c))
		*c = REPLACEMENT;
	if (*c < 0x7f)
		return 1;
	if (screen && screen->ascii) {
		*c = '?';
		return 1;
	}
	width = wcwidth((wchar_t)*c);
	if (width < 0) { /* the locale does not know it */
		*c = REPLACEMENT;
		width = 1;
	}
	return width;
}

void kms_screen_fill(struct kms_screen *screen, int x, int y, int width, uint8_t ink, uint32_t c)
{
	if (y < 0 || y >= screen->height)
		return;
	shape(screen, &c);
	for (; width > 0; width--, x++)
		if (x >= 0 && x < screen->width)
			set_cell(screen, x, y, ink, c, 1);
}

int kms_screen_put(struct kms_screen *screen, int x, int y, int width, uint8_t ink,
		   const char *text)
{
	size_t n = strlen(text);
	int used = 0;
	uint32_t c;
	int w;

	if (y < 0 || y >= screen->height || x < 0)
		return 0;
	if (width > screen->width - x)
		width = screen->width - x;
	for (size_t i = 0; i < n;) {
		i += kms_utf8_decode(text + i, n - i, &c);
		w = shape(screen, &c);
		if (used + w > width)
			break;
		if (w)
			set_cell(screen, x + used, y, ink, c, w);
		used += w;
	}
	return used;
}

int kms_screen_print(struct kms_screen *screen, int x, int y, int width, uint8_t ink,
		     const char *fmt, ...)
{
	struct kms_buf text;
	va_list args;
	int used;

	kms_buf_init(&text, PRINT_BYTES);
	va_start(args, fmt);
	kms_buf_addv(&text, fmt, args);
	va_end(args);
	used = kms_screen_put(screen, x, y, width, ink, kms_buf_text(&text));
	kms_buf_deinit(&text);
	return used;
}

int kms_screen_columns_of(const char *text, size_t bytes)
{
	int used = 0;
	uint32_t c;

	for (size_t i = 0; i < bytes;) {
		i += kms_utf8_decode(text + i, bytes - i, &c);
		used += shape(NULL, &c);
	}
	return used;
}

int kms_screen_columns(const char *text)
{
	return kms_screen_columns_of(text, strlen(text));
}

void kms_screen_cut(struct kms_buf *out, const char *text, size_t bytes, int columns)
{
	size_t at = 0;
	size_t n;
	int used = 0;
	uint32_t c;

	if (kms_screen_columns_of(text, bytes) <= columns) {
		kms_buf_add(out, text, bytes);
		return;
	}
	for (; at < bytes; at += n) {
		n = kms_utf8_decode(text + at, bytes - at, &c);
		used += shape(NULL, &c);
		if (used > columns - 1)
			break;
	}
	kms_buf_add(out, text, at);
	kms_buf_add_char(out, '~');
}

void kms_screen_field(struct kms_screen *screen, struct kms_strip strip, uint8_t ink, bool right,
		      const char *text)
{
	int columns = kms_screen_columns(text);
	int end = strip.x + strip.width;

	if (strip.width <= 0)
		return;
	kms_screen_fill(screen, strip.x, strip.y, strip.width, ink, ' ');
	if (columns <= strip.width) {
		kms_screen_put(screen, right ? end - columns : strip.x, strip.y, columns, ink,
			       text);
		return;
	}
	kms_screen_put(screen, strip.x, strip.y, strip.width - 1, ink, text);
	kms_screen_put(screen, end - 1, strip.y, 1, ink, "~");
}

void kms_screen_mark(struct kms_screen *screen, int x, int y, int width, uint8_t flags)
{
	if (y < 0 || y >= screen->height)
		return;
	for (; width > 0; width--, x++)
		if (x >= 0 && x < screen->width)
			at(screen, x, y)->ink |= flags;
}

void kms_buf_add_utf8(struct kms_buf *buf, uint32_t c)
{
	if (c < 0x80) {
		kms_buf_add_char(buf, (char)c);
	} else if (c < 0x800) {
		kms_buf_add_char(buf, (char)(0xc0 | c >> 6));
		kms_buf_add_char(buf, (char)(0x80 | (c & 0x3f)));
	} else if (c < 0x10000) {
		kms_buf_add_char(buf, (char)(0xe0 | c >> 12));
		kms_buf_add_char(buf, (char)(0x80 | (c >> 6 & 0x3f)));
		kms_buf_add_char(buf, (char)(0x80 | (c & 0x3f)));
	} else {
		kms_buf_add_char(buf, (char)(0xf0 | c >> 18));
		kms_buf_add_char(buf, (char)(0x80 | (c >> 12 & 0x3f)));
		kms_buf_add_char(buf, (char)(0x80 | (c >> 6 & 0x3f)));
		kms_buf_add_char(buf, (char)(0x80 | (c & 0x3f)));
	}
}

void kms_screen_text(const struct kms_screen *screen, struct kms_buf *text)
{
	int end;

	for (int y = 0; y < screen->height; y++) {
		for (end = screen->width; end > 0 && at(screen, end - 1, y)->c == ' '; end--)
			;
		for (int x = 0; x < end; x++)
			if (at(screen, x, y)->c)
				kms_buf_add_utf8(text, at(screen, x, y)->c);
		kms_buf_add_char(text, '\n');
	}
}
