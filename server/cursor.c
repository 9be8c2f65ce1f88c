/* SPDX-License-Identifier: BSD-2-Clause */
/* Page cursors: see cursor.h. */
#include "server/cursor.h"

#include <errno.h>
#include <string.h>

#include "base/hash.h"

/* version, run, filter, key, then a check sum over all before it: 45 bytes, 60 characters. */
enum {
	CURSOR_VERSION = 1,
	CURSOR_BODY_BYTES = 1 + (2 + KMS_CURSOR_KEYS) * 8,
	CURSOR_BYTES = CURSOR_BODY_BYTES + 4,
	CURSOR_CHARS = (CURSOR_BYTES * 8 + 5) / 6,
};

_Static_assert((int)CURSOR_CHARS < (int)KMS_CURSOR_TEXT_BYTES, "a cursor fits its text");

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

static void put_le(unsigned char *bytes, uint64_t value, unsigned int n)
{
	for (unsigned int i = 0; i < n; i++)
		bytes[i] = (unsigned char)(value >> (8 * i));
}

static uint64_t get_le(const unsigned char *bytes, unsigned int n)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < n; i++)
		value |= (uint64_t)bytes[i] << (8 * i);
	return value;
}

static uint32_t check_sum(const unsigned char *bytes)
{
	return (uint32_t)kms_hash_bytes(bytes, CURSOR_BODY_BYTES, CURSOR_VERSION);
}

void kms_cursor_write(const struct kms_cursor *cursor, char text[KMS_CURSOR_TEXT_BYTES])
{
	unsigned char bytes[CURSOR_BYTES + 1] = {CURSOR_VERSION};
	unsigned int bit;
	unsigned int pair;

	put_le(bytes + 1, cursor->run, 8);
	put_le(bytes + 9, cursor->filter, 8);
	for (unsigned int i = 0; i < KMS_CURSOR_KEYS; i++)
		put_le(bytes + 17 + (size_t)8 * i, cursor->key[i], 8);
	put_le(bytes + CURSOR_BODY_BYTES, check_sum(bytes), 4);
	for (unsigned int i = 0; i < CURSOR_CHARS; i++) {
		bit = i * 6;
		pair = (unsigned int)bytes[bit / 8] << 8 | bytes[bit / 8 + 1];
		text[i] = digits[pair >> (10 - bit % 8) & 63];
	}
	text[CURSOR_CHARS] = '\0';
}

int kms_cursor_read(const char *text, struct kms_cursor *cursor)
{
	unsigned char bytes[CURSOR_BYTES + 1] = {0};
	const char *digit;
	unsigned int bit;
	unsigned int pair;

	if (strlen(text) != CURSOR_CHARS)
		return -EINVAL;
	for (unsigned int i = 0; i < CURSOR_CHARS; i++) {
		digit = strchr(digits, text[i]);
		if (!digit)
			return -EINVAL;
		bit = i * 6;
		pair = (unsigned int)(digit - digits) << (10 - bit % 8);
		bytes[bit / 8] |= (unsigned char)(pair >> 8);
		bytes[bit / 8 + 1] |= (unsigned char)pair;
	}
	if (bytes[0] != CURSOR_VERSION || bytes[CURSOR_BYTES] != 0 ||
	    get_le(bytes + CURSOR_BODY_BYTES, 4) != check_sum(bytes))
		return -EINVAL;
	cursor->run = get_le(bytes + 1, 8);
	cursor->filter = get_le(bytes + 9, 8);
	for (unsigned int i = 0; i < KMS_CURSOR_KEYS; i++)
		cursor->key[i] = get_le(bytes + 17 + (size_t)8 * i, 8);
	return 0;
}
