/*
 * Hashes for tables in memory. Not for files (the values may change between versions) and not for
 * security; where keys come from a hostile side, take the seed from getrandom(2).
 */
#ifndef KMS_BASE_HASH_H
#define KMS_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

/**
 * Mixes 64 bits: each input bit flips each output bit with a probability near one half.
 *
 * One to one, and 0 stays 0. Take the low bits for a table of 2^n.
 *
 * Source: xor-shift and multiplication, three rounds; the factors are the first 64 binary digits of
 *         the fractions of the golden ratio and of the square roots of 2 and 3, all odd. Tested for
 *         avalanche in test/test_small.c.
 */
static inline uint64_t kms_hash_u64(uint64_t x)
{
	x ^= x >> 32;
	x *= UINT64_C(0x9e3779b97f4a7c15);
	x ^= x >> 29;
	x *= UINT64_C(0x6a09e667f3bcc909);
	x ^= x >> 32;
	x *= UINT64_C(0xbb67ae8584caa73b);
	x ^= x >> 29;
	return x;
}

/** Joins a hash with one more number; the order counts. */
static inline uint64_t kms_hash_join(uint64_t hash, uint64_t x)
{
	return kms_hash_u64(hash + UINT64_C(0x9e3779b97f4a7c15) + kms_hash_u64(x));
}

/** Hashes n bytes; bytes may be NULL if n is 0. Inputs that differ only in length differ. */
static inline uint64_t kms_hash_bytes(const void *bytes, size_t n, uint64_t seed)
{
	const unsigned char *p = bytes;
	uint64_t hash = kms_hash_join(seed, n);
	uint64_t word;

	for (; n >= sizeof(word); n -= sizeof(word), p += sizeof(word)) {
		__builtin_memcpy(&word, p, sizeof(word));
		hash = kms_hash_join(hash, word);
	}
	word = 0;
	for (size_t i = 0; i < n; i++)
		word = word << 8 | p[i];
	return n ? kms_hash_join(hash, word) : hash;
}

#endif
