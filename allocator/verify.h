/* SPDX-License-Identifier: BSD-2-Clause */
/* A pass over every live block: are the pattern bytes around it whole? */
#ifndef KMS_ALLOCATOR_VERIFY_H
#define KMS_ALLOCATOR_VERIFY_H

#include "allocator/alloc.h"

/**
 * Checks every live block of every slab and large span; each damaged one is a fault with @frame as
 * the access. Others may allocate and free meanwhile: a block whose state changes under the check is
 * passed over. Returns the number of damaged blocks. Between enter and leave.
 */
size_t kms_verify(struct kms_local *t, const struct kms_frame *frame);

#endif
