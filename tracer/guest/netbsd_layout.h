/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is looked up in a NetBSD kernel's file, and what for. Names are the only thing that is known of a
 * build; where a member lies comes from the file's DWARF, and what it lacks is not shown.
 */
#ifndef KMS_TRACER_GUEST_NETBSD_LAYOUT_H
#define KMS_TRACER_GUEST_NETBSD_LAYOUT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "tracer/symbols_types.h"

/* X(symbol, name) */
#define KMS_NB_SYMBOLS(X)                                                                          \
	X(POOL_HEAD, "pool_head")                                                                  \
	X(TABLES, "PDPpaddr")                                                                      \
	X(VERSION, "version")                                                                      \
	X(TICKS, "hardclock_ticks")                                                                \
	X(GUARD_DEPTH, "kmem_guard_depth")                                                         \
	X(KMEM_INIT, "kmem_init")

/* X(symbol, name, a member that its namesakes do not have) */
#define KMS_NB_STRUCTS(X)                                                                          \
	X(POOL, "pool", "pr_poollist")                                                             \
	X(ALLOCATOR, "pool_allocator", "pa_pagesz")                                                \
	X(CACHE, "pool_cache", "pc_pool")                                                          \
	X(CPU, "pool_cache_cpu", "cc_current")                                                     \
	X(GROUP, "pool_cache_group", "pcg_avail")                                                  \
	X(HEADER, "pool_item_header", "ph_pagelist")                                               \
	X(ITEM, "pool_item", "pi_list")

/*
 * X(symbol, struct, path, feature). pc_hits to pc_npart are of NetBSD up to 9, cc_pcmisses to cc_npart
 * of 10, where each CPU counts what it did.
 */
#define KMS_NB_MEMBERS(X)                                                                          \
	X(NEXT, POOL, "pr_poollist.tqe_next", FOR_POOLS)                                           \
	X(WCHAN, POOL, "pr_wchan", FOR_POOLS)                                                      \
	X(SIZE, POOL, "pr_size", FOR_POOLS)                                                        \
	X(NPAGES, POOL, "pr_npages", FOR_POOLS)                                                    \
	X(ITEMSPERPAGE, POOL, "pr_itemsperpage", FOR_POOLS)                                        \
	X(NITEMS, POOL, "pr_nitems", FOR_POOLS)                                                    \
	X(NOUT, POOL, "pr_nout", FOR_POOLS)                                                        \
	X(NGET, POOL, "pr_nget", FOR_POOLS)                                                        \
	X(NPUT, POOL, "pr_nput", FOR_POOLS)                                                        \
	X(NFAIL, POOL, "pr_nfail", FOR_POOLS)                                                      \
	X(REQSIZE, POOL, "pr_reqsize", OPTIONAL)                                                   \
	X(ALIGN, POOL, "pr_align", OPTIONAL)                                                       \
	X(ITEMOFFSET, POOL, "pr_itemoffset", OPTIONAL)                                             \
	X(MINITEMS, POOL, "pr_minitems", OPTIONAL)                                                 \
	X(MINPAGES, POOL, "pr_minpages", OPTIONAL)                                                 \
	X(MAXPAGES, POOL, "pr_maxpages", OPTIONAL)                                                 \
	X(HARDLIMIT, POOL, "pr_hardlimit", OPTIONAL)                                               \
	X(FLAGS, POOL, "pr_flags", OPTIONAL)                                                       \
	X(ROFLAGS, POOL, "pr_roflags", OPTIONAL)                                                   \
	X(NPAGEALLOC, POOL, "pr_npagealloc", OPTIONAL)                                             \
	X(NPAGEFREE, POOL, "pr_npagefree", OPTIONAL)                                               \
	X(HIWAT, POOL, "pr_hiwat", OPTIONAL)                                                       \
	X(NIDLE, POOL, "pr_nidle", OPTIONAL)                                                       \
	X(ALLOC, POOL, "pr_alloc", OPTIONAL)                                                       \
	X(PAGESZ, ALLOCATOR, "pa_pagesz", OPTIONAL)                                                \
	X(POOL_CACHE, POOL, "pr_cache", FOR_CACHES)                                                \
	X(CACHE_POOL, CACHE, "pc_pool", FOR_CACHES)                                                \
	X(CACHE_CPUS, CACHE, "pc_cpus", FOR_CACHES)                                                \
	X(CACHE_GROUP_SIZE, CACHE, "pc_pcgsize", OPTIONAL)                                         \
	X(CACHE_PARTIAL, CACHE, "pc_partgroups", OPTIONAL)                                         \
	X(CACHE_HITS, CACHE, "pc_hits", OPTIONAL)                                                  \
	X(CACHE_MISSES, CACHE, "pc_misses", OPTIONAL)                                              \
	X(CACHE_CONTENDED, CACHE, "pc_contended", OPTIONAL)                                        \
	X(CACHE_NEMPTY, CACHE, "pc_nempty", OPTIONAL)                                              \
	X(CACHE_NFULL, CACHE, "pc_nfull", OPTIONAL)                                                \
	X(CACHE_NPART, CACHE, "pc_npart", OPTIONAL)                                                \
	X(CPU_CURRENT, CPU, "cc_current", FOR_CACHES)                                              \
	X(CPU_PREVIOUS, CPU, "cc_previous", FOR_CACHES)                                            \
	X(CPU_HITS, CPU, "cc_hits", OPTIONAL)                                                      \
	X(CPU_MISSES, CPU, "cc_misses", OPTIONAL)                                                  \
	X(CPU_PCMISSES, CPU, "cc_pcmisses", OPTIONAL)                                              \
	X(CPU_CONTENDED, CPU, "cc_contended", OPTIONAL)                                            \
	X(CPU_NFULL, CPU, "cc_nfull", OPTIONAL)                                                    \
	X(CPU_NPART, CPU, "cc_npart", OPTIONAL)                                                    \
	X(GROUP_NEXT, GROUP, "pcg_next", FOR_CACHES)                                               \
	X(GROUP_AVAIL, GROUP, "pcg_avail", FOR_CACHES)                                             \
	X(GROUP_SIZE, GROUP, "pcg_size", FOR_CACHES)                                               \
	X(EMPTY_PAGES, POOL, "pr_emptypages.lh_first", FOR_PAGES)                                  \
	X(FULL_PAGES, POOL, "pr_fullpages.lh_first", FOR_PAGES)                                    \
	X(PART_PAGES, POOL, "pr_partpages.lh_first", FOR_PAGES)                                    \
	X(PAGE_NEXT, HEADER, "ph_pagelist.le_next", FOR_PAGES)                                     \
	X(PAGE, HEADER, "ph_page", FOR_PAGES)                                                      \
	X(PAGE_MISSING, HEADER, "ph_nmissing", FOR_PAGES)                                          \
	X(PAGE_OFFSET, HEADER, "ph_off", FOR_ITEMS)                                                \
	X(PAGE_BITMAP, HEADER, ".phu_bitmap", FOR_ITEMS)                                           \
	X(PAGE_ITEMS, HEADER, ".phu_itemlist.lh_first", FOR_ITEMS)                                 \
	X(ITEM_NEXT, ITEM, "pi_list.le_next", FOR_ITEMS)

/** What is shown, each if the build has all that it needs. */
enum kms_nb_feature {
	KMS_NB_FOR_POOLS, /* required */
	KMS_NB_FOR_CACHES,
	KMS_NB_FOR_PAGES, /* which pages a pool has */
	KMS_NB_FOR_ITEMS, /* and which items of them are free */
	KMS_NB_OPTIONAL,  /* missing in some builds without harm */
	KMS_NB_FEATURES,
};

enum kms_nb_symbol {

#define X(symbol, name) KMS_NB_##symbol##_SYMBOL,
	KMS_NB_SYMBOLS(X)
#undef X
		KMS_NB_SYMBOL_COUNT,
};

enum kms_nb_struct {

#define X(symbol, name, member) KMS_NB_##symbol,
	KMS_NB_STRUCTS(X)
#undef X
		KMS_NB_STRUCT_COUNT,
};

enum kms_nb_member {

#define X(symbol, type, path, feature) KMS_NB_##symbol##_AT,
	KMS_NB_MEMBERS(X)
#undef X
		KMS_NB_MEMBER_COUNT,
};

/** The question for a kernel's file. All of it is static but the path. */
void kms_netbsd_question(struct kms_types_question *question, const char *path);

/** A number that changes with the tables above. */
uint64_t kms_netbsd_layout_version(void);

/**
 * Which features a build has: bits of enum kms_nb_feature.
 *
 * Errors: -ENOTSUP: a member that nothing works without is missing: err names it
 */
int kms_netbsd_layout_features(const struct kms_types_answer *answer, uint32_t *features,
			       struct kms_err *err);

static inline bool kms_netbsd_has_member(const struct kms_types_answer *answer,
					 enum kms_nb_member member)
{
	return answer->place[member].bytes != 0;
}

/** Value of a number of 1, 2, 4 or 8 bytes in a copy of its struct; 0 where the build has none. */
uint64_t kms_netbsd_value(const struct kms_types_answer *answer, enum kms_nb_member member,
			  const void *copy);

#endif
