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

/*
 * Zeros are rare, so that a branch is cheaper than what the compiler would make of it; the empty
 * statement keeps it one.
 */
static inline uint64_t kms_pattern_no_zero(uint64_t byte)
{
	if (__builtin_expect(!byte, 0)) {
		__asm__("");
		byte = KMS_PATTERN_ZERO_BECOMES;
	}
	return byte;
}

/** The two redzone bytes at @address, low byte first. One multiplication gives both. */
static inline uint16_t kms_pattern_redzone(uintptr_t address)
{
	uint64_t product = address * KMS_PATTERN_FACTOR;
	uint64_t first = kms_pattern_no_zero(product >> 56);
	uint64_t second = kms_pattern_no_zero((product + KMS_PATTERN_FACTOR) >> 56);

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

/** Is there a byte of the pattern? */
static inline bool kms_pattern_at(const uint8_t *p)
{
	return *p == kms_pattern_no_zero(((uintptr_t)p * KMS_PATTERN_FACTOR) >> 56);
}

/** Fills [p, p + bytes) with the pattern (front area, poison). */
void kms_pattern_fill(void *p, size_t bytes);

/** Offset of the first byte that is not the pattern, or @bytes. */
size_t kms_pattern_check(const void *p, size_t bytes);

#endif
