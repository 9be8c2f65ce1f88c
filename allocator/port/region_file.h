/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a process's region lives: a file in the run's folder, or private memory without one. */
#ifndef KMS_ALLOCATOR_PORT_REGION_FILE_H
#define KMS_ALLOCATOR_PORT_REGION_FILE_H

#include "allocator/impl.h"

/**
 * Makes the region in a folder ("": in private memory), fills in its identity, claims the first slot. heap->shared says whether a
 * tracer can read it. The magic is stored later (kms_region_publish). False without memory.
 */
bool kms_region_file_make(struct kms_heap *heap, const char *folder);

/**
 * A file in @folder, as large as the heap's region, zeroed and mapped. NULL with errno set; EFBIG if
 * the process may not make a file that large, which it would otherwise learn by a deadly signal.
 */
void *kms_region_file_map(const struct kms_heap *heap, const char *folder);

/** Says in the heap's region who this is, as of now. The tracer's pages become read-only. */
void kms_region_file_identify(struct kms_heap *heap);

#endif
