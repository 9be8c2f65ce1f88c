/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files of the live set share: the shape of its tree. */
#ifndef KMS_TRACER_LIVE_SET_TREE_H
#define KMS_TRACER_LIVE_SET_TREE_H

#include "tracer/live_set.h"

/** Places of a leaf. */
static inline unsigned kms_live_leaf_places(unsigned shift)
{
	return 1u << (KMS_LIVE_PAGE_SHIFT - shift);
}

static inline size_t kms_live_leaf_bytes(unsigned shift)
{
	return sizeof(struct kms_live_leaf) + kms_live_leaf_places(shift) * sizeof(struct kms_live);
}

/** Lowest bit of an address that chooses the child of a node at @depth; 0 is the root. */
static inline unsigned kms_live_depth_shift(unsigned depth)
{
	return KMS_LIVE_DIR_SHIFT + (KMS_LIVE_LEVELS - 1 - depth) * KMS_LIVE_FANOUT_SHIFT;
}

static inline unsigned kms_live_index(uint64_t address, unsigned depth)
{
	return (unsigned)(address >> kms_live_depth_shift(depth)) & (KMS_LIVE_FANOUT - 1);
}

#define KMS_LIVE_ADDRESS_MASK ((UINT64_C(1) << KMS_LIVE_ADDRESS_BITS) - 1)

/** Addresses in the tree lack the bits above; they repeat the highest one. */
static inline uint64_t kms_live_sign_extend(uint64_t address)
{
	uint64_t sign = UINT64_C(1) << (KMS_LIVE_ADDRESS_BITS - 1);

	return (address ^ sign) - sign;
}

/** The directory for reading, whoever owns it. */
const struct kms_live_dir *kms_live_dir_read(const struct kms_live_set *set, uint64_t address);

/** The first directory at or after *address, which moves to its begin or the place looked for. Shape: @address
 * without the bits above KMS_LIVE_ADDRESS_BITS */
const struct kms_live_dir *kms_live_dir_next(const struct kms_live_set *set, uint64_t *address);

/** The set's own directory; NULL: there is none (and not @make), or no memory. */
struct kms_live_dir *kms_live_dir_write(struct kms_live_set *set, uint64_t address, bool make);

/** The set's own leaf of a page; NULL: there is none, or no memory to copy a shared one. */
struct kms_live_leaf *kms_live_leaf_write(struct kms_live_set *set, struct kms_live_dir *dir,
					  unsigned page);

/** Gives up the leaf of a page, if there is one. */
void kms_live_leaf_drop(struct kms_live_set *set, struct kms_live_dir *dir, unsigned page);

#endif
