/* SPDX-License-Identifier: BSD-2-Clause */
/* Blocks of whole pages: too large for a size class, or aligned beyond a page. */
#ifndef KMS_ALLOCATOR_LARGE_H
#define KMS_ALLOCATOR_LARGE_H

#include "allocator/alloc.h"

/**
 * A block in pages of its own, with the redzone and the pattern before it as @checks say.
 * info->node is its allocation stack. NULL without memory.
 */
void *kms_large_alloc(struct kms_local *t, size_t size, size_t align, unsigned cache_index,
		      uint32_t checks, struct kms_request_info *info);

/** Frees @p if it is a live large block; false if it is not one. */
bool kms_large_free(struct kms_local *t, void *p, struct kms_request_info *info);

/** The two halves of a free: the block is checked and recorded as free; its pages go. */
void kms_large_retire(struct kms_local *t, struct kms_span *span, struct kms_request_info *info);
void kms_large_release(struct kms_heap *heap, struct kms_span *span);

/** Bytes from the block's start to the end of its pages. */
size_t kms_large_room(const struct kms_span *span);

/** Sets the requested size of a block, large or not. */
void kms_large_set_size(struct kms_span *span, struct kms_side *side, size_t size);

/** Requested size of a block, large or not. */
static inline uint64_t kms_side_size(const struct kms_span *span, const struct kms_side *side)
{
	return side->size_bytes == UINT32_MAX ? span->large_bytes : side->size_bytes;
}

#endif
