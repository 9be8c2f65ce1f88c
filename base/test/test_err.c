/*
 * Error structs.
 */
#include <errno.h>
#include <string.h>

#include "base/err.h"
#include "base/test/unit.h"

static void set_keeps_code_and_text(void **state)
{
	struct kms_err err = KMS_ERR_INIT;

	(void)state;
	assert_int_equal(kms_err_set(&err, -ENOENT, "no %s with id %d", "cache", 7), -ENOENT);
	assert_int_equal(err.code, -ENOENT);
	assert_string_equal(err.text, "no cache with id 7");
	assert_string_equal(err.subject, "");
}

static void set_without_a_struct_returns_the_code(void **state)
{
	(void)state;
	assert_int_equal(kms_err_set(NULL, -EPERM, "unseen"), -EPERM);
	assert_int_equal(kms_err_sys(NULL, -EIO, "unseen", "subject"), -EIO);
	assert_int_equal(kms_err_context(NULL, "unseen"), 0);
	kms_err_subject(NULL, "unseen");
	kms_err_clear(NULL);
}

static void set_replaces_what_was_there(void **state)
{
	struct kms_err err = KMS_ERR_INIT;

	(void)state;
	kms_err_set(&err, -EIO, "first");
	kms_err_subject(&err, "old subject");
	kms_err_set(&err, -EINVAL, "second");
	assert_int_equal(err.code, -EINVAL);
	assert_string_equal(err.text, "second");
	assert_string_equal(err.subject, "");
}

static void set_may_quote_the_old_text(void **state)
{
	struct kms_err err = KMS_ERR_INIT;

	(void)state;
	kms_err_set(&err, -EIO, "inner");
	kms_err_set(&err, -EINVAL, "outer because of %s", err.text);
	assert_string_equal(err.text, "outer because of inner");
}

static void long_text_ends_in_dots(void **state)
{
	struct kms_err err = KMS_ERR_INIT;
	char text[2 * KMS_ERR_TEXT_BYTES];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	kms_err_set(&err, -EIO, "%s", text);
	assert_int_equal(strlen(err.text), KMS_ERR_TEXT_BYTES - 1);
	assert_string_equal(err.text + KMS_ERR_TEXT_BYTES - 5, "x...");
}

static void text_that_just_fits_is_whole(void **state)
{
	struct kms_err err = KMS_ERR_INIT;
	char text[KMS_ERR_TEXT_BYTES];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	kms_err_set(&err, -EIO, "%s", text);
	assert_string_equal(err.text, text);
}

static void sys_says_what_the_code_means(void **state)
{
	struct kms_err err = KMS_ERR_INIT;

	(void)state;
	assert_int_equal(kms_err_sys(&err, -ENOENT, "cannot open", "/no/such"), -ENOENT);
	assert_string_equal(err.text, "cannot open: No such file or directory");
	assert_string_equal(err.subject, "/no/such");
	kms_err_sys(&err, -EACCES, "cannot read", NULL);
	assert_string_equal(err.subject, "");
}

static void context_goes_in_front(void **state)
{
	struct kms_err err = KMS_ERR_INIT;

	(void)state;
	kms_err_sys(&err, -ENOSPC, "cannot write", "a.kms");
	assert_int_equal(kms_err_context(&err, "commit %d", 3), -ENOSPC);
	assert_string_equal(err.text, "commit 3: cannot write: No space left on device");
	assert_string_equal(err.subject, "a.kms");
}

static void context_of_no_error_adds_nothing(void **state)
{
	struct kms_err err = KMS_ERR_INIT;

	(void)state;
	assert_int_equal(kms_err_context(&err, "context"), 0);
	assert_string_equal(err.text, "");
}

static void long_context_cuts_the_end(void **state)
{
	struct kms_err err = KMS_ERR_INIT;
	char text[KMS_ERR_TEXT_BYTES];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = '\0';
	kms_err_set(&err, -EIO, "%s", text);
	kms_err_context(&err, "store");
	assert_int_equal(strlen(err.text), KMS_ERR_TEXT_BYTES - 1);
	assert_memory_equal(err.text, "store: xxx", 10);
	assert_string_equal(err.text + KMS_ERR_TEXT_BYTES - 5, "x...");

	/* a context as long as the whole text leaves no room for the ": " behind it */
	kms_err_context(&err, "%s%s", text, text);
	assert_int_equal(strlen(err.text), KMS_ERR_TEXT_BYTES - 1);
	assert_string_equal(err.text + KMS_ERR_TEXT_BYTES - 5, "x...");
}

static void long_subject_keeps_its_end(void **state)
{
	struct kms_err err = KMS_ERR_INIT;
	char path[3 * KMS_ERR_SUBJECT_BYTES];

	(void)state;
	memset(path, 'd', sizeof(path) - 1);
	memcpy(path + sizeof(path) - 7, "/x.kms", 7);
	kms_err_set(&err, -EIO, "bad");
	kms_err_subject(&err, path);
	assert_int_equal(strlen(err.subject), KMS_ERR_SUBJECT_BYTES - 1);
	assert_memory_equal(err.subject, "...d", 4);
	assert_string_equal(err.subject + KMS_ERR_SUBJECT_BYTES - 7, "/x.kms");
}

static void subject_that_just_fits_is_whole(void **state)
{
	struct kms_err err = KMS_ERR_INIT;
	char path[KMS_ERR_SUBJECT_BYTES];

	(void)state;
	memset(path, 'd', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	kms_err_subject(&err, path);
	assert_string_equal(err.subject, path);
	kms_err_subject(&err, NULL);
	assert_string_equal(err.subject, path);
}

static void clear_makes_it_no_error(void **state)
{
	struct kms_err err = KMS_ERR_INIT;

	(void)state;
	kms_err_sys(&err, -EIO, "cannot read", "x");
	kms_err_clear(&err);
	assert_int_equal(err.code, 0);
	assert_string_equal(err.text, "");
	assert_string_equal(err.subject, "");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(set_keeps_code_and_text),
		cmocka_unit_test(set_without_a_struct_returns_the_code),
		cmocka_unit_test(set_replaces_what_was_there),
		cmocka_unit_test(set_may_quote_the_old_text),
		cmocka_unit_test(long_text_ends_in_dots),
		cmocka_unit_test(text_that_just_fits_is_whole),
		cmocka_unit_test(sys_says_what_the_code_means),
		cmocka_unit_test(context_goes_in_front),
		cmocka_unit_test(context_of_no_error_adds_nothing),
		cmocka_unit_test(long_context_cuts_the_end),
		cmocka_unit_test(long_subject_keeps_its_end),
		cmocka_unit_test(subject_that_just_fits_is_whole),
		cmocka_unit_test(clear_makes_it_no_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
