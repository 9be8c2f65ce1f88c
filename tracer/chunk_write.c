/* SPDX-License-Identifier: BSD-2-Clause */
/* Taking blocks apart and compressing the streams: see chunk.h. */
#include <assert.h>
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
	SEEN = 1024, /* power of two */
};

/* Streams while they grow: bytes of one number together. They are parted when the chunk ends. */
enum {
	OUT_CTL,
	OUT_SITE,
	OUT_ADR,
	OUT_NODE,
	OUT_A2,
	OUT_A4,
	OUT_A8,
	OUT_SIZE1,
	OUT_SIZE2,
	OUT_SIZE8,
	OUT_GEN,
	OUT_FLAGS,
	OUT_CODE,
	OUT_VERBATIM,
	OUT_STREAMS,
};

/* Which streams of the file they become: the first, and how many, a byte of each number in each. */
static const struct {
	uint8_t first, planes;
} parts[OUT_STREAMS] = {
	[OUT_CTL] = {KMS_STREAM_CTL,      1},
          [OUT_SITE] = {KMS_STREAM_SITE,     1},
	[OUT_ADR] = {KMS_STREAM_ADR,      1},
          [OUT_NODE] = {KMS_STREAM_NODE0,    3},
	[OUT_A2] = {KMS_STREAM_A2_0,     2},
          [OUT_A4] = {KMS_STREAM_A4_0,     4},
	[OUT_A8] = {KMS_STREAM_A8,       1},
          [OUT_SIZE1] = {KMS_STREAM_SIZE1,    1},
	[OUT_SIZE2] = {KMS_STREAM_SIZE2_0,  2},
          [OUT_SIZE8] = {KMS_STREAM_SIZE8,    1},
	[OUT_GEN] = {KMS_STREAM_GEN,      1},
          [OUT_FLAGS] = {KMS_STREAM_FLAGS,    1},
	[OUT_CODE] = {KMS_STREAM_CODE,     1},
          [OUT_VERBATIM] = {KMS_STREAM_VERBATIM, 1},
};

/* Where the next byte of each goes. The loop over hot records has one of its own on the stack:
 * stores of bytes may change anything in memory that others can see, so the compiler would have to
 * load each place again for each byte. */
struct out {
	uint8_t *at[OUT_STREAMS];
};

struct kms_chunk_writer {
	ZSTD_CCtx *zstd;
	struct out out;
	uint8_t *begin[OUT_STREAMS]; /* STREAM_ROOM bytes each */
	uint8_t *plane;              /* STREAM_ROOM bytes, scratch */
	struct kms_chunk_model model;
	struct kms_chunk_block before; /* last entry of the directory */
	/* Pages and nodes put in lately, by their low bits: most come again. */
	uint64_t page_seen[SEEN];
	uint32_t node_seen[SEEN];
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
	w->begin[0] = malloc((size_t)(OUT_STREAMS + 1) * STREAM_ROOM);
	if (w->zstd && w->dir && w->events && w->begin[0])
		result = set_level(w->zstd, level);
	if (result < 0) {
		kms_chunk_writer_destroy(w);
		return result;
	}
	for (unsigned s = 1; s < OUT_STREAMS; s++)
		w->begin[s] = w->begin[0] + (size_t)s * STREAM_ROOM;
	w->plane = w->begin[0] + (size_t)OUT_STREAMS * STREAM_ROOM;
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
	memcpy(writer->out.at, writer->begin, sizeof(writer->out.at));
	memset(&writer->model, 0, sizeof(writer->model));
	memset(&writer->before, 0, sizeof(writer->before));
	memset(writer->page_seen, 0xff, sizeof(writer->page_seen));
	memset(writer->node_seen, 0, sizeof(writer->node_seen));
	memset(&writer->chunk, 0, sizeof(writer->chunk));
	writer->chunk.ordinal_min = UINT64_MAX;
	kms_u64set_reset(&writer->pages);
	kms_u64set_reset(&writer->stacks);
	writer->no_filter = false;
	writer->dir_at = writer->dir;
}

static void add_page(struct kms_chunk_writer *w, uint64_t address)
{
	uint64_t page = address / KMS_PAGE_BYTES;
	uint64_t *seen = &w->page_seen[page & (SEEN - 1)];

	if (*seen == page)
		return;
	*seen = page;
	w->no_filter |= kms_u64set_add(&w->pages, page) < 0;
}

/* Node 0 is no stack: it counts as seen. */
static void add_stack(struct kms_chunk_writer *w, uint32_t node)
{
	uint32_t *seen = &w->node_seen[node & (SEEN - 1)];

	if (*seen == node || !node)
		return;
	*seen = node;
	w->no_filter |= kms_u64set_add(&w->stacks, kms_stack_id(w->model.image, node)) < 0;
}

/* Nodes are numbers of one image. */
static void forget_nodes(struct kms_chunk_writer *w, uint32_t image)
{
	if (image != w->model.image)
		memset(w->node_seen, 0, sizeof(w->node_seen));
}

#define HOT static inline __attribute__((always_inline))

/* Appends a little-endian number; up to 8 bytes behind it are scribbled on. */
HOT void put(struct out *o, unsigned stream, uint64_t value, unsigned bytes)
{
	if (bytes == 1)
		*o->at[stream] = (uint8_t)value;
	else
		memcpy(o->at[stream], &value, sizeof(value));
	o->at[stream] += bytes;
}

/* Returns the bits for the control byte. */
HOT unsigned put_node(struct kms_chunk_writer *w, struct out *o, unsigned index, uint32_t node)
{
	if (node == w->model.node[index])
		return KMS_CTL_KNOWN;
	w->model.node[index] = node;
	add_stack(w, node);
	put(o, OUT_NODE, node, 3);
	return 0;
}

/* The same for a size. */
HOT unsigned put_size(struct kms_chunk_writer *w, struct out *o, unsigned index, uint64_t size)
{
	if (size == w->model.size[index])
		return KMS_SIZE_KNOWN << KMS_CTL_SIZE_SHIFT;
	w->model.size[index] = size;
	if (size <= 0xff) {
		put(o, OUT_SIZE1, size, 1);
		return KMS_SIZE_1 << KMS_CTL_SIZE_SHIFT;
	}
	if (size <= 0xffff) {
		put(o, OUT_SIZE2, size, 2);
		return KMS_SIZE_2 << KMS_CTL_SIZE_SHIFT;
	}
	put(o, OUT_SIZE8, size, 8);
	return KMS_SIZE_8 << KMS_CTL_SIZE_SHIFT;
}

HOT void put_distance(struct out *o, uint64_t distance, uint64_t address)
{
	if (distance < KMS_ADR_WIDE2) {
		put(o, OUT_ADR, distance, 1);
	} else if (distance <= 0xffff) {
		put(o, OUT_ADR, KMS_ADR_WIDE2, 1);
		put(o, OUT_A2, distance, 2);
	} else if (distance <= 0xffffffff) {
		put(o, OUT_ADR, KMS_ADR_WIDE4, 1);
		put(o, OUT_A4, distance, 4);
	} else {
		put(o, OUT_ADR, KMS_ADR_WHOLE, 1);
		put(o, OUT_A8, address, 8);
	}
}

/* The address, as its distance to the nearer of two guesses. */
HOT unsigned put_address(struct kms_chunk_writer *w, struct out *o, uint64_t size, uint64_t address)
{
	unsigned slot = kms_chunk_size_slot(size);
	uint64_t rounded = address & ~UINT64_C(7);
	uint64_t by_size = kms_zigzag((int64_t)(address - w->model.size_address[slot]) >> 3);
	uint64_t by_ring = kms_zigzag((int64_t)(address - w->model.ring_address) >> 3);
	bool ring = by_ring < by_size;

	add_page(w, address);
	w->model.size_address[slot] = rounded;
	w->model.ring_address = rounded;
	if (address != rounded) {
		put_distance(o, UINT64_MAX, address);
		return 0;
	}
	put_distance(o, ring ? by_ring : by_size, address);
	return ring ? KMS_CTL_RING : 0;
}

/* An alloc or free; false if it is not in its shortest form. */
HOT bool put_hot(struct kms_chunk_writer *w, struct out *o, const uint8_t *p, unsigned tag)
{
	struct kms_chunk_model *m = &w->model;
	unsigned index = p[1];
	unsigned ctl = tag & (KMS_REC_FORM_MASK | KMS_REC_HIT | KMS_REC_SAME);
	uint64_t address = kms_hot_address(p, tag, m->ring_address);
	uint64_t size;

	if ((tag >> KMS_REC_ADDR_SHIFT & 3) != kms_chunk_address_code(address, m->ring_address))
		return false;
	kms_chunk_model_site(m, index, tag & KMS_REC_HIT);
	put(o, OUT_SITE, index, 1);
	if (!(tag & KMS_REC_HIT))
		ctl |= put_node(w, o, index, kms_hot_node(p, tag));
	if (tag & KMS_REC_SAME) {
		if (tag >> KMS_REC_SIZE_SHIFT)
			return false;
		size = m->size[index];
	} else {
		size = kms_hot_size(p, tag);
		if (tag >> KMS_REC_SIZE_SHIFT != kms_chunk_size_code(size))
			return false;
		ctl |= put_size(w, o, index, size);
	}
	ctl |= put_address(w, o, size, address);
	put(o, OUT_CTL, ctl, 1);
	return true;
}

static void put_bytes(struct kms_chunk_writer *w, unsigned stream, const void *bytes, size_t n)
{
	memcpy(w->out.at[stream], bytes, n);
	w->out.at[stream] += n;
}

/* Any other record of form 0: its operands stay as they are. Returns its end, NULL if it is
 * malformed. */
static const uint8_t *put_code(struct kms_chunk_writer *w, const uint8_t *p, const uint8_t *end)
{
	struct kms_code_record record;
	const uint8_t *operands = p + 1;
	uint8_t tag = *p;
	uint64_t address;

	if (kms_code_parse(&p, end, &record) != KMS_PARSE_OK)
		return NULL;
	put_bytes(w, OUT_CTL, &tag, 1);
	put_bytes(w, OUT_CODE, operands, (size_t)(p - operands));
	if (kms_code_address(&record, &address))
		add_page(w, address);
	if (record.code == KMS_REC_SLAB_GROW || record.code == KMS_REC_SLAB_RELEASE)
		add_page(w, record.operand[0] * KMS_PAGE_BYTES);
	add_stack(w, kms_code_node(&record));
	return p;
}

enum {
	TAG_GEN = KMS_REC_GEN << KMS_REC_CODE_SHIFT,
	TAG_FLAGS = KMS_REC_FLAGS << KMS_REC_CODE_SHIFT,
	PREFIX_BYTES = 2,
};

/* The prefixes come with many hot records: a byte of operand, anything goes. */
HOT void put_prefix(struct out *o, const uint8_t *p)
{
	put(o, OUT_CTL, p[0], 1);
	if (p[0] == TAG_GEN) /* not an index of both: these stay in registers */
		put(o, OUT_GEN, p[1], 1);
	else
		put(o, OUT_FLAGS, p[1], 1);
}

/* Hot records and prefixes up to the first other one. Returns where that begins, NULL: one is not in
 * order. */
static const uint8_t *put_hot_records(struct kms_chunk_writer *w, const uint8_t *p,
				      const uint8_t *end)
{
	struct out o = w->out;

	while (p < end) {
		unsigned tag = *p;
		unsigned bytes = kms_hot_bytes[tag];

		if (!bytes && (tag == TAG_GEN || tag == TAG_FLAGS) && end - p >= PREFIX_BYTES) {
			put_prefix(&o, p);
			p += PREFIX_BYTES;
			continue;
		}
		if (!bytes)
			break;
		if (bytes > (size_t)(end - p) || !put_hot(w, &o, p, tag))
			return NULL;
		p += bytes;
	}
	w->out = o;
	return p;
}

static bool put_records(struct kms_chunk_writer *w, uint32_t fill)
{
	const uint8_t *p = w->text.byte;
	const uint8_t *end = p + fill;

	while (p && p < end) {
		p = put_hot_records(w, p, end);
		if (p && p < end)
			p = put_code(w, p, end);
	}
	return p != NULL;
}

/* Keeps a block's records as they are; only what is in them must be known for the filters. */
static int put_verbatim(struct kms_chunk_writer *w, const struct kms_block *block)
{
	size_t n;

	if (kms_block_decode(block, w->events, KMS_SEQ_PER_BLOCK, &n) < 0)
		return -EBADMSG;
	for (size_t i = 0; i < n; i++) {
		if (w->events[i].address)
			add_page(w, w->events[i].address);
		add_stack(w, w->events[i].stack);
	}
	put_bytes(w, OUT_VERBATIM, block->record, block->fill);
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
	struct out mark = writer->out;
	bool verbatim = false;

	if (writer->chunk.n_blocks == KMS_CHUNK_BLOCKS)
		return -ENOSPC;
	if (block->fill > KMS_CHUNK_RECORD_BYTES)
		return -EBADMSG;
	kms_block_text_init(&writer->text, block);
	forget_nodes(writer, entry->image);
	kms_chunk_model_block(&writer->model, entry->image, block->base_address);
	if (!put_records(writer, block->fill)) {
		writer->out = mark;
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
static size_t compress(struct kms_chunk_writer *w, const uint8_t *in, size_t bytes, uint8_t *out,
		       size_t room)
{
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

/* Every n-th byte from the k-th on. */
static const uint8_t *take_plane(struct kms_chunk_writer *w, const uint8_t *in, size_t count,
				 unsigned k, unsigned n)
{
	if (n == 1)
		return in;
	for (size_t i = 0; i < count; i++)
		w->plane[i] = in[i * n + k];
	return w->plane;
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

/* The data while it is put together: the head grows on its own, the streams behind its longest. */
struct data {
	uint8_t head[DATA_HEAD_ROOM];
	uint8_t *h;
	uint8_t *at, *end;
};

static int end_stream(struct kms_chunk_writer *w, unsigned stream, struct data *d)
{
	unsigned planes = parts[stream].planes;
	size_t count = (size_t)(w->out.at[stream] - w->begin[stream]) / planes;

	for (unsigned k = 0; k < planes; k++) {
		const uint8_t *in = take_plane(w, w->begin[stream], count, k, planes);
		size_t packed = count ? compress(w, in, count, d->at, (size_t)(d->end - d->at)) : 0;

		if (count && !packed)
			return -EIO;
		d->h = kms_varint_put(d->h, count);
		d->h = kms_varint_put(d->h, packed);
		d->at += packed;
	}
	return 0;
}

static int end_data(struct kms_chunk_writer *w)
{
	size_t room = DATA_HEAD_ROOM, head_bytes;
	struct data d;
	int result = 0;

	for (unsigned s = 0; s < OUT_STREAMS; s++)
		room += parts[s].planes *
			ZSTD_compressBound((size_t)(w->out.at[s] - w->begin[s]) / parts[s].planes);
	if (reserve(&w->data, &w->data_room, room) < 0)
		return -ENOMEM;
	d.h = d.head;
	d.at = w->data + DATA_HEAD_ROOM;
	d.end = w->data + w->data_room;
	*d.h++ = KMS_CHUNK_VERSION;
	for (unsigned s = 0; !result && s < OUT_STREAMS; s++) {
		assert(parts[s].first == (s ? parts[s - 1].first + parts[s - 1].planes : 0));
		result = end_stream(w, s, &d);
	}
	head_bytes = (size_t)(d.h - d.head);
	w->chunk.data = w->data + DATA_HEAD_ROOM - head_bytes;
	memcpy(w->data + DATA_HEAD_ROOM - head_bytes, d.head, head_bytes);
	w->chunk.data_bytes = (size_t)(d.at - w->chunk.data);
	return result;
}

/* Without memory for them a chunk has no filters: it will be searched always. */
static void end_filters(struct kms_chunk_writer *w)
{
	const uint64_t *pages, *stacks;
	size_t n_pages = kms_u64set_sorted(&w->pages, &pages);
	size_t n_stacks = kms_u64set_sorted(&w->stacks, &stacks);
	size_t pages_room = kms_filter_room(n_pages);

	if (w->no_filter ||
	    reserve(&w->filters, &w->filters_room, pages_room + kms_filter_room(n_stacks)) < 0)
		return;
	w->chunk.pages = w->filters;
	w->chunk.pages_bytes = kms_filter_write(pages, n_pages, w->filters);
	w->chunk.stacks = w->filters + pages_room;
	w->chunk.stacks_bytes = kms_filter_write(stacks, n_stacks, w->filters + pages_room);
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
