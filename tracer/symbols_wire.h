/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Messages between the symbol resolver and its helper process.
 *
 * Both ends are the same program on the same machine, so numbers are in host order, unaligned, without padding. The
 * helper may have been taken over by a hostile ELF file: everything that comes from it is bounded and checked here, and
 * the decoders hand out only what is within the message.
 *
 *   resolver -> helper   CONFIG once; MODULE before its first use; REQUEST, one at a time
 *   helper -> resolver   READY once, after CONFIG; ANSWER, one or more, until each entry of the request is answered in order
 */
#ifndef KMS_TRACER_SYMBOLS_WIRE_H
#define KMS_TRACER_SYMBOLS_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tracer/symbols.h"

enum kms_symbols_wire_type {
	KMS_SYMBOLS_WIRE_CONFIG = 1,
	KMS_SYMBOLS_WIRE_READY,
	KMS_SYMBOLS_WIRE_MODULE,
	KMS_SYMBOLS_WIRE_REQUEST,
	KMS_SYMBOLS_WIRE_ANSWER,
};

enum {
	KMS_SYMBOLS_WIRE_MAGIC = 0x3153594b, /* "KYS1"; another layout gets another number */
	KMS_SYMBOLS_WIRE_HEADER_BYTES = 12,
	KMS_SYMBOLS_WIRE_PAYLOAD_BYTES =
		1 << 20, /* holds one longest answer: 64 frames of two longest names */
	KMS_SYMBOLS_WIRE_BATCH = 1024, /* entries in one request */
	KMS_SYMBOLS_WIRE_FD = 3,       /* the helper's end of the socket */
};

/** One message: type and payload. The payload is borrowed from the buffer it was read from. */
struct kms_symbols_wire_message {
	uint32_t type;
	uint32_t request; /* number of the request that is asked or answered; else 0 */
	size_t length;
	const uint8_t *payload;
};

/**
 * Bytes to be sent. Grows as needed; once something did not fit or no memory was left, `failed` is set and stays.
 * All zero is empty.
 */
struct kms_symbols_wire_out {
	uint8_t *data;
	size_t used;
	size_t size;
	size_t message_start;
	bool failed;
};

/** Frees the bytes and makes the buffer empty. */
void kms_symbols_wire_out_deinit(struct kms_symbols_wire_out *out);

/** Opens a message; what is put afterwards is its payload. */
void kms_symbols_wire_begin(struct kms_symbols_wire_out *out, enum kms_symbols_wire_type type,
			    uint32_t request);

/** Closes the message: its length is known now. A payload above the limit sets `failed`. */
void kms_symbols_wire_end(struct kms_symbols_wire_out *out);

/** Bytes received and not yet consumed. All zero is empty. */
struct kms_symbols_wire_in {
	uint8_t *data;
	size_t start;
	size_t used;
	size_t size;
};

/** Frees the bytes and makes the buffer empty. */
void kms_symbols_wire_in_deinit(struct kms_symbols_wire_in *in);

/**
 * Makes room for more bytes at the end and says where; messages handed out before become invalid.
 *
 * Shape:  *room gets at least 1 byte, *n_room how many. The caller then adds to in->used what it has received.
 * Errors: -ENOMEM.
 */
int kms_symbols_wire_in_room(struct kms_symbols_wire_in *in, uint8_t **room, size_t *n_room);

/**
 * Takes the next whole message.
 *
 * Returns 1 and *msg, 0 if bytes are missing, -EPROTO if the bytes are no message of ours.
 * Owner:  msg->payload is valid until the next kms_symbols_wire_in_room.
 */
int kms_symbols_wire_in_next(struct kms_symbols_wire_in *in, struct kms_symbols_wire_message *msg);

/** Payload of CONFIG. debug_root is at most KMS_SYMBOLS_PATH_BYTES long; decoded, it lies in the caller's struct. */
struct kms_symbols_wire_config {
	uint64_t memory_bytes;
	uint32_t modules_open_max;
	bool allow_debuginfod;
	char debug_root[KMS_SYMBOLS_PATH_BYTES + 1];
};

/** Puts a whole CONFIG message. */
void kms_symbols_wire_put_config(struct kms_symbols_wire_out *out,
				 const struct kms_symbols_wire_config *cfg);

/** Decodes CONFIG. 0 or -EPROTO. */
int kms_symbols_wire_get_config(const struct kms_symbols_wire_message *msg,
				struct kms_symbols_wire_config *cfg);

/** Payload of MODULE, borrowed and not NUL-terminated when decoded. */
struct kms_symbols_wire_module {
	uint32_t id;
	uint64_t mapped_bytes;
	const uint8_t *build_id;
	size_t n_build_id;
	const char *path;
	size_t n_path;
};

/** Puts a whole MODULE message. */
void kms_symbols_wire_put_module(struct kms_symbols_wire_out *out,
				 const struct kms_symbols_wire_module *module);

/** Decodes MODULE: id and lengths are within the limits of symbols.h, the path holds no NUL. 0 or -EPROTO. */
int kms_symbols_wire_get_module(const struct kms_symbols_wire_message *msg,
				struct kms_symbols_wire_module *module);

/** One entry of REQUEST. */
struct kms_symbols_wire_entry {
	uint64_t offset;
	uint32_t module;
	bool is_return;
};

/** Puts a whole REQUEST of n <= KMS_SYMBOLS_WIRE_BATCH entries that the helper shall work on for at most budget_ms. */
void kms_symbols_wire_put_request(struct kms_symbols_wire_out *out, uint32_t request,
				  uint32_t budget_ms, const struct kms_symbols_wire_entry *entries,
				  size_t n);

/** Decodes REQUEST into entries[KMS_SYMBOLS_WIRE_BATCH]. 0 or -EPROTO. */
int kms_symbols_wire_get_request(const struct kms_symbols_wire_message *msg, uint32_t *budget_ms,
				 struct kms_symbols_wire_entry *entries, size_t *n);

/** Bytes of a text, not NUL-terminated; text is NULL if there is none. */
struct kms_symbols_wire_text {
	const char *text;
	size_t n;
};

/** A frame as sent; the members are those of struct kms_symbol_frame. */
struct kms_symbols_wire_frame {
	struct kms_symbols_wire_text function;
	struct kms_symbols_wire_text file;
	uint64_t function_offset;
	uint32_t line;
	bool inlined;
};

/** The answer to one entry of a request. */
struct kms_symbols_wire_answer {
	enum kms_symbol_reason reason;
	uint32_t n_frames;
	struct kms_symbols_wire_frame frames[KMS_SYMBOLS_FRAMES];
};

/** Opens an ANSWER whose first answer belongs to entry `first` of the request. */
void kms_symbols_wire_begin_answers(struct kms_symbols_wire_out *out, uint32_t request,
				    uint32_t first);

/** Puts the answer to the next entry; names are cut at KMS_SYMBOLS_NAME_BYTES. Ends with kms_symbols_wire_end. */
void kms_symbols_wire_put_answer(struct kms_symbols_wire_out *out,
				 const struct kms_symbols_wire_answer *answer);

/** A place within a payload. */
struct kms_symbols_wire_reader {
	const uint8_t *at;
	const uint8_t *end;
	bool failed;
};

/** Begins to read an ANSWER: *first is the entry its first answer belongs to. 0 or -EPROTO. */
int kms_symbols_wire_get_answers(const struct kms_symbols_wire_message *msg,
				 struct kms_symbols_wire_reader *reader, uint32_t *first);

/**
 * Reads the next answer.
 *
 * Returns 1 and *answer, 0 at the end, -EPROTO if the bytes are none. Texts are borrowed from the payload, hold no NUL
 * and at most KMS_SYMBOLS_NAME_BYTES bytes; there are frames if and only if the reason is KMS_SYMBOL_OK, and exactly the
 * last one is not inlined.
 */
int kms_symbols_wire_next_answer(struct kms_symbols_wire_reader *reader,
				 struct kms_symbols_wire_answer *answer);

#endif
