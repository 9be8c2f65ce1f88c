/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The physical memory of an emulated kernel, read and written from outside.
 *
 * One interface, several back ends: a RAM file or memfd that the emulator shares, the memory of its
 * process, a gdb stub, a saved RAM file. Above it stand address translation (space.h), symbols and
 * types. What is read is hostile whatever the back end: it may change between two reads, and a
 * running guest may be half-way through any update.
 */
#ifndef KMS_TRACER_GUEST_MEMORY_H
#define KMS_TRACER_GUEST_MEMORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum kms_guest_memory_bounds {
	KMS_GUEST_RANGES = 8,
};

/** A stretch of guest-physical addresses behind which there is RAM, without a hole. */
struct kms_guest_range {
	uint64_t address; /* guest-physical, page-aligned */
	uint64_t bytes;
};

/** One piece of a read of many. */
struct kms_guest_piece {
	uint64_t address; /* guest-physical */
	void *to;
	size_t bytes;
};

struct kms_guest_memory;

/**
 * A back end. Addresses were checked to lie in one of the ranges.
 *
 * Errors of each: -EFAULT: the RAM is no longer there (file cut short, emulator gone); -EIO: the
 *         transport; -EROFS: it cannot be written
 */
struct kms_guest_memory_ops {
	const char *name; /* "ram-file", "process", "gdb", "saved" */
	int (*read)(struct kms_guest_memory *memory, const struct kms_guest_piece *pieces,
		    size_t count, struct kms_err *err);
	int (*write)(struct kms_guest_memory *memory, uint64_t address, const void *from,
		     size_t bytes, struct kms_err *err); /* NULL: read-only */
	void (*close)(struct kms_guest_memory *memory);
};

/** Guest memory, open. One thread at a time. Embedded as the first member of a back end's own struct. */
struct kms_guest_memory {
	const struct kms_guest_memory_ops *ops;
	struct kms_guest_range range[KMS_GUEST_RANGES]; /* ascending, apart from each other */
	size_t ranges;
	bool pauses; /* the guest stands still while this is open */
};

/**
 * Reads RAM.
 *
 * Errors: -ERANGE: not all of it is RAM, nothing was read; else as the back end
 */
int kms_guest_read(struct kms_guest_memory *memory, uint64_t address, void *to, size_t bytes,
		   struct kms_err *err);

/** Reads many pieces in as few system calls as the back end can. Errors: as kms_guest_read() */
int kms_guest_read_pieces(struct kms_guest_memory *memory, const struct kms_guest_piece *pieces,
			  size_t count, struct kms_err *err);

/** Writes RAM. Not atomic for the guest. Errors: -ERANGE; -EROFS; else as the back end */
int kms_guest_write(struct kms_guest_memory *memory, uint64_t address, const void *from,
		    size_t bytes, struct kms_err *err);

/** Bytes of RAM in all ranges. */
uint64_t kms_guest_memory_bytes(const struct kms_guest_memory *memory);

/** Closes; a back end that had paused the guest lets it go on. NULL is nothing. */
void kms_guest_memory_close(struct kms_guest_memory *memory);

#endif
