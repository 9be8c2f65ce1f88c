/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/filter.h"

#include <string.h>

#include "tracer/varint.h"

enum filter_form {
	FORM_ALL = 0,
	FORM_LIST = 1,
	FORM_BLOOM = 2,
	BLOOM_BITS_EACH = 10,
	BLOOM_HASHES = 7, /* best for 10 bits: 10 * ln 2 */
	BLOOM_HEAD = 2,
};

/* Part of the file format: must never change, whatever base/hash.h does. Factors as there: digits of
 * the golden ratio and of the square root of 2. */
static uint64_t mix(uint64_t x)
{
	x = (x ^ x >> 32) * UINT64_C(0x9e3779b97f4a7c15);
	x = (x ^ x >> 29) * UINT64_C(0x6a09e667f3bcc909);
	return x ^ x >> 32;
}

static size_t bloom_bytes(size_t n)
{
	return (n * BLOOM_BITS_EACH + 7) / 8;
}

size_t kms_filter_room(size_t n)
{
	return BLOOM_HEAD + KMS_VARINT_BYTES * 3 + bloom_bytes(n);
}

static uint64_t bloom_bit(uint64_t hash, unsigned i, uint64_t bits)
{
	uint32_t at = (uint32_t)hash + i * ((uint32_t)(hash >> 32) | 1);

	return at * bits >> 32;
}

static size_t bloom_write(const uint64_t *number, size_t n, uint8_t *out)
{
	size_t bytes = bloom_bytes(n);

	out[0] = FORM_BLOOM;
	out[1] = BLOOM_HASHES;
	out += BLOOM_HEAD;
	memset(out, 0, bytes);
	for (size_t i = 0; i < n; i++) {
		uint64_t hash = mix(number[i]);

		for (unsigned k = 0; k < BLOOM_HASHES; k++) {
			uint64_t bit = bloom_bit(hash, k, bytes * 8);

			out[bit >> 3] |= (uint8_t)(1u << (bit & 7));
		}
	}
	return BLOOM_HEAD + bytes;
}

/* Stops early, returning 0, once the list is longer than @limit. */
static size_t list_write(const uint64_t *sorted, size_t n, uint8_t *out, size_t limit)
{
	uint8_t *p = out;
	uint64_t previous = 0;

	*p++ = FORM_LIST;
	p = kms_varint_put(p, n);
	for (size_t i = 0; i < n; i++) {
		if ((size_t)(p - out) > limit)
			return 0;
		p = kms_varint_put(p, sorted[i] - previous);
		previous = sorted[i];
	}
	return (size_t)(p - out);
}

size_t kms_filter_write(const uint64_t *sorted, size_t n, uint8_t *out)
{
	size_t bytes = list_write(sorted, n, out, BLOOM_HEAD + bloom_bytes(n) + KMS_VARINT_BYTES);

	return bytes ? bytes : bloom_write(sorted, n, out);
}

static bool list_contains(const uint8_t *p, const uint8_t *end, uint64_t number)
{
	uint64_t n, step, at = 0;

	if (!kms_varint_get(&p, end, &n))
		return true;
	for (uint64_t i = 0; i < n; i++) {
		if (!kms_varint_get(&p, end, &step))
			return true;
		at += step;
		if (at >= number)
			return at == number;
	}
	return false;
}

static bool bloom_contains(const uint8_t *bits, size_t bytes, unsigned hashes, uint64_t number)
{
	uint64_t hash = mix(number);

	for (unsigned k = 0; k < hashes; k++) {
		uint64_t bit = bloom_bit(hash, k, bytes * 8);

		if (!(bits[bit >> 3] >> (bit & 7) & 1))
			return false;
	}
	return true;
}

bool kms_filter_may_contain(const void *filter, size_t bytes, uint64_t number)
{
	const uint8_t *p = filter;

	if (bytes < BLOOM_HEAD)
		return true;
	if (p[0] == FORM_LIST)
		return list_contains(p + 1, p + bytes, number);
	if (p[0] == FORM_BLOOM && bytes > BLOOM_HEAD)
		return bloom_contains(p + BLOOM_HEAD, bytes - BLOOM_HEAD, p[1], number);
	return true;
}
