/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Filling a batch before it is sent (the reader, and tests that play the reader).
 */
#ifndef KMS_TRACER_BATCH_BUILD_H
#define KMS_TRACER_BATCH_BUILD_H

#include "tracer/batch.h"

/*
 * Each returns a new element at the end of its array, all zero but for a block's records, or NULL
 * without memory. The element is the batch's; it is valid until the next call of the same function.
 */
struct kms_batch_block *kms_batch_add_block(struct kms_batch *batch);
struct kms_batch_target *kms_batch_add_target(struct kms_batch *batch);
struct kms_batch_ring *kms_batch_add_ring(struct kms_batch *batch);

/** With room for count * entry_bytes at ->data; section, first, count and entry_bytes are set. */
struct kms_batch_table *kms_batch_add_table(struct kms_batch *batch, uint32_t section,
					    uint32_t first, uint32_t count, uint32_t entry_bytes);

/** With n_caches elements at ->cache_stat and ->counter, all zero. */
struct kms_batch_slot *kms_batch_add_slot(struct kms_batch *batch, uint32_t n_caches);

/** Takes the blocks from index n on out again. */
void kms_batch_keep_blocks(struct kms_batch *batch, size_t n);

/** Whether nothing was added. */
bool kms_batch_is_empty(const struct kms_batch *batch);

/**
 * Empties a batch for further use; its arrays stay.
 * Shape: the caller holds the only reference.
 */
void kms_batch_reset(struct kms_batch *batch);

#endif
