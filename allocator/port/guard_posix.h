/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guard's back ends in a process, and what the interposed functions must know of them:
 * preload/fds.c spares the descriptor of userfaultfd, preload/signals.c catches the traps.
 */
#ifndef KMS_ALLOCATOR_PORT_GUARD_POSIX_H
#define KMS_ALLOCATOR_PORT_GUARD_POSIX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "allocator/guard_port.h"

extern const struct kms_guard_ops kms_guard_uffd_ops;
extern const struct kms_guard_ops kms_guard_marker_ops;
extern const struct kms_guard_ops kms_guard_mprotect_ops;

/** Number of the descriptor that must stay open, -1 if there is none. Lock-free. */
int kms_guard_fd(void);

/** Moves our descriptor away if it has this number: the program is about to use it. */
void kms_guard_fd_vacate(int fd);

/** Map entries of this process now (lines of /proc/self/maps), and vm.max_map_count; 0 unknown. */
void kms_guard_count_maps(uint64_t *used, uint64_t *max);

/** Makes a part of the reservation writable memory that is never locked (mlockall) or huge. */
int kms_guard_map_in(void *start, size_t bytes);

/** madvise without a trace in errno, again where locked pages (mlockall) forbade it. */
int kms_guard_advise(void *start, size_t bytes, int advice);

#endif
