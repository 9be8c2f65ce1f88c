/* SPDX-License-Identifier: BSD-2-Clause */
/* The directory of a chunk: see chunk.h. */
#include <errno.h>

#include "tracer/chunk.h"
#include "tracer/chunk_impl.h"
#include "tracer/varint.h"

#define TIME_MAX (UINT64_C(1) << 62)

/* Largest value of each field; a directory from a file is hostile. */
static const uint64_t field_max[KMS_CHUNK_DIR_FIELDS] = {
	[KMS_DIR_BASE_TIME] = TIME_MAX,
	[KMS_DIR_LAST_TIME] = TIME_MAX,
	[KMS_DIR_BASE_ADDRESS] = UINT64_MAX,
	[KMS_DIR_FILL] = KMS_CHUNK_RECORD_BYTES,
	[KMS_DIR_EVENTS] = KMS_SEQ_PER_BLOCK,
	[KMS_DIR_ORDINAL] = KMS_ORDINAL_MAX,
	[KMS_DIR_NUMBER] = TIME_MAX,
	[KMS_DIR_FIRST_SEQ] = TIME_MAX,
	[KMS_DIR_RING] = KMS_MAX_RINGS - 1,
	[KMS_DIR_THREAD] = UINT32_MAX,
	[KMS_DIR_TARGET] = KMS_RUN_TARGETS_MAX,
	[KMS_DIR_IMAGE] = KMS_RUN_IMAGES_MAX,
	[KMS_DIR_SLOT] = UINT32_MAX,
	[KMS_DIR_LEVEL] = KMS_LEVELS - 1,
	[KMS_DIR_CHECKS] = UINT8_MAX,
	[KMS_DIR_VERBATIM] = 1,
};

static void entry_fields(const struct kms_chunk_block *e, uint64_t field[KMS_CHUNK_DIR_FIELDS])
{
	field[KMS_DIR_BASE_TIME] = e->base_time_ns;
	field[KMS_DIR_LAST_TIME] = e->last_time_ns;
	field[KMS_DIR_BASE_ADDRESS] = e->base_address;
	field[KMS_DIR_FILL] = e->fill;
	field[KMS_DIR_EVENTS] = e->events;
	field[KMS_DIR_ORDINAL] = e->ordinal;
	field[KMS_DIR_NUMBER] = e->number;
	field[KMS_DIR_FIRST_SEQ] = e->first_seq;
	field[KMS_DIR_RING] = e->ring;
	field[KMS_DIR_THREAD] = e->thread;
	field[KMS_DIR_TARGET] = e->target;
	field[KMS_DIR_IMAGE] = e->image;
	field[KMS_DIR_SLOT] = e->slot;
	field[KMS_DIR_LEVEL] = e->level;
	field[KMS_DIR_CHECKS] = e->checks;
	field[KMS_DIR_VERBATIM] = e->verbatim;
}

static void entry_set(struct kms_chunk_block *e, const uint64_t field[KMS_CHUNK_DIR_FIELDS])
{
	e->base_time_ns = field[KMS_DIR_BASE_TIME];
	e->last_time_ns = field[KMS_DIR_LAST_TIME];
	e->base_address = field[KMS_DIR_BASE_ADDRESS];
	e->fill = (uint32_t)field[KMS_DIR_FILL];
	e->events = (uint32_t)field[KMS_DIR_EVENTS];
	e->ordinal = field[KMS_DIR_ORDINAL];
	e->number = field[KMS_DIR_NUMBER];
	e->first_seq = field[KMS_DIR_FIRST_SEQ];
	e->ring = (uint16_t)field[KMS_DIR_RING];
	e->thread = (uint32_t)field[KMS_DIR_THREAD];
	e->target = (uint32_t)field[KMS_DIR_TARGET];
	e->image = (uint32_t)field[KMS_DIR_IMAGE];
	e->slot = (uint32_t)field[KMS_DIR_SLOT];
	e->level = (uint8_t)field[KMS_DIR_LEVEL];
	e->checks = (uint8_t)field[KMS_DIR_CHECKS];
	e->verbatim = field[KMS_DIR_VERBATIM] != 0;
}

/* What the entry after @before is expected to be; the last time comes later. */
static void predict(const struct kms_chunk_block *before, uint64_t field[KMS_CHUNK_DIR_FIELDS])
{
	entry_fields(before, field);
	field[KMS_DIR_BASE_TIME] = before->last_time_ns;
	field[KMS_DIR_ORDINAL]++;
	field[KMS_DIR_NUMBER]++;
	field[KMS_DIR_FIRST_SEQ] += before->events;
	field[KMS_DIR_VERBATIM] = 0;
}

uint8_t *kms_chunk_dir_put(uint8_t *out, const struct kms_chunk_block *before,
			   const struct kms_chunk_block *entry)
{
	uint64_t guess[KMS_CHUNK_DIR_FIELDS], field[KMS_CHUNK_DIR_FIELDS];
	uint64_t mask = 0;

	predict(before, guess);
	entry_fields(entry, field);
	guess[KMS_DIR_LAST_TIME] = field[KMS_DIR_BASE_TIME];
	for (unsigned i = 0; i < KMS_CHUNK_DIR_FIELDS; i++)
		mask |= (uint64_t)(field[i] != guess[i]) << i;
	out = kms_varint_put(out, mask);
	for (unsigned i = 0; i < KMS_CHUNK_DIR_FIELDS; i++)
		if (mask >> i & 1)
			out = kms_varint_put(out, kms_zigzag((int64_t)(field[i] - guess[i])));
	return out;
}

static int dir_get(const uint8_t **p, const uint8_t *end, const struct kms_chunk_block *before,
		   struct kms_chunk_block *entry)
{
	uint64_t field[KMS_CHUNK_DIR_FIELDS];
	uint64_t mask, difference;

	predict(before, field);
	if (!kms_varint_get(p, end, &mask) || mask >> KMS_CHUNK_DIR_FIELDS)
		return -EBADMSG;
	for (unsigned i = 0; i < KMS_CHUNK_DIR_FIELDS; i++) {
		if (i == KMS_DIR_LAST_TIME)
			field[i] = field[KMS_DIR_BASE_TIME];
		if (mask >> i & 1) {
			if (!kms_varint_get(p, end, &difference))
				return -EBADMSG;
			field[i] += (uint64_t)kms_unzigzag(difference);
		}
		if (field[i] > field_max[i])
			return -EBADMSG;
	}
	if (field[KMS_DIR_LAST_TIME] < field[KMS_DIR_BASE_TIME] || !field[KMS_DIR_IMAGE] ||
	    !field[KMS_DIR_TARGET])
		return -EBADMSG;
	entry_set(entry, field);
	return 0;
}

int kms_chunk_dir_read(const void *dir, size_t dir_bytes, struct kms_chunk_block *out, size_t max,
		       size_t *n_out)
{
	static const struct kms_chunk_block nothing;
	const uint8_t *p = dir;
	const uint8_t *end = dir_bytes ? p + dir_bytes : p; /* an empty blob has no address */
	uint64_t n;

	if (dir_bytes < 2 || *p++ != KMS_CHUNK_VERSION || !kms_varint_get(&p, end, &n) ||
	    n > KMS_CHUNK_BLOCKS_MAX)
		return -EBADMSG;
	if (n > max)
		return -EMSGSIZE;
	for (size_t i = 0; i < n; i++)
		if (dir_get(&p, end, i ? &out[i - 1] : &nothing, &out[i]) < 0)
			return -EBADMSG;
	if (p != end)
		return -EBADMSG;
	*n_out = n;
	return 0;
}
