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
	/* each piece lies in one range and has at least a byte */
	int (*read)(struct kms_guest_memory *memory, const struct kms_guest_piece *pieces,
		    size_t count, struct kms_err *err);
	int (*write)(struct kms_guest_memory *memory, uint64_t address, const void *from,
		     size_t bytes, struct kms_err *err); /* NULL: read-only */
	void (*close)(struct kms_guest_memory *memory);
	int (*hold)(struct kms_guest_memory *memory, struct kms_err *err); /* or NULL, both */
	int (*let_go)(struct kms_guest_memory *memory, struct kms_err *err);
};

/** Guest memory, open. One thread at a time. Embedded as the first member of a back end's own struct. */
struct kms_guest_memory {
	const struct kms_guest_memory_ops *ops;
	struct kms_guest_range range[KMS_GUEST_RANGES]; /* ascending, apart from each other */
	size_t ranges;
	bool pauses;        /* this back end stops the guest whenever it reads or writes */
	unsigned holds;     /* kms_guest_memory_hold() without its other half */
	uint64_t paused_ns; /* how long this back end had the guest stopped, in all */
	uint64_t longest_pause_ns;
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

/**
 * Begins a stretch of reads and writes that belong together; calls may nest.
 *
 * A back end that has to stop the guest for each access stops it once for all of them, so what is
 * read is of one moment. The others do nothing: their guest goes on.
 *
 * Errors: -EIO: the transport
 */
int kms_guest_memory_hold(struct kms_guest_memory *memory, struct kms_err *err);

/** Ends it: the guest goes on. Errors: -EIO: the transport */
int kms_guest_memory_let_go(struct kms_guest_memory *memory, struct kms_err *err);

/** Whether all of a stretch is RAM. */
bool kms_guest_memory_has(const struct kms_guest_memory *memory, uint64_t address, uint64_t bytes);

/** Bytes of RAM in all ranges. */
uint64_t kms_guest_memory_bytes(const struct kms_guest_memory *memory);

/** Closes; a back end that had paused the guest lets it go on. NULL is nothing. */
void kms_guest_memory_close(struct kms_guest_memory *memory);

#endif
