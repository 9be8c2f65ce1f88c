/*
 * A text that grows while it is written, up to a limit.
 *
 * Adding never fails visibly: what no longer fits (limit) or cannot be had (memory) is left out, the
 * buffer remembers it, and the writer asks once at the end with kms_buf_status(). After the first
 * piece left out nothing more is added, so the text is always a prefix of the one that was meant.
 *
 * The text may hold NUL bytes if the writer adds some; it always has one behind its end.
 */
#ifndef KMS_BASE_BUF_H
#define KMS_BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>

/**
 * The buffer; on the caller's stack or in its struct. Fields are for reading only.
 *
 * Owner:  the memory behind text belongs to the buffer until kms_buf_deinit() or kms_buf_take().
 * Locks:  one thread at a time.
 */
struct kms_buf {
	char *text;         /* used bytes and a NUL; NULL as long as nothing was added */
	size_t used_bytes;  /* without the NUL */
	size_t room_bytes;  /* allocated behind text; used_bytes < room_bytes once text is there */
	size_t limit_bytes; /* used_bytes never exceeds this */
	bool truncated;     /* something was left out because of limit_bytes */
	bool oom;           /* something was left out because there was no memory */
};

/** An empty buffer of at most limit_bytes bytes of text. Allocates nothing. */
void kms_buf_init(struct kms_buf *buf, size_t limit_bytes);

/** Frees the text. The buffer may be initialised again; an all-zero buffer needs no deinit. */
void kms_buf_deinit(struct kms_buf *buf);

/** Empties the buffer and forgets failures; memory and limit stay. */
void kms_buf_reset(struct kms_buf *buf);

/** Adds n bytes as they are. bytes may be NULL if n is 0. */
void kms_buf_add(struct kms_buf *buf, const void *bytes, size_t n);

/** Adds a NUL-terminated string as it is. */
void kms_buf_add_str(struct kms_buf *buf, const char *str);

/** Adds one byte. */
void kms_buf_add_char(struct kms_buf *buf, char c);

/** Adds formatted text as by printf. Arguments must not point into the buffer. */
void kms_buf_addf(struct kms_buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** kms_buf_addf() for an argument list that the caller has already begun. */
void kms_buf_addv(struct kms_buf *buf, const char *fmt, va_list args)
	__attribute__((format(printf, 2, 0)));

/**
 * Adds n bytes of foreign text as one JSON string, quotes included.
 *
 * The result is valid JSON and valid UTF-8 whatever came in, and harmless on a terminal and inside an
 * HTML script element: quotes and backslashes are escaped; control characters (C0, DEL, C1), line and
 * paragraph separators, characters that change the writing direction, and < become \uXXXX; each byte
 * that is not part of valid UTF-8 becomes U+FFFD.
 */
void kms_buf_add_json(struct kms_buf *buf, const char *str, size_t n);

/**
 * Adds n bytes of foreign text for a line that people read: the characters that kms_buf_add_json()
 * would write as \uXXXX, and bytes that are not valid UTF-8, each become U+FFFD. Nothing is quoted.
 */
void kms_buf_add_printable(struct kms_buf *buf, const char *str, size_t n);

/** The text so far, NUL-terminated, "" at first. Borrowed until the next call on the buffer. */
const char *kms_buf_text(const struct kms_buf *buf);

/** 0 if the text is whole, -ENOMEM or -E2BIG if a piece was left out for want of memory or room. */
int kms_buf_status(const struct kms_buf *buf);

/**
 * Hands the text over and leaves the buffer empty, failures forgotten.
 *
 * Owner:  the caller frees it with free().
 * Errors: NULL if there was no memory even for an empty string. Ask kms_buf_status() before.
 */
char *kms_buf_take(struct kms_buf *buf);

#endif
