/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What walking and decoding a block share: the private padded copy, the shape of hot records, and
 * the table of the other ones. Private to block.c and block_decode.c.
 */
#ifndef KMS_TRACER_BLOCK_PARSE_H
#define KMS_TRACER_BLOCK_PARSE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "schema/record.h"
#include "schema/region.h"

enum kms_block_limits {
	KMS_RECORD_AREA_BYTES = KMS_PAGE_BYTES - 64,
	KMS_RECORD_PAD_BYTES = 32, /* a hot record is read in words, which may pass its end */
	KMS_CODE_OPERANDS = 5,
};

/* Numbers above these are impossible: 57-bit addresses, and sums that must not overflow. */
#define KMS_BLOCK_SIZE_MAX (UINT64_C(1) << 57)
#define KMS_BLOCK_TIME_MAX (UINT64_C(1) << 62)
#define KMS_BLOCK_SEQ_MAX  (UINT64_C(1) << 62)
#define KMS_BLOCK_LOST_MAX (UINT64_C(1) << 48)

/** The records of a block, with room behind them to read whole words. */
struct kms_block_text {
	uint8_t byte[KMS_RECORD_AREA_BYTES + KMS_RECORD_PAD_BYTES];
};

/** Copies the records in use. Shape: block->fill was checked. */
static inline void kms_block_text_init(struct kms_block_text *text, const struct kms_block *block)
{
	memcpy(text->byte, block->record, block->fill);
	memset(text->byte + block->fill, 0, KMS_RECORD_PAD_BYTES);
}

/** Bytes of a hot record by its tag; 0: not a hot record, or SAME without HIT. */
extern const uint8_t kms_hot_bytes[256];

static inline uint64_t kms_load_u64(const uint8_t *p)
{
	uint64_t value;

	memcpy(&value, p, sizeof(value));
	return value;
}

/** Offset of the address in a hot record. */
static inline unsigned kms_hot_address_at(unsigned tag)
{
	return tag & KMS_REC_HIT ? 2 : 5;
}

static inline unsigned kms_hot_address_bits(unsigned tag)
{
	return 8u << ((tag >> KMS_REC_ADDR_SHIFT) & 3);
}

/** Address of the hot record at p; previous: of the hot record before it. */
static inline uint64_t kms_hot_address(const uint8_t *p, unsigned tag, uint64_t previous)
{
	unsigned bits = kms_hot_address_bits(tag);
	uint64_t raw = kms_load_u64(p + kms_hot_address_at(tag));
	int64_t delta = (int64_t)(raw << (64 - bits)) >> (64 - bits);

	return bits == 64 ? raw : (previous & ~UINT64_C(7)) + (uint64_t)delta * KMS_ADDR_UNIT_BYTES;
}

/** Size in the hot record at p, which must not be SAME. */
static inline uint64_t kms_hot_size(const uint8_t *p, unsigned tag)
{
	unsigned at = kms_hot_address_at(tag) + kms_hot_address_bits(tag) / 8;
	unsigned bits = 8u << (tag >> KMS_REC_SIZE_SHIFT);

	return kms_load_u64(p + at) & UINT64_MAX >> (64 - bits);
}

/** Whether a hot record has a size of eight bytes, the only one that can be impossible. */
static inline bool kms_hot_size_is_wide(unsigned tag)
{
	return !(tag & KMS_REC_SAME) && tag >> KMS_REC_SIZE_SHIFT == 3;
}

/** Stack node of a hot record that is no HIT; 0 for one that is. */
static inline uint32_t kms_hot_node(const uint8_t *p, unsigned tag)
{
	uint32_t raw;

	memcpy(&raw, p + 2, sizeof(raw));
	return tag & KMS_REC_HIT ? 0 : raw & 0xffffff;
}

/** A record of form 0, operands within their limits. */
struct kms_code_record {
	unsigned code; /* enum kms_record_code */
	uint64_t operand[KMS_CODE_OPERANDS];
};

/** Roles of the records of form 0. */
enum kms_code_role {
	KMS_ROLE_NONE = 0, /* no such record */
	KMS_ROLE_STATE,    /* TIME, CHECKS, RESUME: stands alone, is no event */
	KMS_ROLE_PREFIX,   /* GEN, FLAGS, CACHE */
	KMS_ROLE_EVENT,
};

/** What one code is; rows by enum kms_record_code. */
struct kms_code_form {
	uint8_t role;    /* enum kms_code_role */
	uint8_t is_byte; /* its one operand is a byte, no varint */
	uint8_t n_operands;
	uint8_t event; /* enum kms_event_kind */
	uint64_t max[KMS_CODE_OPERANDS];
};

extern const struct kms_code_form kms_code_forms[KMS_REC_CODES];

enum kms_parse_result {
	KMS_PARSE_OK = 0,
	KMS_PARSE_TRUNCATED,
	KMS_PARSE_MALFORMED,
};

/**
 * Reads the record of form 0 at *p and moves *p behind it.
 *
 * Shape: *p < end. On failure *p stays.
 */
enum kms_parse_result kms_code_parse(const uint8_t **p, const uint8_t *end,
				     struct kms_code_record *out);

/** Whether every field of a block's header is within its limits; fill included. */
bool kms_block_header_ok(const struct kms_block *block);

/** Address that an event of form 0 is about; false if it has none. */
bool kms_code_address(const struct kms_code_record *record, uint64_t *address);

/** Stack node that a record of form 0 names, 0 none. */
uint32_t kms_code_node(const struct kms_code_record *record);

#endif
