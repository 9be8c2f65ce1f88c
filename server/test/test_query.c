/* SPDX-License-Identifier: BSD-2-Clause */
/* Query parameters and page cursors. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "schema/record.h"
#include "server/cursor.h"
#include "server/query.h"

#define ALL (KMS_PARAM_BIT(KMS_PARAMS) - 1)

static void empty_query_has_the_defaults(void **state)
{
	struct kms_query query;

	(void)state;
	assert_int_equal(kms_query_parse(NULL, 0, &query, NULL), 0);
	assert_int_equal(query.limit, KMS_LIMIT_DEFAULT);
	assert_int_equal(query.to_ns, UINT64_MAX);
	assert_int_equal(query.given, 0);
	assert_int_equal(kms_query_parse("&&", 0, &query, NULL), 0);
}

static void values_are_read_and_decoded(void **state)
{
	struct kms_query query;

	(void)state;
	assert_int_equal(kms_query_parse("target=7&limit=%31000&address=0x7f00deadb000&from=1500ms"
					 "&to=9&kind=alloc%2Cfree&site=13&state=open,fixed"
					 "&min_bytes=64K&sum=1",
					 ALL, &query, NULL),
			 0);
	assert_int_equal(query.target, 7);
	assert_int_equal(query.limit, 1000);
	assert_int_equal(query.address, 0x7f00deadb000);
	assert_int_equal(query.from_ns, 1500000000);
	assert_int_equal(query.to_ns, 9);
	assert_int_equal(query.kinds, 1u << KMS_EVENT_ALLOC | 1u << KMS_EVENT_FREE);
	assert_int_equal(query.site, 13);
	assert_int_equal(query.states, 1 | 8);
	assert_int_equal(query.min_bytes, 65536);
	assert_true(query.sum);
}

static void bad_values_are_refused_by_name(void **state)
{
	static const char *const bad[] = {
		"limit=0",       "limit=1001",  "limit=-1",        "limit=",
		"limit=1K",      "limit",       "target=0",        "target=4294967296",
		"address=xyz",   "address=",    "from=1x",         "to=-1",
		"kind=",         "kind=alloc,", "kind=none",       "kind=bogus",
		"site=0",        "state=OPEN",  "min_bytes=-1",    "sum=2",
		"min_score=101", "min_score=x", "cursor=x",        "limit=1%00",
		"limit=%4",      "limit=%zz",   "limit=1&limit=1", "unknown=1",
		"limit=1&nope",  "=1",          "a%00b=1",
	};
	struct kms_query query;
	struct kms_err err;

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		kms_err_clear(&err);
		assert_int_not_equal(kms_query_parse(bad[i], ALL, &query, &err), 0);
		assert_true(strlen(err.text) > 10);
	}
	assert_int_not_equal(
		kms_query_parse("site=1", KMS_PARAM_BIT(KMS_PARAM_LIMIT), &query, &err), 0);
	assert_string_equal(err.text, "unknown parameter site; this resource takes: limit");
	assert_string_equal(err.subject, "site");
}

static void long_values_are_refused(void **state)
{
	char text[2000];
	struct kms_query query;

	(void)state;
	memset(text, 'a', sizeof(text));
	memcpy(text, "address=", 8);
	text[sizeof(text) - 1] = '\0';
	assert_int_not_equal(kms_query_parse(text, ALL, &query, NULL), 0);
}

static void cursors_come_back_as_they_were(void **state)
{
	struct kms_cursor cursor = {
		UINT64_MAX, 0x0123456789abcdef, {1, UINT64_MAX, 0x8000000000000000}
        };
	struct kms_cursor back;
	char text[KMS_CURSOR_TEXT_BYTES];

	(void)state;
	kms_cursor_write(&cursor, text);
	assert_int_equal(kms_cursor_read(text, &back), 0);
	assert_memory_equal(&cursor, &back, sizeof(back));
	assert_int_equal(strspn(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				      "0123456789-_"),
			 strlen(text));
}

static void damaged_cursors_are_refused(void **state)
{
	struct kms_cursor cursor = {
		1, 2, {3, 4, 5}
        };
	struct kms_cursor back;
	char text[KMS_CURSOR_TEXT_BYTES];
	char kept;
	size_t length;

	(void)state;
	kms_cursor_write(&cursor, text);
	length = strlen(text);
	for (size_t i = 0; i < length; i++) {
		kept = text[i];
		text[i] = kept == 'A' ? 'B' : 'A';
		assert_int_not_equal(kms_cursor_read(text, &back), 0);
		text[i] = '!';
		assert_int_not_equal(kms_cursor_read(text, &back), 0);
		text[i] = kept;
	}
	text[length - 1] = '\0';
	assert_int_not_equal(kms_cursor_read(text, &back), 0);
	assert_int_not_equal(kms_cursor_read("", &back), 0);
}

static void filters_make_different_hashes(void **state)
{
	struct kms_query a;
	struct kms_query b;

	(void)state;
	assert_int_equal(kms_query_parse("target=1&limit=5", ALL, &a, NULL), 0);
	assert_int_equal(kms_query_parse("target=1&limit=9", ALL, &b, NULL), 0);
	assert_true(kms_query_filter(&a, 1) == kms_query_filter(&b, 1));
	assert_int_equal(kms_query_parse("target=2", ALL, &b, NULL), 0);
	assert_false(kms_query_filter(&a, 1) == kms_query_filter(&b, 1));
	assert_false(kms_query_filter(&a, 1) == kms_query_filter(&a, 2));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(empty_query_has_the_defaults),
		cmocka_unit_test(values_are_read_and_decoded),
		cmocka_unit_test(bad_values_are_refused_by_name),
		cmocka_unit_test(long_values_are_refused),
		cmocka_unit_test(cursors_come_back_as_they_were),
		cmocka_unit_test(damaged_cursors_are_refused),
		cmocka_unit_test(filters_make_different_hashes),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
