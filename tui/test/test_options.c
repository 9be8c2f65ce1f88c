/* SPDX-License-Identifier: BSD-2-Clause */
/* The option parser and the near names. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "tui/options.h"
#include "tui/suggest.h"

struct values {
	bool quiet, verbose;
	const char *output;
	struct kms_opt_number depth, bytes;
	int mode;
	struct kms_opt_list set;
};

#define AT(member) offsetof(struct values, member)

static const struct kms_opt table[] = {
	KMS_ROW_FLAG("quiet", 'q', AT(quiet), ""),
	KMS_ROW_FLAG("verbose", 'v', AT(verbose), ""),
	KMS_ROW_TEXT("output", 'o', AT(output), "FILE", ""),
	KMS_ROW_NUMBER("depth", 0, AT(depth), "N", 1, 512, ""),
	KMS_ROW_SIZE("bytes", 'b', AT(bytes), "BYTES", ""),
	KMS_ROW_CHOICE("mode", 0, AT(mode), "drop|wait", ""),
	KMS_ROW_LIST("set", 's', AT(set), "VAR=VALUE", ""),
	KMS_ROW_LATER("http", 0, "0.2"),
	KMS_ROW_END,
};

/* Parses a line of words; the last one must be NULL. */
static int parse(struct values *values, struct kms_parsed *parsed, struct kms_err *err, bool stop,
		 char **argv)
{
	kms_opt_init(table, values, sizeof(*values));
	return kms_opt_parse(table, stop, argv, values, parsed, err);
}

#define WORDS(...)                                                                                 \
	(char *[])                                                                                 \
	{                                                                                          \
		__VA_ARGS__, NULL                                                                  \
	}

static void every_spelling_sets_its_value(void **state)
{
	struct values values;
	struct kms_parsed parsed;

	(void)state;
	assert_int_equal(parse(&values, &parsed, NULL, false,
			       WORDS("-qv", "--output", "f.kms", "--depth=0x10", "-b64K", "--mode",
				     "wait", "-s", "a=1", "--set=b=2", "rest")),
			 0);
	assert_true(values.quiet && values.verbose);
	assert_string_equal(values.output, "f.kms");
	assert_true(values.depth.given && values.depth.value == 16);
	assert_int_equal(values.bytes.value, 65536);
	assert_int_equal(values.mode, 1);
	assert_int_equal(values.set.n, 2);
	assert_string_equal(values.set.item[1], "b=2");
	assert_int_equal(parsed.n_args, 1);
	assert_string_equal(parsed.args[0], "rest");
	kms_opt_deinit(table, &values);
}

static void nothing_given_is_nothing_set(void **state)
{
	struct values values;
	struct kms_parsed parsed;

	(void)state;
	assert_int_equal(parse(&values, &parsed, NULL, false, WORDS("-", "--", "-q", "--depth")),
			 0);
	assert_false(values.quiet || values.depth.given || values.output);
	assert_int_equal(values.mode, -1);
	assert_int_equal(parsed.n_args, 3);
	assert_string_equal(parsed.args[0], "-");
	assert_string_equal(parsed.args[1], "-q");
}

static void options_end_at_the_program(void **state)
{
	struct values values;
	struct kms_parsed parsed;

	(void)state;
	assert_int_equal(parse(&values, &parsed, NULL, true, WORDS("-q", "prog", "-v", "--nope")),
			 0);
	assert_true(values.quiet && !values.verbose);
	assert_int_equal(parsed.n_args, 3);
	assert_string_equal(parsed.args[2], "--nope");
	assert_int_equal(parse(&values, &parsed, NULL, true, WORDS("--", "--", "-v")), 0);
	assert_int_equal(parsed.n_args, 2);
}

static void help_ends_the_reading(void **state)
{
	struct values values;
	struct kms_parsed parsed;

	(void)state;
	assert_int_equal(parse(&values, &parsed, NULL, false, WORDS("--help", "--nope")), 0);
	assert_true(parsed.help);
	assert_int_equal(parse(&values, &parsed, NULL, true, WORDS("prog", "-h")), 0);
	assert_false(parsed.help);
}

static void errors_name_the_option_and_the_fix(void **state)
{
	static const struct {
		char *words[3];
		const char *text;
	} cases[] = {
		{{"--detph", "1"},     "unknown option --detph; did you mean --depth?"         },
		{{"--zzzzzz"},         "unknown option --zzzzzz; --help lists them"            },
		{{"-x"},               "unknown option -x; --help lists them"                  },
		{{"--depth"},          "--depth needs a value: --depth N"                      },
		{{"--depth", "--"},    "--depth needs a value: --depth N"                      },
		{{"--depth", "-1"},    "--depth needs a number from 1 to 512, not \"-1\""      },
		{{"--depth", "513"},   "--depth needs a number from 1 to 512, not \"513\""     },
		{{"--depth", "1x"},    "--depth needs a number from 1 to 512, not \"1x\""      },
		{{"--depth="},         "--depth needs a number from 1 to 512, not \"\""        },
		{{"-b", "lots"},       "--bytes needs a size such as 4096 or 64K, not \"lots\""},
		{{"--mode=on"},        "--mode must be one of drop|wait, not \"on\""           },
		{{"--mode=drop|wait"}, "--mode must be one of drop|wait, not \"drop|wait\""    },
		{{"--quiet=1"},        "--quiet takes no value"                                },
		{{"--output="},        "--output needs FILE, not an empty text"                },
		{{"--http", "80"},     "option --http comes with version 0.2"                  },
	};
	struct values values;
	struct kms_parsed parsed;
	struct kms_err err;
	char *argv[3];

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		memcpy(argv, cases[i].words, sizeof(argv));
		argv[2] = NULL;
		kms_err_clear(&err);
		assert_true(parse(&values, &parsed, &err, false, argv) < 0);
		assert_string_equal(err.text, cases[i].text);
		kms_opt_deinit(table, &values);
	}
}

static void lists_are_freed_after_an_error(void **state)
{
	struct values values;
	struct kms_parsed parsed;

	(void)state;
	assert_int_equal(parse(&values, &parsed, NULL, false, WORDS("-s", "a", "--nope")), -EINVAL);
	assert_int_equal(values.set.n, 1);
	kms_opt_deinit(table, &values);
	assert_null(values.set.item);
}

static const char *nearest(const char *word)
{
	static const char *const names[] = {"leaks", "faults", "caches",
					    "guard", "stats",  "status"};
	struct kms_suggest suggest;

	kms_suggest_init(&suggest, word);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		kms_suggest_try(&suggest, names[i]);
	return suggest.best;
}

static void near_names_are_suggested_and_far_ones_are_not(void **state)
{
	char long_word[200];

	(void)state;
	assert_string_equal(nearest("leeks"), "leaks");
	assert_string_equal(nearest("laeks"), "leaks");
	assert_string_equal(nearest("fault"), "faults");
	assert_string_equal(nearest("gua"), "guard");
	assert_string_equal(nearest("statu"), "stats"); /* one letter from both: the first */
	assert_null(nearest("frobnicate"));
	assert_null(nearest(""));
	assert_null(nearest("x"));
	memset(long_word, 'l', sizeof(long_word));
	long_word[sizeof(long_word) - 1] = '\0';
	assert_null(nearest(long_word));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_spelling_sets_its_value),
		cmocka_unit_test(nothing_given_is_nothing_set),
		cmocka_unit_test(options_end_at_the_program),
		cmocka_unit_test(help_ends_the_reading),
		cmocka_unit_test(errors_name_the_option_and_the_fix),
		cmocka_unit_test(lists_are_freed_after_an_error),
		cmocka_unit_test(near_names_are_suggested_and_far_ones_are_not),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
