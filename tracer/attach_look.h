/* SPDX-License-Identifier: BSD-2-Clause */
/* Another process's memory and mappings, read from outside; everything in it is hostile. */
#ifndef KMS_TRACER_ATTACH_LOOK_H
#define KMS_TRACER_ATTACH_LOOK_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/** A line of /proc/PID/maps. */
struct kms_mapping {
	uint64_t start, end;
	char access[5]; /* "rw-p" */
	bool is_deleted;
	uint64_t offset;  /* in its file */
	dev_t device;     /* of its file; not as stat(2) has it on overlayfs and btrfs */
	uint64_t inode;   /* 0: of no file */
	const char *path; /* of its file; "" none */
};

/**
 * Calls fn for each mapping until it returns true.
 * Errors: -ESRCH, -EACCES, -EPERM, -ENOMEM
 */
int kms_mappings_each(pid_t pid, bool (*fn)(void *arg, const struct kms_mapping *mapping),
		      void *arg);

/** Copies memory of a process; the bytes copied (the end may be missing), or -errno. */
ssize_t kms_memory_copy(pid_t pid, uint64_t address, void *to, size_t n);

/** Writes into it, all or an error. */
int kms_memory_write(pid_t pid, uint64_t address, const void *from, size_t n);

#endif
