/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Writing JSON straight into a text buffer: for answers that may have many thousand members.
 *
 * The writer keeps track of commas only; the caller closes what it opened, in order. Inside an object
 * each value has a key, inside an array the key is NULL. Failures stay in the buffer.
 */
#ifndef KMS_SERVER_JSON_H
#define KMS_SERVER_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct kms_json {
	struct kms_buf *out;
	bool comma; /* a value stands before at this level */
};

/** Begins to write at the end of @out. */
void kms_json_init(struct kms_json *json, struct kms_buf *out);

void kms_json_object_begin(struct kms_json *json, const char *key);
void kms_json_object_end(struct kms_json *json);
void kms_json_array_begin(struct kms_json *json, const char *key);
void kms_json_array_end(struct kms_json *json);

/** A foreign string, escaped as kms_buf_add_json() does; NULL becomes null. */
void kms_json_string(struct kms_json *json, const char *key, const char *value);

/** A number up to 2^53, above that a string of decimal digits: doubles cannot hold it. */
void kms_json_u64(struct kms_json *json, const char *key, uint64_t value);
void kms_json_i64(struct kms_json *json, const char *key, int64_t value);

/** An address as a string: "0x7f00deadb000". */
void kms_json_address(struct kms_json *json, const char *key, uint64_t value);

/** A number with a fraction, ten digits at most; what is no number becomes 0. */
void kms_json_double(struct kms_json *json, const char *key, double value);

void kms_json_bool(struct kms_json *json, const char *key, bool value);
void kms_json_null(struct kms_json *json, const char *key);

/** A value that is JSON already. */
void kms_json_raw(struct kms_json *json, const char *key, const char *text, size_t n);

/** Bytes as a string of base64 (RFC 4648, padded). */
void kms_json_base64(struct kms_json *json, const char *key, const uint8_t *bytes, size_t n);

/** Wall clock as RFC 3339 with nanoseconds, UTC; 0 becomes null. */
void kms_json_time(struct kms_json *json, const char *key, uint64_t wall_ns);

#endif
