/* SPDX-License-Identifier: BSD-2-Clause */
/* Maps of slabs: see slab_map.h. */
#include "tui/slab_map.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum {
	MAP_COLUMNS = 42, /* fits beside a list */
	BITMAP_BYTES = 1 << 16,
};

/* Value of a character of base64; -1: none. */
static int digit_of(char c)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

size_t kms_base64_read(const char *text, unsigned char *to, size_t room)
{
	uint32_t bits = 0;
	size_t n = 0;
	int have = 0;
	int digit;

	for (; *text && *text != '='; text++) {
		digit = digit_of(*text);
		if (digit < 0)
			return 0;
		bits = bits << 6 | (uint32_t)digit;
		have += 6;
		if (have < 8)
			continue;
		have -= 8;
		if (n == room)
			return n;
		to[n++] = (unsigned char)(bits >> have);
	}
	return n;
}

static bool is_set(const unsigned char *bitmap, size_t n_bytes, uint64_t i)
{
	return i / 8 < n_bytes && bitmap[i / 8] >> (i & 7) & 1;
}

/* A character for objects from..to: # all live, . none, else how many of ten. */
static char cell_of(const unsigned char *bitmap, size_t n_bytes, uint64_t from, uint64_t to)
{
	uint64_t live = 0;

	for (uint64_t i = from; i < to; i++)
		live += is_set(bitmap, n_bytes, i);
	if (live == to - from)
		return '#';
	if (live == 0)
		return '.';
	return (char)('0' + (live * 10 > to - from ? live * 10 / (to - from) : 1));
}

static void add_map(struct kms_text *text, const cJSON *slab, unsigned char *bitmap)
{
	size_t n_bytes = kms_base64_read(kms_json_text(slab, "bitmap"), bitmap, BITMAP_BYTES);
	uint64_t count = kms_json_number(slab, "count");
	uint64_t columns = count < MAP_COLUMNS ? count : MAP_COLUMNS;

	if (count > (uint64_t)n_bytes * 8)
		return;
	for (uint64_t i = 0; i < columns; i++)
		kms_buf_add_char(&text->buf, cell_of(bitmap, n_bytes, i * count / columns,
						     (i + 1) * count / columns));
}

void kms_slab_map(struct kms_text *text, const cJSON *document)
{
	unsigned char *bitmap = malloc(BITMAP_BYTES);
	const cJSON *slab;

	kms_text_style(text, KMS_STYLE_HEAD, "\n%-18s %s", "SLAB", "LIVE/COUNT");
	kms_text_style(text, KMS_STYLE_DIM, "  # live . free 1-9 tenths\n");
	for (slab = kms_json_first(kms_json_member(document, "items")); slab && bitmap;
	     slab = slab->next) {
		kms_text_name(text, kms_json_text(slab, "address"));
		kms_text_addf(text, "%*s %" PRIu64 "/%" PRIu64 "\n  ",
			      18 - (int)strlen(kms_json_text(slab, "address")), "",
			      kms_json_number(slab, "live"), kms_json_number(slab, "count"));
		add_map(text, slab, bitmap);
		kms_text_addf(text, "\n");
	}
	free(bitmap);
}
