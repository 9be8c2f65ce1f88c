/* SPDX-License-Identifier: BSD-2-Clause */
/* Guard pages in a guest: the back end of page tables, and what a page fault in one means. */
#ifndef KMS_ALLOCATOR_GUEST_GUARD_H
#define KMS_ALLOCATOR_GUEST_GUARD_H

#include <stdbool.h>
#include <stdint.h>

#include "allocator/guest/cpu.h"

/**
 * A page fault that no lazy page explains. Reports it if the address belongs to the guard or to
 * ddi_umem; true if the access may be tried again.
 *
 * Locks: interrupts are off; may interrupt the allocator
 */
bool kms_guard_trapped(uintptr_t address, const struct kms_trap_frame *frame);

#endif
