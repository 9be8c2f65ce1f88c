/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A NetBSD kernel in a guest, given its file: its pools, read from outside. Nothing is written, nothing
 * is stopped; where everything lies comes from the file's symbols and DWARF.
 *
 * A guest that runs changes its pools while they are read, without a lock of ours. A pool is read in one
 * piece, and again when its numbers do not fit each other; what does not fit after some tries is marked.
 * No number of the guest is believed beyond its bound.
 *
 * Locks: one thread at a time for each kms_netbsd.
 */
#ifndef KMS_TRACER_GUEST_NETBSD_H
#define KMS_TRACER_GUEST_NETBSD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "schema/snapshot.h"
#include "tracer/guest/memory.h"
#include "tracer/guest/netbsd_image.h"

enum kms_netbsd_bounds {
	KMS_NETBSD_MAX_POOLS = 4096, /* a kernel has 100 to 300 */
	KMS_NETBSD_NAME_BYTES = 48,
	KMS_NETBSD_MAX_CPUS = 256,
	KMS_NETBSD_MAX_GROUPS = 65536,       /* in a list of a cache */
	KMS_NETBSD_GROUP_OBJECTS = 1024,     /* in a group: 63 in any kernel so far */
	KMS_NETBSD_PAGE_BYTES_MAX = 1 << 24, /* of a pool's page */
	KMS_NETBSD_PAGE_ITEMS = 1 << 16,
	KMS_NETBSD_MAX_GROUP_HEAD = 512, /* of the struct: 24 or 40 */
	KMS_NETBSD_MAX_CPU_BYTES = 512,  /* likewise: 64 */
};

struct kms_netbsd;

/** A pool and its cache, with names that stand for themselves. */
struct kms_netbsd_pool {
	char name[KMS_NETBSD_NAME_BYTES];
	struct kms_view_pool figures; /* its name and target are not set */
	bool is_approximate; /* its numbers did not fit each other each time they were read */
};

/**
 * Finds the kernel in a guest's memory.
 *
 * Owner:  memory and image are borrowed until kms_netbsd_close().
 * Errors: -EAGAIN: not there yet, or not as far as having pools; -EBADMSG: another kernel, or damaged:
 *         err says what; -ENOMEM; as kms_guest_read()
 */
int kms_netbsd_open(struct kms_guest_memory *memory, const struct kms_netbsd_image *image,
		    struct kms_netbsd **out, struct kms_err *err);

/** Closes; NULL is nothing. */
void kms_netbsd_close(struct kms_netbsd *nb);

/** Whether it is still the kernel that was opened. Errors: -ESTALE: no longer; as kms_guest_read() */
int kms_netbsd_check(struct kms_netbsd *nb, struct kms_err *err);

/**
 * Reads all pools anew.
 *
 * A list that is damaged behind its first pools gives those; kms_netbsd_damage() says so.
 *
 * Errors: -EBADMSG: not one pool could be read; as kms_guest_read(). The pools of before stay then.
 */
int kms_netbsd_refresh(struct kms_netbsd *nb, struct kms_err *err);

/** The pools of the last refresh, in the kernel's order. Borrowed until the next. */
const struct kms_netbsd_pool *kms_netbsd_pools(const struct kms_netbsd *nb, size_t *n);

/** What was wrong with the list at the last refresh; "" nothing. */
const char *kms_netbsd_damage(const struct kms_netbsd *nb);

/** What a walk of a pool's pages gives; items are bits as in struct kms_view_slab. */
typedef int kms_netbsd_page_fn(void *arg, const struct kms_view_slab *page);

/**
 * The pages of a pool: empty, then full, then partly used ones; emit returns non-zero to end it.
 *
 * Shape:  slab.bitmap is NULL where this build or this page does not say which items are free
 * Errors: -ENOTSUP: this build does not say; -EBADMSG: a list without an end, or out of memory; what
 *         was read before was given
 */
int kms_netbsd_pages(struct kms_netbsd *nb, const struct kms_netbsd_pool *pool,
		     kms_netbsd_page_fn *emit, void *arg, struct kms_err *err);

/** Kernel memory, as much as is mapped. Errors: -EFAULT: nothing is there */
int kms_netbsd_memory(struct kms_netbsd *nb, uint64_t address, void *to, size_t n, size_t *n_read,
		      struct kms_err *err);

/** Writes kernel memory; text and constants of the file are not. Errors: -EACCES; as kms_guest_poke() */
int kms_netbsd_memory_write(struct kms_netbsd *nb, const struct kms_memory_write *write,
			    struct kms_err *err);

/** kmem_guard_depth as it is now. Errors: -ENOTSUP: a kernel without it; as kms_guest_read() */
int kms_netbsd_guard_depth(struct kms_netbsd *nb, uint64_t *depth, struct kms_err *err);

#endif
