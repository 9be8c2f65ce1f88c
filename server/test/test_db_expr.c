/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Numbers, words and expressions of the prompt, compared with ddb(4). "6.2" and the like name the
 * list of ddb's behaviour that a row is taken from, T40 its test 40.
 */
#include <stdio.h>
#include <string.h>

#include "base/test/unit.h"
#include "server/test/db_lines.h"

static struct prompt prompt;

static int setup(void **state)
{
	(void)state;
	prompt_init(&prompt, true);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	assert_int_equal(atomic_load(&prompt.fixture.borrowed), 0);
	prompt_deinit(&prompt);
	return 0;
}

/* An expression and what `p` prints, or the beginning of the error. */
struct row {
	const char *fact;
	const char *expression;
	const char *value;
	const char *error;
};

static void check_rows(const struct row *rows, size_t n)
{
	const char *seen;
	char line[600];

	for (size_t i = 0; i < n; i++) {
		snprintf(line, sizeof(line), "p %s", rows[i].expression);
		seen = prompt_run(&prompt, line);
		seen += strspn(seen, " ");
		if (rows[i].error &&
		    strncmp(prompt_error(&prompt), rows[i].error, strlen(rows[i].error)) == 0)
			continue;
		if (!rows[i].error && !prompt_error(&prompt)[0] &&
		    strncmp(seen, rows[i].value, strlen(rows[i].value)) == 0 &&
		    seen[strlen(rows[i].value)] == '\n')
			continue;
		fail_msg("%s: p %s printed \"%s\", error \"%s\"", rows[i].fact, rows[i].expression,
			 seen, prompt_error(&prompt));
	}
}

#define VALUE(fact, expression, value)                                                             \
	{                                                                                          \
		fact, expression, value, NULL                                                      \
	}
#define ERROR(fact, expression, error)                                                             \
	{                                                                                          \
		fact, expression, NULL, error                                                      \
	}

static void numbers_are_hexadecimal_unless_they_say_otherwise(void **state)
{
	static const struct row rows[] = {
		VALUE("6.2", "30000", "30000"),
		VALUE("6.2", "0t30000", "7530"),
		VALUE("6.2", "0T30000", "7530"),
		VALUE("6.2", "0x7530", "7530"),
		VALUE("6.2", "0X7530", "7530"),
		VALUE("6.2", "0o72460", "7530"),
		VALUE("6.2", "0O72460", "7530"),
		VALUE("6.2", "010", "10"),
		VALUE("6.2", "0b1", "b1"),
		VALUE("6.2", "0t", "0"),
		VALUE("6.2", "0x", "0"),
		VALUE("6.2", "0o", "0"),
		VALUE("6.2", "0", "0"),
		ERROR("6.2", "0t12a", "Bad character in number"),
		ERROR("6.2", "0o8", "Bad character in number"),
		ERROR("6.2", "12_", "Bad character in number"),
		ERROR("6.2", "12g", "Bad character in number"),
		VALUE("6.2", "10000000000000001", "1"), /* wraps */
		VALUE("6.2", "ffffffffffffffff", "ffffffffffffffff"),
		VALUE("6.2", "deadbeef", "deadbeef"),
		VALUE("6.2", "DEADbeef", "deadbeef"),
		VALUE("6.2", "fffffffffffffffff", "ffffffffffffffff"),
		VALUE("T43", "0t16", "10"),
	};

	(void)state;
	check_rows(rows, sizeof(rows) / sizeof(rows[0]));
}

static void operators_bind_as_in_ddb(void **state)
{
	static const struct row rows[] = {
		VALUE("6.2", "1+2*3", "7"),
		VALUE("6.2", "(1+2)*3", "9"),
		VALUE("6.2", "1<<2+1", "8"), /* + binds tighter than << */
		VALUE("6.2", "10>>1", "8"),
		VALUE("6.2", "-1>>3f", "1"), /* >> is unsigned */
		VALUE("6.2", "1<<40", "0"),
		VALUE("T40", "7#4", "8"),
		VALUE("6.2", "8#4", "8"),
		VALUE("6.2", "0#4", "0"),
		VALUE("6.2", "7%4", "3"),
		VALUE("6.2", "-7%4", "fffffffffffffffd"),
		VALUE("6.2", "-8/2", "fffffffffffffffc"),
		VALUE("6.2", "8000000000000000/(-1)", "8000000000000000"),
		VALUE("6.2", "8000000000000000%(-1)", "0"),
		VALUE("6.2", "8000000000000002#(-1)", "8000000000000000"),
		VALUE("6.2", "-1", "ffffffffffffffff"),
		VALUE("6.2", "- - 1", "1"),
		VALUE("6.2", "3--1", "4"),
		VALUE("6.2", "3 - 1", "2"),
		ERROR("T40", "2*-3", "Syntax error"),
		ERROR("T40", "1/0", "Divide by 0"),
		ERROR("6.2", "1%0", "Divide by 0"),
		ERROR("6.2", "1#0", "Divide by 0"),
		ERROR("6.2", "1<<-1", "Negative shift amount"),
		ERROR("6.2", "1>>-1", "Negative shift amount"),
		ERROR("6.2", "1+", "Syntax error"),
		ERROR("6.2", "(1", "Syntax error"),
		ERROR("6.2", "()", "Syntax error"),
		ERROR("6.2", "-", "Syntax error"),
		VALUE("6.1", "1 2 kmem", "1"), /* the rest of the line is skipped */
		ERROR("6.1", "1 2 &", "Bad character"),
		ERROR("6.2", "1<2", "Bad character"),
		ERROR("6.2", "1&2", "Bad character"),
		ERROR("6.2", "~1", "Bad character"),
		ERROR("6.2", "1^1", "Bad character"),
		ERROR("6.2", "1;2", "Bad character"),
		ERROR("6.2", "\x01", "Bad character"),
		ERROR("6.2", "\xff", "Bad character"),
	};

	(void)state;
	check_rows(rows, sizeof(rows) / sizeof(rows[0]));
}

static void names_are_symbols_first_and_numbers_then(void **state)
{
	static const struct row rows[] = {
		VALUE("6.2", "kmem_guard_depth", "6b6d656d00000000"),
		VALUE("6.2", "kmem:kmem_guard_depth", "6b6d656d00000000"),
		VALUE("6.2", "kmem_guard_bytes-kmem_guard_depth", "10"),
		VALUE("6.2", "kmem\\_guard\\_depth", "6b6d656d00000000"), /* backslash escapes */
		ERROR("6.2", "kmem_gard_depth",
		      "Symbol not found: kmem_gard_depth; did you mean kmem_guard_depth?"),
		ERROR("6.2", "guard_depth",
		      "Symbol not found: guard_depth; did you mean kmem_guard_depth?"),
		ERROR("6.2", "printf", "Symbol not found: printf; `show variables` lists"),
		ERROR("6.2", "netbsd:kmem_guard_depth", "Symbol not found"),
		ERROR("6.2", "\\", "Bad character"),
		ERROR("6.2", "$nothing", "Unknown variable: $nothing"),
		ERROR("6.2", "$", "Unknown variable"),
		VALUE("6.1", "$radix", "10"),
		VALUE("6.1", "$maxoff", "100000"),
	};

	(void)state;
	check_rows(rows, sizeof(rows) / sizeof(rows[0]));
}

static void a_name_is_as_long_as_ddbs(void **state)
{
	char name[300];

	(void)state;
	memset(name, 'k', sizeof(name));
	name[120] = '\0';
	(void)prompt_run(&prompt, name);
	assert_memory_equal(prompt_error(&prompt), "No such command", 15);
	name[120] = 'k';
	name[121] = '\0';
	(void)prompt_run(&prompt, name);
	assert_memory_equal(prompt_error(&prompt), "String too long", 15);
}

static void a_line_has_a_limit(void **state)
{
	char line[2 * KMS_DDB_LINE_BYTES];

	(void)state;
	memset(line, ' ', sizeof(line));
	memcpy(line, "p 1", 3);
	line[KMS_DDB_LINE_BYTES - 1] = '\0';
	assert_string_equal(prompt_run(&prompt, line), "               1\n");
	line[KMS_DDB_LINE_BYTES - 1] = ' ';
	line[KMS_DDB_LINE_BYTES] = '\0';
	assert_string_equal(prompt_run(&prompt, line), "");
	assert_memory_equal(prompt_error(&prompt), "String too long", 15);
}

static void nesting_has_a_limit(void **state)
{
	char line[512] = "p ";

	(void)state;
	memset(line + 2, '(', 200);
	(void)prompt_run(&prompt, line);
	assert_memory_equal(prompt_error(&prompt), "Syntax error", 12);
	memset(line + 2, '-', 200);
	(void)prompt_run(&prompt, line);
	assert_memory_equal(prompt_error(&prompt), "Syntax error", 12);
}

/* T43: with radix 10 plain numbers are decimal, 0ta stays an error; output follows. */
static void the_radix_can_be_set(void **state)
{
	(void)state;
	(void)prompt_run(&prompt, "set $radix 0t10");
	assert_string_equal(prompt_error(&prompt), "");
	assert_string_equal(prompt_run(&prompt, "p/r 16"), "         16\n");
	assert_string_equal(prompt_run(&prompt, "p/x 16"), "              10\n");
	(void)prompt_run(&prompt, "p 0ta");
	assert_memory_equal(prompt_error(&prompt), "Bad character in number", 23);
	(void)prompt_run(&prompt, "p ff"); /* no number in this radix */
	assert_memory_equal(prompt_error(&prompt), "Symbol not found", 16);
	(void)prompt_run(&prompt, "set $radix = 8");
	assert_string_equal(prompt_run(&prompt, "p/r 17"), "         17\n");
	assert_string_equal(prompt_run(&prompt, "p/d 17"), "         15\n");
	(void)prompt_run(&prompt, "p 19");
	assert_memory_equal(prompt_error(&prompt), "Bad character in number", 23);
	(void)prompt_run(&prompt, "set $radix = 0t16");
	(void)prompt_run(&prompt, "set $radix = 7");
	assert_memory_equal(prompt_error(&prompt), "$radix: 0t7 is out of range", 27);
	assert_string_equal(prompt_run(&prompt, "p/x $radix"), "              10\n");
}

static void dot_and_its_kin_follow_what_was_shown(void **state)
{
	(void)state;
	(void)prompt_run(&prompt, "x/bx 7f3c00050010,4");
	assert_string_equal(prompt_error(&prompt), "");
	assert_int_equal(prompt.state.dot, FIXTURE_MEMORY + 0x13);  /* the last item */
	assert_int_equal(prompt.state.next, FIXTURE_MEMORY + 0x14); /* behind it */
	assert_string_equal(prompt_run(&prompt, "p \""), "    7f3c00050010\n");
	/* p was given an address: dot is that, and next too */
	assert_string_equal(prompt_run(&prompt, "p 5"), "               5\n");
	assert_string_equal(prompt_run(&prompt, "p .+1"), "               6\n");
	assert_string_equal(prompt_run(&prompt, "p +"), "               6\n");
	assert_string_equal(prompt_run(&prompt, "p .."), "    7f3c00050013\n");
}

static void a_star_reads_eight_bytes(void **state)
{
	(void)state;
	assert_string_equal(prompt_run(&prompt, "p *7f3c00050010"), "1716151413121110\n");
	(void)prompt_run(&prompt, "p *0");
	assert_memory_equal(prompt_error(&prompt), "Faulted in DDB; continuing...", 29);
	assert_string_equal(prompt_run(&prompt, "p/d *kmem_guard_sample"), "          2\n");
}

#define EXPR_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		EXPR_TEST(numbers_are_hexadecimal_unless_they_say_otherwise),
		EXPR_TEST(operators_bind_as_in_ddb),
		EXPR_TEST(names_are_symbols_first_and_numbers_then),
		EXPR_TEST(a_name_is_as_long_as_ddbs),
		EXPR_TEST(a_line_has_a_limit),
		EXPR_TEST(nesting_has_a_limit),
		EXPR_TEST(the_radix_can_be_set),
		EXPR_TEST(dot_and_its_kin_follow_what_was_shown),
		EXPR_TEST(a_star_reads_eight_bytes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
