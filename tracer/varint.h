/* SPDX-License-Identifier: BSD-2-Clause */
/* LEB128 numbers and zigzag signs, as the trace file writes them. */
#ifndef KMS_TRACER_VARINT_H
#define KMS_TRACER_VARINT_H

#include <stdbool.h>
#include <stdint.h>

enum kms_varint_limits {
	KMS_VARINT_BYTES = 10, /* of the longest 64-bit number */
};

/** Writes a number and returns where the next byte goes. Shape: KMS_VARINT_BYTES of room. */
static inline uint8_t *kms_varint_put(uint8_t *out, uint64_t value)
{
	while (value >= 0x80) {
		*out++ = (uint8_t)(value | 0x80);
		value >>= 7;
	}
	*out++ = (uint8_t)value;
	return out;
}

/** Reads a number and moves *p behind it. False, with *p as it was: cut off or above 64 bits. */
static inline bool kms_varint_get(const uint8_t **p, const uint8_t *end, uint64_t *value)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < KMS_VARINT_BYTES && *p + i < end; i++) {
		uint64_t byte = (*p)[i];

		if (i == KMS_VARINT_BYTES - 1 && byte > 1)
			return false;
		v |= (byte & 0x7f) << (7 * i);
		if (byte < 0x80) {
			*p += i + 1;
			*value = v;
			return true;
		}
	}
	return false;
}

/** Small numbers of either sign become small numbers. */
static inline uint64_t kms_zigzag(int64_t value)
{
	return ((uint64_t)value << 1) ^ (uint64_t)(value >> 63);
}

static inline int64_t kms_unzigzag(uint64_t value)
{
	return (int64_t)(value >> 1) ^ -(int64_t)(value & 1);
}

#endif
