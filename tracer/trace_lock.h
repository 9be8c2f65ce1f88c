/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who writes a trace. The writer holds a lock on FILE.lock as long as it lives; readers ask whether
 * somebody does. Never on the trace itself: closing a second descriptor of it would drop SQLite's
 * own locks.
 *
 * The lock belongs to the open file (F_OFD_SETLK): unlike flock(2) it can be asked for without
 * taking it, and unlike other fcntl(2) locks it is not lost when some descriptor is closed. A forked
 * child that keeps the descriptor keeps the lock; it is close-on-exec.
 */
#ifndef KMS_TRACER_TRACE_LOCK_H
#define KMS_TRACER_TRACE_LOCK_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

/**
 * Becomes the writer of the trace at @path, which need not exist.
 *
 * Owner:  *fd until kms_trace_unlock()
 * Errors: -EBUSY: somebody writes it; what open(2) says
 */
int kms_trace_lock(const char *path, int *fd, struct kms_err *err);

/** Removes FILE.lock and lets go. A negative fd is nothing. */
void kms_trace_unlock(const char *path, int fd);

/** Does somebody write the trace? *pid, which may be NULL: who, as it says; 0 unknown. */
bool kms_trace_is_locked(const char *path, pid_t *pid);

#endif
