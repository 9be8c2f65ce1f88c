/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A region (schema/region.h) that a process made, opened by the tracer.
 *
 * The target may write anything into it at any time, and may cut the file short. So: the header is
 * copied once and only the copy is used; sections are checked against the file and against each
 * other when the region is opened; every access runs under a guard that turns the SIGBUS of a page
 * that is gone into -EFAULT. Memory that the tracer writes is mapped apart from the rest, which is
 * mapped read-only.
 *
 * Why a mapping and not pread: a poll looks at some words of every ring, and a system call for each
 * (0.3 us and more) would cost more than the poll itself; and only loads from a mapping have an
 * order (acquire) that pairs with the target's stores. The guard costs 10 ns an access.
 */
#ifndef KMS_TRACER_REGION_H
#define KMS_TRACER_REGION_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "schema/region.h"

enum kms_region_bounds {
	KMS_REGION_KINDS = KMS_SEC_FORK_CUT + 1,
	KMS_REGION_MAX_BYTES = 1 << 30,
	KMS_REGION_MIN_BLOCKS = 2, /* of a ring */
	KMS_REGION_MAX_BLOCKS = 1 << 14,
};

/** Where a section lies; checked to be inside the file. */
struct kms_region_section {
	uint64_t offset;
	uint64_t entries;
	uint32_t entry_bytes;
	uint32_t index; /* of its row in the header */
};

/** An open region. One thread at a time. */
struct kms_region {
	int fd;
	uint64_t bytes; /* of the file when it was opened */
	uint8_t *map;   /* all of it; mapped read-only */
	struct kms_region_header
		head; /* private copy, checked; sections' @used are those at opening */
	struct kms_region_section section[KMS_REGION_KINDS]; /* by enum kms_section_kind */
	struct kms_tracer_page *page; /* mapped for writing, page_bytes long */
	struct kms_pair *position;    /* behind it, head.rings */
	struct kms_request *request;  /* mapped for writing, request_bytes long; head.slots */
	size_t page_bytes;
	size_t request_bytes;
	bool is_gone; /* an access met a page that the file no longer has */
};

/**
 * Opens a region file and checks all that does not change any more.
 *
 * Errors: -EAGAIN: not finished by its maker, look again; -EBADMSG: damaged or hostile; -EPROTO: of
 *         another version; -EPERM: belongs to another user; -EINVAL: no regular file; what open(2)
 *         and mmap(2) say. Then there is nothing to close.
 */
int kms_region_open(int dir_fd, const char *name, struct kms_region *region, struct kms_err *err);

/**
 * The same of a descriptor, opened for reading and writing. Owner: the region's, also on failure.
 * Errors: as above
 */
int kms_region_open_fd(int fd, struct kms_region *region, struct kms_err *err);

/** Unmaps and closes. */
void kms_region_close(struct kms_region *region);

/**
 * Whether the header and its sections fit a file of this size. Pure; kms_region_open() asks it, and
 * the fuzz harness. Fills section[] by kind.
 *
 * Errors: -EBADMSG, -EPROTO
 */
int kms_region_check(const struct kms_region_header *head, uint64_t file_bytes,
		     struct kms_region_section section[KMS_REGION_KINDS], struct kms_err *err);

/**
 * Runs a function that touches the region's memory.
 *
 * Shape:  fn must not hold a lock, allocate or leave something half-done outside of arg: it may be
 *         ended at any access. No nesting.
 * Errors: -EFAULT: a page was gone; then and from then on.
 */
int kms_region_access(struct kms_region *region, void (*fn)(void *arg), void *arg);

/**
 * Whether a process other than the caller still has the region open or mapped; asks the kernel, so
 * it holds whatever pid the processes have, and in the moment between fork and the first allocation.
 *
 * Returns 1 yes, 0 no.
 * Errors: -EINVAL and others: the file system cannot tell
 */
int kms_region_is_held(const struct kms_region *region);

/** The same of a file opened for writing, whatever is in it. */
int kms_region_file_is_held(int fd);

/** Address of an entry in the read-only mapping. Shape: index < entries. For kms_region_access(). */
static inline const void *kms_region_at(const struct kms_region *region, unsigned kind,
					uint64_t index)
{
	const struct kms_region_section *section = &region->section[kind];

	assert(index < section->entries);
	return region->map + section->offset + index * section->entry_bytes;
}

/**
 * Entries handed out in an append-only table, at most as many as it has.
 * Order: acquire; entries below it that are ready are visible. For kms_region_access().
 */
uint64_t kms_region_used(const struct kms_region *region, unsigned kind);

/** Loads from shared memory. pairs with: the target's release store of the same word. */
static inline uint32_t kms_load_acquire_u32(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

static inline uint64_t kms_load_acquire_u64(const kms_u64 *p)
{
	return __atomic_load_n(p, __ATOMIC_ACQUIRE);
}

/** A word that may change at any time and that nothing else hangs on. */
static inline uint32_t kms_load_u32_relaxed(const uint32_t *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

static inline uint64_t kms_load_u64_relaxed(const kms_u64 *p)
{
	return __atomic_load_n(p, __ATOMIC_RELAXED);
}

/** Copies a struct of counters word by word. Shape: both aligned to 8, n_bytes a multiple of 8. */
void kms_copy_relaxed(void *to, const void *from, size_t n_bytes);

#endif
