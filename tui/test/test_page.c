/* SPDX-License-Identifier: BSD-2-Clause */
/* Pages of text: what becomes of lines that are too long. */
#include <locale.h>
#include <string.h>

#include "base/test/unit.h"
#include "tui/page.h"
#include "tui/page_fit.h"

static void fit(const char *line, int width, const char *expected)
{
	struct kms_buf out;

	kms_buf_init(&out, 1 << 16);
	assert_int_equal(kms_page_fit(&out, line, strlen(line), width), expected != NULL);
	assert_string_equal(kms_buf_text(&out), expected ? expected : "");
	kms_buf_deinit(&out);
}

static void a_frame_keeps_its_file_and_line(void **state)
{
	static const char line[] = "  #10 function (one/two/three.c:81) [inlined]";
	static const char other[] = "  #1  a_long_function (d/three.c:81)";

	(void)state;
	fit(line, 45, NULL); /* it fits as it is */
	fit(line, 44, "  #10 function (~/two/three.c:81) [inlined]\n");
	fit(line, 40, "  #10 function (~/three.c:81) [inlined]\n");
	fit(other, 33, "  #1  a_long_func~ (~/three.c:81)\n");
	fit(other, 20, "  #1  a_long_~ (~/t~\n"); /* nothing would do */
	fit("  #3  libc.so.6+0x12345", 12, "  #3  libc.~\n");
}

static void names_are_cut_between_characters(void **state)
{
	(void)state;
	fit("#0  f(int (*)(char)) (d/e.cc:3)", 30, "#0  f(int (*)(char~ (~/e.cc:3)\n");
	fit("#0  \xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4\xc3\xb6\xc3\xbc (e.c:3)",
	    20, "#0  \xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4\xc3\xb6\xc3\xbc\xc3\xa4~ (e.c:3)\n");
}

static void a_row_of_a_dump_becomes_rows_of_fewer_bytes(void **state)
{
	static const char row[] = "  > 0x7f3c00041030  58 59 5a 5b 5c 5d 5e 5f 60 61 62 63[64]65 "
				  "66 67  XYZ[\\]^_`abcdefg";
	static const char edge[] = "  > 0x7f3c00041000  00 01 02 03 04 05 06[07]08 09            "
				   "        ..........";

	(void)state;
	fit(row, 85, NULL);
	fit(row, 80,
	    "    0x7f3c00041030  58 59 5a 5b 5c 5d 5e 5f  XYZ[\\]^_\n"
	    "  > 0x7f3c00041038  60 61 62 63[64]65 66 67  `abcdefg\n");
	fit(row, 48,
	    "    0x7f3c00041030  58 59 5a 5b  XYZ[\n"
	    "    0x7f3c00041034  5c 5d 5e 5f  \\]^_\n"
	    "    0x7f3c00041038  60 61 62 63  `abc\n"
	    "  > 0x7f3c0004103c [64]65 66 67  defg\n");
	fit(edge, 70,
	    "  > 0x7f3c00041000  00 01 02 03 04 05 06[07] ........\n"
	    "    0x7f3c00041008  08 09                    ..\n");
}

static void other_lines_are_not_touched(void **state)
{
	(void)state;
	fit("  block before 0x7f3c00040fc0, 50 bytes, free", 20, NULL);
	fit("  > 0x7f3c00041030 too short for a row", 20, NULL);
	fit("  \x1b[1m#0  f (a/b.c:1)\x1b[0m", 10, NULL); /* a style: put together by us */
	fit("", 0, NULL);
}

static void no_line_of_a_page_is_wider_than_the_page(void **state)
{
	static const char text[] = "some words and some more words\n\n"
				   "#0  function (folder/file.c:12)\n"
				   "aWordThatIsLongerThanAnyPageThatItIsShownOnAndHasNoBlank\n"
				   "last";
	struct kms_page page = {0};
	struct kms_text source;
	struct kms_screen screen;
	struct kms_buf frame;

	(void)state;
	kms_screen_init(&screen);
	for (int width = 1; width < 80; width++) {
		kms_page_text(&source);
		kms_text_addf(&source, "%s", text);
		kms_page_set(&page, &source);
		assert_int_equal(kms_screen_resize(&screen, width, 100), 0);
		kms_page_draw(&page, &screen, &(struct kms_page_look){0, 0, width, 100});
		for (size_t i = 0; i < page.n_lines; i++)
			assert_true(page.line[i].bytes <= (size_t)width);
		kms_buf_init(&frame, 1 << 16);
		kms_screen_text(&screen, &frame);
		if (width >= 4) /* the end is there */
			assert_non_null(strstr(kms_buf_text(&frame), "\nlast\n"));
		kms_buf_deinit(&frame);
	}
	assert_int_equal(page.n_lines, 5);
	kms_page_deinit(&page);
	kms_screen_deinit(&screen);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_frame_keeps_its_file_and_line),
		cmocka_unit_test(names_are_cut_between_characters),
		cmocka_unit_test(a_row_of_a_dump_becomes_rows_of_fewer_bytes),
		cmocka_unit_test(other_lines_are_not_touched),
		cmocka_unit_test(no_line_of_a_page_is_wider_than_the_page),
	};

	setlocale(LC_ALL, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
