/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets of the protocol: see gdb_packet.h. */
#include "tracer/guest/gdb_packet.h"

#include <string.h>

#include "base/fmt.h"

enum {
	BETWEEN, /* packets */
	DATA,
	FIRST_DIGIT,
	SECOND_DIGIT,
	ESCAPE_XOR = 0x20,
	RUN_BASE = 29, /* a count's character is it plus this */
};

static const char digits[] = "0123456789abcdef";

static void put(struct kms_gdb_packet *packet, char c)
{
	if (packet->bytes < sizeof(packet->data) - 1)
		packet->data[packet->bytes++] = c;
	else
		packet->is_too_long = true;
}

static void take_data(struct kms_gdb_packet *packet, char c)
{
	packet->sum = (uint8_t)(packet->sum + (uint8_t)c);
	if (packet->is_run) {
		char last = 0;

		if (packet->bytes)
			last = packet->data[packet->bytes - 1];

		for (int n = (uint8_t)c - RUN_BASE; n > 0; n--)
			put(packet, last);
		packet->is_run = false;
	} else if (packet->is_escaped) {
		put(packet, (char)(c ^ ESCAPE_XOR));
		packet->is_escaped = false;
	} else if (c == '}') {
		packet->is_escaped = true;
	} else if (c == '*') {
		packet->is_run = true;
	} else {
		put(packet, c);
	}
}

static enum kms_gdb_packet_step finish(struct kms_gdb_packet *packet, char c)
{
	bool is_good = packet->claimed < 16 && kms_hex_digit(c) != KMS_NO_DIGIT &&
		       packet->claimed * 16 + kms_hex_digit(c) == packet->sum &&
		       !packet->is_too_long;

	packet->data[packet->bytes] = '\0';
	packet->state = BETWEEN;
	return is_good ? KMS_GDB_COMPLETE : KMS_GDB_BAD;
}

enum kms_gdb_packet_step kms_gdb_packet_take(struct kms_gdb_packet *packet, char c)
{
	switch (packet->state) {
	case DATA:
		if (c == '#')
			packet->state = FIRST_DIGIT;
		else
			take_data(packet, c);
		return KMS_GDB_MORE;
	case FIRST_DIGIT:
		packet->claimed = (uint8_t)kms_hex_digit(c);
		packet->state = SECOND_DIGIT;
		return KMS_GDB_MORE;
	case SECOND_DIGIT:
		return finish(packet, c);
	default:
		if (c == '$') {
			memset(packet, 0, sizeof(*packet));
			packet->state = DATA;
		}
		return KMS_GDB_MORE;
	}
}

size_t kms_gdb_packet_make(const char *text, char *to)
{
	size_t n = strlen(text);
	uint8_t sum = 0;

	for (size_t i = 0; i < n; i++)
		sum = (uint8_t)(sum + (uint8_t)text[i]);
	to[0] = '$';
	memcpy(to + 1, text, n);
	to[n + 1] = '#';
	to[n + 2] = digits[sum >> 4];
	to[n + 3] = digits[sum & 15];
	to[n + 4] = '\0';
	return n + 4;
}

void kms_gdb_hex(const void *bytes, size_t n, char *to)
{
	const uint8_t *at = bytes;

	for (size_t i = 0; i < n; i++) {
		to[2 * i] = digits[at[i] >> 4];
		to[2 * i + 1] = digits[at[i] & 15];
	}
	to[2 * n] = '\0';
}

bool kms_gdb_unhex(const char *text, void *bytes, size_t n)
{
	uint8_t *to = bytes;

	if (strlen(text) != 2 * n)
		return false;
	for (size_t i = 0; i < n; i++) {
		int high = kms_hex_digit(text[2 * i]), low = kms_hex_digit(text[2 * i + 1]);

		if (high == KMS_NO_DIGIT || low == KMS_NO_DIGIT)
			return false;
		to[i] = (uint8_t)(high * 16 + low);
	}
	return true;
}
