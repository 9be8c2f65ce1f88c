/* SPDX-License-Identifier: BSD-2-Clause */
/* Frames and rows of a dump in few columns: see page_fit.h. */
#include "tui/page_fit.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "tui/screen.h"

enum {
	LINE_BYTES = 4096,
	FUNCTION_LEAST = 8,
	/* A row of a dump as server/report.c writes it: a mark at MARK, the address, BYTES times a
	 * separator and two digits, a separator, a blank, the bytes as text. */
	MARK = 2,
	ADDRESS = 4,
	ROW_BYTES = 16,
	BYTE_COLUMNS = 3,
	ROW_COLUMNS = BYTE_COLUMNS * ROW_BYTES,
};

/* "    #3  function (folder/file.c:12) [inlined]"; rest is NULL where there is no place. */
struct frame {
	const char *function, *place, *rest, *end;
};

static bool read_frame(const char *line, size_t bytes, struct frame *frame)
{
	const char *end = line + bytes;
	const char *at = line;

	while (at < end && *at == ' ')
		at++;
	if (at == end || *at++ != '#' || at == end || !isdigit((unsigned char)*at))
		return false;
	while (at < end && isdigit((unsigned char)*at))
		at++;
	while (at < end && *at == ' ')
		at++;
	*frame = (struct frame){.function = at, .end = end};
	for (const char *p = at; p + 1 < end; p++) /* the last one: functions have brackets, too */
		if (p[0] == ' ' && p[1] == '(')
			frame->place = p + 2;
	if (frame->place)
		frame->rest = memchr(frame->place, ')', (size_t)(end - frame->place));
	return true;
}

/* The place with as few folders missing as will do. */
static void add_place(struct kms_buf *out, const struct frame *frame, int columns)
{
	const char *at = frame->place;
	const char *slash;

	if (kms_screen_columns_of(at, (size_t)(frame->rest - at)) <= columns) {
		kms_buf_add(out, at, (size_t)(frame->rest - at));
		return;
	}
	while ((slash = memchr(at + 1, '/', (size_t)(frame->rest - at - 1)))) {
		at = slash;
		if (1 + kms_screen_columns_of(at, (size_t)(frame->rest - at)) <= columns)
			break;
	}
	if (at > frame->place)
		kms_buf_add_char(out, '~');
	kms_buf_add(out, at, (size_t)(frame->rest - at));
}

/* Function, place and what is behind them. */
static void add_frame(struct kms_buf *out, const struct frame *frame, int columns)
{
	size_t function_bytes = (size_t)(frame->place - 2 - frame->function);
	size_t rest_bytes = (size_t)(frame->end - frame->rest);
	int function = kms_screen_columns_of(frame->function, function_bytes);
	struct kms_buf place;

	columns -= 2 + kms_screen_columns_of(frame->rest, rest_bytes);
	kms_buf_init(&place, LINE_BYTES);
	add_place(&place, frame, columns - function);
	columns -= kms_screen_columns(kms_buf_text(&place));
	kms_screen_cut(out, frame->function, function_bytes,
		       columns < FUNCTION_LEAST ? FUNCTION_LEAST : columns);
	kms_buf_addf(out, " (%s", kms_buf_text(&place));
	kms_buf_add(out, frame->rest, rest_bytes);
	kms_buf_deinit(&place);
}

static void fit_frame(struct kms_buf *out, const char *line, const struct frame *frame, int width)
{
	size_t head_bytes = (size_t)(frame->function - line);
	struct kms_buf fitted;

	kms_buf_init(&fitted, LINE_BYTES);
	kms_buf_add(&fitted, line, head_bytes);
	if (frame->rest)
		add_frame(&fitted, frame, width - kms_screen_columns_of(line, head_bytes));
	else
		kms_buf_add(&fitted, frame->function, (size_t)(frame->end - frame->function));
	/* where file and line alone are too wide, their end is missing */
	kms_screen_cut(out, kms_buf_text(&fitted), fitted.used_bytes, width);
	kms_buf_add_char(out, '\n');
	kms_buf_deinit(&fitted);
}

/* Where the first separator is; 0: no row of a dump. */
static size_t first_byte(const char *line, size_t bytes)
{
	size_t at = ADDRESS + 2;

	if (bytes < at || memcmp(line, "  ", 2) != 0 || line[MARK + 1] != ' ' ||
	    (line[MARK] != ' ' && line[MARK] != '>') || memcmp(line + ADDRESS, "0x", 2) != 0)
		return 0;
	while (at < bytes && isxdigit((unsigned char)line[at]))
		at++;
	if (at - ADDRESS < 14 || at - ADDRESS > 18 || bytes < at + 1 + ROW_COLUMNS + 2 ||
	    line[at] != ' ')
		return 0;
	return at + 1;
}

static bool has_bytes(const char *field, size_t n)
{
	for (size_t i = 0; i < n * BYTE_COLUMNS; i++)
		if (isxdigit((unsigned char)field[i]))
			return true;
	return false;
}

/* @n bytes of a row, from byte @from on. */
static void add_part(struct kms_buf *out, const char *line, size_t bytes, size_t from, size_t n)
{
	size_t at = first_byte(line, bytes);
	size_t text = at + ROW_COLUMNS + 2;
	const char *field = line + at + BYTE_COLUMNS * from;
	const char *behind = field + BYTE_COLUMNS * n;
	bool here = memchr(field, '[', n * BYTE_COLUMNS) != NULL;
	uint64_t address = strtoull(line + ADDRESS, NULL, 16) + from;

	if (!has_bytes(field, n))
		return;
	kms_buf_addf(out, "  %c 0x%0*" PRIx64 " ", here ? '>' : ' ', (int)(at - 3 - ADDRESS),
		     address);
	kms_buf_add(out, *field == ']' ? " " : field, 1);
	kms_buf_add(out, field + 1, BYTE_COLUMNS * n - 1);
	kms_buf_add_char(out, *behind == ']' ? ']' : ' ');
	kms_buf_add_char(out, ' ');
	for (size_t i = text + from; i < bytes && i < text + from + n; i++)
		kms_buf_add_char(out, line[i]);
	kms_buf_add_char(out, '\n');
}

static void fit_dump(struct kms_buf *out, const char *line, size_t bytes, int width)
{
	size_t at = first_byte(line, bytes);
	size_t n = ROW_BYTES / 2;

	while (n > 1 && at + (BYTE_COLUMNS + 1) * n + 2 > (size_t)width)
		n /= 2;
	for (size_t from = 0; from < ROW_BYTES; from += n)
		add_part(out, line, bytes, from, n);
}

bool kms_page_fit(struct kms_buf *out, const char *line, size_t bytes, int width)
{
	struct frame frame;

	if (bytes >= LINE_BYTES || memchr(line, '\x1b', bytes) ||
	    kms_screen_columns_of(line, bytes) <= width)
		return false;
	if (first_byte(line, bytes))
		fit_dump(out, line, bytes, width);
	else if (read_frame(line, bytes, &frame))
		fit_frame(out, line, &frame, width);
	else
		return false;
	return true;
}
