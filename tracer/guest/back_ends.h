/* SPDX-License-Identifier: BSD-2-Clause */
/* Ways to open guest memory (memory.h). What opens a guest knows which one is right: see guest.h. */
#ifndef KMS_TRACER_GUEST_BACK_ENDS_H
#define KMS_TRACER_GUEST_BACK_ENDS_H

#include <sys/types.h>

#include "tracer/guest/gdb.h"
#include "tracer/guest/layout.h"
#include "tracer/guest/memory.h"

/**
 * A RAM file or memfd that the emulator has mapped shared: what it writes is seen at once.
 *
 * Read by pread(2), so a file that is cut short is an error and never a signal; written through a
 * mapping that the kernel copies into, so a write never makes the file longer.
 *
 * Shape:  layout's places are offsets in the file
 * Owner:  fd is the memory's on success; open for reading and writing
 * Errors: -EINVAL: layout, or no regular file; -ERANGE: the file is shorter; -ENOMEM
 */
int kms_guest_memory_open_file(int fd, const struct kms_guest_layout *layout,
			       struct kms_guest_memory **memory, struct kms_err *err);

/** A RAM file that nobody runs on any more: the same, read-only. */
int kms_guest_memory_open_saved(int fd, const struct kms_guest_layout *layout,
				struct kms_guest_memory **memory, struct kms_err *err);

/**
 * The memory of the emulator's process, 64-bit, that goes on meanwhile.
 *
 * The process is known by its descriptor: one that has the same pid later is never read.
 *
 * Shape:  layout's places are addresses in the process; pidfd of that pid, borrowed
 * Errors: -EPERM, -EACCES: not permitted; -ESRCH: gone; -EINVAL: layout; -ENOMEM
 */
int kms_guest_memory_open_process(pid_t pid, int pidfd, const struct kms_guest_layout *layout,
				  struct kms_guest_memory **memory, struct kms_err *err);

/**
 * What a gdb stub shows, physical addresses. The guest stands while it is read, and goes on between.
 *
 * Owner:  gdb is borrowed
 * Errors: -EINVAL: layout; -ENOMEM
 */
int kms_guest_memory_open_gdb(struct kms_gdb *gdb, const struct kms_guest_layout *layout,
			      struct kms_guest_memory **memory, struct kms_err *err);

/** Ranges of a layout into those of a memory, where neighbours that touch are one. Shape: a checked layout */
void kms_guest_memory_set_ranges(struct kms_guest_memory *memory,
				 const struct kms_guest_layout *layout);

#endif
