/* SPDX-License-Identifier: BSD-2-Clause */
/* kmem(9) for a local: what the exported functions of kmem_api.c call. */
#ifndef KMS_ALLOCATOR_KMEM_FRONT_H
#define KMS_ALLOCATOR_KMEM_FRONT_H

#include "allocator/alloc.h"

/** kmem_alloc and kmem_intr_alloc (@intr), zeroed with KMS_ATTR_ZERO. Between enter and leave. */
void *kms_kmem_alloc(struct kms_local *t, size_t size, unsigned flags, bool intr,
		     struct kms_request_info *info);

/** kmem_free and kmem_intr_free (@intr). Between enter and leave. */
void kms_kmem_free(struct kms_local *t, void *p, size_t size, bool intr,
		   struct kms_request_info *info);

/** Is this the NOSLEEP allocation that kmem_fail_nth lets fail? Asked once for each. */
bool kms_kmem_induced_failure(struct kms_heap *heap);

#endif
