/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `attach --boot`: kmem_guard_depth of a kernel that reads it only once, as it boots. The guest is
 * stopped by a break point at kmem_init, the variable is written, and the guest goes on.
 *
 * For kernels that lie where their file says: without KASLR.
 */
#ifndef KMS_TRACER_GUEST_BOOT_H
#define KMS_TRACER_GUEST_BOOT_H

#include <stdint.h>

#include "base/err.h"
#include "tracer/guest/guest.h"

/** Shape: strings are borrowed for the call. */
struct kms_guest_boot_config {
	const char *kernel; /* its file, with symbols and code: no separate debug file */
	uint64_t depth;     /* what kmem_guard_depth is to be */
	int enough_fd;      /* readable: give up; -1 nothing */
	void (*say)(void *arg, const char *line);
	void *say_arg;
};

/** What was done. */
struct kms_guest_boot {
	uint64_t address; /* of kmem_guard_depth */
	uint64_t before, after;
	uint64_t stood_ns; /* how long the guest stood for it */
};

/**
 * Waits until the guest comes by kmem_init and writes there. A guest that has not been started (-S) is
 * started. One that has passed it is waited for until it is reset, and that is said.
 *
 * Whatever becomes of us meanwhile, the guest goes on, without the break point.
 *
 * Errors: -ENOTSUP: no way to stop it there; -ENOENT: the file has no kmem_init or kmem_guard_depth;
 *         -ENOEXEC: it has no code, or is none;
 *         -ESTALE: another kernel runs than the file's; -ERANGE: the depth does not fit; -EINTR: enough;
 *         -ESRCH: the emulator has ended; -EIO: not what was written is read back; as kms_gdb_open()
 */
int kms_guest_boot(struct kms_guest *guest, const struct kms_guest_boot_config *config,
		   struct kms_guest_boot *done, struct kms_err *err);

#endif
