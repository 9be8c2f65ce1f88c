/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `kmemscope attach` to a guest that has our allocator inside: a tracer in the caller's process, until
 * the guest's emulator ends or the caller is asked to let it go.
 */
#ifndef KMS_TRACER_GUEST_RUN_H
#define KMS_TRACER_GUEST_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "tracer/attach_run.h"

/** Shape: as struct kms_attach_config, of which pid is not looked at; strings are borrowed for the call. */
struct kms_guest_run_config {
	struct kms_attach_config attach;
	const char *target; /* "qemu:pid:N", "qemu:SOCKET", "ram:FILE[+OFFSET]", "gdb:ADDRESS" */
	const char
		*kernel; /* its file, with symbols; NULL: the one the emulator was given, or none */
	bool go;         /* a kernel that waits at its start (-d) is let go on */
	bool allow_write; /* memory of the guest that is no variable of ours, too */
	bool boot;        /* stopped at kmem_init first, where kmem_guard_depth is set: boot.h */
	uint64_t depth;   /* to this */
};

/**
 * Attaches and stays until the emulator has ended, a client asks for it, or SIGINT, SIGTERM or SIGHUP
 * comes, which lets the guest go on without us. The file is complete then. As long as no kernel with
 * our allocator is in the guest's memory it is waited for.
 *
 * result: wait_status stays -1; background: true if the guest lives on; pid: of the emulator.
 *
 * Errors: as of opening the guest; -EBUSY: another tracer has it; as kms_guest_boot() and
 *         kms_tracer_start()
 * Locks:  as kms_attach_run()
 */
int kms_guest_run(const struct kms_guest_run_config *config, struct kms_run_result *result,
		  struct kms_err *err);

#endif
