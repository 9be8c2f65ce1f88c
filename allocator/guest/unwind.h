/* SPDX-License-Identifier: BSD-2-Clause */
/* The guest has nothing to remember for its unwinding. */
#ifndef KMS_ALLOCATOR_GUEST_UNWIND_H
#define KMS_ALLOCATOR_GUEST_UNWIND_H

struct kms_unwind {
	char none;
};

#endif
