/* SPDX-License-Identifier: BSD-2-Clause */
/* The emulated kernel's surroundings in the guest. */
#ifndef KMS_ALLOCATOR_GUEST_DEMO_HOST_H
#define KMS_ALLOCATOR_GUEST_DEMO_HOST_H

#include <stdint.h>

#include "allocator/demo/kernel.h"

/** Whose turn it is; see demo_host.c. Zeroed at first. */
struct kms_host {
	uint32_t turn; /* atomic */
};

#endif
