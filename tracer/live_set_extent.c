/* SPDX-License-Identifier: BSD-2-Clause */
/* Questions to the live set: which slab an address lies in, which block is before it. See live_set.h. */
#include "tracer/live_set.h"
#include "tracer/live_set_tree.h"

enum {
	GRID_BYTES = 8,
};

/* Does a slab begin in this page, and is it still there? */
static bool is_begin(const struct kms_live_dir *dir, unsigned page)
{
	if (dir->info[page] & KMS_LIVE_PAGE_RELEASED || dir->cache[page] == KMS_LIVE_NO_CACHE)
		return false;
	return dir->info[page] & KMS_LIVE_PAGE_LARGE || (dir->stride[page] && !dir->index[page]);
}

/* Is the page at @address number @index of the slab that begins in @first? */
static bool goes_on(const struct kms_live_set *set, uint64_t address, uint64_t index,
		    const struct kms_live_dir *first, unsigned first_page)
{
	const struct kms_live_dir *dir = kms_live_dir_read(set, address);
	unsigned page = kms_live_page_index(address);

	return dir && !(dir->info[page] & (KMS_LIVE_PAGE_RELEASED | KMS_LIVE_PAGE_LARGE)) &&
	       dir->index[page] == index && dir->stride[page] == first->stride[first_page] &&
	       dir->stamp[page] == first->stamp[first_page] &&
	       dir->cache[page] == first->cache[first_page];
}

static struct kms_live_extent extent_of(const struct kms_live_set *set,
					const struct kms_live_dir *dir, uint64_t base)
{
	unsigned page = kms_live_page_index(base);
	struct kms_live_extent extent = {.base = base, .pages = 1, .cache = dir->cache[page]};

	if (dir->info[page] & KMS_LIVE_PAGE_LARGE) {
		extent.pages = (uint64_t)dir->first[page] << 16 | dir->index[page];
		return extent;
	}
	extent.stride_bytes = (uint64_t)dir->stride[page] * GRID_BYTES;
	extent.first_bytes = (uint64_t)dir->first[page] * GRID_BYTES;
	while (extent.pages < KMS_LIVE_SLAB_PAGES &&
	       goes_on(set, base + (extent.pages << KMS_LIVE_PAGE_SHIFT), extent.pages, dir, page))
		extent.pages++;
	return extent;
}

bool kms_live_extent_at(const struct kms_live_set *set, uint64_t address,
			struct kms_live_extent *out)
{
	uint64_t base = address & ~(uint64_t)KMS_LIVE_LOW;
	const struct kms_live_dir *dir;
	unsigned page = kms_live_page_index(address);

	if (!kms_live_is_canonical(address))
		return false;
	dir = kms_live_dir_read(set, address);
	if (!dir)
		return false;
	if (!(dir->info[page] & KMS_LIVE_PAGE_LARGE) && dir->stride[page])
		base -= (uint64_t)dir->index[page] << KMS_LIVE_PAGE_SHIFT;
	dir = kms_live_dir_read(set, base);
	if (!dir || !is_begin(dir, kms_live_page_index(base)))
		return false;
	*out = extent_of(set, dir, base);
	return address - base < out->pages << KMS_LIVE_PAGE_SHIFT;
}

enum kms_live_next kms_live_extent_next(const struct kms_live_set *set, uint64_t *from,
					size_t *budget, struct kms_live_extent *out)
{
	uint64_t address = *from & KMS_LIVE_ADDRESS_MASK & ~(uint64_t)KMS_LIVE_LOW;
	const struct kms_live_dir *dir;

	while ((dir = kms_live_dir_next(set, &address))) {
		for (unsigned page = kms_live_page_index(address); page < KMS_LIVE_FANOUT; page++) {
			uint64_t base = kms_live_sign_extend(address);

			if (!*budget) {
				*from = base;
				return KMS_LIVE_LATER;
			}
			--*budget;
			address += UINT64_C(1) << KMS_LIVE_PAGE_SHIFT;
			if (!is_begin(dir, page))
				continue;
			*out = extent_of(set, dir, base);
			*from = kms_live_sign_extend(address);
			return KMS_LIVE_FOUND;
		}
	}
	return KMS_LIVE_END;
}

/* The last directory at or before *address, which moves to its end or the place looked for. */
static const struct kms_live_dir *dir_before(const struct kms_live_set *set, uint64_t *address)
{
	const struct kms_live_node *node = set->root;
	unsigned depth = 0;

	while (node) {
		unsigned shift = kms_live_depth_shift(depth);
		unsigned index = kms_live_index(*address, depth);

		if (node->child[index] && depth == KMS_LIVE_LEVELS - 1)
			return node->child[index];
		if (node->child[index]) {
			node = node->child[index];
			depth++;
			continue;
		}
		if (!(*address >> shift))
			return NULL;
		*address = (*address >> shift << shift) - 1;
		if (index == 0) { /* out of this node: from the top again */
			node = set->root;
			depth = 0;
		}
	}
	return NULL;
}

/* The last entry of a page at or before an offset in it. */
static const struct kms_live *leaf_before(const struct kms_live_leaf *leaf, unsigned low,
					  bool only_live, size_t *budget)
{
	unsigned bits = only_live ? KMS_LIVE_LIVE : KMS_LIVE_KNOWN;

	for (unsigned i = (low >> leaf->shift) + 1; i-- > 0 && *budget;) {
		const struct kms_live *live = &leaf->entry[i];

		--*budget;
		if (live->low_bits & bits && (live->low_bits & KMS_LIVE_LOW) <= low)
			return live;
	}
	return NULL;
}

const struct kms_live *kms_live_before(const struct kms_live_set *set, uint64_t *address,
				       bool only_live, size_t *budget)
{
	uint64_t at = *address & KMS_LIVE_ADDRESS_MASK;
	const struct kms_live_dir *dir;

	while (kms_live_is_canonical(*address) && *budget && (dir = dir_before(set, &at))) {
		uint64_t begin = at >> KMS_LIVE_DIR_SHIFT << KMS_LIVE_DIR_SHIFT;

		for (unsigned page = kms_live_page_index(at) + 1; page-- > 0 && *budget;) {
			uint64_t base = begin + ((uint64_t)page << KMS_LIVE_PAGE_SHIFT);
			const struct kms_live *live = NULL;

			--*budget;
			if (dir->leaf[page])
				live = leaf_before(dir->leaf[page], (unsigned)(at - base),
						   only_live, budget);
			if (live) {
				*address = kms_live_sign_extend(base |
								(live->low_bits & KMS_LIVE_LOW));
				return live;
			}
			at = base - 1;
		}
		if (!begin)
			break;
	}
	return NULL;
}
