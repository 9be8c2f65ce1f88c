/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/preload/early.h"

#include <stdint.h>

enum {
	EARLY_BYTES = 256 << 10,
	EARLY_ALIGN = 16,
};

/* A size_t stands before each block. */
static _Alignas(64) uint8_t supply[EARLY_BYTES];
static size_t used;

void *kms_early_alloc(size_t size, size_t align)
{
	size_t start, end, old = __atomic_load_n(&used, __ATOMIC_RELAXED);
	uint8_t *p;

	if (align < EARLY_ALIGN)
		align = EARLY_ALIGN;
	if (size > EARLY_BYTES || align > EARLY_BYTES)
		return NULL;
	do {
		uintptr_t base = (uintptr_t)supply + old + sizeof(size_t);

		start = ((base + align - 1) & ~(uintptr_t)(align - 1)) - (uintptr_t)supply;
		end = start + size;
		if (end > EARLY_BYTES)
			return NULL;
	} while (!__atomic_compare_exchange_n(&used, &old, end, false, __ATOMIC_ACQ_REL,
					      __ATOMIC_RELAXED));
	p = supply + start;
	__builtin_memcpy(p - sizeof(size_t), &size, sizeof(size));
	return p;
}

bool kms_early_owns(const void *p)
{
	return (uintptr_t)p - (uintptr_t)supply < EARLY_BYTES;
}

size_t kms_early_size(const void *p)
{
	size_t size;

	__builtin_memcpy(&size, (const uint8_t *)p - sizeof(size), sizeof(size));
	return size;
}
