/* SPDX-License-Identifier: BSD-2-Clause */
/* Streaming JSON: see json.h. */
#include "server/json.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <time.h>

#include "base/fmt.h"

/* Up to here every whole number is a double. */
static const uint64_t exact_max = UINT64_C(1) << 53;

void kms_json_init(struct kms_json *json, struct kms_buf *out)
{
	json->out = out;
	json->comma = false;
}

/* Everything that stands before a value. */
static void begin_value(struct kms_json *json, const char *key)
{
	if (json->comma)
		kms_buf_add_char(json->out, ',');
	json->comma = true;
	if (key) {
		kms_buf_add_json(json->out, key, strlen(key));
		kms_buf_add_char(json->out, ':');
	}
}

static void open_level(struct kms_json *json, const char *key, char bracket)
{
	begin_value(json, key);
	kms_buf_add_char(json->out, bracket);
	json->comma = false;
}

static void close_level(struct kms_json *json, char bracket)
{
	kms_buf_add_char(json->out, bracket);
	json->comma = true;
}

void kms_json_raw(struct kms_json *json, const char *key, const char *text, size_t n)
{
	begin_value(json, key);
	kms_buf_add(json->out, text, n);
}

void kms_json_object_begin(struct kms_json *json, const char *key)
{
	open_level(json, key, '{');
}

void kms_json_object_end(struct kms_json *json)
{
	close_level(json, '}');
}

void kms_json_array_begin(struct kms_json *json, const char *key)
{
	open_level(json, key, '[');
}

void kms_json_array_end(struct kms_json *json)
{
	close_level(json, ']');
}

void kms_json_string(struct kms_json *json, const char *key, const char *value)
{
	if (!value) {
		kms_json_null(json, key);
		return;
	}
	begin_value(json, key);
	kms_buf_add_json(json->out, value, strlen(value));
}

void kms_json_u64(struct kms_json *json, const char *key, uint64_t value)
{
	begin_value(json, key);
	kms_buf_addf(json->out, value <= exact_max ? "%" PRIu64 : "\"%" PRIu64 "\"", value);
}

void kms_json_i64(struct kms_json *json, const char *key, int64_t value)
{
	uint64_t size = value < 0 ? 0 - (uint64_t)value : (uint64_t)value;

	begin_value(json, key);
	kms_buf_addf(json->out, size <= exact_max ? "%" PRId64 : "\"%" PRId64 "\"", value);
}

void kms_json_address(struct kms_json *json, const char *key, uint64_t value)
{
	begin_value(json, key);
	kms_buf_addf(json->out, "\"%s\"", kms_fmt_addr(value).text);
}

void kms_json_double(struct kms_json *json, const char *key, double value)
{
	begin_value(json, key);
	kms_buf_addf(json->out, "%.10g", isfinite(value) ? value : 0.0);
}

void kms_json_bool(struct kms_json *json, const char *key, bool value)
{
	begin_value(json, key);
	kms_buf_add_str(json->out, value ? "true" : "false");
}

void kms_json_null(struct kms_json *json, const char *key)
{
	begin_value(json, key);
	kms_buf_add_str(json->out, "null");
}

void kms_json_base64(struct kms_json *json, const char *key, const uint8_t *bytes, size_t n)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	begin_value(json, key);
	kms_buf_add_char(json->out, '"');
	for (size_t i = 0; i < n; i += 3) {
		uint32_t group = (uint32_t)bytes[i] << 16;
		char text[4];

		group |= i + 1 < n ? (uint32_t)bytes[i + 1] << 8 : 0;
		group |= i + 2 < n ? bytes[i + 2] : 0;
		for (unsigned d = 0; d < 4; d++)
			text[d] = digits[group >> (18 - 6 * d) & 63];
		text[2] = i + 1 < n ? text[2] : '=';
		text[3] = i + 2 < n ? text[3] : '=';
		kms_buf_add(json->out, text, sizeof(text));
	}
	kms_buf_add_char(json->out, '"');
}

void kms_json_time(struct kms_json *json, const char *key, uint64_t wall_ns)
{
	time_t seconds = (time_t)(wall_ns / 1000000000);
	struct tm tm;
	char text[32];

	if (wall_ns == 0 || !gmtime_r(&seconds, &tm) ||
	    strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm) == 0) {
		kms_json_null(json, key);
		return;
	}
	begin_value(json, key);
	kms_buf_addf(json->out, "\"%s.%09" PRIu64 "Z\"", text, wall_ns % 1000000000);
}
