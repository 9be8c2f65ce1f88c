/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Physical memory, page by page, and the promises that pages will be there (commitments): what was
 * opened can be touched, at any time and from anywhere, because it was counted when it was opened.
 */
#ifndef KMS_ALLOCATOR_GUEST_MEMORY_H
#define KMS_ALLOCATOR_GUEST_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocator/guest/layout.h"

enum kms_memory_units {
	KMS_GUEST_PAGE = 4096,
	KMS_GUEST_LARGE_PAGE = 2 << 20,
};

/** Where a physical address can be read and written. */
static inline void *kms_direct(uint64_t physical)
{
	return (void *)(uintptr_t)(KMS_GUEST_DIRECT_BASE + physical);
}

/** The opposite, of a direct address or one of the image. */
static inline uint64_t kms_physical(const void *p)
{
	uintptr_t address = (uintptr_t)p;

	return address >= KMS_GUEST_IMAGE_BASE ? address - KMS_GUEST_IMAGE_BASE
					       : address - KMS_GUEST_DIRECT_BASE;
}

/** RAM from @start to @end (physical) is free. At boot, once for each stretch; of those below
 * 4 GiB the largest counts. */
void kms_memory_add(uint64_t start, uint64_t end);

/** Zeroed pages in a row, for ever; NULL if there are not so many. At boot, and for tables. */
void *kms_memory_row(size_t bytes);

/** Promises @pages; false if they are not there. Lets go of a promise. */
bool kms_memory_commit(size_t pages);
void kms_memory_uncommit(size_t pages);

/** A zeroed page that was promised. It is only given when there is one: dies otherwise. */
uint64_t kms_memory_page(void);
void kms_memory_page_free(uint64_t physical);

/** Bytes of RAM that we know of, and of those that nobody was promised. */
uint64_t kms_memory_bytes(void);
uint64_t kms_memory_free_bytes(void);

#endif
