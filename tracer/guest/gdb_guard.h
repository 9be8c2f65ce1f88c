/* SPDX-License-Identifier: BSD-2-Clause */
/* The process that lets a guest go on when its debugger is gone: see gdb.h. */
#ifndef KMS_TRACER_GUEST_GDB_GUARD_H
#define KMS_TRACER_GUEST_GDB_GUARD_H

#include <sys/types.h>

#include "base/err.h"

/**
 * Starts a guard for a connection.
 *
 * Returns its pid; a child of the caller, which ends by itself only after the caller.
 * Errors: what pidfd_open(2) and fork(2) say
 */
pid_t kms_gdb_guard_start(int socket_fd, struct kms_err *err);

/** Ends it: the caller detaches by itself, or does not want to. */
void kms_gdb_guard_end(pid_t pid);

#endif
