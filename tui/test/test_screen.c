/* SPDX-License-Identifier: BSD-2-Clause */
/* The grid of cells, bars and graphs. */
#include <locale.h>
#include <string.h>

#include "base/test/unit.h"
#include "tui/glyph.h"
#include "tui/screen.h"

static void check_text(const struct kms_screen *screen, const char *expected)
{
	struct kms_buf text;

	kms_buf_init(&text, 1 << 16);
	kms_screen_text(screen, &text);
	assert_string_equal(kms_buf_text(&text), expected);
	kms_buf_deinit(&text);
}

static void text_is_cut_at_the_edge(void **state)
{
	struct kms_screen screen;

	(void)state;
	kms_screen_init(&screen);
	assert_int_equal(kms_screen_resize(&screen, 6, 2), 0);
	assert_int_equal(kms_screen_put(&screen, 2, 0, 100, 0, "abcdefgh"), 4);
	assert_int_equal(kms_screen_put(&screen, 0, 1, 3, 0, "xyz123"), 3);
	assert_int_equal(kms_screen_put(&screen, 0, 2, 3, 0, "below"), 0);
	assert_int_equal(kms_screen_put(&screen, -1, 0, 3, 0, "left"), 0);
	check_text(&screen, "  abcd\nxyz\n");
	kms_screen_deinit(&screen);
}

static void wide_characters_take_two_columns_or_none(void **state)
{
	struct kms_screen screen;

	(void)state;
	kms_screen_init(&screen);
	assert_int_equal(kms_screen_resize(&screen, 5, 1), 0);
	/* two of them fit into five columns, not three */
	assert_int_equal(
		kms_screen_put(&screen, 0, 0, 5, 0, "\xe6\xbc\xa2\xe5\xad\x97\xe6\xbc\xa2"), 4);
	check_text(&screen, "\xe6\xbc\xa2\xe5\xad\x97\n");
	/* half of one that is overwritten leaves no other half */
	kms_screen_put(&screen, 1, 0, 1, 0, "x");
	check_text(&screen, " x\xe5\xad\x97\n");
	assert_int_equal(kms_screen_columns("\xe6\xbc\xa2x"), 3);
	kms_screen_deinit(&screen);
}

static void combining_characters_take_no_column(void **state)
{
	struct kms_screen screen;

	(void)state;
	kms_screen_init(&screen);
	assert_int_equal(kms_screen_resize(&screen, 4, 1), 0);
	assert_int_equal(kms_screen_put(&screen, 0, 0, 4, 0, "e\xcc\x81x"), 2);
	kms_screen_deinit(&screen);
}

static void control_characters_never_get_into_a_cell(void **state)
{
	static const char hostile[] = "a\x1b]52;c;\x07\n\r\x7f\xc2\x9b\xe2\x80\xae\xff";
	struct kms_screen screen;

	(void)state;
	kms_screen_init(&screen);
	assert_int_equal(kms_screen_resize(&screen, 40, 1), 0);
	kms_screen_put(&screen, 0, 0, 40, 0, hostile);
	for (int x = 0; x < 40; x++) {
		uint32_t c = kms_screen_at(&screen, x, 0)->c;

		assert_true(c >= ' ' && c != 0x7f && !(c >= 0x80 && c < 0xa0) && c != 0x202e);
	}
	kms_screen_deinit(&screen);
}

static void ascii_screens_hold_nothing_else(void **state)
{
	struct kms_screen screen;

	(void)state;
	kms_screen_init(&screen);
	assert_int_equal(kms_screen_resize(&screen, 8, 1), 0);
	screen.ascii = true;
	kms_screen_put(&screen, 0, 0, 8, 0, "\xc3\xa4\xe6\xbc\xa2z");
	check_text(&screen, "??z\n");
	kms_screen_deinit(&screen);
}

static void fields_are_exactly_as_wide_as_asked(void **state)
{
	struct kms_screen screen;

	(void)state;
	kms_screen_init(&screen);
	assert_int_equal(kms_screen_resize(&screen, 20, 3), 0);
	kms_screen_fill(&screen, 0, 0, 20, 0, '.');
	kms_screen_field(&screen, (struct kms_strip){2, 0, 6}, 0, false, "ab");
	kms_screen_field(&screen, (struct kms_strip){10, 0, 6}, 0, true, "ab");
	kms_screen_field(&screen, (struct kms_strip){0, 1, 5}, 0, true, "abcdefg");
	check_text(&screen, "..ab    ..    ab....\nabcd~\n\n");
	kms_screen_deinit(&screen);
}

static void sizes_are_brought_into_bounds(void **state)
{
	struct kms_screen screen;

	(void)state;
	kms_screen_init(&screen);
	assert_int_equal(kms_screen_resize(&screen, -3, 0), 0);
	assert_int_equal(screen.width, 1);
	assert_int_equal(screen.height, 1);
	assert_int_equal(kms_screen_resize(&screen, 1 << 30, 1 << 30), 0);
	assert_int_equal(screen.width, 1000);
	assert_int_equal(screen.height, 1000);
	kms_screen_deinit(&screen);
}

static void graphs_show_lowest_highest_and_unknown(void **state)
{
	static const double values[] = {-1, 0, 50, 100};
	static const double pairs[] = {-1, -1, 0, 100};
	struct kms_screen screen;

	(void)state;
	kms_screen_init(&screen);
	assert_int_equal(kms_screen_resize(&screen, 4, 3), 0);
	kms_graph_draw(&screen, (struct kms_strip){0, 0, 4}, KMS_GLYPHS_ASCII, values, 0, 100);
	kms_graph_draw(&screen, (struct kms_strip){0, 1, 4}, KMS_GLYPHS_BLOCK, values, 0, 100);
	kms_graph_draw(&screen, (struct kms_strip){0, 2, 2}, KMS_GLYPHS_BRAILLE, pairs, 0, 100);
	check_text(&screen, " .+@\n \xe2\x96\x81\xe2\x96\x85\xe2\x96\x88\n \xe2\xa3\xb8\n");
	kms_screen_deinit(&screen);
}

static void bars_show_a_little_and_never_too_much(void **state)
{
	static const struct {
		double part;
		const char *bar;
	} cases[] = {
		{0,         "----\n"},
                {0.001,     "#---\n"},
                {0.5,       "##--\n"},
                {1,         "####\n"},
		{7,         "####\n"},
                {-1,        "----\n"},
                {0.0 / 0.0, "----\n"},
	};
	struct kms_screen screen;

	(void)state;
	kms_screen_init(&screen);
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(kms_screen_resize(&screen, 4, 1), 0);
		kms_bar_draw(&screen, (struct kms_strip){0, 0, 4}, KMS_GLYPHS_ASCII, cases[i].part,
			     0);
		check_text(&screen, cases[i].bar);
	}
	kms_screen_deinit(&screen);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_is_cut_at_the_edge),
		cmocka_unit_test(wide_characters_take_two_columns_or_none),
		cmocka_unit_test(combining_characters_take_no_column),
		cmocka_unit_test(control_characters_never_get_into_a_cell),
		cmocka_unit_test(ascii_screens_hold_nothing_else),
		cmocka_unit_test(fields_are_exactly_as_wide_as_asked),
		cmocka_unit_test(sizes_are_brought_into_bounds),
		cmocka_unit_test(graphs_show_lowest_highest_and_unknown),
		cmocka_unit_test(bars_show_a_little_and_never_too_much),
	};

	setlocale(LC_ALL, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
