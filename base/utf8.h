/*
 * UTF-8 in names that come from elsewhere: which bytes form a character, and which characters must
 * not reach a terminal or a log as they are.
 */
#ifndef KMS_BASE_UTF8_H
#define KMS_BASE_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What kms_utf8_decode() gives for a byte that is not part of a valid sequence. */
#define KMS_UTF8_INVALID UINT32_MAX

/**
 * Decodes the character at the start of n bytes.
 *
 * Overlong forms, surrogates, values above U+10FFFF and cut sequences are invalid.
 *
 * Shape:  n is at least 1. Returns the bytes used, 1 to 4; always 1 with *c KMS_UTF8_INVALID.
 * Source: Unicode 15, table 3-7 (well-formed byte sequences)
 */
size_t kms_utf8_decode(const char *bytes, size_t n, uint32_t *c);

/**
 * Whether a character could move the cursor, start an escape sequence, break a line or reverse the
 * writing direction: C0, DEL and C1 controls, U+2028, U+2029, and the bidirectional controls.
 */
bool kms_utf8_is_unsafe(uint32_t c);

#endif
