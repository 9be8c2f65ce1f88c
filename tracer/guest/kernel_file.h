/* SPDX-License-Identifier: BSD-2-Clause */
/* What is needed of a kernel's ELF file before anybody resolves symbols in it: its build id. */
#ifndef KMS_TRACER_GUEST_KERNEL_FILE_H
#define KMS_TRACER_GUEST_KERNEL_FILE_H

#include <limits.h>
#include <stdint.h>

#include "base/err.h"

enum {
	KMS_KERNEL_BUILD_ID_BYTES = 32,
};

/** Shape: build_id_bytes is 0 where the file has none. */
struct kms_kernel_file {
	char path[PATH_MAX]; /* absolute */
	uint8_t build_id[KMS_KERNEL_BUILD_ID_BYTES];
	uint32_t build_id_bytes;
};

/**
 * Looks at a file. Nothing in it is believed; it is read by pread only.
 *
 * Errors: -ENOENT, -EACCES, ...; -ENOEXEC: no ELF file for x86; -ENAMETOOLONG
 */
int kms_kernel_file_look(const char *path, struct kms_kernel_file *out, struct kms_err *err);

#endif
