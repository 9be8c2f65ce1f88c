/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Shapes of records: see block_parse.h and schema/record.h.
 */
#include "tracer/block_parse.h"

/* Length of a hot record from its tag, in a form that is a constant expression. */
#define IS_HOT(t)  (((t)&KMS_REC_FORM_MASK) == 1 || ((t)&KMS_REC_FORM_MASK) == 2)
#define IS_BAD(t)  (((t)&KMS_REC_SAME) && !((t)&KMS_REC_HIT))
#define NODE(t)    ((t)&KMS_REC_HIT ? 0 : 3)
#define ADDRESS(t) (1 << (((t) >> KMS_REC_ADDR_SHIFT) & 3))
#define SIZE(t)    ((t)&KMS_REC_SAME ? 0 : 1 << (((t) >> KMS_REC_SIZE_SHIFT) & 3))
#define BYTES(t)   (IS_HOT(t) && !IS_BAD(t) ? 2 + NODE(t) + ADDRESS(t) + SIZE(t) : 0)
#define BYTES4(t)  BYTES(t), BYTES((t) + 1), BYTES((t) + 2), BYTES((t) + 3)
#define BYTES16(t) BYTES4(t), BYTES4((t) + 4), BYTES4((t) + 8), BYTES4((t) + 12)
#define BYTES64(t) BYTES16(t), BYTES16((t) + 16), BYTES16((t) + 32), BYTES16((t) + 48)

const uint8_t kms_hot_bytes[256] = {BYTES64(0), BYTES64(64), BYTES64(128), BYTES64(192)};

#define NODE_MAX     (KMS_MAX_NODES - 1)
#define CACHE_MAX    (KMS_MAX_CACHES - 1)
#define STRING_MAX   (KMS_MAX_STRING_BYTES / 8 - 1)
#define PAGE_NUM_MAX ((UINT64_C(1) << 52) - 1)
#define PAGES_MAX    (KMS_BLOCK_SIZE_MAX / KMS_PAGE_BYTES)
#define ALL_CHECKS                                                                                 \
	(KMS_CHECK_SIZE | KMS_CHECK_REDZONE | KMS_CHECK_POISON | KMS_CHECK_GUARD | KMS_CHECK_HEADER)

#define EVENT(kind_, operands_, ...)                                                               \
	{                                                                                          \
		.role = KMS_ROLE_EVENT, .event = (kind_), .n_operands = (operands_),               \
		.max = { __VA_ARGS__ }                                                             \
	}
#define BYTE(role_, max_)                                                                          \
	{                                                                                          \
		.role = (role_), .is_byte = 1, .n_operands = 1, .max = { max_ }                    \
	}

const struct kms_code_form kms_code_forms[KMS_REC_CODES] = {
	[KMS_REC_TIME] = {.role = KMS_ROLE_STATE, .n_operands = 1, .max = {KMS_BLOCK_TIME_MAX}},
	[KMS_REC_GEN] = BYTE(KMS_ROLE_PREFIX, UINT8_MAX),
	[KMS_REC_FLAGS] = BYTE(KMS_ROLE_PREFIX, UINT8_MAX),
	[KMS_REC_CHECKS] = BYTE(KMS_ROLE_STATE, ALL_CHECKS),
	[KMS_REC_RESUME] = BYTE(KMS_ROLE_STATE, UINT8_MAX),
	[KMS_REC_CACHE] = BYTE(KMS_ROLE_PREFIX, CACHE_MAX),
	[KMS_REC_ALLOC_FAILED] = EVENT(KMS_EVENT_ALLOC_FAILED, 2, UINT64_MAX, NODE_MAX),
	[KMS_REC_CHECK] = EVENT(KMS_EVENT_CHECK, 3, UINT64_MAX, KMS_BLOCK_SIZE_MAX, NODE_MAX),
	[KMS_REC_EVICT] = EVENT(KMS_EVENT_EVICT, 2, UINT64_MAX, KMS_BLOCK_SIZE_MAX),
	[KMS_REC_SLAB_GROW] = EVENT(KMS_EVENT_SLAB_GROW, 5, PAGE_NUM_MAX, PAGES_MAX, CACHE_MAX,
				    UINT16_MAX, KMS_BLOCK_SIZE_MAX),
	[KMS_REC_SLAB_RELEASE] =
		EVENT(KMS_EVENT_SLAB_RELEASE, 3, PAGE_NUM_MAX, PAGES_MAX, CACHE_MAX),
	[KMS_REC_FAULT] = EVENT(KMS_EVENT_FAULT, 1, KMS_MAX_FAULTS - 1),
	[KMS_REC_MAP] = EVENT(KMS_EVENT_MAP, 1, KMS_MAX_MODULES - 1),
	[KMS_REC_THREAD] = EVENT(KMS_EVENT_THREAD, 1, KMS_MAX_THREADS - 1),
	[KMS_REC_FORK] = EVENT(KMS_EVENT_FORK, 1, KMS_MAX_SLOTS - 1),
	[KMS_REC_EXEC] = EVENT(KMS_EVENT_EXEC, 1, STRING_MAX),
	[KMS_REC_MARK] = EVENT(KMS_EVENT_MARK, 1, STRING_MAX),
 /* thread: an index, or KMS_NO_INDEX; kms_code_parse() looks closer */
	[KMS_REC_CONTEXT] = EVENT(KMS_EVENT_CONTEXT, 2, KMS_NO_INDEX, KMS_LEVELS - 1),
	[KMS_REC_LOST] = EVENT(KMS_EVENT_LOST, 1, KMS_BLOCK_LOST_MAX),
};

/* A LEB128 number of at most 64 bits. */
static enum kms_parse_result parse_varint(const uint8_t **p, const uint8_t *end, uint64_t *out)
{
	uint64_t value = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint8_t byte;

		if (*p == end)
			return KMS_PARSE_TRUNCATED;
		byte = *(*p)++;
		if (shift == 63 && byte > 1)
			return KMS_PARSE_MALFORMED;
		value |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80)) {
			*out = value;
			return KMS_PARSE_OK;
		}
	}
	return KMS_PARSE_MALFORMED;
}

static enum kms_parse_result parse_operand(const struct kms_code_form *form, const uint8_t **p,
					   const uint8_t *end, uint64_t *out)
{
	if (!form->is_byte)
		return parse_varint(p, end, out);
	if (*p == end)
		return KMS_PARSE_TRUNCATED;
	*out = *(*p)++;
	return KMS_PARSE_OK;
}

static bool thread_ok(uint64_t thread)
{
	return thread < KMS_MAX_THREADS || thread == KMS_NO_INDEX;
}

/* What limits of single operands cannot say. */
static bool record_ok(const struct kms_code_record *record)
{
	const uint64_t *v = record->operand;

	switch (record->code) {
	case KMS_REC_CONTEXT:
		return thread_ok(v[0]);
	case KMS_REC_LOST:
		return v[0] != 0;
	case KMS_REC_SLAB_GROW:
		return v[1] != 0 && v[3] < v[1] * KMS_PAGE_BYTES;
	default:
		return true;
	}
}

enum kms_parse_result kms_code_parse(const uint8_t **p, const uint8_t *end,
				     struct kms_code_record *out)
{
	const uint8_t *at = *p;
	unsigned tag = *at++;
	const struct kms_code_form *form;

	out->code = tag >> KMS_REC_CODE_SHIFT;
	if ((tag & KMS_REC_FORM_MASK) != KMS_REC_FORM_CODE || out->code >= KMS_REC_CODES)
		return KMS_PARSE_MALFORMED;
	form = &kms_code_forms[out->code];
	if (form->role == KMS_ROLE_NONE)
		return KMS_PARSE_MALFORMED;
	for (unsigned i = 0; i < form->n_operands; i++) {
		enum kms_parse_result result = parse_operand(form, &at, end, &out->operand[i]);

		if (result)
			return result;
		if (out->operand[i] > form->max[i])
			return KMS_PARSE_MALFORMED;
	}
	if (!record_ok(out))
		return KMS_PARSE_MALFORMED;
	*p = at;
	return KMS_PARSE_OK;
}

bool kms_block_header_ok(const struct kms_block *block)
{
	return block->number && block->first_seq <= KMS_BLOCK_SEQ_MAX &&
	       block->base_time_ns <= KMS_BLOCK_TIME_MAX && block->fill <= KMS_RECORD_AREA_BYTES &&
	       block->slot < KMS_MAX_SLOTS && thread_ok(block->thread) &&
	       block->ring < KMS_MAX_RINGS && block->level < KMS_LEVELS &&
	       !(block->checks & ~(unsigned)ALL_CHECKS);
}

bool kms_code_address(const struct kms_code_record *record, uint64_t *address)
{
	switch (record->code) {
	case KMS_REC_CHECK:
	case KMS_REC_EVICT:
		*address = record->operand[0];
		return true;
	default:
		return false;
	}
}

uint32_t kms_code_node(const struct kms_code_record *record)
{
	switch (record->code) {
	case KMS_REC_ALLOC_FAILED:
		return (uint32_t)record->operand[1];
	case KMS_REC_CHECK:
		return (uint32_t)record->operand[2];
	default:
		return 0;
	}
}
