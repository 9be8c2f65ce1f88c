/*
 * Error structs: see err.h.
 */
#include "base/err.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const char cut_mark[] = "...";

/* Marks a text of `want` bytes as cut if a buffer of `size` could not hold it. */
static void mark_cut(char *text, size_t size, int want)
{
	if (want >= 0 && (size_t)want >= size)
		memcpy(text + size - sizeof(cut_mark), cut_mark, sizeof(cut_mark));
}

int kms_err_setv(struct kms_err *err, int code, const char *fmt, va_list args)
{
	/* Formatted aside: an argument may point into err itself. */
	char text[KMS_ERR_TEXT_BYTES];
	int want;

	if (!err)
		return code;
	want = vsnprintf(text, sizeof(text), fmt, args);
	if (want < 0)
		text[0] = '\0';
	mark_cut(text, sizeof(text), want);
	err->code = code;
	err->subject[0] = '\0';
	memcpy(err->text, text, sizeof(text));
	return code;
}

int kms_err_set(struct kms_err *err, int code, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	(void)kms_err_setv(err, code, fmt, args); /* returns the code we have */
	va_end(args);
	return code;
}

int kms_err_sys(struct kms_err *err, int code, const char *what, const char *subject)
{
	char reason[128];

	if (!err)
		return code;
	(void)kms_err_set(err, code, "%s: %s", what, strerror_r(-code, reason, sizeof(reason)));
	kms_err_subject(err, subject);
	return code;
}

int kms_err_context(struct kms_err *err, const char *fmt, ...)
{
	char text[KMS_ERR_TEXT_BYTES];
	va_list args;
	size_t used;
	int want;

	if (!err || err->code == 0)
		return 0;
	va_start(args, fmt);
	want = vsnprintf(text, sizeof(text), fmt, args);
	va_end(args);
	if (want < 0)
		return err->code;
	mark_cut(text, sizeof(text), want);
	used = strlen(text);
	want = snprintf(text + used, sizeof(text) - used, ": %s", err->text);
	mark_cut(text, sizeof(text), (int)used + want);
	memcpy(err->text, text, sizeof(text));
	return err->code;
}

void kms_err_subject(struct kms_err *err, const char *subject)
{
	size_t bytes;

	if (!err || !subject)
		return;
	bytes = strlen(subject);
	if (bytes < sizeof(err->subject)) {
		memmove(err->subject, subject, bytes + 1);
		return;
	}
	/* "..." and the last part, its NUL included */
	memmove(err->subject + sizeof(cut_mark) - 1,
		subject + bytes + 1 - (sizeof(err->subject) - sizeof(cut_mark) + 1),
		sizeof(err->subject) - sizeof(cut_mark) + 1);
	memcpy(err->subject, cut_mark, sizeof(cut_mark) - 1);
}

void kms_err_clear(struct kms_err *err)
{
	if (!err)
		return;
	err->code = 0;
	err->text[0] = '\0';
	err->subject[0] = '\0';
}
