/*
 * Text builder. Linked with malloc and realloc wrapped, so that memory can run out.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/test/unit.h"

/* How many more allocations succeed; negative: all. */
static int allocations_left = -1;

void *__real_malloc(size_t n);
void *__real_realloc(void *ptr, size_t n);
void *__real_calloc(size_t n, size_t each);
void *__wrap_malloc(size_t n);
void *__wrap_realloc(void *ptr, size_t n);
void *__wrap_calloc(size_t n, size_t each);

static bool may_allocate(void)
{
	if (allocations_left == 0)
		return false;
	if (allocations_left > 0)
		allocations_left--;
	return true;
}

void *__wrap_malloc(size_t n)
{
	return may_allocate() ? __real_malloc(n) : NULL;
}

void *__wrap_realloc(void *ptr, size_t n)
{
	return may_allocate() ? __real_realloc(ptr, n) : NULL;
}

void *__wrap_calloc(size_t n, size_t each)
{
	return may_allocate() ? __real_calloc(n, each) : NULL;
}

static void empty_buffer_is_an_empty_string(void **state)
{
	struct kms_buf buf;

	(void)state;
	kms_buf_init(&buf, 10);
	assert_string_equal(kms_buf_text(&buf), "");
	assert_int_equal(kms_buf_status(&buf), 0);
	kms_buf_add(&buf, NULL, 0);
	assert_null(buf.text);
	kms_buf_deinit(&buf);
}

static void pieces_join(void **state)
{
	struct kms_buf buf;

	(void)state;
	kms_buf_init(&buf, 1000);
	kms_buf_add_str(&buf, "one");
	kms_buf_add_char(&buf, ',');
	kms_buf_add(&buf, "two and more", 3);
	kms_buf_addf(&buf, ",%d,%s", 3, "four");
	assert_string_equal(kms_buf_text(&buf), "one,two,3,four");
	assert_int_equal(buf.used_bytes, 14);
	kms_buf_deinit(&buf);
}

static void it_grows_far(void **state)
{
	struct kms_buf buf;

	(void)state;
	kms_buf_init(&buf, SIZE_MAX);
	for (int i = 0; i < 100000; i++)
		kms_buf_addf(&buf, "%05d", i);
	assert_int_equal(kms_buf_status(&buf), 0);
	assert_int_equal(buf.used_bytes, 500000);
	assert_memory_equal(buf.text + 5 * 31415, "31415", 5);
	assert_int_equal(buf.text[500000], '\0');
	kms_buf_deinit(&buf);
}

static void long_format_is_whole(void **state)
{
	struct kms_buf buf;

	(void)state;
	kms_buf_init(&buf, 10000);
	for (int width = 254; width <= 258; width++) {
		kms_buf_reset(&buf);
		kms_buf_addf(&buf, "%*d", width, 7);
		assert_int_equal(buf.used_bytes, width);
		assert_int_equal(buf.text[width - 1], '7');
	}
	kms_buf_addf(&buf, "%5000d", 8);
	assert_int_equal(buf.used_bytes, 5258);
	assert_int_equal(kms_buf_status(&buf), 0);
	kms_buf_deinit(&buf);
}

static void the_limit_cuts_and_is_remembered(void **state)
{
	struct kms_buf buf;

	(void)state;
	kms_buf_init(&buf, 5);
	kms_buf_add_str(&buf, "12345");
	assert_int_equal(kms_buf_status(&buf), 0);
	kms_buf_add_char(&buf, '6');
	assert_int_equal(kms_buf_status(&buf), -E2BIG);
	kms_buf_addf(&buf, "%d", 7);
	assert_string_equal(kms_buf_text(&buf), "12345");
	kms_buf_deinit(&buf);
}

static void nothing_follows_a_gap(void **state)
{
	struct kms_buf buf;

	(void)state;
	kms_buf_init(&buf, 4);
	kms_buf_add_str(&buf, "12");
	kms_buf_add_json(&buf, "\n", 1); /* the quote fits, its escape does not */
	kms_buf_add_char(&buf, '9');
	assert_string_equal(kms_buf_text(&buf), "12\"");
	assert_true(buf.truncated);
	kms_buf_deinit(&buf);
}

static void limit_zero_holds_nothing(void **state)
{
	struct kms_buf buf;

	(void)state;
	kms_buf_init(&buf, 0);
	kms_buf_add_char(&buf, 'x');
	assert_string_equal(kms_buf_text(&buf), "");
	assert_int_equal(kms_buf_status(&buf), -E2BIG);
	kms_buf_deinit(&buf);
}

static void reset_forgets_text_and_failure(void **state)
{
	struct kms_buf buf;

	(void)state;
	kms_buf_init(&buf, 3);
	kms_buf_add_str(&buf, "1234");
	kms_buf_reset(&buf);
	assert_int_equal(kms_buf_status(&buf), 0);
	assert_string_equal(kms_buf_text(&buf), "");
	kms_buf_add_str(&buf, "ab");
	assert_string_equal(kms_buf_text(&buf), "ab");
	kms_buf_deinit(&buf);
	kms_buf_reset(&buf);
	assert_string_equal(kms_buf_text(&buf), "");
}

static void no_memory_is_remembered(void **state)
{
	struct kms_buf buf;

	(void)state;
	kms_buf_init(&buf, 10000);
	kms_buf_add_str(&buf, "kept");
	allocations_left = 0;
	kms_buf_add_str(&buf, "fits the room that is there");
	assert_int_equal(kms_buf_status(&buf), 0);
	kms_buf_addf(&buf, "%100d", 1);
	allocations_left = -1;
	assert_int_equal(kms_buf_status(&buf), -ENOMEM);
	kms_buf_add_str(&buf, "more");
	assert_string_equal(kms_buf_text(&buf), "keptfits the room that is there");
	kms_buf_deinit(&buf);
}

static void no_memory_for_a_long_format_is_remembered(void **state)
{
	struct kms_buf buf;

	(void)state;
	kms_buf_init(&buf, 10000);
	allocations_left = 0;
	kms_buf_addf(&buf, "%1000d", 1);
	allocations_left = -1;
	assert_int_equal(kms_buf_status(&buf), -ENOMEM);
	assert_string_equal(kms_buf_text(&buf), "");
	kms_buf_deinit(&buf);
}

static void take_hands_the_text_over(void **state)
{
	struct kms_buf buf;
	char *text;

	(void)state;
	kms_buf_init(&buf, 100);
	kms_buf_add_str(&buf, "mine");
	text = kms_buf_take(&buf);
	assert_string_equal(text, "mine");
	free(text);
	assert_string_equal(kms_buf_text(&buf), "");
	assert_int_equal(buf.limit_bytes, 100);
	text = kms_buf_take(&buf);
	assert_string_equal(text, "");
	free(text);
	allocations_left = 0;
	text = kms_buf_take(&buf);
	allocations_left = -1;
	assert_null(text);
	kms_buf_deinit(&buf);
}

/* One input and what it becomes as JSON and as printable text. */
struct text_case {
	const char *in;
	const char *json;
	const char *printable;
};

static void foreign_text_becomes_harmless(void **state)
{
	static const struct text_case cases[] = {
		{"",                   "\"\"",			     ""                        },
		{"plain",              "\"plain\"",                        "plain"                   },
		{"say \"a\\b\"",       "\"say \\\"a\\\\b\\\"\"",           "say \"a\\b\""            },
		{"a/b",                "\"a/b\"",                          "a/b"                     },
		{"</script>",          "\"\\u003c/script>\"",              "</script>"               },
		{"\b\f\n\r\t",         "\"\\b\\f\\n\\r\\t\"",
		 "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"                      },
		{"\x1b[31m",           "\"\\u001b[31m\"",                  "\xef\xbf\xbd[31m"        },
		{"\x7f",               "\"\\u007f\"",                      "\xef\xbf\xbd"            },
		{"\xc2\x9b",           "\"\\u009b\"",                      "\xef\xbf\xbd"            },
		{"\xe2\x80\xae",       "\"\\u202e\"",                      "\xef\xbf\xbd"            },
		{"\xe2\x80\xa8",       "\"\\u2028\"",                      "\xef\xbf\xbd"            },
		{"gr\xc3\xbc\xc3\x9f", "\"gr\xc3\xbc\xc3\x9f\"",           "gr\xc3\xbc\xc3\x9f"      },
		{"\xf0\x9f\x90\x9b",   "\"\xf0\x9f\x90\x9b\"",             "\xf0\x9f\x90\x9b"        },
		{"a\xff"
		 "b", "\"a\xef\xbf\xbd"
		 "b\"",              "a\xef\xbf\xbd"
		 "b"		    },
		{"cut \xe2\x82",       "\"cut \xef\xbf\xbd\xef\xbf\xbd\"",
		 "cut \xef\xbf\xbd\xef\xbf\xbd"						      },
		{"\xc0\xaf",           "\"\xef\xbf\xbd\xef\xbf\xbd\"",     "\xef\xbf\xbd\xef\xbf\xbd"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct kms_buf buf;

		kms_buf_init(&buf, 1000);
		kms_buf_add_json(&buf, cases[i].in, strlen(cases[i].in));
		assert_string_equal(kms_buf_text(&buf), cases[i].json);
		kms_buf_reset(&buf);
		kms_buf_add_printable(&buf, cases[i].in, strlen(cases[i].in));
		assert_string_equal(kms_buf_text(&buf), cases[i].printable);
		kms_buf_deinit(&buf);
	}
}

static void json_shows_nul_bytes(void **state)
{
	struct kms_buf buf;

	(void)state;
	kms_buf_init(&buf, 100);
	kms_buf_add_json(&buf, "a\0b", 3);
	assert_string_equal(kms_buf_text(&buf), "\"a\\u0000b\"");
	kms_buf_deinit(&buf);
}

static void characters_are_never_split(void **state)
{
	struct kms_buf buf;

	(void)state;
	kms_buf_init(&buf, 4);
	kms_buf_add_printable(&buf, "ab\xe2\x82\xac", 5);
	assert_string_equal(kms_buf_text(&buf), "ab");
	assert_int_equal(kms_buf_status(&buf), -E2BIG);
	kms_buf_deinit(&buf);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_buffer_is_an_empty_string),
		cmocka_unit_test(pieces_join),
		cmocka_unit_test(it_grows_far),
		cmocka_unit_test(long_format_is_whole),
		cmocka_unit_test(the_limit_cuts_and_is_remembered),
		cmocka_unit_test(nothing_follows_a_gap),
		cmocka_unit_test(limit_zero_holds_nothing),
		cmocka_unit_test(reset_forgets_text_and_failure),
		cmocka_unit_test(no_memory_is_remembered),
		cmocka_unit_test(no_memory_for_a_long_format_is_remembered),
		cmocka_unit_test(take_hands_the_text_over),
		cmocka_unit_test(foreign_text_becomes_harmless),
		cmocka_unit_test(json_shows_nul_bytes),
		cmocka_unit_test(characters_are_never_split),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
