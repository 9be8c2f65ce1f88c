/* SPDX-License-Identifier: BSD-2-Clause */
/* What a process's start needs from stack capture. */
#ifndef KMS_ALLOCATOR_PORT_FRONTS_H
#define KMS_ALLOCATOR_PORT_FRONTS_H

#include "allocator/impl.h"

/** Makes heap->stacks. False without memory. */
bool kms_stack_start(struct kms_heap *heap);

/** Modules may have gone: after each dlclose. */
void kms_stack_modules_gone(struct kms_heap *heap);

#endif
