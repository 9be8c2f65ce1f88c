/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest memory that knows what was read of it: where there is something to damage. What is written to
 * it, by a reader or by the test, can be undone.
 */
#ifndef KMS_TRACER_GUEST_TEST_WATCHED_H
#define KMS_TRACER_GUEST_TEST_WATCHED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tracer/guest/memory.h"
#include "tracer/guest/test/ram.h"

/** A read. */
struct watched_read {
	uint64_t address; /* guest-physical, which is the offset in the file */
	uint32_t bytes;
	uint32_t phase; /* of the test, when it was read */
};

/** RAM of a saved guest, without a hole. One thread at a time. */
struct watched {
	struct kms_guest_memory memory; /* what the code under test is given */
	struct test_ram ram;
	bool is_recording;
	uint32_t phase;
	struct watched_read *read; /* longer ones than WATCHED_READ_BYTES are left out */
	size_t reads;
	struct watched_change *change; /* oldest first */
	size_t changes;
};

enum {
	WATCHED_READ_BYTES = 1 << 16,
	WATCHED_READS = 1 << 19, /* later ones are left out */
};

/** Takes the RAM from a file. Ends the test where it cannot. */
void watched_open(struct watched *watched, const char *path);
void watched_close(struct watched *watched);

/** Whether readers can write: to a guest that runs, as far as they know. At first they cannot. */
void watched_set_writable(struct watched *watched, bool is_writable);

/** Writes, to be undone. Shape: bytes at most 4096; beyond the end of RAM nothing is written */
void watched_poke(struct watched *watched, uint64_t address, const void *from, size_t bytes);

/** Makes the RAM what it was in the file. */
void watched_undo(struct watched *watched);

#endif
