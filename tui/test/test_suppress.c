/* SPDX-License-Identifier: BSD-2-Clause */
/* Suppressions: patterns, files, and which stacks they match. */
#include <cjson/cJSON.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/test/unit.h"
#include "tui/suppress.h"

static void patterns_are_found_anywhere_but_for_anchors(void **state)
{
	static const struct {
		const char *text, *pattern;
		bool found;
	} cases[] = {
		{"lose_block",  "lose_block",   true },
		{"lose_block",  "block",        true },
		{"lose_block",  "lose",         true },
		{"lose_block",  "Block",        false},
		{"lose_block",  "^block",       false},
		{"lose_block",  "^lose",        true },
		{"lose_block",  "lose$",        false},
		{"lose_block",  "block$",       true },
		{"lose_block",  "^lose_block$", true },
		{"lose_block2", "^lose_block$", false},
		{"lose_block",  "l*k",          true },
		{"lose_block",  "^o*k",         false},
		{"lose_block",  "^l*e$",        false},
		{"lose_block",  "^l*b*k$",      true },
		{"aab",         "a*ab",         true },
		{"aaab",        "^a*aab$",      true },
		{"",            "x",            false},
		{"",            "*",            true },
		{"abc",         "*",            true },
		{"a$b",         "a$b",          true },
		{"ab*",         "^ab*$",        true },
		{"xbox",        "b*x$",         true },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		if (kms_suppressions_has(cases[i].text, cases[i].pattern) != cases[i].found)
			fail_msg("'%s' in '%s'", cases[i].pattern, cases[i].text);
	}
}

/* A file with the text; its name is static. */
static const char *file_of(const char *text)
{
	static char path[] = "suppress-XXXXXX";
	int fd;

	snprintf(path, sizeof(path), "suppress-XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
	return path;
}

static int load(const char *text, struct kms_suppressions **out, struct kms_err *err)
{
	const char *path = file_of(text);
	int result = kms_suppressions_load(path, out, err);

	unlink(path);
	return result;
}

static bool matches(const char *file, const char *stack)
{
	struct kms_suppressions *suppressions;
	struct kms_err err = KMS_ERR_INIT;
	cJSON *json = cJSON_Parse(stack);
	bool found;

	assert_non_null(json);
	assert_int_equal(load(file, &suppressions, &err), 0);
	found = kms_suppressions_match(suppressions, json);
	kms_suppressions_free(suppressions);
	cJSON_Delete(json);
	return found;
}

static void any_frame_matches_by_function_file_or_module(void **state)
{
	static const char stack[] =
		"[{\"function\":\"get\",\"file\":\"a/pool.c\",\"module\":\"/usr/lib/libpool.so.1\"},"
		" {\"function\":null,\"file\":null,\"module\":\"app\"}]";

	(void)state;
	assert_true(matches("leak:get\n", stack));
	assert_true(matches("# known\n\n  leak:nothing\r\nleak:^a/pool.c$\n", stack));
	assert_true(matches("leak:libpool*", stack));
	assert_true(matches("leak:^app$", stack));
	assert_false(matches("leak:^pool.c$\nleak:main\n", stack));
	assert_false(matches("", stack));
	assert_false(matches("leak:get", "[]"));
}

static void mistakes_name_the_line(void **state)
{
	static const struct {
		const char *text, *where;
	} cases[] = {
		{"leak:a\nrace:b\n", "line 2: \"race\""},
		{"leak:\n",          "line 1: \"leak\""},
		{"\n\nmain\n",       "line 3: \"main\""},
		{":x\n",             "line 1: \"\""    },
	};
	struct kms_suppressions *suppressions;
	struct kms_err err = KMS_ERR_INIT;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
		assert_int_equal(load(cases[i].text, &suppressions, &err), -EINVAL);
		assert_non_null(strstr(err.text, cases[i].where));
	}
	assert_int_equal(kms_suppressions_load("no-such-file", &suppressions, &err), -ENOENT);
	kms_suppressions_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(patterns_are_found_anywhere_but_for_anchors),
		cmocka_unit_test(any_frame_matches_by_function_file_or_module),
		cmocka_unit_test(mistakes_name_the_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
