/* SPDX-License-Identifier: BSD-2-Clause */
/* Where a process's region lives: a file in the run's folder, or private memory without one. */
#ifndef KMS_ALLOCATOR_PORT_REGION_FILE_H
#define KMS_ALLOCATOR_PORT_REGION_FILE_H

#include "allocator/impl.h"

/**
 * Makes the region in a folder ("": in private memory), fills in its identity, claims the first slot. heap->shared says whether a
 * tracer can read it: not where the folder's file system is full. The magic is stored later (kms_region_publish). False without
 * memory.
 */
bool kms_region_file_make(struct kms_heap *heap, const char *folder);

/**
 * A file in @folder, as large as the heap's region, zeroed and mapped, with memory behind all but
 * stacks and rings.
 *
 * Errors: NULL with errno set: EFBIG: the process may not make a file that large; ENOSPC: the file
 *         system has no room (it would otherwise learn either by a deadly signal); ENAMETOOLONG;
 *         what open(2), ftruncate(2) and mmap(2) say
 */
void *kms_region_file_map(const struct kms_heap *heap, const char *folder);

/** Says in the heap's region who this is, as of now. The tracer's pages become read-only. */
void kms_region_file_identify(struct kms_heap *heap);

#endif
