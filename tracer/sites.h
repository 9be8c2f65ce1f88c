/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sites: what was allocated and freed by each (target, stack, cache), and how that went on.
 *
 * Blocks of one stack may be of many sizes, so of many caches: to who looks for a leak they are one.
 * The sites of one target and stack are kin; one of them leads, and has what is said of all.
 *
 * The table is bounded. When it is full, sites of ended targets that hold nothing are dropped, and
 * a new site is folded: its stack loses innermost frames until a site is there for the rest. One
 * thread.
 */
#ifndef KMS_TRACER_SITES_H
#define KMS_TRACER_SITES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "tracer/model_memory.h"

enum kms_site_limits {
	KMS_SITE_LIFETIMES = 40,     /* buckets by log2 of ns */
	KMS_SITE_LIFETIME_SHIFT = 6, /* bucket 0: below 128 ns; b: from 1 << (b + 6) ns */
	KMS_SITE_SHORT = 8,          /* a bucket of short lifetimes, some 20 us */
	KMS_SITE_SAMPLES = 16,
	KMS_SITE_EPOCHS = 32,
	KMS_SITE_NO_CACHE = 0xffff,
};

#define KMS_SITE_NONE UINT32_MAX

/* Index of the site, of target 0, for what finds no place at all. */
#define KMS_SITE_OVERFLOW 0u

enum kms_site_flags {
	KMS_SITE_USED = 1,
	KMS_SITE_FOLDED = 2, /* stands for several stacks that end in its own */
};

/** What every event of the site touches: one cache line. */
struct kms_site {
	uint32_t target;
	uint32_t node; /* of the target's image */
	uint16_t cache;
	uint16_t flags;
	uint32_t live_count;
	uint64_t live_bytes;
	uint64_t allocs;
	uint64_t frees;
	uint64_t first_alloc_ns; /* region time, as all times here */
	uint64_t last_alloc_ns;
	uint64_t last_free_ns; /* 0 none */
};

/** The site's past; from grown to leak_id that of all its kin, kept where the lead is. */
struct kms_site_past {
	uint32_t lifetime[KMS_SITE_LIFETIMES]; /* of freed blocks; counts stop at UINT32_MAX */
	float sample[KMS_SITE_SAMPLES];        /* live bytes at the target's sample times */
	uint32_t grown;       /* bit i: more live blocks at the end of the target's epoch i */
	uint32_t epoch_count; /* live blocks when the epoch began */
	uint64_t median_ns;   /* allocation time of the median live block */
	uint64_t leak_id;     /* 0 not yet known */
	uint32_t next;        /* site of the same target, KMS_SITE_NONE at the end */
	uint32_t scratch;     /* of the pass that finds medians */
};

/** The sites of one target and stack as a list. Where the stack is not known each is alone. */
struct kms_site_kin {
	uint32_t lead; /* first of the list */
	uint32_t next; /* KMS_SITE_NONE at the end */
};

/** Where a stack ends one frame further out; 0 for the outermost. */
typedef uint32_t kms_site_parent_fn(const void *tree, uint32_t node);

/** Which target's, and what is known of it. */
struct kms_site_owner {
	uint32_t target;
	uint32_t *first; /* list of the target's sites, KMS_SITE_NONE at the beginning */
	kms_site_parent_fn *parent;
	const void *tree;
};

/** A place of the index: its key is compared with the site only where the tag is the same. */
struct kms_site_slot {
	uint32_t index; /* of the site, + 1; 0 free */
	uint32_t tag;
};

/** Where the blocks of a stack are counted that has no site of its own. */
struct kms_site_alias {
	uint32_t target;
	uint32_t node;
	uint32_t index; /* of the site, + 1; 0 nothing here */
	uint16_t cache;
	uint16_t reserved;
};

struct kms_sites {
	struct kms_memory *memory;
	struct kms_site *site;        /* room of them, made at once, filled as needed */
	struct kms_site_past *past;   /* by the same index */
	struct kms_site_kin *kin;     /* by the same index */
	struct kms_site_slot *slot;   /* open addressing */
	uint32_t *stack;              /* likewise: leads by (target, stack), index + 1; 0 free */
	struct kms_site_alias *alias; /* direct-mapped; made when the first stack is folded */
	uint32_t slot_mask;           /* of slot, stack and alias */
	bool alias_stale;             /* a site was dropped: all of them may be wrong */
	uint32_t max;                 /* whole stacks */
	uint32_t room;                /* max, and some for folded ones */
	uint32_t top;                 /* indices handed out so far */
	uint32_t used;
	uint32_t free_first; /* dropped ones, through past.next */
	uint64_t folded;     /* allocations that were counted at a folded site */
	uint64_t dropped;
};

/** Errors: -ENOMEM */
int kms_sites_init(struct kms_sites *sites, struct kms_memory *memory, uint32_t max);
void kms_sites_deinit(struct kms_sites *sites);

/** Index of the site, KMS_SITE_NONE if there is none. */
uint32_t kms_sites_find(const struct kms_sites *sites, uint32_t target, uint32_t node,
			uint16_t cache);

/** The site of a new block: found, made, or that of a stack it is folded into. Never fails. */
uint32_t kms_sites_get(struct kms_sites *sites, const struct kms_site_owner *owner, uint32_t node,
		       uint16_t cache);

/**
 * Brings near what kms_sites_get() would read, in two steps: the place of the index, and given what
 * the first step returned, the site, with what the free of a short-lived block will count in.
 */
struct kms_site_slot kms_sites_prefetch(const struct kms_sites *sites, uint32_t target,
					uint32_t node, uint16_t cache);
void kms_sites_prefetch_site(const struct kms_sites *sites, struct kms_site_slot key);

/** Is there no room for another whole stack? */
static inline bool kms_sites_is_full(const struct kms_sites *sites)
{
	return sites->used >= sites->max;
}

/**
 * Takes a site out of its target's list and of the table.
 *
 * Shape:  no block refers to it; @link: its place in the list, which becomes that of the next one
 */
void kms_sites_drop(struct kms_sites *sites, uint32_t *link);

/** Puts a new site to its kin; takes it out again, before its place is used for something else. */
void kms_site_kin_join(struct kms_sites *sites, uint32_t index);
void kms_site_kin_leave(struct kms_sites *sites, uint32_t index);

/** Live blocks of all kin. */
uint64_t kms_site_kin_count(const struct kms_sites *sites, uint32_t lead);

/** Bucket of a lifetime. */
static inline unsigned kms_site_bucket(uint64_t lifetime_ns)
{
	unsigned log2 = 63u - (unsigned)__builtin_clzll(lifetime_ns | 1);

	if (log2 < KMS_SITE_LIFETIME_SHIFT)
		return 0;
	log2 -= KMS_SITE_LIFETIME_SHIFT;
	return log2 < KMS_SITE_LIFETIMES ? log2 : KMS_SITE_LIFETIMES - 1;
}

static inline void kms_site_add(struct kms_sites *sites, uint32_t index, uint64_t bytes,
				uint64_t time_ns)
{
	struct kms_site *site = &sites->site[index];

	if (!site->allocs++)
		site->first_alloc_ns = time_ns;
	site->live_count++;
	site->live_bytes += bytes;
	site->last_alloc_ns = time_ns;
}

/** A block that was there before anything was recorded: no allocation that we know of. */
static inline void kms_site_add_base(struct kms_sites *sites, uint32_t index, uint64_t bytes,
				     uint64_t time_ns)
{
	struct kms_site *site = &sites->site[index];

	if (!site->allocs && !site->live_count)
		site->first_alloc_ns = time_ns;
	site->live_count++;
	site->live_bytes += bytes;
}

/** Its free: how long it lived is not known. */
static inline void kms_site_free_base(struct kms_sites *sites, uint32_t index, uint64_t bytes,
				      uint64_t free_ns)
{
	sites->site[index].live_count--;
	sites->site[index].live_bytes -= bytes;
	sites->site[index].frees++;
	sites->site[index].last_free_ns = free_ns;
}

/** Takes a block away without a free: it moved to another site, or its free was lost. */
static inline void kms_site_take(struct kms_sites *sites, uint32_t index, uint64_t bytes)
{
	sites->site[index].live_count--;
	sites->site[index].live_bytes -= bytes;
}

static inline void kms_site_free(struct kms_sites *sites, uint32_t index, uint64_t bytes,
				 uint64_t alloc_ns, uint64_t free_ns)
{
	uint32_t *bucket;

	kms_site_take(sites, index, bytes);
	sites->site[index].frees++;
	sites->site[index].last_free_ns = free_ns;
	bucket = &sites->past[index]
			  .lifetime[kms_site_bucket(free_ns > alloc_ns ? free_ns - alloc_ns : 0)];
	*bucket += *bucket != UINT32_MAX;
}

#endif
