/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Size classes of the two fronts. malloc: 16 to 128 by 16, then four a doubling to 64 KiB.
 * kmem(9): NetBSD's table, one cache per row up to a page.
 */
#ifndef KMS_ALLOCATOR_SIZECLASS_H
#define KMS_ALLOCATOR_SIZECLASS_H

#include <stddef.h>
#include <stdint.h>

#include "allocator/impl.h"

/** Class of the malloc front for @need bytes, 1 <= need <= KMS_MALLOC_MAX_BYTES. */
static inline unsigned kms_malloc_class(size_t need)
{
	unsigned shift;

	if (need <= 128)
		return (unsigned)((need + 15) >> 4) - 1;
	shift = 63u - (unsigned)__builtin_clzll(need - 1);
	return 8 + (shift - 7) * 4 + (unsigned)((need - 1) >> (shift - 2)) - 4;
}

/** Stride of a class of the malloc front. */
static inline uint32_t kms_malloc_class_bytes(unsigned cls)
{
	if (cls < 8)
		return (cls + 1) * 16;
	return (5 + (cls & 3)) << (5 + (cls - 8) / 4);
}

/** The kmem(9) cache sizes, in ascending order. */
#define KMS_KMEM_SIZES                                                                             \
	{                                                                                          \
		8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384,     \
			448, 512, 768, 1024, 2048, 4096                                            \
	}

/** What the checks add to a kmem(9) request of @size bytes: header, and room for the redzone. */
static inline size_t kms_kmem_internal_bytes(size_t size, uint32_t checks)
{
	size_t rounded = (size + KMS_KMEM_ALIGN - 1) & ~(size_t)(KMS_KMEM_ALIGN - 1);

	if (checks & KMS_CHECK_REDZONE && rounded - size < KMS_REDZONE_BYTES)
		rounded += KMS_KMEM_ALIGN;
	return rounded + (checks & KMS_CHECK_HEADER ? KMS_HEADER_BYTES : 0);
}

#endif
