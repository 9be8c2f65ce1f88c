/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where the next page of a list begins, as an opaque word that a client hands back.
 *
 * A cursor holds the key of the last row sent, never an offset, so rows that come and go in between
 * do not shift a page. It also holds the run and the filters it was made for: another run, or other
 * filters, and it is refused.
 */
#ifndef KMS_SERVER_CURSOR_H
#define KMS_SERVER_CURSOR_H

#include <stdint.h>

enum kms_cursor_limits {
	KMS_CURSOR_KEYS = 3,        /* words of a key, most significant first */
	KMS_CURSOR_TEXT_BYTES = 64, /* with its NUL */
};

struct kms_cursor {
	uint64_t run;                  /* start of the run, wall clock */
	uint64_t filter;               /* hash of route and filters */
	uint64_t key[KMS_CURSOR_KEYS]; /* of the last row sent */
};

/** Writes a cursor as base64url; the result fits a URL as it is. */
void kms_cursor_write(const struct kms_cursor *cursor, char text[KMS_CURSOR_TEXT_BYTES]);

/** Reads one back. Errors: -EINVAL: not a cursor of ours, or damaged; *cursor is unchanged. */
int kms_cursor_read(const char *text, struct kms_cursor *cursor);

#endif
