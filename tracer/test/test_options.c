/* SPDX-License-Identifier: BSD-2-Clause */
/* Variables as people write them: names, values, lists, and what is said about mistakes. */
#include <errno.h>
#include <string.h>

#include "base/test/unit.h"
#include "tracer/options.h"

static void names_are_found_with_and_without_prefix(void **state)
{
	unsigned variable;

	(void)state;
	for (unsigned i = 0; i < KMS_VARIABLE_COUNT; i++) {
		const char *name = kms_variable_info(i)->name;

		variable = KMS_VARIABLE_COUNT;
		assert_int_equal(kms_variable_find(name, &variable, NULL), 0);
		assert_int_equal(variable, i);
		variable = KMS_VARIABLE_COUNT;
		assert_int_equal(kms_variable_find(name + strlen("kmem_"), &variable, NULL), 0);
		assert_int_equal(variable, i);
	}
	assert_null(kms_variable_info(KMS_VARIABLE_COUNT));
}

static void unknown_name_is_answered_with_near_ones(void **state)
{
	struct kms_err err = KMS_ERR_INIT;
	unsigned variable = 77;

	(void)state;
	assert_int_equal(kms_variable_find("gaurd_depth", &variable, &err), -ENOENT);
	assert_non_null(strstr(err.text, "'gaurd_depth'"));
	assert_non_null(strstr(err.text, "kmem_guard_depth"));
	assert_int_equal(variable, 77);
}

static void name_far_from_all_is_answered_with_all(void **state)
{
	struct kms_err err = KMS_ERR_INIT;
	unsigned variable;

	(void)state;
	assert_int_equal(kms_variable_find("colour-of-the-terminal", &variable, &err), -ENOENT);
	assert_non_null(strstr(err.text, "guard_depth guard_bytes"));
}

static void names_that_only_resemble_are_unknown(void **state)
{
	static const char *const names[] = {
		"",           "kmem_",         "kmem_kmem_size",   "guard_depth ", "Guard_Depth",
		"guard_dept", "guard_depth\n", "kmem_guard_depths"};
	unsigned variable;

	(void)state;
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		assert_int_equal(kms_variable_find(names[i], &variable, NULL), -ENOENT);
}

static void values_keep_to_the_range(void **state)
{
	static const struct {
		unsigned variable;
		const char *text;
		int result;
		uint64_t value;
	} rows[] = {
		{KMS_VAR_GUARD_DEPTH,  "30000",                   0,       30000     },
		{KMS_VAR_GUARD_DEPTH,  "0x10",                    0,       16        },
		{KMS_VAR_GUARD_DEPTH,  "16M",                     0,       1 << 24   },
		{KMS_VAR_GUARD_DEPTH,  "16777217",                -ERANGE, 0         },
		{KMS_VAR_GUARD_DEPTH,  "-1",                      -ERANGE, 0         },
		{KMS_VAR_GUARD_DEPTH,  "1000000000000",           -ERANGE, 0         },
		{KMS_VAR_GUARD_DEPTH,  "99999999999999999999999", -ERANGE, 0         },
		{KMS_VAR_GUARD_SAMPLE, "0",                       -ERANGE, 0         },
		{KMS_VAR_GUARD_SAMPLE, "1",                       0,       1         },
		{KMS_VAR_ARENA_LIMIT,  "18446744073709551615",    0,       UINT64_MAX},
		{KMS_VAR_SIZE,         "2",                       -ERANGE, 0         },
		{KMS_VAR_SIZE,         "",                        -EINVAL, 0         },
		{KMS_VAR_SIZE,         " 1",                      -EINVAL, 0         },
		{KMS_VAR_SIZE,         "1 ",                      -EINVAL, 0         },
		{KMS_VAR_SIZE,         "on",                      -EINVAL, 0         },
		{KMS_VAR_SIZE,         "--1",                     -EINVAL, 0         },
		{KMS_VARIABLE_COUNT,   "1",                       -ENOENT, 0         },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t value = 4711;

		assert_int_equal(kms_variable_parse(rows[i].variable, rows[i].text, &value, NULL),
				 rows[i].result);
		assert_int_equal(value, rows[i].result ? 4711 : rows[i].value);
	}
}

static void refusal_names_variable_value_and_range(void **state)
{
	struct kms_err err = KMS_ERR_INIT;
	uint64_t value;

	(void)state;
	(void)kms_variable_parse(KMS_VAR_GUARD_DEPTH, "-1", &value, &err);
	assert_string_equal(err.text, "kmem_guard_depth: -1 is negative; it takes 0 to 16777216");
	(void)kms_variable_parse(KMS_VAR_GUARD_DEPTH, "1000000000000", &value, &err);
	assert_string_equal(
		err.text,
		"kmem_guard_depth: 1000000000000 is out of range; it takes 0 to 16777216");
	(void)kms_variable_parse(KMS_VAR_GUARD_DEPTH, "many", &value, &err);
	assert_non_null(strstr(err.text, "kmem_guard_depth: 'many' is no number"));
}

static void later_assignment_wins(void **state)
{
	struct kms_options options = {0};

	(void)state;
	assert_int_equal(kms_options_set(&options, "guard_depth=5", NULL), 0);
	assert_int_equal(kms_options_set(&options, "kmem_guard_depth=6", NULL), 0);
	assert_true(options.is_set[KMS_VAR_GUARD_DEPTH]);
	assert_int_equal(options.value[KMS_VAR_GUARD_DEPTH], 6);
}

static void failed_assignment_changes_nothing(void **state)
{
	static const char *const wrong[] = {
		"guard_depth", "guard_depth=", "guard_depth=x", "=5", "", "depth=5", "size=1=1"};
	struct kms_options options = {0};
	const struct kms_options none = {0};
	char name[300];

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++)
		assert_true(kms_options_set(&options, wrong[i], NULL) < 0);
	memset(name, 'n', sizeof(name));
	memcpy(name + sizeof(name) - 3, "=1", 3);
	assert_int_equal(kms_options_set(&options, name, NULL), -ENOENT);
	assert_memory_equal(&options, &none, sizeof(options));
}

static void list_holds_the_items_before_the_mistake(void **state)
{
	struct kms_options options = {0};
	struct kms_err err = KMS_ERR_INIT;

	(void)state;
	assert_int_equal(kms_options_parse(&options, ",trace=0,,size=0,nonsense=1,poison=1", &err),
			 -ENOENT);
	assert_non_null(strstr(err.text, "nonsense"));
	assert_true(options.is_set[KMS_VAR_TRACE] && options.is_set[KMS_VAR_SIZE]);
	assert_false(options.is_set[KMS_VAR_POISON]);
}

static void item_too_long_is_refused(void **state)
{
	struct kms_options options = {0};
	char list[400] = "trace=1,size=";

	(void)state;
	memset(list + strlen(list), '0', 127 - strlen("size="));
	assert_int_equal(kms_options_parse(&options, list, NULL), 0);
	list[strlen(list)] = '0'; /* the rest of it is zeros */
	assert_int_equal(kms_options_parse(&options, list, NULL), -E2BIG);
	assert_int_equal(kms_options_parse(&options, "", NULL), 0);
}

static void commands_are_no_start_values(void **state)
{
	struct kms_options options = {0};
	struct kms_err err = KMS_ERR_INIT;

	(void)state;
	assert_int_equal(kms_options_set(&options, "verify=1", &err), -ENOTSUP);
	assert_non_null(strstr(err.text, "kmem_verify"));
	assert_false(options.is_set[KMS_VAR_VERIFY]);
}

static void formatted_options_read_back(void **state)
{
	struct kms_options options = {0}, again = {0};
	struct kms_buf text;

	(void)state;
	kms_buf_init(&text, 1 << 16);
	kms_options_format(&options, &text);
	assert_string_equal(kms_buf_text(&text), "");
	for (unsigned i = 0; i < KMS_VAR_VERIFY; i++) {
		options.is_set[i] = true;
		options.value[i] = kms_variable_info(i)->max;
	}
	kms_options_format(&options, &text);
	assert_int_equal(kms_buf_status(&text), 0);
	assert_int_equal(kms_options_parse(&again, kms_buf_text(&text), NULL), 0);
	assert_memory_equal(&options, &again, sizeof(options));
	kms_buf_deinit(&text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_are_found_with_and_without_prefix),
		cmocka_unit_test(unknown_name_is_answered_with_near_ones),
		cmocka_unit_test(name_far_from_all_is_answered_with_all),
		cmocka_unit_test(names_that_only_resemble_are_unknown),
		cmocka_unit_test(values_keep_to_the_range),
		cmocka_unit_test(refusal_names_variable_value_and_range),
		cmocka_unit_test(later_assignment_wins),
		cmocka_unit_test(failed_assignment_changes_nothing),
		cmocka_unit_test(list_holds_the_items_before_the_mistake),
		cmocka_unit_test(item_too_long_is_refused),
		cmocka_unit_test(commands_are_no_start_values),
		cmocka_unit_test(formatted_options_read_back),
	};

	return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
