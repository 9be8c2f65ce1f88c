/*
 * Foreign text: the UTF-8 decoder, the two escapers, and the number parsers.
 *
 * Checked beside "does not crash": what leaves the escapers holds no control byte, and JSON's quotes
 * and backslashes pair up; a number that is read can be written and read back.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/fmt.h"
#include "base/test/fuzz_entry.h"
#include "base/utf8.h"

enum {
	/* small, so that inputs often reach it */
	LIMIT_BYTES = 200,
};

static void check_is_clean(const struct kms_buf *buf)
{
	const char *text = kms_buf_text(buf);
	size_t used;
	uint32_t c;

	assert(buf->used_bytes <= LIMIT_BYTES);
	for (size_t i = 0; i < buf->used_bytes; i += used) {
		used = kms_utf8_decode(text + i, buf->used_bytes - i, &c);
		assert(c != KMS_UTF8_INVALID && !kms_utf8_is_unsafe(c));
	}
}

static void check_json(const struct kms_buf *buf)
{
	const char *text = kms_buf_text(buf);
	size_t i = 1;

	check_is_clean(buf);
	if (kms_buf_status(buf))
		return;
	assert(text[0] == '"');
	while (text[i] != '"') {
		assert(text[i] != '\0');
		i += text[i] == '\\' ? 2 : 1;
	}
	assert(i + 1 == buf->used_bytes);
}

static void check_numbers(const char *text)
{
	uint64_t value;
	uint64_t again;
	int64_t with_sign;

	if (kms_parse_u64(text, &value) == 0) {
		assert(kms_parse_u64(kms_fmt_addr(value).text, &again) == 0);
		assert(again == value);
	}
	if (kms_parse_addr(text, &value) == 0) {
		assert(kms_parse_addr(kms_fmt_addr(value).text, &again) == 0);
		assert(again == value);
	}
	if (kms_parse_ns(text, &value) == 0)
		assert(kms_fmt_ns(value).text[0] != '\0');
	if (kms_parse_i64(text, &with_sign) == 0 && with_sign < 0)
		assert(text[0] == '-');
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct kms_buf buf;
	char *text;

	kms_buf_init(&buf, LIMIT_BYTES);
	kms_buf_add_json(&buf, (const char *)bytes, n);
	check_json(&buf);
	kms_buf_reset(&buf);
	kms_buf_add_printable(&buf, (const char *)bytes, n);
	check_is_clean(&buf);
	kms_buf_deinit(&buf);
	text = strndup((const char *)bytes, n);
	if (text)
		check_numbers(text);
	free(text);
	return 0;
}
