/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is allocated in one process: address -> block.
 *
 * A tree over the address space. Its leaves are 4 KiB pages of the target, cut into granules small
 * enough that two blocks never share one, so neighbours in the target are neighbours here and an
 * allocator that walks through a slab walks through one leaf. A forked child shares its parent's
 * tree: either side copies the nodes on the way to a page when it first changes something there.
 *
 * A freed block leaves its entry behind, because the next event of the address is put in order by
 * the generation found in it. One thread.
 */
#ifndef KMS_TRACER_LIVE_SET_H
#define KMS_TRACER_LIVE_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tracer/model_memory.h"

enum kms_live_limits {
	KMS_LIVE_PAGE_SHIFT = 12,
	KMS_LIVE_FANOUT_SHIFT = 9,
	KMS_LIVE_FANOUT = 1 << KMS_LIVE_FANOUT_SHIFT,
	KMS_LIVE_LEVELS = 4, /* above the directories; with them and the page: 57 bits */
	KMS_LIVE_DIR_SHIFT = KMS_LIVE_PAGE_SHIFT + KMS_LIVE_FANOUT_SHIFT,
	KMS_LIVE_ADDRESS_BITS = KMS_LIVE_DIR_SHIFT + KMS_LIVE_LEVELS * KMS_LIVE_FANOUT_SHIFT,
	KMS_LIVE_RECENT = 256,
	KMS_LIVE_NO_CACHE = 0xffff,
	KMS_LIVE_SLAB_PAGES = 1 << 16, /* of one slab; the rest of a larger one is not described */
};

/** In kms_live.flags, where events have no bits. */
enum kms_live_flags {
	KMS_LIVE_GUESSED = 1 << 15, /* the cache is a guess, no slab event told */
	KMS_LIVE_LARGE = 1 << 7,    /* the only block of its slab: its events have exact times */
	KMS_LIVE_TOLD = 1 << 5,     /* its own record said the cache: no slab knows better */
	KMS_LIVE_BASE = 1 << 9, /* it was there when the session began; no event has told of it */
	KMS_LIVE_WAS_OPEN = 1 << 6, /* in struct kms_past only: the entry was OPEN before */
	KMS_LIVE_EVENT_FLAGS =
		0x7d1f, /* all but KMS_ATTR_REALLOC, which says nothing of a live block */
};

_Static_assert((KMS_LIVE_GUESSED ^ KMS_LIVE_LARGE ^ KMS_LIVE_TOLD ^ KMS_LIVE_BASE ^
		KMS_LIVE_WAS_OPEN ^ KMS_LIVE_EVENT_FLAGS) ==
		       KMS_LIVE_GUESSED + KMS_LIVE_LARGE + KMS_LIVE_TOLD + KMS_LIVE_BASE +
			       KMS_LIVE_WAS_OPEN + KMS_LIVE_EVENT_FLAGS,
	       "each has a bit of its own");

enum kms_live_bits {
	KMS_LIVE_KNOWN = 1 << 12,  /* the entry is in use */
	KMS_LIVE_LIVE = 1 << 13,   /* allocated now */
	KMS_LIVE_PARKED = 1 << 14, /* events of the address wait for their turn (park.h) */
	KMS_LIVE_OPEN = 1 << 15,   /* the generation is not known: the next event sets it */
	KMS_LIVE_LOW = KMS_LIVE_KNOWN - 1,
};

/** An address. All but @low_bits and the generation are of its block and count while it is live. */
struct kms_live {
	uint64_t time_gen; /* region time of the last event << 8 | generation after it */
	uint32_t site;     /* index in sites.h */
	uint32_t size_low;
	uint16_t size_high;
	uint16_t low_bits; /* address % page | enum kms_live_bits */
	uint16_t flags;    /* of the alloc event */
	uint16_t thread;   /* of the alloc event */
};

static inline uint64_t kms_live_time(const struct kms_live *live)
{
	return live->time_gen >> 8;
}

static inline uint8_t kms_live_generation(const struct kms_live *live)
{
	return (uint8_t)live->time_gen;
}

static inline void kms_live_set_time(struct kms_live *live, uint64_t time_ns, uint8_t generation)
{
	live->time_gen = time_ns << 8 | generation;
}

static inline uint64_t kms_live_size(const struct kms_live *live)
{
	return (uint64_t)live->size_high << 32 | live->size_low;
}

static inline void kms_live_set_size(struct kms_live *live, uint64_t bytes)
{
	live->size_low = (uint32_t)bytes;
	live->size_high = (uint16_t)(bytes >> 32);
}

/** Page of the target: its blocks by granule. */
struct kms_live_leaf {
	uint32_t owner; /* kms_live_set.owner of the set that may write it */
	uint32_t refs;
	uint32_t shift; /* granules of 1 << shift bytes */
	uint32_t reserved;
	struct kms_live entry[];
};

enum kms_live_page_info {
	KMS_LIVE_PAGE_GRANULE = 15,    /* kms_live_leaf.shift */
	KMS_LIVE_PAGE_MINE = 1 << 4,   /* this set may write the leaf */
	KMS_LIVE_PAGE_FORGOT = 1 << 5, /* entries of freed blocks were dropped to save memory */
	KMS_LIVE_PAGE_LARGE = 1 << 6,  /* one block fills the slab that begins here */
	KMS_LIVE_PAGE_BARE = 1 << 7, /* no slab event will come: it was lost, or before the trace */
	KMS_LIVE_PAGE_RELEASED = 1
				 << 8, /* its slab is gone; the cache is still that of its blocks */
};

/** 512 pages, and what slab events said of each. */
struct kms_live_dir {
	uint32_t owner;
	uint32_t refs;
	struct kms_live_leaf *leaf[KMS_LIVE_FANOUT];
	uint32_t stamp[KMS_LIVE_FANOUT];  /* time of the page's last slab event, 8 us units */
	uint16_t cache[KMS_LIVE_FANOUT];  /* KMS_LIVE_NO_CACHE unknown */
	uint16_t info[KMS_LIVE_FANOUT];   /* enum kms_live_page_info */
	uint8_t hint[KMS_LIVE_FANOUT];    /* shift for a new leaf, 0 unknown */
	uint16_t stride[KMS_LIVE_FANOUT]; /* of its blocks in units of 8 bytes, 0 unknown */
	uint16_t phase[KMS_LIVE_FANOUT];  /* from the begin of a block to the page's, likewise */
	uint16_t index
		[KMS_LIVE_FANOUT]; /* of the page in its slab; large: the slab's pages, low half */
	uint16_t first
		[KMS_LIVE_FANOUT]; /* of the slab's blocks, units of 8 bytes; large: high half */
};

struct kms_live_node {
	uint32_t owner;
	uint32_t refs;
	void *child[KMS_LIVE_FANOUT];
};

/** What all sets of a run have in common. */
struct kms_live_pool {
	struct kms_memory *memory;
	uint32_t last_owner;
};

/** The set of one process. */
struct kms_live_set {
	struct kms_live_pool *pool;
	struct kms_live_node *root;
	uint32_t owner; /* nodes with this number are this set's alone */
	bool late;      /* it began when slabs and blocks were there already: pages of which no slab
			 * event tells are BARE and FORGOT */

	struct {
		uint64_t key;             /* address >> KMS_LIVE_DIR_SHIFT */
		struct kms_live_dir *dir; /* this set's own, or NULL */
	} recent[KMS_LIVE_RECENT];
};

/** What slab events said of a page. */
struct kms_live_page {
	uint32_t stamp;
	uint16_t cache;
	uint16_t info; /* without what is of its leaf */
	uint16_t stride, phase, index, first;
	uint8_t hint;
};

/** A slab, as its events tell it. */
struct kms_live_slab {
	uint64_t base;
	uint64_t pages;
	uint64_t stride_bytes; /* 0 one block fills it */
	uint64_t first_bytes;  /* from its begin to the first block */
	uint64_t time_ns;
	uint16_t cache;
};

/** Does one block fill it? */
static inline bool kms_live_slab_is_large(const struct kms_live_slab *slab)
{
	return !slab->stride_bytes || slab->stride_bytes >> KMS_LIVE_PAGE_SHIFT >= slab->pages;
}

/** Called with entries that are live or parked; may change the entry, not the set. */
typedef void kms_live_fn(void *arg, uint64_t address, struct kms_live *live);
typedef void kms_live_const_fn(void *arg, uint64_t address, const struct kms_live *live);

/** An empty set; @pool must outlive it. */
void kms_live_init(struct kms_live_set *set, struct kms_live_pool *pool);
void kms_live_deinit(struct kms_live_set *set);

/** Empties the set. From here on what it has not been told of may exist. */
void kms_live_restart(struct kms_live_set *set);

/** kms_live_restart(), but what was in it is in @aside then, an initialised set. */
void kms_live_set_aside(struct kms_live_set *set, struct kms_live_set *aside);

/** Makes an empty set equal to another one; costs nothing until one of them changes. */
void kms_live_fork(struct kms_live_set *child, struct kms_live_set *parent);

/** Can this address be kept? The 57-bit address spaces, sign-extended. */
static inline bool kms_live_is_canonical(uint64_t address)
{
	return address + (UINT64_C(1) << (KMS_LIVE_ADDRESS_BITS - 1)) <
	       UINT64_C(1) << KMS_LIVE_ADDRESS_BITS;
}

/** The entry of an address for reading, NULL if there is none. */
const struct kms_live *kms_live_find(const struct kms_live_set *set, uint64_t address);

/** kms_live_touch() where the page is not at hand. */
struct kms_live *kms_live_touch_slow(struct kms_live_set *set, uint64_t address);

static inline struct kms_live_dir *kms_live_recent(const struct kms_live_set *set, uint64_t address)
{
	uint64_t key = address >> KMS_LIVE_DIR_SHIFT;
	unsigned at = key & (KMS_LIVE_RECENT - 1);

	return set->recent[at].key == key ? set->recent[at].dir : NULL;
}

static inline unsigned kms_live_page_index(uint64_t address)
{
	return (unsigned)(address >> KMS_LIVE_PAGE_SHIFT) & (KMS_LIVE_FANOUT - 1);
}

/**
 * The entry of an address for writing.
 *
 * NULL: none, or no memory to copy a shared page.
 * Owner: valid until the next call on the set.
 */
static inline struct kms_live *kms_live_touch(struct kms_live_set *set, uint64_t address)
{
	struct kms_live_dir *dir = kms_live_recent(set, address);
	unsigned page = kms_live_page_index(address);
	unsigned low = (unsigned)address & KMS_LIVE_LOW;
	struct kms_live *live;

	if (__builtin_expect(!dir || !(dir->info[page] & KMS_LIVE_PAGE_MINE), 0))
		return kms_live_touch_slow(set, address);
	live = &dir->leaf[page]->entry[low >> (dir->info[page] & KMS_LIVE_PAGE_GRANULE)];
	return (live->low_bits & (KMS_LIVE_KNOWN | KMS_LIVE_LOW)) == (KMS_LIVE_KNOWN | low) ? live
											    : NULL;
}

/** Brings the place of an entry near, if that is cheap. Returns the place, or NULL. */
static inline const struct kms_live *kms_live_prefetch(const struct kms_live_set *set,
						       uint64_t address)
{
	const struct kms_live_dir *dir = kms_live_recent(set, address);
	unsigned page = kms_live_page_index(address);
	const struct kms_live *live;

	if (!dir || !(dir->info[page] & KMS_LIVE_PAGE_MINE))
		return NULL;
	live = &dir->leaf[page]->entry[((unsigned)address & KMS_LIVE_LOW) >>
				       (dir->info[page] & KMS_LIVE_PAGE_GRANULE)];
	__builtin_prefetch(live, 1);
	return live;
}

/**
 * The entry of an address that kms_live_touch() does not find: a new one, KNOWN, else zero; OPEN
 * where entries were dropped.
 *
 * Shape:  @bytes of the block, to choose the granule; @keep: a freed block's entry in the same
 *         granule may not be overwritten
 * Errors: NULL: no memory, or no such address
 */
struct kms_live *kms_live_add(struct kms_live_set *set, uint64_t address, uint64_t bytes,
			      bool keep);

/** Were entries of the address's page dropped to save memory? */
bool kms_live_is_forgotten(const struct kms_live_set *set, uint64_t address);

/** May blocks and slabs be there that the set was not told of? So it is until a slab is made there. */
bool kms_live_is_unheard(const struct kms_live_set *set, uint64_t address);

/** Can a block of its page's slab begin at the address? True if that is not known. */
bool kms_live_fits(const struct kms_live_set *set, uint64_t address);

/** Is the last slab event of the address's page a little younger than @time_ns? */
bool kms_live_is_before_slab(const struct kms_live_set *set, uint64_t address, uint64_t time_ns);

/** Cache of the slab at an address, KMS_LIVE_NO_CACHE if unknown; *info: enum kms_live_page_info. */
uint16_t kms_live_cache(const struct kms_live_set *set, uint64_t address, unsigned *info);

/** Blocks of the address's page are to be taken without a slab event. */
void kms_live_set_bare(struct kms_live_set *set, uint64_t address);

/**
 * A slab was made: new addresses begin at generation 0, freed ones of the pages' past are forgotten.
 * @fn is called for those that are live or parked. A slab of one block makes nothing forgotten.
 * Older news than a page has are ignored.
 */
void kms_live_slab_grow(struct kms_live_set *set, const struct kms_live_slab *slab, kms_live_fn *fn,
			void *arg);

/** A slab was given up. Blocks that come later belong to another one. */
void kms_live_slab_release(struct kms_live_set *set, const struct kms_live_slab *slab);

/** What is said of a slab that was there before the set: where nothing else is known of its pages. */
void kms_live_slab_tell(struct kms_live_set *set, const struct kms_live_slab *slab);

/** What is known of the page at an address; zero and no cache if nothing is. */
struct kms_live_page kms_live_page_get(const struct kms_live_set *set, uint64_t address);

/** Undoes a slab event: its pages are as @page, and what was forgotten is marked so. */
void kms_live_slab_undo(struct kms_live_set *set, const struct kms_live_slab *slab,
			const struct kms_live_page *page);

/**
 * Visits live blocks in the order of address.
 *
 * Shape:  @from: where to begin; after the call where to go on
 *         *budget: places to look at, used ones or not; what is left of it afterwards. At least
 *         one page is visited
 * Returns true when the end was reached.
 */
bool kms_live_walk(const struct kms_live_set *set, uint64_t *from, size_t *budget,
		   kms_live_const_fn *fn, void *arg);

/** A slab that is there, as far as its pages tell. */
struct kms_live_extent {
	uint64_t base;
	uint64_t pages;
	uint64_t stride_bytes; /* 0: one block fills it */
	uint64_t first_bytes;
	uint16_t cache;
};

/** The slab that an address lies in; false: none is known. Of a slab of one block: its first page. */
bool kms_live_extent_at(const struct kms_live_set *set, uint64_t address,
			struct kms_live_extent *out);

enum kms_live_next {
	KMS_LIVE_END,
	KMS_LIVE_FOUND,
	KMS_LIVE_LATER, /* the budget is used up */
};

/**
 * The next slab that begins at or after *from, in the order of address.
 *
 * Shape:  *from: where to go on with the next call; *budget: pages to look at, what is left of it
 *         afterwards
 */
enum kms_live_next kms_live_extent_next(const struct kms_live_set *set, uint64_t *from,
					size_t *budget, struct kms_live_extent *out);

/**
 * The last entry at or before an address: of a live block, or of any block that is remembered.
 *
 * Shape:  *address moves to the entry's; *budget: places to look at
 * Returns NULL: there is none, or the budget is used up
 */
const struct kms_live *kms_live_before(const struct kms_live_set *set, uint64_t *address,
				       bool only_live, size_t *budget);

/** Drops the pages of this set alone that hold nothing live. Returns the bytes it freed. */
size_t kms_live_trim(struct kms_live_set *set);

#endif
