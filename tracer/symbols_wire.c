/* SPDX-License-Identifier: BSD-2-Clause */
/* Messages between the symbol resolver and its helper: encoders, and decoders that trust nothing. */
#include "tracer/symbols_wire.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	BUFFER_BYTES_MIN = 16384,
	MESSAGE_BYTES_MAX = KMS_SYMBOLS_WIRE_HEADER_BYTES + KMS_SYMBOLS_WIRE_PAYLOAD_BYTES,
};

/* Puts ------------------------------------------------------------------------------------------------------------ */

void kms_symbols_wire_out_deinit(struct kms_symbols_wire_out *out)
{
	free(out->data);
	*out = (struct kms_symbols_wire_out){0};
}

static bool out_reserve(struct kms_symbols_wire_out *out, size_t n)
{
	if (out->failed)
		return false;
	if (out->size - out->used >= n)
		return true;
	size_t size = out->size ? out->size : BUFFER_BYTES_MIN;
	while (size - out->used < n)
		size *= 2;
	uint8_t *data = realloc(out->data, size);
	if (!data) {
		out->failed = true;
		return false;
	}
	out->data = data;
	out->size = size;
	return true;
}

static void put_bytes(struct kms_symbols_wire_out *out, const void *bytes, size_t n)
{
	if (n == 0 || !out_reserve(out, n))
		return;
	memcpy(out->data + out->used, bytes, n);
	out->used += n;
}

static void put_u8(struct kms_symbols_wire_out *out, uint8_t value)
{
	put_bytes(out, &value, sizeof(value));
}

static void put_u16(struct kms_symbols_wire_out *out, uint16_t value)
{
	put_bytes(out, &value, sizeof(value));
}

static void put_u32(struct kms_symbols_wire_out *out, uint32_t value)
{
	put_bytes(out, &value, sizeof(value));
}

static void put_u64(struct kms_symbols_wire_out *out, uint64_t value)
{
	put_bytes(out, &value, sizeof(value));
}

static void put_text(struct kms_symbols_wire_out *out, const char *text, size_t n, size_t max)
{
	if (n > max)
		n = max;
	put_u16(out, (uint16_t)n);
	put_bytes(out, text, n);
}

/* Header: magic u32, type and length in one u32 (8 and 24 bits), request u32. */
void kms_symbols_wire_begin(struct kms_symbols_wire_out *out, enum kms_symbols_wire_type type,
			    uint32_t request)
{
	out->message_start = out->used;
	put_u32(out, KMS_SYMBOLS_WIRE_MAGIC);
	put_u32(out, (uint32_t)type << 24);
	put_u32(out, request);
}

void kms_symbols_wire_end(struct kms_symbols_wire_out *out)
{
	if (out->failed)
		return;
	size_t n = out->used - out->message_start - KMS_SYMBOLS_WIRE_HEADER_BYTES;
	if (n > KMS_SYMBOLS_WIRE_PAYLOAD_BYTES) {
		out->failed = true;
		return;
	}
	uint32_t word;
	memcpy(&word, out->data + out->message_start + 4, sizeof(word));
	word |= (uint32_t)n;
	memcpy(out->data + out->message_start + 4, &word, sizeof(word));
}

/* Stream to messages ---------------------------------------------------------------------------------------------- */

void kms_symbols_wire_in_deinit(struct kms_symbols_wire_in *in)
{
	free(in->data);
	*in = (struct kms_symbols_wire_in){0};
}

int kms_symbols_wire_in_room(struct kms_symbols_wire_in *in, uint8_t **room, size_t *n_room)
{
	if (in->start > 0) {
		memmove(in->data, in->data + in->start, in->used - in->start);
		in->used -= in->start;
		in->start = 0;
	}
	if (in->used == in->size) {
		assert(in->used < MESSAGE_BYTES_MAX); /* else a whole message was left in it */
		size_t size = in->size ? in->size * 2 : BUFFER_BYTES_MIN;
		if (size > MESSAGE_BYTES_MAX)
			size = MESSAGE_BYTES_MAX;
		uint8_t *data = realloc(in->data, size);
		if (!data)
			return -ENOMEM;
		in->data = data;
		in->size = size;
	}
	*room = in->data + in->used;
	*n_room = in->size - in->used;
	return 0;
}

int kms_symbols_wire_in_next(struct kms_symbols_wire_in *in, struct kms_symbols_wire_message *msg)
{
	uint32_t header[3];
	if (in->used - in->start < sizeof(header))
		return 0;
	memcpy(header, in->data + in->start, sizeof(header));
	uint32_t type = header[1] >> 24;
	size_t length = header[1] & 0xffffff;
	if (header[0] != KMS_SYMBOLS_WIRE_MAGIC || type < KMS_SYMBOLS_WIRE_CONFIG ||
	    type > KMS_SYMBOLS_WIRE_ANSWER || length > KMS_SYMBOLS_WIRE_PAYLOAD_BYTES)
		return -EPROTO;
	if (in->used - in->start - sizeof(header) < length)
		return 0;
	*msg = (struct kms_symbols_wire_message){
		.type = type,
		.request = header[2],
		.length = length,
		.payload = in->data + in->start + sizeof(header),
	};
	in->start += sizeof(header) + length;
	return 1;
}

/* Gets ------------------------------------------------------------------------------------------------------------ */

static const uint8_t *get_bytes(struct kms_symbols_wire_reader *reader, size_t n)
{
	if (reader->failed || (size_t)(reader->end - reader->at) < n) {
		reader->failed = true;
		return NULL;
	}
	const uint8_t *bytes = reader->at;
	reader->at += n;
	return bytes;
}

static void get_copy(struct kms_symbols_wire_reader *reader, void *to, size_t n)
{
	const uint8_t *bytes = get_bytes(reader, n);
	if (bytes)
		memcpy(to, bytes, n);
	else
		memset(to, 0, n);
}

static uint8_t get_u8(struct kms_symbols_wire_reader *reader)
{
	uint8_t value;
	get_copy(reader, &value, sizeof(value));
	return value;
}

static uint16_t get_u16(struct kms_symbols_wire_reader *reader)
{
	uint16_t value;
	get_copy(reader, &value, sizeof(value));
	return value;
}

static uint32_t get_u32(struct kms_symbols_wire_reader *reader)
{
	uint32_t value;
	get_copy(reader, &value, sizeof(value));
	return value;
}

static uint64_t get_u64(struct kms_symbols_wire_reader *reader)
{
	uint64_t value;
	get_copy(reader, &value, sizeof(value));
	return value;
}

static bool get_bool(struct kms_symbols_wire_reader *reader)
{
	uint8_t value = get_u8(reader);
	if (value > 1)
		reader->failed = true;
	return value == 1;
}

/* A text of at most max bytes without a NUL; NULL if it is empty. */
static struct kms_symbols_wire_text get_text(struct kms_symbols_wire_reader *reader, size_t max)
{
	size_t n = get_u16(reader);
	const uint8_t *bytes = get_bytes(reader, n);
	if (!bytes || n == 0)
		return (struct kms_symbols_wire_text){0};
	if (n > max || memchr(bytes, '\0', n)) {
		reader->failed = true;
		return (struct kms_symbols_wire_text){0};
	}
	return (struct kms_symbols_wire_text){.text = (const char *)bytes, .n = n};
}

static struct kms_symbols_wire_reader reader_of(const struct kms_symbols_wire_message *msg,
						enum kms_symbols_wire_type type)
{
	return (struct kms_symbols_wire_reader){
		.at = msg->payload,
		.end = msg->payload + msg->length,
		.failed = msg->type != type,
	};
}

/* A message ends where its last member does. */
static int reader_done(const struct kms_symbols_wire_reader *reader)
{
	return reader->failed || reader->at != reader->end ? -EPROTO : 0;
}

/* The messages ---------------------------------------------------------------------------------------------------- */

void kms_symbols_wire_put_config(struct kms_symbols_wire_out *out,
				 const struct kms_symbols_wire_config *cfg)
{
	kms_symbols_wire_begin(out, KMS_SYMBOLS_WIRE_CONFIG, 0);
	put_u64(out, cfg->memory_bytes);
	put_u32(out, cfg->modules_open_max);
	put_u8(out, cfg->allow_debuginfod);
	put_text(out, cfg->debug_root, strlen(cfg->debug_root), KMS_SYMBOLS_PATH_BYTES);
	kms_symbols_wire_end(out);
}

int kms_symbols_wire_get_config(const struct kms_symbols_wire_message *msg,
				struct kms_symbols_wire_config *cfg)
{
	struct kms_symbols_wire_reader reader = reader_of(msg, KMS_SYMBOLS_WIRE_CONFIG);
	cfg->memory_bytes = get_u64(&reader);
	cfg->modules_open_max = get_u32(&reader);
	cfg->allow_debuginfod = get_bool(&reader);
	struct kms_symbols_wire_text root = get_text(&reader, KMS_SYMBOLS_PATH_BYTES);
	if (!root.text || cfg->modules_open_max == 0)
		return -EPROTO;
	memcpy(cfg->debug_root, root.text, root.n);
	cfg->debug_root[root.n] = '\0';
	return reader_done(&reader);
}

void kms_symbols_wire_put_module(struct kms_symbols_wire_out *out,
				 const struct kms_symbols_wire_module *module)
{
	assert(module->n_build_id <= KMS_SYMBOLS_BUILD_ID_BYTES);
	kms_symbols_wire_begin(out, KMS_SYMBOLS_WIRE_MODULE, 0);
	put_u32(out, module->id);
	put_u64(out, module->mapped_bytes);
	put_u8(out, (uint8_t)module->n_build_id);
	put_bytes(out, module->build_id, module->n_build_id);
	put_text(out, module->path, module->n_path, KMS_SYMBOLS_PATH_BYTES);
	kms_symbols_wire_end(out);
}

int kms_symbols_wire_get_module(const struct kms_symbols_wire_message *msg,
				struct kms_symbols_wire_module *module)
{
	struct kms_symbols_wire_reader reader = reader_of(msg, KMS_SYMBOLS_WIRE_MODULE);
	module->id = get_u32(&reader);
	module->mapped_bytes = get_u64(&reader);
	module->n_build_id = get_u8(&reader);
	module->build_id = get_bytes(&reader, module->n_build_id);
	struct kms_symbols_wire_text path = get_text(&reader, KMS_SYMBOLS_PATH_BYTES);
	module->path = path.text;
	module->n_path = path.n;
	if (!path.text || module->id >= KMS_SYMBOLS_MODULES ||
	    module->n_build_id > KMS_SYMBOLS_BUILD_ID_BYTES)
		return -EPROTO;
	return reader_done(&reader);
}

void kms_symbols_wire_put_request(struct kms_symbols_wire_out *out, uint32_t request,
				  uint32_t budget_ms, const struct kms_symbols_wire_entry *entries,
				  size_t n)
{
	assert(n <= KMS_SYMBOLS_WIRE_BATCH);
	kms_symbols_wire_begin(out, KMS_SYMBOLS_WIRE_REQUEST, request);
	put_u32(out, budget_ms);
	put_u16(out, (uint16_t)n);
	for (size_t i = 0; i < n; i++) {
		put_u64(out, entries[i].offset);
		put_u32(out, entries[i].module);
		put_u8(out, entries[i].is_return);
	}
	kms_symbols_wire_end(out);
}

int kms_symbols_wire_get_request(const struct kms_symbols_wire_message *msg, uint32_t *budget_ms,
				 struct kms_symbols_wire_entry *entries, size_t *n)
{
	struct kms_symbols_wire_reader reader = reader_of(msg, KMS_SYMBOLS_WIRE_REQUEST);
	*budget_ms = get_u32(&reader);
	*n = get_u16(&reader);
	if (reader.failed || *n == 0 || *n > KMS_SYMBOLS_WIRE_BATCH)
		return -EPROTO;
	for (size_t i = 0; i < *n; i++) {
		entries[i].offset = get_u64(&reader);
		entries[i].module = get_u32(&reader);
		entries[i].is_return = get_bool(&reader);
	}
	return reader_done(&reader);
}

void kms_symbols_wire_begin_answers(struct kms_symbols_wire_out *out, uint32_t request,
				    uint32_t first)
{
	kms_symbols_wire_begin(out, KMS_SYMBOLS_WIRE_ANSWER, request);
	put_u32(out, first);
}

void kms_symbols_wire_put_answer(struct kms_symbols_wire_out *out,
				 const struct kms_symbols_wire_answer *answer)
{
	assert(answer->n_frames <= KMS_SYMBOLS_FRAMES);
	put_u8(out, (uint8_t)answer->reason);
	put_u8(out, (uint8_t)answer->n_frames);
	for (uint32_t i = 0; i < answer->n_frames; i++) {
		const struct kms_symbols_wire_frame *frame = &answer->frames[i];
		put_u8(out, frame->inlined);
		put_u32(out, frame->line);
		put_u64(out, frame->function_offset);
		put_text(out, frame->function.text, frame->function.n, KMS_SYMBOLS_NAME_BYTES);
		put_text(out, frame->file.text, frame->file.n, KMS_SYMBOLS_NAME_BYTES);
	}
}

int kms_symbols_wire_get_answers(const struct kms_symbols_wire_message *msg,
				 struct kms_symbols_wire_reader *reader, uint32_t *first)
{
	*reader = reader_of(msg, KMS_SYMBOLS_WIRE_ANSWER);
	*first = get_u32(reader);
	return reader->failed ? -EPROTO : 0;
}

static void get_frame(struct kms_symbols_wire_reader *reader, struct kms_symbols_wire_frame *frame)
{
	frame->inlined = get_bool(reader);
	frame->line = get_u32(reader);
	frame->function_offset = get_u64(reader);
	frame->function = get_text(reader, KMS_SYMBOLS_NAME_BYTES);
	frame->file = get_text(reader, KMS_SYMBOLS_NAME_BYTES);
}

int kms_symbols_wire_next_answer(struct kms_symbols_wire_reader *reader,
				 struct kms_symbols_wire_answer *answer)
{
	if (reader->failed)
		return -EPROTO;
	if (reader->at == reader->end)
		return 0;
	uint8_t reason = get_u8(reader);
	answer->n_frames = get_u8(reader);
	bool has_frames = answer->n_frames > 0;
	if (reader->failed || reason >= KMS_SYMBOL_N_REASONS ||
	    answer->n_frames > KMS_SYMBOLS_FRAMES || has_frames != (reason == KMS_SYMBOL_OK))
		return -EPROTO;
	answer->reason = (enum kms_symbol_reason)reason;
	for (uint32_t i = 0; i < answer->n_frames; i++) {
		get_frame(reader, &answer->frames[i]);
		if (answer->frames[i].inlined != (i + 1 < answer->n_frames))
			return -EPROTO;
	}
	return reader->failed ? -EPROTO : 1;
}
