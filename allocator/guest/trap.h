/* SPDX-License-Identifier: BSD-2-Clause */
/* Interrupts and traps: the table of their entries, and what each of them does. */
#ifndef KMS_ALLOCATOR_GUEST_TRAP_H
#define KMS_ALLOCATOR_GUEST_TRAP_H

#include "allocator/guest/cpu.h"

/** Fills the interrupt table in; once. */
void kms_trap_init(void);

/** Makes it this CPU's. */
void kms_trap_load(void);

/** Called by entry.S for every vector, interrupts off. */
void kms_trap(struct kms_trap_frame *frame);

#endif
