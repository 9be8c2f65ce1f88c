/*
 * Bounded text builder: see buf.h.
 */
#include "base/buf.h"

#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/utf8.h"

enum {
	FIRST_ROOM_BYTES = 64,
};

void kms_buf_init(struct kms_buf *buf, size_t limit_bytes)
{
	*buf = (struct kms_buf){.limit_bytes = limit_bytes};
}

void kms_buf_deinit(struct kms_buf *buf)
{
	free(buf->text);
	*buf = (struct kms_buf){0};
}

void kms_buf_reset(struct kms_buf *buf)
{
	buf->used_bytes = 0;
	buf->truncated = false;
	buf->oom = false;
	if (buf->text)
		buf->text[0] = '\0';
}

/* How many of n more bytes the limit still allows. */
static size_t allowed(const struct kms_buf *buf, size_t n)
{
	size_t left = buf->limit_bytes - buf->used_bytes;

	return n < left ? n : left;
}

/* Makes room for n more bytes and a NUL; n is within the limit. */
static bool grow(struct kms_buf *buf, size_t n)
{
	size_t need = buf->used_bytes + n + 1;
	size_t room = buf->room_bytes ? buf->room_bytes : FIRST_ROOM_BYTES;
	char *text;

	if (need <= buf->room_bytes)
		return true;
	/* need > used cannot wrap: limit_bytes may be SIZE_MAX, memory is smaller */
	while (room < need)
		room = room > SIZE_MAX / 2 ? need : room * 2;
	text = realloc(buf->text, room);
	if (!text) {
		buf->oom = true;
		return false;
	}
	buf->text = text;
	buf->room_bytes = room;
	return true;
}

static bool failed(const struct kms_buf *buf)
{
	return buf->truncated || buf->oom;
}

/* Adds all of a piece or nothing: part of an escape or of a character is worthless. */
static void add_whole(struct kms_buf *buf, const char *bytes, size_t n)
{
	if (failed(buf))
		return;
	if (allowed(buf, n) < n)
		buf->truncated = true;
	else
		kms_buf_add(buf, bytes, n);
}

void kms_buf_add(struct kms_buf *buf, const void *bytes, size_t n)
{
	size_t fits = allowed(buf, n);

	if (n == 0 || failed(buf))
		return;
	if (!grow(buf, fits))
		return;
	memcpy(buf->text + buf->used_bytes, bytes, fits);
	buf->used_bytes += fits;
	buf->text[buf->used_bytes] = '\0';
	if (fits < n)
		buf->truncated = true;
}

void kms_buf_add_str(struct kms_buf *buf, const char *str)
{
	kms_buf_add(buf, str, strlen(str));
}

void kms_buf_add_char(struct kms_buf *buf, char c)
{
	kms_buf_add(buf, &c, 1);
}

void kms_buf_addv(struct kms_buf *buf, const char *fmt, va_list args)
{
	char small[256];
	va_list again;
	char *large;
	int want;

	va_copy(again, args);
	want = vsnprintf(small, sizeof(small), fmt, args);
	if (want < 0) {
		buf->oom = true; /* the only way for a correct format to fail */
	} else if ((size_t)want < sizeof(small)) {
		kms_buf_add(buf, small, (size_t)want);
	} else if (!failed(buf)) {
		large = malloc((size_t)want + 1);
		if (!large) {
			buf->oom = true;
		} else {
			(void)vsnprintf(large, (size_t)want + 1, fmt,
					again); /* as long as before */
			kms_buf_add(buf, large, (size_t)want);
			free(large);
		}
	}
	va_end(again);
}

void kms_buf_addf(struct kms_buf *buf, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	kms_buf_addv(buf, fmt, args);
	va_end(args);
}

/* U+FFFD, which stands for what could not be shown. */
static const char replacement[] = "\xef\xbf\xbd";

/* The two-character escapes of JSON, 0 where there is none. */
static char json_short_escape(uint32_t c)
{
	switch (c) {
	case '"':
	case '\\':
		return (char)c;
	case '\n':
		return 'n';
	case '\t':
		return 't';
	case '\r':
		return 'r';
	case '\b':
		return 'b';
	case '\f':
		return 'f';
	default:
		return 0;
	}
}

static void add_json_char(struct kms_buf *buf, uint32_t c, const char *bytes, size_t n)
{
	char escape[8];
	int bytes_escape;

	if (json_short_escape(c)) {
		escape[0] = '\\';
		escape[1] = json_short_escape(c);
		add_whole(buf, escape, 2);
	} else if (kms_utf8_is_unsafe(c) || c == '<') {
		/* all unsafe characters are in the first plane */
		bytes_escape =
			snprintf(escape, sizeof(escape), "\\u%04x", (unsigned int)c & 0xffff);
		add_whole(buf, escape, (size_t)bytes_escape);
	} else {
		add_whole(buf, bytes, n);
	}
}

void kms_buf_add_json(struct kms_buf *buf, const char *str, size_t n)
{
	uint32_t c;
	size_t used;

	kms_buf_add_char(buf, '"');
	for (size_t i = 0; i < n && !failed(buf); i += used) {
		used = kms_utf8_decode(str + i, n - i, &c);
		if (c == KMS_UTF8_INVALID)
			add_whole(buf, replacement, sizeof(replacement) - 1);
		else
			add_json_char(buf, c, str + i, used);
	}
	kms_buf_add_char(buf, '"');
}

void kms_buf_add_printable(struct kms_buf *buf, const char *str, size_t n)
{
	uint32_t c;
	size_t used;

	for (size_t i = 0; i < n && !failed(buf); i += used) {
		used = kms_utf8_decode(str + i, n - i, &c);
		if (c == KMS_UTF8_INVALID || kms_utf8_is_unsafe(c))
			add_whole(buf, replacement, sizeof(replacement) - 1);
		else
			add_whole(buf, str + i, used);
	}
}

const char *kms_buf_text(const struct kms_buf *buf)
{
	return buf->text ? buf->text : "";
}

int kms_buf_status(const struct kms_buf *buf)
{
	if (buf->oom)
		return -ENOMEM;
	return buf->truncated ? -E2BIG : 0;
}

char *kms_buf_take(struct kms_buf *buf)
{
	char *text = buf->text ? buf->text : calloc(1, 1);

	kms_buf_init(buf, buf->limit_bytes);
	return text;
}
