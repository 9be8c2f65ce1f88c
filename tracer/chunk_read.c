/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Putting blocks together again from their streams: see chunk.h. The data is hostile.
 *
 * No byte read is checked on its own: each stream has KMS_CHUNK_GET_STEP zero bytes behind its
 * end, no block reads more than that from one stream, and after each block all streams must still
 * be within their bytes.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "tracer/block_parse.h"
#include "tracer/chunk.h"
#include "tracer/chunk_impl.h"
#include "tracer/varint.h"

struct kms_chunk_reader {
	ZSTD_DCtx *zstd;
	uint8_t *streams; /* all of them, each with its step of zeros behind it */
	size_t streams_room;
	const uint8_t *at[KMS_CHUNK_STREAMS];
	const uint8_t *end[KMS_CHUNK_STREAMS];
	struct kms_chunk_model model;
};

/* Where the streams lie in the data. */
struct layout {
	uint64_t bytes[KMS_CHUNK_STREAMS];
	uint64_t stored[KMS_CHUNK_STREAMS];
	uint64_t total;
};

int kms_chunk_reader_create(struct kms_chunk_reader **out)
{
	struct kms_chunk_reader *r = calloc(1, sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->zstd = ZSTD_createDCtx();
	if (!r->zstd) {
		free(r);
		return -ENOMEM;
	}
	*out = r;
	return 0;
}

void kms_chunk_reader_destroy(struct kms_chunk_reader *reader)
{
	if (!reader)
		return;
	(void)ZSTD_freeDCtx(reader->zstd); /* always 0 */
	free(reader->streams);
	free(reader);
}

/* Reads the head; *p then points at the first stream. */
static int read_layout(const uint8_t **p, const uint8_t *end, size_t n_blocks, struct layout *l)
{
	/* Each byte of a record is in one stream; besides, a record has a control byte and a hot one
	 * the byte for its address. */
	uint64_t limit = (uint64_t)n_blocks * KMS_CHUNK_RECORD_BYTES * 2;
	uint64_t stored = 0;

	l->total = 0;
	for (unsigned s = 0; s < KMS_CHUNK_STREAMS; s++) {
		if (!kms_varint_get(p, end, &l->bytes[s]) || !kms_varint_get(p, end, &l->stored[s]))
			return -EBADMSG;
		if (l->bytes[s] > limit || l->stored[s] > l->bytes[s])
			return -EBADMSG;
		l->total += l->bytes[s];
		stored += l->stored[s];
	}
	return l->total <= limit && stored == (uint64_t)(end - *p) ? 0 : -EBADMSG;
}

static int unpack(struct kms_chunk_reader *r, uint8_t *out, size_t bytes, const uint8_t *in,
		  size_t stored)
{
	if (stored == bytes) {
		memcpy(out, in, bytes);
		return 0;
	}
	return ZSTD_decompressDCtx(r->zstd, out, bytes, in, stored) == bytes ? 0 : -EBADMSG;
}

static int load_streams(struct kms_chunk_reader *r, const uint8_t *p, const uint8_t *end,
			size_t n_blocks)
{
	struct layout l;
	size_t room;
	uint8_t *out;

	if (p == end || *p++ != KMS_CHUNK_VERSION || read_layout(&p, end, n_blocks, &l) < 0)
		return -EBADMSG;
	room = l.total + (size_t)KMS_CHUNK_STREAMS * KMS_CHUNK_GET_STEP;
	if (room > r->streams_room) {
		free(r->streams);
		r->streams = malloc(room);
		r->streams_room = r->streams ? room : 0;
		if (!r->streams)
			return -ENOMEM;
	}
	out = r->streams;
	for (unsigned s = 0; s < KMS_CHUNK_STREAMS; s++) {
		if (unpack(r, out, l.bytes[s], p, l.stored[s]) < 0)
			return -EBADMSG;
		r->at[s] = out;
		r->end[s] = out + l.bytes[s];
		memset(out + l.bytes[s], 0, KMS_CHUNK_GET_STEP);
		out += l.bytes[s] + KMS_CHUNK_GET_STEP;
		p += l.stored[s];
	}
	return 0;
}

static uint32_t get(struct kms_chunk_reader *r, enum kms_chunk_stream stream)
{
	return *r->at[stream]++;
}

static uint64_t get_u64(struct kms_chunk_reader *r, enum kms_chunk_stream stream)
{
	uint64_t value = kms_load_u64(r->at[stream]);

	r->at[stream] += sizeof(value);
	return value;
}

static uint8_t *emit(uint8_t *out, uint64_t value, unsigned bytes)
{
	memcpy(out, &value, sizeof(value)); /* more than wanted: the next record overwrites it */
	return out + bytes;
}

static uint8_t *get_node(struct kms_chunk_reader *r, unsigned ctl, unsigned index, uint8_t *out)
{
	if (!(ctl & KMS_CTL_KNOWN)) {
		uint32_t node = get(r, KMS_STREAM_NODE0);

		node |= get(r, KMS_STREAM_NODE1) << 8;
		r->model.node[index] = node | get(r, KMS_STREAM_NODE2) << 16;
	}
	return emit(out, r->model.node[index], 3);
}

static void get_size(struct kms_chunk_reader *r, unsigned ctl, unsigned index)
{
	uint64_t *size = &r->model.size[index];

	switch (ctl >> KMS_CTL_SIZE_SHIFT) {
	case KMS_SIZE_1:
		*size = get(r, KMS_STREAM_SIZE1);
		break;
	case KMS_SIZE_2:
		*size = get(r, KMS_STREAM_SIZE2_0);
		*size |= get(r, KMS_STREAM_SIZE2_1) << 8;
		break;
	case KMS_SIZE_8:
		*size = get_u64(r, KMS_STREAM_SIZE8);
		break;
	default: /* KMS_SIZE_KNOWN, or SAME */
		break;
	}
}

static uint64_t get_address(struct kms_chunk_reader *r, unsigned ctl, uint64_t size)
{
	uint64_t *by_size = &r->model.size_address[kms_chunk_size_slot(size)];
	uint64_t from = ctl & KMS_CTL_RING ? r->model.ring_address : *by_size;
	uint64_t distance = get(r, KMS_STREAM_ADR);
	uint64_t address;

	if (distance == KMS_ADR_WIDE2) {
		distance = get(r, KMS_STREAM_A2_0);
		distance |= get(r, KMS_STREAM_A2_1) << 8;
	} else if (distance == KMS_ADR_WIDE4) {
		distance = get(r, KMS_STREAM_A4_0);
		distance |= get(r, KMS_STREAM_A4_1) << 8;
		distance |= get(r, KMS_STREAM_A4_2) << 16;
		distance |= (uint64_t)get(r, KMS_STREAM_A4_3) << 24;
	} else if (distance == KMS_ADR_WHOLE) {
		address = get_u64(r, KMS_STREAM_A8);
		*by_size = address & ~UINT64_C(7);
		return address;
	}
	address = from + (uint64_t)kms_unzigzag(distance) * KMS_ADDR_UNIT_BYTES;
	*by_size = address;
	return address;
}

/* An alloc or free, in its shortest form. Returns its end. */
static uint8_t *get_hot(struct kms_chunk_reader *r, unsigned ctl, uint8_t *out)
{
	struct kms_chunk_model *m = &r->model;
	unsigned index = get(r, KMS_STREAM_SITE);
	unsigned tag = ctl & (KMS_REC_FORM_MASK | KMS_REC_HIT | KMS_REC_SAME);
	uint8_t *begin = out;
	uint64_t address, previous = m->ring_address;
	unsigned address_code, size_code = 0;

	kms_chunk_model_site(m, index, ctl & KMS_CTL_HIT);
	out[1] = (uint8_t)index;
	out += 2;
	if (!(ctl & KMS_CTL_HIT))
		out = get_node(r, ctl, index, out);
	if (!(ctl & KMS_CTL_SAME)) {
		get_size(r, ctl, index);
		size_code = kms_chunk_size_code(m->size[index]);
	}
	address = get_address(r, ctl, m->size[index]);
	address_code = kms_chunk_address_code(address, previous);
	m->ring_address = address & ~UINT64_C(7);
	out = emit(out,
		   address_code == 3 ? address : (uint64_t)((int64_t)(address - previous) >> 3),
		   1u << address_code);
	if (!(ctl & KMS_CTL_SAME))
		out = emit(out, m->size[index], 1u << size_code);
	*begin = (uint8_t)(tag | address_code << KMS_REC_ADDR_SHIFT |
			   size_code << KMS_REC_SIZE_SHIFT);
	return out;
}

/* A record of form 0. Returns its end, NULL if it is none. */
static uint8_t *get_code(struct kms_chunk_reader *r, unsigned tag, uint8_t *out)
{
	unsigned code = tag >> KMS_REC_CODE_SHIFT;
	enum kms_chunk_stream stream = KMS_STREAM_CODE;
	unsigned numbers;

	if (tag & KMS_REC_FORM_MASK || code >= KMS_REC_CODES ||
	    kms_code_forms[code].role == KMS_ROLE_NONE)
		return NULL;
	if (code == KMS_REC_GEN)
		stream = KMS_STREAM_GEN;
	else if (code == KMS_REC_FLAGS)
		stream = KMS_STREAM_FLAGS;
	numbers = kms_code_forms[code].n_operands;
	*out++ = (uint8_t)tag;
	for (unsigned i = 0; i < numbers; i++) {
		unsigned bytes = 0;

		do {
			*out = (uint8_t)get(r, stream);
			if (++bytes > KMS_VARINT_BYTES)
				return NULL;
		} while (*out++ & 0x80 && !kms_code_forms[code].is_byte);
	}
	return out;
}

/* The longest record of each kind, with the slack of emit(). */
enum {
	ROOM_HOT = 32,
	ROOM_CODE = 1 + KMS_CODE_OPERANDS * KMS_VARINT_BYTES,
};

/* The end of a block's area is approached with records in a buffer: they may be longer than the
 * area. Returns the end of the record, NULL: none, or too long. */
static uint8_t *get_last(struct kms_chunk_reader *r, unsigned ctl, bool hot, uint8_t *out,
			 size_t room)
{
	uint8_t record[ROOM_CODE + ROOM_HOT];
	uint8_t *end = hot ? get_hot(r, ctl, record) : get_code(r, ctl, record);

	if (!end || (size_t)(end - record) > room)
		return NULL;
	memcpy(out, record, (size_t)(end - record));
	return out + (end - record);
}

static int get_records(struct kms_chunk_reader *r, uint8_t *out, uint32_t fill)
{
	uint8_t *end = out + fill;

	while (out < end) {
		unsigned ctl = get(r, KMS_STREAM_CTL);
		unsigned form = ctl & KMS_REC_FORM_MASK;
		bool hot = form == KMS_REC_FORM_ALLOC || form == KMS_REC_FORM_FREE;

		if (hot && (ctl & (KMS_CTL_SAME | KMS_CTL_HIT)) == KMS_CTL_SAME)
			return -EBADMSG;
		if (end - out < ROOM_CODE)
			out = get_last(r, ctl, hot, out, (size_t)(end - out));
		else
			out = hot ? get_hot(r, ctl, out) : get_code(r, ctl, out);
		if (!out)
			return -EBADMSG;
	}
	return 0;
}

static int get_verbatim(struct kms_chunk_reader *r, uint8_t *out, uint32_t fill)
{
	if (fill > (size_t)(r->end[KMS_STREAM_VERBATIM] - r->at[KMS_STREAM_VERBATIM]))
		return -EBADMSG;
	memcpy(out, r->at[KMS_STREAM_VERBATIM], fill);
	r->at[KMS_STREAM_VERBATIM] += fill;
	return 0;
}

static bool within_streams(const struct kms_chunk_reader *r)
{
	for (unsigned s = 0; s < KMS_CHUNK_STREAMS; s++)
		if (r->at[s] > r->end[s])
			return false;
	return true;
}

static void set_header(struct kms_block *block, const struct kms_chunk_block *entry)
{
	block->number = entry->number;
	block->first_seq = entry->first_seq;
	block->base_time_ns = entry->base_time_ns;
	block->base_address = entry->base_address;
	block->fill = entry->fill;
	block->slot = entry->slot;
	block->thread = entry->thread;
	block->ring = entry->ring;
	block->level = entry->level;
	block->checks = entry->checks;
	block->reserved[0] = 0;
	block->reserved[1] = 0;
}

static int get_block(struct kms_chunk_reader *r, const struct kms_chunk_block *entry,
		     struct kms_block *block)
{
	int result;

	if (entry->fill > KMS_CHUNK_RECORD_BYTES)
		return -EBADMSG;
	kms_chunk_model_block(&r->model, entry->image, entry->base_address);
	if (entry->verbatim) {
		kms_chunk_model_forget(&r->model);
		r->model.image = entry->image;
		result = get_verbatim(r, block->record, entry->fill);
	} else {
		result = get_records(r, block->record, entry->fill);
	}
	if (result < 0 || !within_streams(r))
		return -EBADMSG;
	set_header(block, entry);
	return 0;
}

int kms_chunk_read(struct kms_chunk_reader *reader, const struct kms_chunk_block *entry, size_t n,
		   const void *data, size_t data_bytes, struct kms_block *out)
{
	const uint8_t *p = data;
	int result;

	if (n > KMS_CHUNK_BLOCKS_MAX || !data_bytes)
		return -EBADMSG;
	result = load_streams(reader, p, p + data_bytes, n);
	if (result < 0)
		return result;
	memset(&reader->model, 0, sizeof(reader->model));
	for (size_t i = 0; i < n; i++)
		if (get_block(reader, &entry[i], &out[i]) < 0)
			return -EBADMSG;
	for (unsigned s = 0; s < KMS_CHUNK_STREAMS; s++)
		if (reader->at[s] != reader->end[s])
			return -EBADMSG;
	return 0;
}
