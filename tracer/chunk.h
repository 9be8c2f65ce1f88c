/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Chunks: how ring blocks lie in the trace file.
 *
 * A chunk holds the blocks of one commit window, at most KMS_CHUNK_BLOCKS, sorted by image and ring.
 * Its directory has one entry a block (all of the header, and what the walk found); its data has the
 * records, taken apart into streams of like bytes, each stream compressed on its own. Taking apart
 * costs some 7 ns an event and makes real traces three to five times smaller than compressing the
 * records as they are (bench/bench_ingest.c), because:
 *
 *   - the address of an event is near the last one of the same size (a magazine is a stack), much
 *     more often than near the last one of the ring: it is stored as the distance to the nearer of
 *     both;
 *   - stacks and sizes of the site cache are remembered from one block to the next, while a ring
 *     block starts from nothing;
 *   - high and low bytes of wide numbers have little in common and are streams of their own.
 *
 * Reading a chunk gives back each block byte by byte, for tracer/block.h to decode. The streams
 * hold records in their shortest form only, as the allocator writes them; a block that has any other
 * is kept verbatim.
 *
 * Directory: version byte, count of blocks, then per block a mask of the fields (enum in
 * chunk_impl.h) that are not as predicted from the entry before, and the zigzag difference of each
 * of those; all LEB128.
 * Data: version byte, then for each stream (enum kms_chunk_stream in chunk_impl.h) its bytes and its
 * stored bytes as LEB128: equal means stored as is, else a zstd frame; then the streams in order.
 */
#ifndef KMS_TRACER_CHUNK_H
#define KMS_TRACER_CHUNK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "schema/record.h"
#include "schema/region.h"

enum kms_chunk_limits {
	KMS_CHUNK_BLOCKS = 256,      /* a writer puts no more into one */
	KMS_CHUNK_BLOCKS_MAX = 1024, /* a reader accepts */
	KMS_RUN_IMAGES_MAX = 1 << 20,
	KMS_RUN_TARGETS_MAX = 1 << 20,
};

/* seq = ordinal * KMS_SEQ_PER_BLOCK + index must stay a positive signed 64-bit number. */
#define KMS_ORDINAL_MAX ((UINT64_C(1) << 52) - 1)

/** A block without its records. */
struct kms_chunk_block {
	uint64_t ordinal; /* in the store: seq of its first event / KMS_SEQ_PER_BLOCK */
	uint64_t number;  /* these as in struct kms_block */
	uint64_t first_seq;
	uint64_t base_time_ns;
	uint64_t base_address;
	uint32_t fill;
	uint32_t slot;
	uint32_t thread;
	uint16_t ring;
	uint8_t level;
	uint8_t checks;
	uint32_t image;  /* ordinal of the image in the run, from 1 */
	uint32_t target; /* who wrote it */
	uint32_t events; /* in the block; a LOST is one */
	uint64_t last_time_ns;
	bool verbatim; /* its records lie in the data as they were; set by the writer */
};

/** A finished chunk; everything is borrowed from the writer until its next kms_chunk_begin(). */
struct kms_chunk {
	size_t n_blocks;
	uint64_t events;
	uint64_t ordinal_min, ordinal_max;
	const uint8_t *dir, *data, *pages, *stacks;
	size_t dir_bytes, data_bytes, pages_bytes, stacks_bytes;
};

/** Builds chunks, one after the other. One thread at a time. */
struct kms_chunk_writer;

/** Shape: @level as for zstd; negative is faster. Errors: -ENOMEM, -EINVAL (level) */
int kms_chunk_writer_create(int level, struct kms_chunk_writer **out);
/** NULL is allowed. */
void kms_chunk_writer_destroy(struct kms_chunk_writer *writer);

/** Starts an empty chunk. */
void kms_chunk_begin(struct kms_chunk_writer *writer);

/**
 * Adds a block. Blocks of one image and ring should come one after the other, in order.
 *
 * Shape:  @entry: image, target, ordinal, events, last_time_ns are used, the rest comes from @block,
 *         which passed kms_block_walk()
 * Errors: -ENOSPC: KMS_CHUNK_BLOCKS are in it; -EBADMSG: a record is malformed. The block then
 *         is not in the chunk.
 */
int kms_chunk_add(struct kms_chunk_writer *writer, const struct kms_chunk_block *entry,
		  const struct kms_block *block);

/** Compresses what was added. Errors: -ENOMEM; -EIO: zstd failed */
int kms_chunk_end(struct kms_chunk_writer *writer, struct kms_chunk *out);

/**
 * Reads a directory.
 *
 * Shape:  @out has room for @max entries
 * Errors: -EBADMSG: not a directory, or a field is out of range; -EMSGSIZE: more than @max
 */
int kms_chunk_dir_read(const void *dir, size_t dir_bytes, struct kms_chunk_block *out, size_t max,
		       size_t *n_out);

/** Takes chunks apart. One thread at a time. */
struct kms_chunk_reader;

/** Errors: -ENOMEM */
int kms_chunk_reader_create(struct kms_chunk_reader **out);
/** NULL is allowed. */
void kms_chunk_reader_destroy(struct kms_chunk_reader *reader);

/**
 * Gives back the blocks of a chunk as they were.
 *
 * Shape:  @entry: the n entries of its directory; @out: n blocks, and KMS_CHUNK_PAD_BYTES behind
 *         them that are scribbled on; bytes of a record area behind its fill are undefined
 * Errors: -EBADMSG: the data is damaged or does not fit the directory; -ENOMEM
 */
int kms_chunk_read(struct kms_chunk_reader *reader, const struct kms_chunk_block *entry, size_t n,
		   const void *data, size_t data_bytes, struct kms_block *out);

enum {
	KMS_CHUNK_PAD_BYTES = 64,
};

#endif
