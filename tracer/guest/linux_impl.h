/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared by the files of linux_*.c: what is known of an open kernel. */
#ifndef KMS_TRACER_GUEST_LINUX_IMPL_H
#define KMS_TRACER_GUEST_LINUX_IMPL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "tracer/guest/kallsyms.h"
#include "tracer/guest/linux.h"
#include "tracer/guest/linux_info.h"
#include "tracer/guest/linux_layout.h"
#include "tracer/guest/memory.h"
#include "tracer/guest/space.h"

#define KMS_LX_IMAGE_BASE UINT64_C(0xffffffff80000000) /* __START_KERNEL_map, mm.rst of Linux */

enum kms_linux_impl_bounds {
	KMS_LX_PAGE = 4096,
	KMS_LX_IMAGE_BYTES = 1 << 30, /* KERNEL_IMAGE_SIZE */
	KMS_LX_TRIES = 3,
	KMS_LX_MAX_NODES = 64,
	KMS_LX_MAX_DAMAGES = 64,
};

struct kms_linux_ring;
struct kms_linux_modules;
struct kms_linux_site_table;

struct kms_linux {
	struct kms_guest_memory *memory;
	struct kms_guest_space space;
	struct kms_linux_info info;
	struct kms_symbols symbols;
	struct kms_linux_layout layout;
	bool was_cached;
	bool old_events; /* as in the options */

	uint64_t linear_base;  /* virtual address of physical 0 */
	uint64_t linear_bytes; /* to the end of RAM */
	uint64_t vmemmap;      /* of the struct page of physical 0 */
	uint64_t slab_caches;  /* head of the list */
	uint32_t nodes;        /* NUMA */

	struct kms_linux_cache *cache, *next_cache; /* KMS_LINUX_MAX_CACHES each */
	size_t caches;

	struct kms_linux_site_table *sites;
	bool is_thorough; /* full slabs that are on no list are looked at, too */
	struct kms_linux_modules *modules;
	struct kms_linux_ring *ring;
};

/**
 * Reads kernel memory. Addresses in the linear map and in the kernel's image need no walk.
 *
 * Errors: as kms_guest_read_virtual()
 */
int kms_lx_read(struct kms_linux *lx, uint64_t address, void *to, size_t bytes,
		struct kms_err *err);

/** Finds symbols and the places of members, or what was kept of them. Errors: -EBADMSG, -ENOTSUP: what is missing */
int kms_lx_learn(struct kms_linux *lx, const struct kms_linux_options *options,
		 struct kms_err *err);

/** The kernel's own words must be those of the text that led to it. Errors: -EBADMSG: they are not */
int kms_lx_check_banner(struct kms_linux *lx, struct kms_err *err);

/** A pointer. Errors: as kms_lx_read() */
int kms_lx_read_word(struct kms_linux *lx, uint64_t address, uint64_t *word, struct kms_err *err);

/** Value of a variable of the kernel of 1 to 8 bytes. Errors: -ENOENT: no such symbol */
int kms_lx_read_variable(struct kms_linux *lx, const char *name, size_t bytes, uint64_t *value,
			 struct kms_err *err);

/** Physical address of an address of the linear map or the image. Errors: -ENOENT: neither */
int kms_lx_physical(const struct kms_linux *lx, uint64_t address, size_t bytes, uint64_t *physical);

static inline uint64_t kms_lx_member(const struct kms_linux *lx, enum kms_lx_member member,
				     const void *copy)
{
	return kms_linux_member(&lx->layout, member, copy);
}

static inline uint32_t kms_lx_offset(const struct kms_linux *lx, enum kms_lx_member member)
{
	return kms_linux_offset(&lx->layout, member);
}

/** A member of a struct at an address. Errors: -ENOTSUP: not in this build; as kms_lx_read() */
int kms_lx_read_member(struct kms_linux *lx, uint64_t address, enum kms_lx_member member,
		       uint64_t *value, struct kms_err *err);

/** What the walk of a list of slabs calls; a negative errno ends it. copy is the struct slab. */
typedef int kms_lx_slab_fn(void *arg, uint64_t slab, const uint8_t *copy, struct kms_err *err);

/**
 * Walks a list of a node's slabs once.
 *
 * Errors: -EBADMSG: a slab is not this cache's, or the list has no end; as kms_lx_read()
 */
int kms_lx_each_slab(struct kms_linux *lx, uint64_t cache, uint64_t head, kms_lx_slab_fn *fn,
		     void *arg, struct kms_err *err);

/** Bytes of a struct slab, which is a struct page. */
static inline uint32_t kms_lx_slab_bytes(const struct kms_linux *lx)
{
	return lx->layout.bytes[KMS_LX_SLAB];
}

void kms_lx_sites_destroy(struct kms_linux_site_table *table);
void kms_lx_modules_destroy(struct kms_linux_modules *modules);
void kms_lx_ring_destroy(struct kms_linux_ring *ring);

#endif
