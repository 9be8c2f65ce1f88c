/* SPDX-License-Identifier: BSD-2-Clause */
/* The line editor and its history. */
#include <errno.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/test/unit.h"
#include "tui/line.h"

static void check(const struct kms_line *line, const char *text, int cursor)
{
	char now[KMS_LINE_BYTES];

	kms_line_text(line, now);
	assert_string_equal(now, text);
	assert_int_equal(line->cursor, cursor);
}

static void each_key_does_what_emacs_does(void **state)
{
	static const struct {
		const char *before;
		int cursor;
		enum kms_line_key key;
		const char *after;
		int moved;
	} cases[] = {
		{"abc",          3,  KMS_LINE_LEFT,            "abc",          2},
		{"abc",          0,  KMS_LINE_LEFT,            "abc",          0},
		{"abc",          3,  KMS_LINE_RIGHT,           "abc",          3},
		{"abc",          2,  KMS_LINE_HOME,            "abc",          0},
		{"abc",          0,  KMS_LINE_END,             "abc",          3},
		{"w kmem_x 0t1", 12, KMS_LINE_WORD_LEFT,       "w kmem_x 0t1", 9},
		{"w kmem_x 0t1", 0,  KMS_LINE_WORD_RIGHT,      "w kmem_x 0t1", 1},
		{"w kmem_x 0t1", 1,  KMS_LINE_WORD_RIGHT,      "w kmem_x 0t1", 8},
		{"abc",          2,  KMS_LINE_BACKSPACE,       "ac",           1},
		{"abc",          0,  KMS_LINE_BACKSPACE,       "abc",          0},
		{"abc",          1,  KMS_LINE_DELETE,          "ac",           1},
		{"abc",          3,  KMS_LINE_DELETE,          "abc",          3},
		{"one two",      0,  KMS_LINE_KILL_WORD,       " two",         0},
		{"one two",      7,  KMS_LINE_KILL_WORD_LEFT,  "one ",         4},
		{"one a/b-c ",   10, KMS_LINE_KILL_BLANK_LEFT, "one ",         4},
		{"abcdef",       3,  KMS_LINE_KILL_END,        "abc",          3},
		{"abcdef",       3,  KMS_LINE_KILL_BEGIN,      "def",          0},
		{"abc",          1,  KMS_LINE_SWAP,            "bac",          2},
		{"abc",          3,  KMS_LINE_SWAP,            "acb",          3},
		{"a",            1,  KMS_LINE_SWAP,            "a",            1},
		{"",             0,  KMS_LINE_KILL_BLANK_LEFT, "",             0},
	};
	static struct kms_line line;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		kms_line_begin(&line, NULL, cases[i].before);
		line.cursor = cases[i].cursor;
		kms_line_edit(&line, cases[i].key);
		check(&line, cases[i].after, cases[i].moved);
	}
}

static void killed_text_comes_back(void **state)
{
	static struct kms_line line;

	(void)state;
	kms_line_begin(&line, NULL, "w kmem_guard_depth 0t5");
	kms_line_edit(&line, KMS_LINE_KILL_BLANK_LEFT);
	kms_line_edit(&line, KMS_LINE_HOME);
	kms_line_edit(&line, KMS_LINE_YANK);
	check(&line, "0t5w kmem_guard_depth ", 3);
}

static void nothing_grows_beyond_the_line(void **state)
{
	static struct kms_line line;
	char text[KMS_LINE_BYTES];

	(void)state;
	kms_line_begin(&line, NULL, "");
	for (int i = 0; i < 3 * KMS_LINE_CHARS; i++)
		kms_line_insert(&line, 0x1f600);
	assert_int_equal(line.n, KMS_LINE_CHARS);
	kms_line_text(&line, text);
	assert_int_equal(strlen(text), 4 * KMS_LINE_CHARS);
	kms_line_edit(&line, KMS_LINE_KILL_BEGIN);
	for (int i = 0; i < 3; i++)
		kms_line_edit(&line, KMS_LINE_YANK);
	assert_int_equal(line.n, KMS_LINE_CHARS);
}

static void control_characters_are_no_text(void **state)
{
	static struct kms_line line;

	(void)state;
	kms_line_begin(&line, NULL, "a\x1b[31m\x07\nb");
	check(&line, "a[31mb", 6);
}

static void history_goes_back_and_forth_and_keeps_the_line(void **state)
{
	static struct kms_line_history history;
	static struct kms_line line;

	(void)state;
	kms_line_history_add(&history, "one");
	kms_line_history_add(&history, "two");
	kms_line_history_add(&history, "two"); /* once is enough */
	kms_line_history_add(&history, "");
	assert_int_equal(history.n, 2);
	kms_line_begin(&line, &history, "mine");
	kms_line_edit(&line, KMS_LINE_OLDER);
	check(&line, "two", 3);
	kms_line_edit(&line, KMS_LINE_OLDER);
	kms_line_edit(&line, KMS_LINE_OLDER);
	check(&line, "one", 3);
	kms_line_edit(&line, KMS_LINE_NEWER);
	kms_line_edit(&line, KMS_LINE_NEWER);
	kms_line_edit(&line, KMS_LINE_NEWER);
	check(&line, "mine", 4);
	kms_line_history_deinit(&history);
}

static void search_finds_the_newest_that_fits(void **state)
{
	static struct kms_line_history history;
	static struct kms_line line;

	(void)state;
	kms_line_history_add(&history, "w kmem_guard_depth 0t512");
	kms_line_history_add(&history, "show guard");
	kms_line_history_add(&history, "show leaks");
	kms_line_begin(&line, &history, "");
	kms_line_search(&line);
	kms_line_search_add(&line, 'g');
	check(&line, "show guard", 10);
	kms_line_search(&line); /* the next older one */
	check(&line, "w kmem_guard_depth 0t512", 24);
	kms_line_search_add(&line, 'x'); /* nothing has "gx": what was found stays */
	check(&line, "w kmem_guard_depth 0t512", 24);
	kms_line_search_end(&line);
	assert_false(line.searching);
	kms_line_history_deinit(&history);
}

static void old_lines_make_room(void **state)
{
	static struct kms_line_history history;
	char text[32];

	(void)state;
	for (int i = 0; i < KMS_HISTORY_LINES + 7; i++) {
		snprintf(text, sizeof(text), "line %d", i);
		kms_line_history_add(&history, text);
	}
	assert_int_equal(history.n, KMS_HISTORY_LINES);
	assert_string_equal(history.line[0], "line 7");
	kms_line_history_deinit(&history);
}

static void the_file_is_private_and_comes_back(void **state)
{
	static struct kms_line_history history;
	static struct kms_line_history again;
	char folder[] = "/tmp/kms-history-XXXXXX";
	char path[64];
	struct stat st;

	(void)state;
	assert_non_null(mkdtemp(folder));
	snprintf(path, sizeof(path), "%s/history", folder);
	assert_int_equal(kms_line_history_load(&again, path, NULL), 0); /* none yet */
	kms_line_history_add(&history, "show guard");
	kms_line_history_add(&history, "\xc3\xa4");
	assert_int_equal(kms_line_history_save(&history, path, NULL), 0);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 0777, 0600);
	assert_int_equal(kms_line_history_load(&again, path, NULL), 0);
	assert_int_equal(again.n, 2);
	assert_string_equal(again.line[1], "\xc3\xa4");
	assert_int_equal(kms_line_history_save(&history, "/nowhere/history", NULL), -ENOENT);
	kms_line_history_deinit(&history);
	kms_line_history_deinit(&again);
	unlink(path);
	rmdir(folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_key_does_what_emacs_does),
		cmocka_unit_test(killed_text_comes_back),
		cmocka_unit_test(nothing_grows_beyond_the_line),
		cmocka_unit_test(control_characters_are_no_text),
		cmocka_unit_test(history_goes_back_and_forth_and_keeps_the_line),
		cmocka_unit_test(search_finds_the_newest_that_fits),
		cmocka_unit_test(old_lines_make_room),
		cmocka_unit_test(the_file_is_private_and_comes_back),
	};

	setlocale(LC_ALL, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
