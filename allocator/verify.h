/* SPDX-License-Identifier: BSD-2-Clause */
/* A pass over every block: are the pattern bytes of live ones and the poison of free ones whole? */
#ifndef KMS_ALLOCATOR_VERIFY_H
#define KMS_ALLOCATOR_VERIFY_H

#include "allocator/alloc.h"

/**
 * Checks every live block of every slab, large span and guard slot, and every free one that carries
 * poison and that nobody can take meanwhile: in slabs, in the depots, in this thread's magazines, and
 * in those of threads that are held (stop.h). What other threads have in their magazines is checked
 * when it is used again. Each damaged one is a fault with @frame as the access (NULL: no stack); it is
 * mended. Others may allocate and free meanwhile: a block whose state changes under the check is
 * passed over.
 *
 * Returns: the number of damaged blocks
 * Locks:   no allocator lock held; between kms_enter and kms_leave
 */
size_t kms_verify(struct kms_local *t, const struct kms_frame *frame);

#endif
