/*
 * UTF-8: every character there is, and the ways to get one wrong.
 */
#include "base/test/unit.h"
#include "base/utf8.h"

/* Writes a character the way the standard says, the obvious way. */
static size_t encode(uint32_t c, char *out)
{
	if (c < 0x80) {
		out[0] = (char)c;
		return 1;
	}
	if (c < 0x800) {
		out[0] = (char)(0xc0 | c >> 6);
		out[1] = (char)(0x80 | (c & 0x3f));
		return 2;
	}
	if (c < 0x10000) {
		out[0] = (char)(0xe0 | c >> 12);
		out[1] = (char)(0x80 | (c >> 6 & 0x3f));
		out[2] = (char)(0x80 | (c & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | c >> 18);
	out[1] = (char)(0x80 | (c >> 12 & 0x3f));
	out[2] = (char)(0x80 | (c >> 6 & 0x3f));
	out[3] = (char)(0x80 | (c & 0x3f));
	return 4;
}

static void every_character_is_read_back(void **state)
{
	(void)state;
	for (uint32_t c = 0; c <= 0x10ffff; c++) {
		char bytes[4];
		size_t n = encode(c, bytes);
		uint32_t got;

		if (c >= 0xd800 && c <= 0xdfff) {
			assert_int_equal(kms_utf8_decode(bytes, n, &got), 1);
			assert_int_equal(got, KMS_UTF8_INVALID);
			continue;
		}
		assert_int_equal(kms_utf8_decode(bytes, n, &got), n);
		assert_int_equal(got, c);
		/* cut short by one byte it is no character */
		if (n > 1) {
			assert_int_equal(kms_utf8_decode(bytes, n - 1, &got), 1);
			assert_int_equal(got, KMS_UTF8_INVALID);
		}
	}
}

static void malformed_bytes_count_one_each(void **state)
{
	static const struct {
		const char *bytes;
		size_t n;
	} cases[] = {
		{"\x80",             1}, /* continuation without a lead */
		{"\xbf\xbf",         2}, /* the same, twice */
		{"\xc0\x80",         2}, /* overlong NUL */
		{"\xc1\xbf",         2}, /* overlong DEL */
		{"\xe0\x9f\xbf",     3}, /* overlong U+07FF */
		{"\xf0\x8f\xbf\xbf", 4}, /* overlong U+FFFF */
		{"\xf4\x90\x80\x80", 4}, /* U+110000 */
		{"\xf8\x88\x80\x80", 4}, /* five-byte form */
		{"\xff",             1},
		{"\xc3(",            2}, /* no continuation */
		{"\xe2\x82(",        3}, /* second one missing */
		{"\xf0\x9f\x90(",    4}, /* third one missing */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint32_t c = 0;

		assert_int_equal(kms_utf8_decode(cases[i].bytes, cases[i].n, &c), 1);
		assert_int_equal(c, KMS_UTF8_INVALID);
	}
}

static void controls_are_unsafe_and_letters_are_not(void **state)
{
	static const uint32_t unsafe[] = {0,      0x0a,   0x1b,   0x1f,   0x7f,   0x80,   0x9f,
					  0x061c, 0x200e, 0x200f, 0x2028, 0x202e, 0x2066, 0x2069};
	static const uint32_t safe[] = {0x20,   0x7e,   0xa0,   0x061b, 0x200d,  0x2010,
					0x2027, 0x202f, 0x2065, 0x206a, 0x1f41b, 0x10ffff};

	(void)state;
	for (size_t i = 0; i < sizeof(unsafe) / sizeof(unsafe[0]); i++)
		assert_true(kms_utf8_is_unsafe(unsafe[i]));
	for (size_t i = 0; i < sizeof(safe) / sizeof(safe[0]); i++)
		assert_false(kms_utf8_is_unsafe(safe[i]));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_character_is_read_back),
		cmocka_unit_test(malformed_bytes_count_one_each),
		cmocka_unit_test(controls_are_unsafe_and_letters_are_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
