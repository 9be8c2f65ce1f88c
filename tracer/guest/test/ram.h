/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest RAM of a test: a memfd behind the real back end, without an emulator. */
#ifndef KMS_TRACER_GUEST_TEST_RAM_H
#define KMS_TRACER_GUEST_TEST_RAM_H

#include <stddef.h>
#include <stdint.h>

#include "tracer/guest/memory.h"

/** RAM, and our own mapping of it: what a guest would write. */
struct test_ram {
	struct kms_guest_memory *memory; /* one range from 0 on, or two with a hole at 1 MiB */
	int fd;                          /* another one than that of the memory */
	uint8_t *bytes;
	size_t size;
};

enum {
	TEST_RAM_HOLE = 1 << 20, /* where RAM is parted ... */
	TEST_RAM_HIGH = 4 << 20, /* ... and where it goes on */
};

/** RAM without a hole, all zero. Exits the test where it cannot. */
void test_ram_make(struct test_ram *ram, size_t size);

/** The same with a hole from TEST_RAM_HOLE to TEST_RAM_HIGH. Shape: size > TEST_RAM_HOLE */
void test_ram_make_parted(struct test_ram *ram, size_t size);

/** Closes all. */
void test_ram_drop(struct test_ram *ram);

#endif
