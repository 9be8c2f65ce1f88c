/* SPDX-License-Identifier: BSD-2-Clause */
/* What a process's start needs from stack capture. */
#ifndef KMS_ALLOCATOR_PORT_FRONTS_H
#define KMS_ALLOCATOR_PORT_FRONTS_H

#include "allocator/impl.h"

/** What stacks are captured into: nodes, modules and strings of @region. NULL without memory. */
struct kms_stacks *kms_stack_make(const struct kms_heap *heap, struct kms_region_header *region);

/** Makes heap->stacks. False without memory. */
bool kms_stack_start(struct kms_heap *heap);

/** Modules may have gone: after each dlclose. */
void kms_stack_modules_gone(struct kms_heap *heap);

#endif
