/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What was live when recording began: the base of a session (schema/record.h), read from the side
 * tables of the process.
 *
 * Its entries go the way of a region's tables: in batches to store and model, in rows of region_pages
 * to the file and back. They are no records, because nothing happened when they were read: they have no
 * time, no sequence and no ring, and `events` and the sums of `rings` stay what the process did. Nor are
 * they an event's order: an entry says what was there when the session began, whenever it is read, if
 * no event of the session says otherwise (model_base.c). So it does not matter how far the rings were
 * read meanwhile, and a replay, which has the tables first, comes to the same picture.
 */
#ifndef KMS_TRACER_BASE_ENTRY_H
#define KMS_TRACER_BASE_ENTRY_H

#include <stdint.h>

#include "schema/region.h"

/** Its number among the tables of an image, beside enum kms_section_kind. */
#define KMS_TABLE_BASE 32u

enum kms_base_kind {
	KMS_BASE_BEGIN = 1, /* of a session's base: @address region time, @size first session of the
			     * region */
	KMS_BASE_SPAN =
		2, /* a slab: @address base, @size pages, @stack bytes of a block, 0 one fills
			     * it; @first bytes before the first one */
	KMS_BASE_BLOCK = 3, /* a live block: @address, @size requested, @stack of its allocation, 0
			     * unknown; @first KMS_BASE_GENERATION and its generation, 0 unknown */
	KMS_BASE_END = 4,   /* @size blocks there were; @first: 1 if some could not be read */
};

/** In @first of a block: all that happened at its address was recorded, and counted. */
#define KMS_BASE_GENERATION 0x100u

struct kms_base_entry {
	kms_u64 address;
	kms_u64 size;
	uint32_t stack;
	uint32_t first;
	uint32_t target;
	uint32_t flags; /* KMS_CHECK_*, KMS_ATTR_* of the block */
	uint16_t cache;
	uint8_t session;   /* of which it is the base */
	uint8_t kind;      /* enum kms_base_kind; 0 no entry */
	uint32_t is_large; /* block: the only one of its span */
};

#endif
