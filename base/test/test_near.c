/* SPDX-License-Identifier: BSD-2-Clause */
#include <string.h>

#include "base/near.h"
#include "base/test/unit.h"

static void edits_are_counted(void **state)
{
	static const struct {
		const char *a, *b;
		size_t distance;
	} cases[] = {
		{"",        "",        0},
		{"",        "ab",      2},
		{"jiffies", "jiffies", 0},
		{"jifies",  "jiffies", 1},
		{"jiffeis", "jiffies", 1},
		{"jiffiez", "jiffies", 1},
		{"sitting", "kittens", 3},
		{"abcdef",  "badcfe",  3},
		{"abc",     "xyzuv",   5},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		assert_int_equal(kms_near_distance(cases[i].a, cases[i].b, 9), cases[i].distance);
		assert_int_equal(kms_near_distance(cases[i].b, cases[i].a, 9), cases[i].distance);
		if (cases[i].distance)
			assert_int_equal(
				kms_near_distance(cases[i].a, cases[i].b, cases[i].distance - 1),
				cases[i].distance);
	}
}

static void what_is_too_long_or_too_far_is_not_near(void **state)
{
	char longer[KMS_NEAR_BYTES + 2], longest[KMS_NEAR_BYTES + 1];

	(void)state;
	memset(longer, 'a', sizeof(longer));
	longer[sizeof(longer) - 1] = '\0';
	memset(longest, 'a', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	assert_int_equal(kms_near_distance(longer, longer, 3), 4);
	assert_int_equal(kms_near_distance(longest, longest, 3), 0);
	assert_int_equal(kms_near_distance("abcdefgh", "ijklmnop", 2), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(edits_are_counted),
		cmocka_unit_test(what_is_too_long_or_too_far_is_not_near),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
