/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/guest/linux_encode.h"

#include <errno.h>
#include <string.h>

#include "tracer/batch_build.h"
#include "tracer/block.h"

enum {
	SESSION = 1,      /* who comes late begins with this */
	EVENT_BYTES = 96, /* no event is longer, with all that goes before it */
	ROOM = KMS_PAGE_BYTES - 64,
	NODE_BYTES = 3,
};

static uint8_t *put_byte(uint8_t *at, unsigned value)
{
	*at = (uint8_t)value;
	return at + 1;
}

static uint8_t *put_code(uint8_t *at, unsigned code)
{
	return put_byte(at, code << KMS_REC_CODE_SHIFT);
}

static uint8_t *put_little(uint8_t *at, uint64_t value, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		at = put_byte(at, (unsigned)(value >> (8 * i)) & 0xff);
	return at;
}

static uint8_t *put_varint(uint8_t *at, uint64_t value)
{
	for (; value > 0x7f; value >>= 7)
		at = put_byte(at, 0x80 | (unsigned)(value & 0x7f));
	return put_byte(at, (unsigned)value);
}

/* 0 to 3: a number takes 1, 2, 4 or 8 bytes. */
static unsigned size_code(uint64_t bytes)
{
	return bytes <= UINT8_MAX ? 0 : bytes <= UINT16_MAX ? 1 : bytes <= UINT32_MAX ? 2 : 3;
}

static unsigned address_code(uint64_t address, int64_t units)
{
	if (address % KMS_ADDR_UNIT_BYTES)
		return 3;
	if (units >= INT8_MIN && units <= INT8_MAX)
		return 0;
	if (units >= INT16_MIN && units <= INT16_MAX)
		return 1;
	return units >= INT32_MIN && units <= INT32_MAX ? 2 : 3;
}

static uint8_t *put_hot(struct kms_linux_stream *stream, uint8_t *at,
			const struct kms_linux_write *event)
{
	unsigned entry = (event->node * UINT32_C(0x9e3779b1)) >> 24;
	bool hit = stream->site[entry].node == event->node;
	bool same = hit && stream->site[entry].bytes == event->bytes;
	int64_t units = (int64_t)(event->address -
				  stream->address / KMS_ADDR_UNIT_BYTES * KMS_ADDR_UNIT_BYTES);
	unsigned address, size = size_code(event->bytes);
	unsigned tag = event->kind == KMS_EVENT_ALLOC ? KMS_REC_FORM_ALLOC : KMS_REC_FORM_FREE;

	units /= KMS_ADDR_UNIT_BYTES; /* exact where the address is a multiple */
	address = address_code(event->address, units);
	tag |= (hit ? KMS_REC_HIT : 0) | address << KMS_REC_ADDR_SHIFT;
	tag |= same ? KMS_REC_SAME : size << KMS_REC_SIZE_SHIFT;
	at = put_byte(at, tag);
	at = put_byte(at, entry);
	if (!hit)
		at = put_little(at, event->node, NODE_BYTES);
	at = put_little(at, address == 3 ? event->address : (uint64_t)units, 1U << address);
	if (!same)
		at = put_little(at, event->bytes, 1U << size);
	stream->site[entry].node = event->node;
	stream->site[entry].bytes = event->bytes;
	stream->address = event->address;
	return at;
}

/* Another thread goes on with the CPU. */
static uint8_t *put_thread(struct kms_linux_stream *stream, uint8_t *at,
			   const struct kms_linux_write *event)
{
	if (event->kind == KMS_EVENT_LOST || event->thread == stream->thread)
		return at;
	stream->thread = event->thread;
	stream->seq++;
	at = put_varint(put_code(at, KMS_REC_CONTEXT), event->thread);
	return put_varint(at, KMS_LEVEL_TASK);
}

static uint8_t *put_event(struct kms_linux_stream *stream, uint8_t *at,
			  const struct kms_linux_write *event)
{
	if (event->kind == KMS_EVENT_LOST) {
		stream->seq += event->bytes;
		stream->lost += event->bytes;
		return put_varint(put_code(at, KMS_REC_LOST), event->bytes);
	}
	stream->seq++;
	if (event->kind == KMS_EVENT_FAULT)
		return put_varint(put_code(at, KMS_REC_FAULT), event->node);
	if (event->has_generation)
		at = put_byte(put_code(at, KMS_REC_GEN), event->generation);
	if (event->is_foreign)
		at = put_byte(put_code(at, KMS_REC_FLAGS), KMS_ATTR_FOREIGN >> KMS_ATTR_SHIFT);
	if (event->cache != KMS_NO_INDEX)
		at = put_byte(put_code(at, KMS_REC_CACHE), event->cache);
	return put_hot(stream, at, event);
}

static void block_begin(struct kms_linux_stream *stream, const struct kms_linux_write *event)
{
	struct kms_block *block = &stream->block;
	uint8_t *at = block->record;

	if (event->time_ns > stream->time_ns)
		stream->time_ns = event->time_ns;
	stream->thread = event->kind == KMS_EVENT_LOST ? stream->thread : event->thread;
	stream->address = event->address / KMS_ADDR_UNIT_BYTES * KMS_ADDR_UNIT_BYTES;
	memset(stream->site, 0, sizeof(stream->site));
	memset(block, 0, offsetof(struct kms_block, record));
	block->number = ++stream->last_number;
	block->first_seq = stream->seq;
	block->base_time_ns = stream->time_ns;
	block->base_address = stream->address;
	block->thread = stream->thread;
	block->ring = stream->ring;
	at = put_byte(put_code(at, KMS_REC_RESUME), SESSION);
	block->fill = (uint32_t)(at - block->record);
	stream->sent = 0;
}

static int send(struct kms_linux_stream *stream, struct kms_batch *batch, bool complete)
{
	struct kms_batch_block *out;

	if (!stream->block.number || (stream->sent == stream->block.fill && !complete))
		return 0;
	out = kms_batch_add_block(batch);
	if (!out)
		return -ENOMEM;
	out->from_bytes = stream->sent;
	out->complete = complete;
	out->block = stream->block;
	/* of our own making: it cannot be malformed */
	(void)kms_block_walk(&out->block, out->from_bytes, &out->summary, NULL, NULL);
	stream->sent = stream->block.fill;
	return 0;
}

int kms_linux_stream_put(struct kms_linux_stream *stream, struct kms_batch *batch,
			 const struct kms_linux_write *event)
{
	struct kms_block *block = &stream->block;
	uint8_t *at;

	if (block->number && block->fill > ROOM - EVENT_BYTES) {
		int result = send(stream, batch, true);

		if (result)
			return result;
		block->number = 0;
	}
	if (!block->number)
		block_begin(stream, event);
	at = put_thread(stream, block->record + block->fill, event);
	/* before each one: those without lie somewhere between the times around them */
	at = put_varint(put_code(at, KMS_REC_TIME),
			event->time_ns > stream->time_ns ? event->time_ns - stream->time_ns : 0);
	if (event->time_ns > stream->time_ns)
		stream->time_ns = event->time_ns;
	at = put_event(stream, at, event);
	block->fill = (uint32_t)(at - block->record);
	return 0;
}

int kms_linux_stream_flush(struct kms_linux_stream *stream, struct kms_batch *batch)
{
	return send(stream, batch, false);
}
