/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What comes out of a trace's blobs, on arbitrary bytes. First byte: 0 a chunk (u16 length of the
 * directory, directory, data), 1 a page of a region's table (section, page), 2 a filter, 3 a chunk
 * whose streams are not compressed (u16 length of the directory, directory, then each stream with a
 * u16 length), for mutations that checksums would stop. Accepted chunks are written again and must
 * read the same.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/test/fuzz_entry.h"
#include "tracer/block.h"
#include "tracer/chunk.h"
#include "tracer/chunk_impl.h"
#include "tracer/filter.h"
#include "tracer/table_page.h"
#include "tracer/varint.h"

enum {
	BLOCKS = KMS_CHUNK_BLOCKS,
};

static struct kms_chunk_block entry[BLOCKS], again[BLOCKS];
static struct kms_event event[KMS_SEQ_PER_BLOCK];
static struct kms_block *block, *second;
static struct kms_chunk_reader *reader;
static struct kms_chunk_writer *writer;

static void setup(void)
{
	if (block)
		return;
	block = malloc(BLOCKS * sizeof(*block) + KMS_CHUNK_PAD_BYTES);
	second = malloc(BLOCKS * sizeof(*second) + KMS_CHUNK_PAD_BYTES);
	assert(block && second);
	assert(kms_chunk_reader_create(&reader) == 0);
	assert(kms_chunk_writer_create(1, &writer) == 0);
}

/* Blocks that are sound go through the writer and come back. */
static void write_again(size_t n)
{
	struct kms_chunk chunk;
	size_t kept = 0, n_again;

	kms_chunk_begin(writer);
	for (size_t i = 0; i < n; i++) {
		struct kms_block_summary sum;

		if (kms_block_walk(&block[i], 0, &sum, NULL, NULL) < 0)
			continue;
		if (kms_chunk_add(writer, &entry[i], &block[i]) < 0)
			abort();
		memmove(&block[kept++], &block[i], sizeof(*block));
	}
	assert(kms_chunk_end(writer, &chunk) == 0);
	assert(kms_chunk_dir_read(chunk.dir, chunk.dir_bytes, again, BLOCKS, &n_again) == 0);
	assert(n_again == kept);
	assert(kms_chunk_read(reader, again, kept, chunk.data, chunk.data_bytes, second) == 0);
	for (size_t i = 0; i < kept; i++)
		assert(memcmp(&second[i], &block[i],
			      offsetof(struct kms_block, record) + block[i].fill) == 0);
}

static void read_chunk(const uint8_t *dir, size_t dir_bytes, const uint8_t *data, size_t data_bytes)
{
	size_t n_blocks, n_events;

	setup();
	if (kms_chunk_dir_read(dir, dir_bytes, entry, BLOCKS, &n_blocks) < 0 ||
	    kms_chunk_read(reader, entry, n_blocks, data, data_bytes, block) < 0)
		return;
	for (size_t i = 0; i < n_blocks; i++)
		(void)kms_block_decode(&block[i], event, KMS_SEQ_PER_BLOCK, &n_events);
	write_again(n_blocks);
}

/* A u16 length and so many bytes, or as many as there are. Moves behind them. */
static const uint8_t *take_part(const uint8_t **bytes, size_t *n, size_t *part)
{
	const uint8_t *begin;

	*part = 0;
	if (*n < 2)
		return *bytes;
	*part = (*bytes)[0] | (size_t)(*bytes)[1] << 8;
	begin = *bytes + 2;
	*n -= 2;
	*part = *part < *n ? *part : *n;
	*bytes = begin + *part;
	*n -= *part;
	return begin;
}

static void fuzz_chunk(const uint8_t *bytes, size_t n)
{
	size_t dir_bytes;
	const uint8_t *dir = take_part(&bytes, &n, &dir_bytes);

	read_chunk(dir, dir_bytes, bytes, n);
}

static void fuzz_streams(const uint8_t *bytes, size_t n)
{
	const uint8_t *part[KMS_CHUNK_STREAMS];
	size_t length[KMS_CHUNK_STREAMS], dir_bytes;
	const uint8_t *dir = take_part(&bytes, &n, &dir_bytes);
	uint8_t *data = malloc(1 + n + (size_t)KMS_CHUNK_STREAMS * 2 * KMS_VARINT_BYTES);
	uint8_t *p = data;

	assert(data);
	*p++ = KMS_CHUNK_VERSION;
	for (unsigned s = 0; s < KMS_CHUNK_STREAMS; s++) {
		part[s] = take_part(&bytes, &n, &length[s]);
		p = kms_varint_put(p, length[s]);
		p = kms_varint_put(p, length[s]);
	}
	for (unsigned s = 0; s < KMS_CHUNK_STREAMS; s++) {
		memcpy(p, part[s], length[s]);
		p += length[s];
	}
	read_chunk(dir, dir_bytes, data, (size_t)(p - data));
	free(data);
}

static void fuzz_page(const uint8_t *bytes, size_t n)
{
	struct kms_table_page page = {0};

	if (n < 2)
		return;
	page.section = bytes[0];
	page.page = bytes[1];
	if (kms_table_page_unpack(&page, bytes + 2, n - 2) < 0)
		return;
	assert(page.entries <= KMS_TABLE_PAGE_ENTRIES);
	/* every byte is there */
	for (size_t i = 0; i < (size_t)page.entries * kms_table_entry_bytes(page.section); i++)
		n += page.data[i];
	free(page.data);
}

static void fuzz_filter(const uint8_t *bytes, size_t n)
{
	for (uint64_t number = 1; number; number <<= 7)
		(void)kms_filter_may_contain(bytes, n, number);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	if (!n)
		return 0;
	switch (bytes[0]) {
	case 0:
		fuzz_chunk(bytes + 1, n - 1);
		break;
	case 1:
		fuzz_page(bytes + 1, n - 1);
		break;
	case 2:
		fuzz_filter(bytes + 1, n - 1);
		break;
	case 3:
		fuzz_streams(bytes + 1, n - 1);
		break;
	default:
		break;
	}
	return 0;
}
