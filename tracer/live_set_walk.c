/* SPDX-License-Identifier: BSD-2-Clause */
/* The live set's slabs, and walks over it. See live_set.h. */
#include <string.h>

#include "tracer/live_set.h"
#include "tracer/live_set_tree.h"

enum {
	INFO_OF_LEAF = KMS_LIVE_PAGE_GRANULE | KMS_LIVE_PAGE_MINE,
	GRID_BYTES = 8,
	STAMP_SHIFT = 13,       /* stamps wrap around every 9.8 hours */
	OLD_NEWS_MAX = 1 << 20, /* 8.6 s: rings are never that far apart */
};

const struct kms_live_dir *kms_live_dir_read(const struct kms_live_set *set, uint64_t address)
{
	const struct kms_live_dir *dir = kms_live_recent(set, address);
	const struct kms_live_node *node = set->root;

	if (dir)
		return dir;
	for (unsigned depth = 0; node && depth < KMS_LIVE_LEVELS - 1; depth++)
		node = node->child[kms_live_index(address, depth)];
	return node ? node->child[kms_live_index(address, KMS_LIVE_LEVELS - 1)] : NULL;
}

const struct kms_live *kms_live_find(const struct kms_live_set *set, uint64_t address)
{
	const struct kms_live_dir *dir;
	const struct kms_live_leaf *leaf;
	const struct kms_live *live;
	unsigned low = (unsigned)address & KMS_LIVE_LOW;

	if (!kms_live_is_canonical(address))
		return NULL;
	dir = kms_live_dir_read(set, address);
	leaf = dir ? dir->leaf[kms_live_page_index(address)] : NULL;
	if (!leaf)
		return NULL;
	live = &leaf->entry[low >> leaf->shift];
	return (live->low_bits & (KMS_LIVE_KNOWN | KMS_LIVE_LOW)) == (KMS_LIVE_KNOWN | low) ? live
											    : NULL;
}

/* What is known of a page of which nothing was said. */
static unsigned first_info(const struct kms_live_set *set)
{
	return set->late ? KMS_LIVE_PAGE_BARE | KMS_LIVE_PAGE_FORGOT : 0;
}

static unsigned page_info(const struct kms_live_set *set, uint64_t address)
{
	const struct kms_live_dir *dir = kms_live_dir_read(set, address);

	return dir ? dir->info[kms_live_page_index(address)] : first_info(set);
}

uint16_t kms_live_cache(const struct kms_live_set *set, uint64_t address, unsigned *info)
{
	const struct kms_live_dir *dir = kms_live_dir_read(set, address);

	*info = dir ? dir->info[kms_live_page_index(address)] : first_info(set);
	return dir ? dir->cache[kms_live_page_index(address)] : KMS_LIVE_NO_CACHE;
}

bool kms_live_is_forgotten(const struct kms_live_set *set, uint64_t address)
{
	return page_info(set, address) & KMS_LIVE_PAGE_FORGOT;
}

bool kms_live_is_unheard(const struct kms_live_set *set, uint64_t address)
{
	const unsigned both = KMS_LIVE_PAGE_BARE | KMS_LIVE_PAGE_FORGOT;

	return set->late && (page_info(set, address) & both) == both;
}

void kms_live_set_bare(struct kms_live_set *set, uint64_t address)
{
	struct kms_live_dir *dir =
		kms_live_is_canonical(address) ? kms_live_dir_write(set, address, true) : NULL;

	if (dir)
		dir->info[kms_live_page_index(address)] |= KMS_LIVE_PAGE_BARE;
}

/* Is @stamp a little older than what a page has? */
static bool is_old_news(const struct kms_live_dir *dir, unsigned page, uint32_t stamp)
{
	return dir->stamp[page] && dir->stamp[page] - stamp - 1 < OLD_NEWS_MAX;
}

static uint32_t stamp_of(uint64_t time_ns)
{
	uint32_t stamp = (uint32_t)(time_ns >> STAMP_SHIFT);

	return stamp ? stamp : 1;
}

bool kms_live_is_before_slab(const struct kms_live_set *set, uint64_t address, uint64_t time_ns)
{
	const struct kms_live_dir *dir = kms_live_dir_read(set, address);

	return dir && is_old_news(dir, kms_live_page_index(address), stamp_of(time_ns));
}

/* Pages of a slab in which blocks can begin. */
static uint64_t slab_pages(const struct kms_live_slab *slab)
{
	if (kms_live_slab_is_large(slab))
		return 1;
	return slab->pages < KMS_LIVE_SLAB_PAGES ? slab->pages : KMS_LIVE_SLAB_PAGES;
}

/* Tells of what is live or parked, and may forget the rest; true if the leaf is empty then. */
static bool leaf_begin(struct kms_live_leaf *leaf, uint64_t page_address, bool forget,
		       kms_live_fn *fn, void *arg)
{
	bool empty = forget;

	for (unsigned i = 0; i < kms_live_leaf_places(leaf->shift); i++) {
		struct kms_live *live = &leaf->entry[i];

		if (live->low_bits & (KMS_LIVE_LIVE | KMS_LIVE_PARKED)) {
			fn(arg, page_address | (live->low_bits & KMS_LIVE_LOW), live);
			empty = false;
		} else if (forget) {
			memset(live, 0, sizeof(*live));
		}
	}
	return empty;
}

static uint8_t hint_of(const struct kms_live_slab *slab)
{
	unsigned shift;

	if (kms_live_slab_is_large(slab))
		return KMS_LIVE_PAGE_SHIFT;
	shift = 63u - (unsigned)__builtin_clzll(slab->stride_bytes);
	return (uint8_t)(shift < KMS_LIVE_PAGE_SHIFT ? shift : KMS_LIVE_PAGE_SHIFT);
}

/* Where blocks begin in the page. */
static void page_set_grid(struct kms_live_dir *dir, unsigned page, uint64_t address,
			  const struct kms_live_slab *slab)
{
	uint64_t stride = slab->stride_bytes / GRID_BYTES;
	uint64_t first = slab->first_bytes / GRID_BYTES;
	uint64_t offset = (address - slab->base) / GRID_BYTES;

	dir->stride[page] = dir->phase[page] = dir->index[page] = dir->first[page] = 0;
	if (kms_live_slab_is_large(slab)) {
		dir->index[page] = (uint16_t)slab->pages;
		dir->first[page] = (uint16_t)(slab->pages >> 16);
		return;
	}
	if (!stride || stride > UINT16_MAX || slab->stride_bytes % GRID_BYTES ||
	    slab->first_bytes % GRID_BYTES)
		return;
	dir->stride[page] = (uint16_t)stride;
	dir->phase[page] = (uint16_t)((offset + stride - first % stride) % stride);
	dir->index[page] = (uint16_t)(offset * GRID_BYTES >> KMS_LIVE_PAGE_SHIFT);
	dir->first[page] = (uint16_t)first;
}

bool kms_live_fits(const struct kms_live_set *set, uint64_t address)
{
	const struct kms_live_dir *dir = kms_live_dir_read(set, address);
	unsigned page = kms_live_page_index(address);
	unsigned low = (unsigned)address & KMS_LIVE_LOW;

	if (!dir || !dir->stride[page])
		return true;
	return low % GRID_BYTES == 0 &&
	       (low / GRID_BYTES + dir->phase[page]) % dir->stride[page] == 0;
}

/* The slab's part in one page. */
static void page_grow(struct kms_live_dir *dir, uint64_t address, const struct kms_live_slab *slab)
{
	unsigned page = kms_live_page_index(address);

	dir->stamp[page] = stamp_of(slab->time_ns);
	dir->cache[page] = slab->cache;
	dir->hint[page] = hint_of(slab);
	page_set_grid(dir, page, address, slab);
	dir->info[page] &= INFO_OF_LEAF;
	if (kms_live_slab_is_large(slab))
		dir->info[page] |= KMS_LIVE_PAGE_LARGE;
}

void kms_live_slab_tell(struct kms_live_set *set, const struct kms_live_slab *slab)
{
	uint64_t pages = slab_pages(slab);

	for (uint64_t i = 0; i < pages; i++) {
		uint64_t address = slab->base + (i << KMS_LIVE_PAGE_SHIFT);
		unsigned page = kms_live_page_index(address);
		struct kms_live_dir *dir;

		if (!kms_live_is_canonical(address))
			return;
		dir = kms_live_dir_write(set, address, true);
		if (!dir)
			return;
		if (!kms_live_is_unheard(set, address) || dir->cache[page] != KMS_LIVE_NO_CACHE)
			continue;
		dir->cache[page] = slab->cache;
		dir->hint[page] = hint_of(slab);
		page_set_grid(dir, page, address, slab);
		if (kms_live_slab_is_large(slab))
			dir->info[page] |= KMS_LIVE_PAGE_LARGE;
	}
}

void kms_live_slab_grow(struct kms_live_set *set, const struct kms_live_slab *slab, kms_live_fn *fn,
			void *arg)
{
	uint64_t pages = slab_pages(slab);

	for (uint64_t i = 0; i < pages; i++) {
		uint64_t address = slab->base + (i << KMS_LIVE_PAGE_SHIFT);
		unsigned page = kms_live_page_index(address);
		struct kms_live_dir *dir;
		struct kms_live_leaf *leaf;

		dir = kms_live_is_canonical(address) ? kms_live_dir_write(set, address, true)
						     : NULL;
		if (!dir)
			return;
		if (is_old_news(dir, page, stamp_of(slab->time_ns)))
			continue;
		page_grow(dir, address, slab);
		leaf = kms_live_leaf_write(set, dir, page);
		if (leaf && leaf_begin(leaf, address, !kms_live_slab_is_large(slab), fn, arg))
			kms_live_leaf_drop(set, dir, page);
	}
}

static bool leaf_is_idle(const struct kms_live_leaf *leaf)
{
	for (unsigned i = 0; i < kms_live_leaf_places(leaf->shift); i++)
		if (leaf->entry[i].low_bits & (KMS_LIVE_LIVE | KMS_LIVE_PARKED))
			return false;
	return true;
}

void kms_live_slab_release(struct kms_live_set *set, const struct kms_live_slab *slab)
{
	uint64_t pages = slab->pages < KMS_LIVE_SLAB_PAGES ? slab->pages : KMS_LIVE_SLAB_PAGES;
	uint32_t stamp = stamp_of(slab->time_ns);

	for (uint64_t i = 0; i < pages; i++) {
		uint64_t address = slab->base + (i << KMS_LIVE_PAGE_SHIFT);
		unsigned page = kms_live_page_index(address);
		struct kms_live_dir *dir;

		if (!kms_live_is_canonical(address))
			return;
		dir = kms_live_dir_write(set, address, false);
		if (!dir || is_old_news(dir, page, stamp))
			continue;
		dir->stamp[page] = stamp;
		dir->hint[page] = 0;
		dir->info[page] |= KMS_LIVE_PAGE_RELEASED;
		if (dir->leaf[page] && !(dir->info[page] & KMS_LIVE_PAGE_LARGE) &&
		    leaf_is_idle(dir->leaf[page]))
			kms_live_leaf_drop(set, dir, page);
	}
}

struct kms_live_page kms_live_page_get(const struct kms_live_set *set, uint64_t address)
{
	const struct kms_live_dir *dir = kms_live_dir_read(set, address);
	unsigned page = kms_live_page_index(address);

	if (!dir)
		return (struct kms_live_page){.cache = KMS_LIVE_NO_CACHE,
					      .info = (uint16_t)first_info(set)};
	return (struct kms_live_page){.stamp = dir->stamp[page],
				      .cache = dir->cache[page],
				      .info = (uint16_t)(dir->info[page] & ~(unsigned)INFO_OF_LEAF),
				      .stride = dir->stride[page],
				      .phase = dir->phase[page],
				      .index = dir->index[page],
				      .first = dir->first[page],
				      .hint = dir->hint[page]};
}

/* Nothing is known any more of generations in the leaf. */
static void leaf_open(struct kms_live_leaf *leaf)
{
	for (unsigned i = 0; i < kms_live_leaf_places(leaf->shift); i++) {
		struct kms_live *live = &leaf->entry[i];

		if (live->low_bits & KMS_LIVE_LIVE)
			live->low_bits |= KMS_LIVE_OPEN;
		else
			memset(live, 0, sizeof(*live));
	}
}

void kms_live_slab_undo(struct kms_live_set *set, const struct kms_live_slab *slab,
			const struct kms_live_page *page)
{
	uint64_t pages = slab_pages(slab);

	for (uint64_t i = 0; i < pages; i++) {
		uint64_t address = slab->base + (i << KMS_LIVE_PAGE_SHIFT);
		unsigned index = kms_live_page_index(address);
		struct kms_live_dir *dir;
		struct kms_live_leaf *leaf;
		bool large;

		dir = kms_live_is_canonical(address) ? kms_live_dir_write(set, address, false)
						     : NULL;
		if (!dir)
			return;
		large = dir->info[index] & page->info & KMS_LIVE_PAGE_LARGE;
		dir->stamp[index] = page->stamp;
		dir->cache[index] = page->cache;
		dir->hint[index] = page->hint;
		dir->stride[index] =
			i ? 0 : page->stride; /* its phase is known of the first page */
		dir->phase[index] = page->phase;
		dir->index[index] = page->index;
		dir->first[index] = page->first;
		dir->info[index] = (uint16_t)((dir->info[index] & (unsigned)INFO_OF_LEAF) |
					      page->info | KMS_LIVE_PAGE_FORGOT);
		leaf = kms_live_leaf_write(set, dir, index);
		if (leaf && !large) /* there time decides, and is known */
			leaf_open(leaf);
	}
}

const struct kms_live_dir *kms_live_dir_next(const struct kms_live_set *set, uint64_t *address)
{
	const struct kms_live_node *node = set->root;
	unsigned depth = 0;

	while (node && *address <= KMS_LIVE_ADDRESS_MASK) {
		unsigned shift = kms_live_depth_shift(depth);
		unsigned index = kms_live_index(*address, depth);

		if (node->child[index] && depth == KMS_LIVE_LEVELS - 1)
			return node->child[index];
		if (node->child[index]) {
			node = node->child[index];
			depth++;
			continue;
		}
		*address = ((*address >> shift) + 1) << shift;
		if (index == KMS_LIVE_FANOUT - 1) { /* out of this node: from the top again */
			node = set->root;
			depth = 0;
		}
	}
	return NULL;
}

static void leaf_visit(const struct kms_live_leaf *leaf, uint64_t page_address,
		       kms_live_const_fn *fn, void *arg)
{
	for (unsigned i = 0; i < kms_live_leaf_places(leaf->shift); i++)
		if (leaf->entry[i].low_bits & KMS_LIVE_LIVE)
			fn(arg, page_address | (leaf->entry[i].low_bits & KMS_LIVE_LOW),
			   &leaf->entry[i]);
}

bool kms_live_walk(const struct kms_live_set *set, uint64_t *from, size_t *budget,
		   kms_live_const_fn *fn, void *arg)
{
	uint64_t address = *from & KMS_LIVE_ADDRESS_MASK & ~(uint64_t)KMS_LIVE_LOW;
	const struct kms_live_dir *dir;
	bool begun = false;

	while ((dir = kms_live_dir_next(set, &address))) {
		for (unsigned page = kms_live_page_index(address); page < KMS_LIVE_FANOUT; page++) {
			const struct kms_live_leaf *leaf = dir->leaf[page];
			size_t places = leaf ? kms_live_leaf_places(leaf->shift) : 0;

			if (leaf && begun && !*budget) {
				*from = address;
				return false;
			}
			if (leaf) {
				leaf_visit(leaf, kms_live_sign_extend(address), fn, arg);
				*budget -= places < *budget ? places : *budget;
				begun = true;
			}
			address += (uint64_t)1 << KMS_LIVE_PAGE_SHIFT;
		}
	}
	*from = 0;
	return true;
}

static size_t dir_trim(struct kms_live_set *set, struct kms_live_dir *dir)
{
	size_t freed = 0;

	for (unsigned page = 0; page < KMS_LIVE_FANOUT; page++) {
		struct kms_live_leaf *leaf = dir->leaf[page];

		if (!leaf || !(dir->info[page] & KMS_LIVE_PAGE_MINE) || !leaf_is_idle(leaf))
			continue;
		freed += kms_live_leaf_bytes(leaf->shift);
		kms_live_leaf_drop(set, dir, page);
		dir->info[page] |= KMS_LIVE_PAGE_FORGOT;
	}
	return freed;
}

size_t kms_live_trim(struct kms_live_set *set)
{
	const struct kms_live_dir *dir;
	struct kms_live_dir *own;
	uint64_t address = 0;
	size_t freed = 0;

	while ((dir = kms_live_dir_next(set, &address))) {
		own = dir->owner == set->owner
			      ? kms_live_dir_write(set, kms_live_sign_extend(address), false)
			      : NULL;
		if (own)
			freed += dir_trim(set, own);
		address = ((address >> KMS_LIVE_DIR_SHIFT) + 1) << KMS_LIVE_DIR_SHIFT;
	}
	return freed;
}
