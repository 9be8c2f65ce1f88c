/* SPDX-License-Identifier: BSD-2-Clause */
/* Packets of gdb's remote serial protocol: $data#checksum, acknowledged by a plus sign. */
#ifndef KMS_TRACER_GUEST_GDB_PACKET_H
#define KMS_TRACER_GUEST_GDB_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum kms_gdb_packet_bounds {
	KMS_GDB_DATA_BYTES = 2048,                          /* of memory in one packet */
	KMS_GDB_PACKET_BYTES = 2 * KMS_GDB_DATA_BYTES + 64, /* of text */
};

/** A packet that comes in, byte by byte. Begin with all zero. */
struct kms_gdb_packet {
	char data[KMS_GDB_PACKET_BYTES]; /* NUL-terminated, runs and escapes undone */
	size_t bytes;
	uint8_t sum;
	uint8_t state;
	uint8_t claimed; /* checksum, its first digit */
	bool is_escaped, is_run, is_too_long;
};

enum kms_gdb_packet_step {
	KMS_GDB_MORE = 0,
	KMS_GDB_COMPLETE = 1, /* data is a packet; the next byte begins anew */
	KMS_GDB_BAD = 2,      /* a checksum that is wrong, or too long: it is to be sent again */
};

/** Takes a byte; what is between packets (acknowledgements) is passed over. */
enum kms_gdb_packet_step kms_gdb_packet_take(struct kms_gdb_packet *packet, char c);

/** Frames a text. Returns its length. Shape: to has strlen(text) + 5 bytes */
size_t kms_gdb_packet_make(const char *text, char *to);

/** Bytes as hexadecimal digits, terminated. Shape: to has 2 * n + 1 bytes */
void kms_gdb_hex(const void *bytes, size_t n, char *to);

/** Digits to bytes. Returns whether the text is exactly n bytes. */
bool kms_gdb_unhex(const char *text, void *bytes, size_t n);

#endif
