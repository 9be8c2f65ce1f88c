/*
 * UTF-8 decoding: see utf8.h.
 */
#include "base/utf8.h"

/* One row a length: how its first byte looks, and the smallest character that needs that length. */
static const struct form {
	uint8_t lead_mask;
	uint8_t lead_bits;
	uint32_t smallest;
} forms[] = {
	{0x80, 0x00, 0      },
	{0xe0, 0xc0, 0x80   },
	{0xf0, 0xe0, 0x800  },
	{0xf8, 0xf0, 0x10000},
};

enum {
	N_FORMS = sizeof(forms) / sizeof(forms[0]),
};

static bool is_scalar(uint32_t c)
{
	return c <= 0x10ffff && !(c >= 0xd800 && c <= 0xdfff);
}

size_t kms_utf8_decode(const char *bytes, size_t n, uint32_t *c)
{
	uint8_t lead = (uint8_t)bytes[0];
	uint32_t value;
	size_t more = 0;

	*c = KMS_UTF8_INVALID;
	while (more < N_FORMS && (lead & forms[more].lead_mask) != forms[more].lead_bits)
		more++;
	if (more == N_FORMS || more >= n)
		return 1;
	value = lead & (uint8_t)~forms[more].lead_mask;
	for (size_t i = 1; i <= more; i++) {
		uint8_t next = (uint8_t)bytes[i];

		if ((next & 0xc0) != 0x80)
			return 1;
		value = value << 6 | (next & 0x3f);
	}
	if (value < forms[more].smallest || !is_scalar(value))
		return 1;
	*c = value;
	return more + 1;
}

bool kms_utf8_is_unsafe(uint32_t c)
{
	static const struct {
		uint32_t first, last;
	} ranges[] = {
		{0x00,   0x1f  }, /* C0: escape, newline, ... */
		{0x7f,   0x9f  }, /* DEL and C1: 0x9b starts a sequence on some terminals */
		{0x061c, 0x061c}, /* Arabic letter mark */
		{0x200e, 0x200f}, /* direction marks */
		{0x2028, 0x202e}, /* line and paragraph separator, embeddings and overrides */
		{0x2066, 0x2069}, /* isolates */
	};

	for (size_t i = 0; i < sizeof(ranges) / sizeof(ranges[0]); i++)
		if (c >= ranges[i].first && c <= ranges[i].last)
			return true;
	return false;
}
