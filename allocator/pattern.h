/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bytes that nobody writes by accident. The redzone pattern depends on the address only, so that a
 * copy of one redzone over another is noticed. Constants are those of NetBSD's KMEM_REDZONE (2016);
 * as there, 0 is replaced so that a string's NUL is seen, but in every byte, not only in the first:
 * a redzone and the end of its slot may overlap by one byte.
 */
#ifndef KMS_ALLOCATOR_PATTERN_H
#define KMS_ALLOCATOR_PATTERN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KMS_PATTERN_FACTOR UINT64_C(0x9e37fffffffc0000)

enum kms_pattern_values {
	KMS_PATTERN_ZERO_BECOMES = 0xfe,
};

static inline uint8_t kms_pattern_byte(uintptr_t address)
{
	uint8_t byte = (uint8_t)((address * KMS_PATTERN_FACTOR) >> 56);

	return byte ? byte : KMS_PATTERN_ZERO_BECOMES;
}

/** The two redzone bytes at @address, low byte first. */
static inline uint16_t kms_pattern_redzone(uintptr_t address)
{
	uint64_t product = address * KMS_PATTERN_FACTOR;
	unsigned first = (unsigned)(product >> 56);
	unsigned second = (unsigned)((product + KMS_PATTERN_FACTOR) >> 56);

	first = first ? first : KMS_PATTERN_ZERO_BECOMES;
	second = second ? second : KMS_PATTERN_ZERO_BECOMES;
	return (uint16_t)(first | second << 8);
}

/** Writes the redzone at @p: 2 bytes. */
static inline void kms_redzone_fill(void *p)
{
	uint16_t v = kms_pattern_redzone((uintptr_t)p);

	__builtin_memcpy(p, &v, sizeof(v));
}

static inline bool kms_redzone_whole(const void *p)
{
	uint16_t v;

	__builtin_memcpy(&v, p, sizeof(v));
	return v == kms_pattern_redzone((uintptr_t)p);
}

/** Fills [p, p + bytes) with the pattern (front area, poison). */
void kms_pattern_fill(void *p, size_t bytes);

/** Offset of the first byte that is not the pattern, or @bytes. */
size_t kms_pattern_check(const void *p, size_t bytes);

#endif
