/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Both parsers of the symbol resolver's socket on arbitrary bytes: stream to messages, and each message's payload. An
 * answer that is accepted is kept in a small cache, so that what callers get is checked as well.
 */
#include <assert.h>
#include <string.h>

#include "base/test/fuzz_entry.h"
#include "tracer/symbols_cache.h"
#include "tracer/symbols_wire.h"

enum {
	CACHE_BYTES = 1 << 18,
	PIECE_BYTES =
		4099, /* the stream comes in pieces of this size: a prime, so that borders move */
};

static void check_text(struct kms_symbols_wire_text text,
		       const struct kms_symbols_wire_message *msg)
{
	if (!text.text)
		return;
	const uint8_t *bytes = (const uint8_t *)text.text;
	assert(bytes >= msg->payload && bytes + text.n <= msg->payload + msg->length);
	assert(text.n > 0 && text.n <= KMS_SYMBOLS_NAME_BYTES);
	assert(!memchr(text.text, '\0', text.n));
}

static void check_cached(const struct kms_symbols_cache_entry *entry,
			 const struct kms_symbols_wire_answer *answer)
{
	assert(entry->n_frames == answer->n_frames);
	assert(entry->reason == answer->reason);
	for (uint32_t i = 0; i < answer->n_frames; i++) {
		struct kms_symbols_wire_text function = answer->frames[i].function;
		assert(!function.text == !entry->frames[i].function);
		assert(!function.text ||
		       (strlen(entry->frames[i].function) == function.n &&
			memcmp(entry->frames[i].function, function.text, function.n) == 0));
		assert(entry->frames[i].line == answer->frames[i].line);
	}
}

static void read_answers(const struct kms_symbols_wire_message *msg,
			 struct kms_symbols_cache *cache)
{
	static struct kms_symbols_wire_answer answer;
	struct kms_symbols_wire_reader reader;
	uint32_t first;
	if (kms_symbols_wire_get_answers(msg, &reader, &first) != 0)
		return;
	while (kms_symbols_wire_next_answer(&reader, &answer) == 1) {
		assert(answer.n_frames <= KMS_SYMBOLS_FRAMES);
		assert((answer.n_frames > 0) == (answer.reason == KMS_SYMBOL_OK));
		for (uint32_t i = 0; i < answer.n_frames; i++) {
			check_text(answer.frames[i].function, msg);
			check_text(answer.frames[i].file, msg);
		}
		struct kms_symbols_wire_entry address = {.offset = cache->n_entries};
		const struct kms_symbols_cache_entry *entry =
			kms_symbols_cache_put(cache, &address, &answer);
		assert(cache->used_bytes <= CACHE_BYTES);
		if (entry)
			check_cached(entry, &answer);
	}
}

static void read_module(const struct kms_symbols_wire_message *msg)
{
	struct kms_symbols_wire_module module;
	if (kms_symbols_wire_get_module(msg, &module) != 0)
		return;
	struct kms_symbols_wire_text path = {.text = module.path, .n = module.n_path};
	check_text(path, msg);
	assert(module.id < KMS_SYMBOLS_MODULES);
	assert(module.n_build_id <= KMS_SYMBOLS_BUILD_ID_BYTES);
	assert(module.build_id + module.n_build_id <= msg->payload + msg->length);
}

static void read_message(const struct kms_symbols_wire_message *msg,
			 struct kms_symbols_cache *cache)
{
	static struct kms_symbols_wire_config config;
	static struct kms_symbols_wire_entry entries[KMS_SYMBOLS_WIRE_BATCH];
	uint32_t budget_ms;
	size_t n;
	assert(msg->length <= KMS_SYMBOLS_WIRE_PAYLOAD_BYTES);
	if (kms_symbols_wire_get_config(msg, &config) == 0)
		assert(strnlen(config.debug_root, sizeof(config.debug_root)) <=
		       KMS_SYMBOLS_PATH_BYTES);
	if (kms_symbols_wire_get_request(msg, &budget_ms, entries, &n) == 0)
		assert(n > 0 && n <= KMS_SYMBOLS_WIRE_BATCH);
	read_module(msg);
	read_answers(msg, cache);
}

/* Takes all whole messages out. False once the stream is broken. */
static bool read_messages(struct kms_symbols_wire_in *in, struct kms_symbols_cache *cache)
{
	struct kms_symbols_wire_message msg;
	int rc;
	while ((rc = kms_symbols_wire_in_next(in, &msg)) == 1)
		read_message(&msg, cache);
	return rc == 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	struct kms_symbols_wire_in in = {0};
	struct kms_symbols_cache cache;
	bool is_whole = true;
	kms_symbols_cache_init(&cache, CACHE_BYTES);
	for (size_t at = 0; at < n && is_whole;) {
		uint8_t *room;
		size_t n_room;
		if (kms_symbols_wire_in_room(&in, &room, &n_room) != 0)
			break;
		size_t piece = n - at < PIECE_BYTES ? n - at : PIECE_BYTES;
		piece = piece < n_room ? piece : n_room;
		memcpy(room, bytes + at, piece);
		in.used += piece;
		at += piece;
		is_whole = read_messages(&in, &cache);
	}
	kms_symbols_cache_deinit(&cache);
	kms_symbols_wire_in_deinit(&in);
	return 0;
}
