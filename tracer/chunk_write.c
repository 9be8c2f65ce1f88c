/* SPDX-License-Identifier: BSD-2-Clause */
/* Taking blocks apart and compressing the streams: see chunk.h. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "tracer/block.h"
#include "tracer/block_parse.h"
#include "tracer/chunk.h"
#include "tracer/chunk_impl.h"
#include "tracer/filter.h"
#include "tracer/stack_id.h"
#include "tracer/u64set.h"
#include "tracer/varint.h"

enum {
	STREAM_ROOM = (KMS_CHUNK_BLOCKS + 1) * KMS_CHUNK_PUT_STEP,
	DIR_ROOM = 16 + KMS_CHUNK_BLOCKS * KMS_VARINT_BYTES * (KMS_CHUNK_DIR_FIELDS + 1),
	DATA_HEAD_ROOM = 1 + KMS_CHUNK_STREAMS * 2 * KMS_VARINT_BYTES,
	/* Frames smaller than this save nothing over their own header. */
	WORTH_COMPRESSING = 32,
	PAGES_SEEN = 64,
};

struct kms_chunk_writer {
	ZSTD_CCtx *zstd;
	uint8_t *at[KMS_CHUNK_STREAMS];    /* where the next byte goes */
	uint8_t *begin[KMS_CHUNK_STREAMS]; /* STREAM_ROOM bytes each */
	struct kms_chunk_model model;
	struct kms_chunk_block before; /* last entry of the directory */
	uint64_t page_seen
		[PAGES_SEEN]; /* by size slot: page last put into @pages, to save the look-up */
	struct kms_u64set pages, stacks;
	bool no_filter; /* a set could not grow: the chunk has no filters */
	struct kms_block_text text;
	struct kms_event *events; /* KMS_SEQ_PER_BLOCK, for verbatim blocks */
	struct kms_chunk chunk;   /* what is known of it so far */
	uint8_t *dir_at;
	uint8_t *dir, *data, *filters;
	size_t data_room, filters_room;
};

static int set_level(ZSTD_CCtx *zstd, int level)
{
	size_t bad = ZSTD_CCtx_setParameter(zstd, ZSTD_c_compressionLevel, level);

	if (ZSTD_isError(bad))
		return -EINVAL;
	/* SQLite has no checksum of its own: a flipped bit must not become an event. */
	bad = ZSTD_CCtx_setParameter(zstd, ZSTD_c_checksumFlag, 1);
	return ZSTD_isError(bad) ? -EINVAL : 0;
}

int kms_chunk_writer_create(int level, struct kms_chunk_writer **out)
{
	struct kms_chunk_writer *w = calloc(1, sizeof(*w));
	int result = -ENOMEM;

	if (!w)
		return -ENOMEM;
	w->zstd = ZSTD_createCCtx();
	w->dir = malloc(DIR_ROOM);
	w->events = malloc(KMS_SEQ_PER_BLOCK * sizeof(*w->events));
	/* One piece of address space; pages that no stream reaches are never touched. */
	w->begin[0] = malloc((size_t)KMS_CHUNK_STREAMS * STREAM_ROOM);
	if (w->zstd && w->dir && w->events && w->begin[0])
		result = set_level(w->zstd, level);
	if (result < 0) {
		kms_chunk_writer_destroy(w);
		return result;
	}
	for (unsigned s = 1; s < KMS_CHUNK_STREAMS; s++)
		w->begin[s] = w->begin[0] + (size_t)s * STREAM_ROOM;
	kms_chunk_begin(w);
	*out = w;
	return 0;
}

void kms_chunk_writer_destroy(struct kms_chunk_writer *writer)
{
	if (!writer)
		return;
	(void)ZSTD_freeCCtx(writer->zstd); /* always 0 */
	kms_u64set_deinit(&writer->pages);
	kms_u64set_deinit(&writer->stacks);
	free(writer->begin[0]);
	free(writer->events);
	free(writer->dir);
	free(writer->data);
	free(writer->filters);
	free(writer);
}

void kms_chunk_begin(struct kms_chunk_writer *writer)
{
	memcpy(writer->at, writer->begin, sizeof(writer->at));
	memset(&writer->model, 0, sizeof(writer->model));
	memset(&writer->before, 0, sizeof(writer->before));
	memset(writer->page_seen, 0xff, sizeof(writer->page_seen));
	memset(&writer->chunk, 0, sizeof(writer->chunk));
	writer->chunk.ordinal_min = UINT64_MAX;
	kms_u64set_reset(&writer->pages);
	kms_u64set_reset(&writer->stacks);
	writer->no_filter = false;
	writer->dir_at = writer->dir;
}

static void put(struct kms_chunk_writer *w, enum kms_chunk_stream stream, uint64_t byte)
{
	*w->at[stream]++ = (uint8_t)byte;
}

static void put_bytes(struct kms_chunk_writer *w, enum kms_chunk_stream stream, const void *bytes,
		      size_t n)
{
	memcpy(w->at[stream], bytes, n);
	w->at[stream] += n;
}

static void add_page(struct kms_chunk_writer *w, unsigned slot, uint64_t address)
{
	uint64_t *seen = &w->page_seen[slot & (PAGES_SEEN - 1)];
	uint64_t page = address / KMS_PAGE_BYTES;

	if (*seen == page)
		return;
	*seen = page;
	w->no_filter |= kms_u64set_add(&w->pages, page) < 0;
}

static void add_stack(struct kms_chunk_writer *w, uint32_t node)
{
	if (node)
		w->no_filter |= kms_u64set_add(&w->stacks, kms_stack_id(w->model.image, node)) < 0;
}

/* Returns the bits for the control byte. */
static unsigned put_node(struct kms_chunk_writer *w, unsigned index, uint32_t node)
{
	if (node == w->model.node[index])
		return KMS_CTL_KNOWN;
	w->model.node[index] = node;
	add_stack(w, node);
	put(w, KMS_STREAM_NODE0, node);
	put(w, KMS_STREAM_NODE1, node >> 8);
	put(w, KMS_STREAM_NODE2, node >> 16);
	return 0;
}

/* The same for a size. */
static unsigned put_size(struct kms_chunk_writer *w, unsigned index, uint64_t size)
{
	if (size == w->model.size[index])
		return KMS_SIZE_KNOWN << KMS_CTL_SIZE_SHIFT;
	w->model.size[index] = size;
	if (size <= 0xff) {
		put(w, KMS_STREAM_SIZE1, size);
		return KMS_SIZE_1 << KMS_CTL_SIZE_SHIFT;
	}
	if (size <= 0xffff) {
		put(w, KMS_STREAM_SIZE2_0, size);
		put(w, KMS_STREAM_SIZE2_1, size >> 8);
		return KMS_SIZE_2 << KMS_CTL_SIZE_SHIFT;
	}
	put_bytes(w, KMS_STREAM_SIZE8, &size, sizeof(size));
	return KMS_SIZE_8 << KMS_CTL_SIZE_SHIFT;
}

static void put_distance(struct kms_chunk_writer *w, uint64_t distance, uint64_t address)
{
	if (distance < KMS_ADR_WIDE2) {
		put(w, KMS_STREAM_ADR, distance);
	} else if (distance <= 0xffff) {
		put(w, KMS_STREAM_ADR, KMS_ADR_WIDE2);
		put(w, KMS_STREAM_A2_0, distance);
		put(w, KMS_STREAM_A2_1, distance >> 8);
	} else if (distance <= 0xffffffff) {
		put(w, KMS_STREAM_ADR, KMS_ADR_WIDE4);
		put(w, KMS_STREAM_A4_0, distance);
		put(w, KMS_STREAM_A4_1, distance >> 8);
		put(w, KMS_STREAM_A4_2, distance >> 16);
		put(w, KMS_STREAM_A4_3, distance >> 24);
	} else {
		put(w, KMS_STREAM_ADR, KMS_ADR_WHOLE);
		put_bytes(w, KMS_STREAM_A8, &address, sizeof(address));
	}
}

/* The address, as its distance to the nearer of two guesses. */
static unsigned put_address(struct kms_chunk_writer *w, uint64_t size, uint64_t address)
{
	unsigned slot = kms_chunk_size_slot(size);
	uint64_t rounded = address & ~UINT64_C(7);
	uint64_t by_size = kms_zigzag((int64_t)(address - w->model.size_address[slot]) >> 3);
	uint64_t by_ring = kms_zigzag((int64_t)(address - w->model.ring_address) >> 3);
	bool ring = by_ring < by_size;

	add_page(w, slot, address);
	w->model.size_address[slot] = rounded;
	w->model.ring_address = rounded;
	if (address != rounded) {
		put_distance(w, UINT64_MAX, address);
		return 0;
	}
	put_distance(w, ring ? by_ring : by_size, address);
	return ring ? KMS_CTL_RING : 0;
}

/* An alloc or free; false if it is not in its shortest form. */
static bool put_hot(struct kms_chunk_writer *w, const uint8_t *p, unsigned tag)
{
	struct kms_chunk_model *m = &w->model;
	unsigned index = p[1];
	unsigned ctl = tag & (KMS_REC_FORM_MASK | KMS_REC_HIT | KMS_REC_SAME);
	uint64_t address = kms_hot_address(p, tag, m->ring_address);
	uint8_t *ctl_at = w->at[KMS_STREAM_CTL]++;
	uint64_t size;

	if ((tag >> KMS_REC_ADDR_SHIFT & 3) != kms_chunk_address_code(address, m->ring_address))
		return false;
	kms_chunk_model_site(m, index, tag & KMS_REC_HIT);
	put(w, KMS_STREAM_SITE, index);
	if (!(tag & KMS_REC_HIT))
		ctl |= put_node(w, index, kms_hot_node(p, tag));
	if (tag & KMS_REC_SAME) {
		if (tag >> KMS_REC_SIZE_SHIFT)
			return false;
		size = m->size[index];
	} else {
		size = kms_hot_size(p, tag);
		if (tag >> KMS_REC_SIZE_SHIFT != kms_chunk_size_code(size))
			return false;
		ctl |= put_size(w, index, size);
	}
	ctl |= put_address(w, size, address);
	*ctl_at = (uint8_t)ctl;
	return true;
}

/* A record of form 0: its operands stay as they are. Returns its end, NULL if it is malformed. */
static const uint8_t *put_code(struct kms_chunk_writer *w, const uint8_t *p, const uint8_t *end)
{
	struct kms_code_record record;
	enum kms_chunk_stream stream = KMS_STREAM_CODE;
	const uint8_t *operands = p + 1;
	unsigned tag = *p;
	uint64_t address;

	if (kms_code_parse(&p, end, &record) != KMS_PARSE_OK)
		return NULL;
	if (record.code == KMS_REC_GEN)
		stream = KMS_STREAM_GEN;
	else if (record.code == KMS_REC_FLAGS)
		stream = KMS_STREAM_FLAGS;
	put(w, KMS_STREAM_CTL, tag);
	put_bytes(w, stream, operands, (size_t)(p - operands));
	if (kms_code_address(&record, &address))
		add_page(w, 0, address);
	if (record.code == KMS_REC_SLAB_GROW || record.code == KMS_REC_SLAB_RELEASE)
		add_page(w, 0, record.operand[0] * KMS_PAGE_BYTES);
	add_stack(w, kms_code_node(&record));
	return p;
}

static bool put_records(struct kms_chunk_writer *w, uint32_t fill)
{
	const uint8_t *p = w->text.byte;
	const uint8_t *end = p + fill;

	while (p < end) {
		unsigned tag = *p;
		unsigned bytes = kms_hot_bytes[tag];

		if (bytes > (size_t)(end - p))
			return false;
		if (!bytes)
			p = put_code(w, p, end);
		else if (put_hot(w, p, tag))
			p += bytes;
		else
			return false;
		if (!p)
			return false;
	}
	return true;
}

/* Keeps a block's records as they are; only what is in them must be known for the filters. */
static int put_verbatim(struct kms_chunk_writer *w, const struct kms_block *block)
{
	size_t n;

	if (kms_block_decode(block, w->events, KMS_SEQ_PER_BLOCK, &n) < 0)
		return -EBADMSG;
	for (size_t i = 0; i < n; i++) {
		if (w->events[i].address)
			add_page(w, 0, w->events[i].address);
		add_stack(w, w->events[i].stack);
	}
	put_bytes(w, KMS_STREAM_VERBATIM, block->record, block->fill);
	return 0;
}

static void add_entry(struct kms_chunk_writer *w, const struct kms_chunk_block *entry,
		      const struct kms_block *block, bool verbatim)
{
	struct kms_chunk_block full = *entry;
	struct kms_chunk *chunk = &w->chunk;

	full.number = block->number;
	full.first_seq = block->first_seq;
	full.base_time_ns = block->base_time_ns;
	full.base_address = block->base_address;
	full.fill = block->fill;
	full.slot = block->slot;
	full.thread = block->thread;
	full.ring = block->ring;
	full.level = block->level;
	full.checks = block->checks;
	full.verbatim = verbatim;
	w->dir_at = kms_chunk_dir_put(w->dir_at, &w->before, &full);
	w->before = full;
	chunk->n_blocks++;
	chunk->events += full.events;
	chunk->ordinal_min = full.ordinal < chunk->ordinal_min ? full.ordinal : chunk->ordinal_min;
	chunk->ordinal_max = full.ordinal > chunk->ordinal_max ? full.ordinal : chunk->ordinal_max;
}

int kms_chunk_add(struct kms_chunk_writer *writer, const struct kms_chunk_block *entry,
		  const struct kms_block *block)
{
	uint8_t *mark[KMS_CHUNK_STREAMS];
	bool verbatim = false;

	if (writer->chunk.n_blocks == KMS_CHUNK_BLOCKS)
		return -ENOSPC;
	if (block->fill > KMS_CHUNK_RECORD_BYTES)
		return -EBADMSG;
	memcpy(mark, writer->at, sizeof(mark));
	kms_block_text_init(&writer->text, block);
	kms_chunk_model_block(&writer->model, entry->image, block->base_address);
	if (!put_records(writer, block->fill)) {
		memcpy(writer->at, mark, sizeof(mark));
		kms_chunk_model_forget(&writer->model);
		writer->model.image = entry->image;
		verbatim = true;
		if (put_verbatim(writer, block) < 0)
			return -EBADMSG;
	}
	add_entry(writer, entry, block, verbatim);
	return 0;
}

/* Appends a stream to the data; returns the bytes it takes, 0 if zstd failed. */
static size_t compress(struct kms_chunk_writer *w, unsigned stream, uint8_t *out, size_t room)
{
	const uint8_t *in = w->begin[stream];
	size_t bytes = (size_t)(w->at[stream] - in);
	size_t packed = bytes;

	if (bytes >= WORTH_COMPRESSING)
		packed = ZSTD_compress2(w->zstd, out, room, in, bytes);
	if (ZSTD_isError(packed))
		return 0;
	if (packed >= bytes) {
		memcpy(out, in, bytes);
		return bytes;
	}
	return packed;
}

static int reserve(uint8_t **memory, size_t *room, size_t bytes)
{
	if (*room >= bytes && *memory)
		return 0;
	free(*memory);
	*memory = malloc(bytes);
	*room = *memory ? bytes : 0;
	return *memory ? 0 : -ENOMEM;
}

static int end_data(struct kms_chunk_writer *w)
{
	uint8_t head[DATA_HEAD_ROOM];
	uint8_t *h = head;
	size_t room = DATA_HEAD_ROOM;
	uint8_t *at;

	for (unsigned s = 0; s < KMS_CHUNK_STREAMS; s++)
		room += ZSTD_compressBound((size_t)(w->at[s] - w->begin[s]));
	if (reserve(&w->data, &w->data_room, room) < 0)
		return -ENOMEM;
	/* The head's length is known last: streams go behind the longest possible one. */
	at = w->data + DATA_HEAD_ROOM;
	*h++ = KMS_CHUNK_VERSION;
	for (unsigned s = 0; s < KMS_CHUNK_STREAMS; s++) {
		size_t bytes = (size_t)(w->at[s] - w->begin[s]);
		size_t packed =
			bytes ? compress(w, s, at, (size_t)(w->data + w->data_room - at)) : 0;

		if (bytes && !packed)
			return -EIO;
		h = kms_varint_put(h, bytes);
		h = kms_varint_put(h, packed);
		at += packed;
	}
	w->chunk.data = w->data + DATA_HEAD_ROOM - (h - head);
	memcpy(w->data + DATA_HEAD_ROOM - (h - head), head, (size_t)(h - head));
	w->chunk.data_bytes = (size_t)(at - w->chunk.data);
	return 0;
}

/* Without memory for them a chunk has no filters: it will be searched always. */
static void end_filters(struct kms_chunk_writer *w)
{
	const uint64_t *pages, *stacks;
	size_t pages_room = kms_filter_room(w->pages.count);
	size_t room = pages_room + kms_filter_room(w->stacks.count);

	if (w->no_filter || reserve(&w->filters, &w->filters_room, room) < 0 ||
	    kms_u64set_sorted(&w->pages, &pages) < 0 || kms_u64set_sorted(&w->stacks, &stacks) < 0)
		return;
	w->chunk.pages = w->filters;
	w->chunk.pages_bytes = kms_filter_write(pages, w->pages.count, w->filters);
	w->chunk.stacks = w->filters + pages_room;
	w->chunk.stacks_bytes = kms_filter_write(stacks, w->stacks.count, w->filters + pages_room);
}

int kms_chunk_end(struct kms_chunk_writer *writer, struct kms_chunk *out)
{
	uint8_t head[1 + KMS_VARINT_BYTES];
	size_t head_bytes, body_bytes = (size_t)(writer->dir_at - writer->dir);
	int result = end_data(writer);

	if (result < 0)
		return result;
	end_filters(writer);
	head[0] = KMS_CHUNK_VERSION;
	head_bytes = (size_t)(kms_varint_put(head + 1, writer->chunk.n_blocks) - head);
	memmove(writer->dir + head_bytes, writer->dir, body_bytes);
	memcpy(writer->dir, head, head_bytes);
	writer->chunk.dir = writer->dir;
	writer->chunk.dir_bytes = head_bytes + body_bytes;
	*out = writer->chunk;
	return 0;
}
