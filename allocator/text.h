/* SPDX-License-Identifier: BSD-2-Clause */
/* A bounded line of text, for fault messages; no libc. */
#ifndef KMS_ALLOCATOR_TEXT_H
#define KMS_ALLOCATOR_TEXT_H

#include <stddef.h>
#include <stdint.h>

struct kms_text {
	size_t length;
	char buffer[192]; /* always NUL-terminated */
};

static inline void kms_text_add(struct kms_text *t, const char *s)
{
	while (*s && t->length + 1 < sizeof(t->buffer))
		t->buffer[t->length++] = *s++;
	t->buffer[t->length] = '\0';
}

/** Unsigned number in @base (10 or 16) with at least @width digits. */
static inline void kms_text_number(struct kms_text *t, uint64_t v, unsigned base, unsigned width)
{
	char digits[24];
	unsigned n = sizeof(digits);

	digits[--n] = '\0';
	do {
		digits[--n] = "0123456789abcdef"[v % base];
		v /= base;
	} while (n && (v || sizeof(digits) - 1 - n < width));
	kms_text_add(t, digits + n);
}

/** Address as printf's %p. */
static inline void kms_text_pointer(struct kms_text *t, uintptr_t p)
{
	kms_text_add(t, "0x");
	kms_text_number(t, p, 16, 1);
}

#endif
