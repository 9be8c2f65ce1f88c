/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/pattern.h"

void kms_pattern_fill(void *p, size_t bytes)
{
	uint8_t *byte = p;

	for (size_t i = 0; i < bytes; i++)
		byte[i] = kms_pattern_byte((uintptr_t)&byte[i]);
}

size_t kms_pattern_check(const void *p, size_t bytes)
{
	const uint8_t *byte = p;

	for (size_t i = 0; i < bytes; i++) {
		if (byte[i] != kms_pattern_byte((uintptr_t)&byte[i]))
			return i;
	}
	return bytes;
}
