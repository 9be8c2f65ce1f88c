/* SPDX-License-Identifier: BSD-2-Clause */
/* Memory for the few requests before the heap can start. Never freed, never traced. */
#ifndef KMS_ALLOCATOR_PRELOAD_EARLY_H
#define KMS_ALLOCATOR_PRELOAD_EARLY_H

#include <stdbool.h>
#include <stddef.h>

/** A zeroed block, or NULL when the small supply is used up. @align 0: 16. */
void *kms_early_alloc(size_t size, size_t align);
bool kms_early_owns(const void *p);
size_t kms_early_size(const void *p);

#endif
