/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The `map` records: one for each module that this process registered (modules_posix.h). A module is
 * registered from within a stack capture, perhaps in a signal handler, where no record can be
 * written; so it is noted there, and told by the next call of any thread.
 */
#ifndef KMS_ALLOCATOR_PORT_MAPS_H
#define KMS_ALLOCATOR_PORT_MAPS_H

#include "allocator/alloc.h"

/** Notes modules of this heap from now on. Once, when its stacks are there. */
void kms_maps_start(struct kms_heap *heap);

/** Tells what was noted. @t: of this thread, not busy and not nested; kept if it does not trace. */
void kms_maps_tell(struct kms_local *t);

/** In a forked child: what was noted is its parent's to tell. */
void kms_maps_forget(void);

#endif
