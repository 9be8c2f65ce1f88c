/*
 * What went wrong, for a person to read.
 *
 * A struct kms_err lives on the caller's stack, has a fixed size and never allocates, so that it can
 * carry "out of memory" as well as anything else. Functions that can say more than a number take one
 * as their last argument; it may be NULL. The number itself is always the return value: 0 or a
 * negative errno.
 */
#ifndef KMS_BASE_ERR_H
#define KMS_BASE_ERR_H

#include <stdarg.h>

enum {
	KMS_ERR_TEXT_BYTES = 256,
	KMS_ERR_SUBJECT_BYTES = 128,
};

/**
 * One failure.
 *
 * Shape:  text and subject are NUL-terminated whatever was put in; a text too long ends in "...".
 *         An all-zero struct (KMS_ERR_INIT) is "no error".
 */
struct kms_err {
	int code;                            /* 0 or a negative errno */
	char text[KMS_ERR_TEXT_BYTES];       /* one line, no full stop, outermost context first */
	char subject[KMS_ERR_SUBJECT_BYTES]; /* a path, a variable, an address; or "" */
};

/** "No error", to begin with. */
#define KMS_ERR_INIT ((struct kms_err){0})

/**
 * Records a failure and hands its code back, for `return kms_err_set(err, -ENOENT, "...")`.
 *
 * The text is formatted as by printf; "%m" is errno's text as usual. What err held before is lost.
 *
 * Shape:  err may be NULL: then only the code is returned. code is 0 or negative.
 */
int kms_err_set(struct kms_err *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/** kms_err_set for an argument list that the caller has already begun. */
int kms_err_setv(struct kms_err *err, int code, const char *fmt, va_list args)
	__attribute__((format(printf, 3, 0)));

/**
 * Records a failed system call: the text is "<what>: <text of the code>", the subject as given.
 *
 * Shape:  code is the negative errno that the call left; what and subject do not point into err;
 *         subject may be NULL.
 */
int kms_err_sys(struct kms_err *err, int code, const char *what, const char *subject);

/**
 * Puts "<context>: " in front of the text, once per layer that has something to add.
 *
 * Returns err's code, and 0 where err is NULL: whoever's err may be that returns its own result. Does
 * nothing to an err that holds no error.
 * Where the text would become too long its end is cut, not the context.
 */
int kms_err_context(struct kms_err *err, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/**
 * Names what the failure is about. A subject too long keeps its end, where a path is telling.
 *
 * Shape:  err and subject may be NULL: then nothing happens.
 */
void kms_err_subject(struct kms_err *err, const char *subject);

/** Back to "no error". */
void kms_err_clear(struct kms_err *err);

#endif
