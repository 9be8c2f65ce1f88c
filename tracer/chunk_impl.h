/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What writing and reading a chunk share: the streams, and the model of what comes next that both
 * sides keep in step. Private to chunk_*.c. All of it is file format.
 */
#ifndef KMS_TRACER_CHUNK_IMPL_H
#define KMS_TRACER_CHUNK_IMPL_H

#include <string.h>

#include "tracer/chunk.h"

enum {
	KMS_CHUNK_VERSION = 1,
	KMS_CHUNK_RECORD_BYTES = KMS_PAGE_BYTES - 64,
	/* No block puts more than this into one stream: whole blocks are done without a check. */
	KMS_CHUNK_PUT_STEP = KMS_PAGE_BYTES,
	/* None, however hostile, takes more than this out of one: 8 bytes a record. */
	KMS_CHUNK_GET_STEP = KMS_CHUNK_RECORD_BYTES / KMS_REC_MIN_BYTES * 8 + 8,
};

/** Streams of the data, in their order. */
enum kms_chunk_stream {
	KMS_STREAM_CTL,   /* a byte a record; hot: enum kms_chunk_ctl, else the record's tag */
	KMS_STREAM_SITE,  /* a byte a hot record: site cache index */
	KMS_STREAM_ADR,   /* a byte a hot record: enum kms_chunk_adr */
	KMS_STREAM_NODE0, /* stack node, low byte */
	KMS_STREAM_NODE1,
	KMS_STREAM_NODE2,
	KMS_STREAM_A2_0, /* zigzag distance of two bytes, low byte */
	KMS_STREAM_A2_1,
	KMS_STREAM_A4_0, /* of four */
	KMS_STREAM_A4_1,
	KMS_STREAM_A4_2,
	KMS_STREAM_A4_3,
	KMS_STREAM_A8, /* whole address, eight bytes */
	KMS_STREAM_SIZE1,
	KMS_STREAM_SIZE2_0,
	KMS_STREAM_SIZE2_1,
	KMS_STREAM_SIZE8, /* eight bytes */
	KMS_STREAM_GEN,   /* operands of these */
	KMS_STREAM_FLAGS,
	KMS_STREAM_CODE,     /* operands of all other records of form 0, as they were */
	KMS_STREAM_VERBATIM, /* records of blocks kept as they were */
	KMS_CHUNK_STREAMS,
};

/** Control byte of a hot record. Its two low bits are the form, as in the record's tag. */
enum kms_chunk_ctl {
	KMS_CTL_HIT = KMS_REC_HIT,
	KMS_CTL_SAME = KMS_REC_SAME,
	KMS_CTL_RING = 1 << 4,  /* distance to the ring's last address, not to that of the size */
	KMS_CTL_KNOWN = 1 << 5, /* no HIT, but the node is the one remembered for this index */
	KMS_CTL_SIZE_SHIFT = 6, /* enum kms_chunk_size; 0 when SAME */
};

enum kms_chunk_size {
	KMS_SIZE_KNOWN = 0, /* as remembered for this index */
	KMS_SIZE_1 = 1,     /* bytes in the stream */
	KMS_SIZE_2 = 2,
	KMS_SIZE_8 = 3,
};

/** Byte in KMS_STREAM_ADR: the zigzag distance in units of 8 bytes, or where it lies. */
enum kms_chunk_adr {
	KMS_ADR_WIDE2 = 0xfd,
	KMS_ADR_WIDE4 = 0xfe,
	KMS_ADR_WHOLE = 0xff,
};

enum {
	KMS_CHUNK_SIZE_SLOTS = 256,
};

/** What is expected of the next record. All zero at the begin of a chunk. */
struct kms_chunk_model {
	uint64_t ring_address;                       /* last of this block, rounded down to 8 */
	uint64_t size_address[KMS_CHUNK_SIZE_SLOTS]; /* last by size, over all blocks */
	uint64_t size[KMS_SITE_CACHE_ENTRIES];       /* by site cache index, over all blocks */
	uint32_t node[KMS_SITE_CACHE_ENTRIES];
	uint32_t used_in[KMS_SITE_CACHE_ENTRIES]; /* block that last used the index */
	uint32_t block;                           /* number of this block in the chunk, from 1 */
	uint32_t image;                           /* whose nodes are remembered */
};

/** To be called at the begin of each block. */
static inline void kms_chunk_model_block(struct kms_chunk_model *m, uint32_t image,
					 uint64_t base_address)
{
	m->block++;
	m->ring_address = base_address & ~UINT64_C(7);
	if (image == m->image)
		return;
	m->image = image;
	memset(m->node, 0, sizeof(m->node));
}

/** To be called when a block turns out to be verbatim: what it left behind is forgotten. */
static inline void kms_chunk_model_forget(struct kms_chunk_model *m)
{
	uint32_t block = m->block;

	memset(m, 0, sizeof(*m));
	m->block = block;
}

/**
 * To be called for each hot record: a ring block's site cache starts from nothing, so a HIT on an
 * index that this block has not used means {0, 0}.
 */
static inline void kms_chunk_model_site(struct kms_chunk_model *m, unsigned index, bool hit)
{
	if (m->used_in[index] == m->block)
		return;
	m->used_in[index] = m->block;
	if (hit) {
		m->node[index] = 0;
		m->size[index] = 0;
	}
}

/**
 * Which entry of size_address a size belongs to: those that a size class of the malloc front serves
 * (steps of 16 up to 128, then four a doubling) share one, for its free blocks are handed out last
 * in, first out.
 */
static inline unsigned kms_chunk_size_slot(uint64_t size)
{
	uint64_t last = size + 1; /* of the bytes needed, with the redzone's two, counted from 0 */
	unsigned log;

	if (last < 128)
		return (unsigned)last >> 4;
	log = 63u - (unsigned)__builtin_clzll(last);
	return 8 + (log - 7) * 4 + (unsigned)(last >> (log - 2) & 3);
}

/** log2 of the bytes of the shortest address field; 3: the address itself. */
static inline unsigned kms_chunk_address_code(uint64_t address, uint64_t previous)
{
	int64_t units = (int64_t)(address - previous) >> 3;

	if (address & 7)
		return 3;
	if (units == (int8_t)units)
		return 0;
	if (units == (int16_t)units)
		return 1;
	return units == (int32_t)units ? 2 : 3;
}

/** log2 of the bytes of the shortest size field. */
static inline unsigned kms_chunk_size_code(uint64_t size)
{
	return (unsigned)(size > 0xff) + (unsigned)(size > 0xffff) + (unsigned)(size > 0xffffffff);
}

/** Fields of a directory entry: bit in its mask, and order. Those that change most come first. */
enum kms_chunk_dir_field {
	KMS_DIR_BASE_TIME, /* predicted: last time of the entry before */
	KMS_DIR_LAST_TIME, /* own base time */
	KMS_DIR_BASE_ADDRESS,
	KMS_DIR_FILL,
	KMS_DIR_EVENTS,
	KMS_DIR_ORDINAL,   /* one more */
	KMS_DIR_NUMBER,    /* one more */
	KMS_DIR_FIRST_SEQ, /* first sequence and events of the entry before */
	KMS_DIR_RING,
	KMS_DIR_THREAD,
	KMS_DIR_TARGET,
	KMS_DIR_IMAGE,
	KMS_DIR_SLOT,
	KMS_DIR_LEVEL,
	KMS_DIR_CHECKS,
	KMS_DIR_VERBATIM,
	KMS_CHUNK_DIR_FIELDS,
};

/** Writes one entry against the one before. Shape: 10 bytes of room a field. Returns the end. */
uint8_t *kms_chunk_dir_put(uint8_t *out, const struct kms_chunk_block *before,
			   const struct kms_chunk_block *entry);

#endif
