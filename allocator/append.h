/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writer of one append-only table of the shared region: for stack capture, which knows the region
 * but not the heap. Any thread or signal handler of any process of the image may append.
 */
#ifndef KMS_ALLOCATOR_APPEND_H
#define KMS_ALLOCATOR_APPEND_H

#include <stddef.h>
#include <stdint.h>

#include "schema/region.h"

/** A process's view of a table. All constant but @backed_bytes; zeroed: a table without room. */
struct kms_append {
	uint8_t *base;
	kms_u64 *used;       /* in the region */
	uint32_t *lost;      /* header.lost_tables */
	uint32_t *no_memory; /* header.no_memory */
	uint64_t entries;
	uint32_t entry_bytes;
	uint64_t backed_bytes; /* the first so many have memory behind them; atomic */
};

/** Finds the table in the region's header; a table without room if it has none. */
void kms_append_open(struct kms_append *append, struct kms_region_header *region,
		     enum kms_section_kind kind);

/**
 * Takes @count entries in a row, with memory behind them. The caller fills them in and stores their
 * ready word last. Readers look at what is taken: so memory comes first.
 *
 * Errors: KMS_NO_INDEX when the table (or the file system) is full; counted in lost_tables
 */
uint32_t kms_append_take(struct kms_append *append, uint32_t count);

/** Appends a string of at most @max_bytes; its index or KMS_NO_INDEX. For KMS_SEC_STRING. */
uint32_t kms_append_string(struct kms_append *append, const char *text, size_t max_bytes);

static inline void *kms_append_entry(const struct kms_append *append, uint32_t index)
{
	return append->base + (uint64_t)index * append->entry_bytes;
}

#endif
