/* SPDX-License-Identifier: BSD-2-Clause */
/* Tables, frames and numbers as text. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/fmt.h"
#include "tui/text.h"

static void init(struct kms_text *text, bool color)
{
	struct kms_cli cli = {.color = color};

	kms_text_init(text, &cli);
}

static void columns_are_as_wide_as_their_widest_cell(void **state)
{
	static const char *const heads[] = {"NAME", ">N", "REST", NULL};
	struct kms_table table;
	struct kms_text text;

	(void)state;
	init(&text, false);
	kms_table_init(&table, heads);
	kms_table_cell(&table, "%s", "a");
	kms_table_cell(&table, "%d", 12345);
	kms_table_cell(&table, "%s", "x");
	kms_table_cell(&table, "%s", "\xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4\xc3\xb6"); /* five letters */
	kms_table_cell(&table, "%d", 7);
	kms_table_cell(&table, "%s", "");
	kms_table_print(&table, &text, 1);
	assert_string_equal(kms_buf_text(&text.buf),
			    " NAME       N  REST\n"
			    " a      12345  x\n"
			    " \xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4\xc3\xb6      7  \n");
	kms_text_deinit(&text);
}

static void cells_carry_no_control_characters(void **state)
{
	static const char *const heads[] = {"X", NULL};
	struct kms_table table;
	struct kms_text text;

	(void)state;
	init(&text, false);
	kms_table_init(&table, heads);
	kms_table_cell(&table, "%s", "a\x1b]52;c;\ab\nc");
	kms_table_print(&table, &text, 0);
	assert_null(strchr(kms_buf_text(&text.buf), '\x1b'));
	assert_null(strstr(kms_buf_text(&text.buf), "b\nc"));
	kms_text_deinit(&text);
}

static void many_cells_fit(void **state)
{
	static const char *const heads[] = {"A", ">B", NULL};
	struct kms_table table;
	struct kms_text text;
	size_t lines = 0;

	(void)state;
	init(&text, true);
	kms_table_init(&table, heads);
	for (int i = 0; i < 2000; i++)
		kms_table_cell(&table, "%d", i);
	kms_table_print(&table, &text, 0);
	for (const char *c = kms_buf_text(&text.buf); *c; c++)
		lines += *c == '\n';
	assert_int_equal(lines, 1001);
	kms_text_deinit(&text);
}

static void check_frame(const char *json, const char *expected)
{
	cJSON *frame = cJSON_Parse(json);
	struct kms_text text;

	assert_non_null(frame);
	init(&text, false);
	kms_text_frame(&text, frame);
	assert_string_equal(kms_buf_text(&text.buf), expected);
	kms_text_deinit(&text);
	cJSON_Delete(frame);
}

static void frames_say_what_is_known(void **state)
{
	(void)state;
	check_frame("{\"function\":\"f\",\"file\":\"a/b.c\",\"line\":12,\"module\":\"/m\"}",
		    "f (a/b.c:12)");
	check_frame("{\"function\":\"f\",\"file\":\"b.c\",\"line\":null}", "f (b.c)");
	check_frame("{\"function\":\"f\",\"module\":\"/usr/lib/m.so\",\"offset\":255}",
		    "f (m.so+0xff)");
	check_frame("{\"function\":null,\"module\":\"/usr/lib/m.so\",\"offset\":\"16\"}",
		    "m.so+0x10");
	check_frame("{\"function\":null,\"module\":null,\"address\":\"0x7f00\"}", "0x7f00");
	check_frame("{\"function\":\"f\"}", "f");
	check_frame("{}", "");
}

static void numbers_are_read_in_both_forms(void **state)
{
	cJSON *object = cJSON_Parse("{\"a\":12,\"b\":\"9007199254740993\",\"c\":-1,\"d\":\"x\","
				    "\"e\":1e300,\"f\":null}");

	(void)state;
	assert_int_equal(kms_json_number(object, "a"), 12);
	assert_int_equal(kms_json_number(object, "b"), 9007199254740993);
	for (const char *name = "cdefg"; *name; name++)
		assert_int_equal(kms_json_number(object, (char[2]){*name, 0}), 0);
	cJSON_Delete(object);
}

static void rates_have_units(void **state)
{
	(void)state;
	assert_string_equal(kms_fmt_rate(0).text, "0");
	assert_string_equal(kms_fmt_rate(999).text, "999");
	assert_string_equal(kms_fmt_rate(84100).text, "84.1k");
	assert_string_equal(kms_fmt_rate(999960).text, "1.0M");
	assert_string_equal(kms_fmt_rate(12345678901).text, "12.3G");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(columns_are_as_wide_as_their_widest_cell),
		cmocka_unit_test(cells_carry_no_control_characters),
		cmocka_unit_test(many_cells_fit),
		cmocka_unit_test(frames_say_what_is_known),
		cmocka_unit_test(numbers_are_read_in_both_forms),
		cmocka_unit_test(rates_have_units),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
