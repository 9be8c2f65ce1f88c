/*
 * kms_embed_text() of cmake/EmbedText.cmake: the array holds the file's bytes, NUL included.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/io.h"
#include "base/test/unit.h"

extern const char embedded_escapes[];
extern const unsigned long embedded_escapes_len;
extern const char embedded_source[];
extern const unsigned long embedded_source_len;

static void expect_file(const char *name, const char *bytes, unsigned long n)
{
	const char *root = getenv("KMS_SOURCE_DIR");
	char path[4096];
	char *text = NULL;
	size_t n_text = 0;

	assert_non_null(root);
	assert_in_range(snprintf(path, sizeof(path), "%s/base/test/%s", root, name), 1, 4095);
	assert_int_equal(kms_read_file(path, 1 << 20, &text, &n_text, NULL), 0);
	assert_int_equal(n, n_text);
	assert_memory_equal(bytes, text, n_text);
	assert_int_equal(bytes[n], '\0');
	free(text);
}

static void embedded_text_is_the_file(void **state)
{
	(void)state;
	assert_non_null(memchr(embedded_escapes, '\0', embedded_escapes_len));
	expect_file("corpus/text/escapes", embedded_escapes, embedded_escapes_len);
	assert_true(embedded_source_len > 1000);
	expect_file("test_embed.c", embedded_source, embedded_source_len);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(embedded_text_is_the_file),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
