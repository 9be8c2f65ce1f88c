/* SPDX-License-Identifier: BSD-2-Clause */
/* One decoded event; the output of tracer/block.h. */
#ifndef KMS_TRACER_EVENT_H
#define KMS_TRACER_EVENT_H

#include <stdint.h>

#include "schema/record.h"

/**
 * Decoded from a block, every field range-checked. @value is kind-dependent: the fault, module,
 * thread or string index, the child's slot, the count of lost events, the pages of a slab (its
 * bytes are @size then).
 */
struct kms_event {
	uint64_t time_ns; /* region time */
	uint64_t address;
	uint64_t size;
	uint64_t value;
	uint64_t value2; /* slab_grow: stride */
	uint64_t ring_seq;
	uint32_t kind;   /* enum kms_event_kind */
	uint32_t stack;  /* node index in the image, 0 none */
	uint32_t flags;  /* checks in the low byte, attributes in the high one */
	uint32_t thread; /* thread table index */
	uint32_t cache;  /* of slab_grow, slab_release, and a block whose record says it; else
			  * KMS_NO_INDEX */
	uint32_t offset; /* byte offset of the record in the block, its prefixes included */
	uint16_t index;  /* ordinal in the block */
	uint8_t level;
	uint8_t generation; /* valid if has_generation */
	uint8_t has_generation;
	uint8_t session;      /* of recording, KMS_REC_RESUME */
	uint16_t first_bytes; /* slab_grow: offset of the slab's first object */
};

#endif
