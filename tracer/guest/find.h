/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The region (schema/region.h) of a guest that has our allocator inside: where in its RAM it lies.
 *
 * By its magic at the begin of a page. What is found is checked against the RAM that there is and
 * against the guest's own page tables: an old boot's region and a copy of one (a file in the guest's
 * page cache) are not where their header says they are.
 */
#ifndef KMS_TRACER_GUEST_FIND_H
#define KMS_TRACER_GUEST_FIND_H

#include <stdint.h>

#include "base/err.h"
#include "schema/region.h"
#include "tracer/guest/memory.h"
#include "tracer/region.h"

/** A region in guest RAM. */
struct kms_guest_region {
	uint64_t physical;             /* of its header; all of it is contiguous RAM */
	struct kms_region_header head; /* checked copy */
	struct kms_region_section section[KMS_REGION_KINDS];
};

/** How far a search has come. All zero is the begin. */
struct kms_guest_search {
	size_t range;            /* of the memory, being searched */
	uint64_t offset;         /* in it */
	uint64_t searched_bytes; /* in this pass */
	uint64_t reach_bytes;    /* of this pass, where it does not reach all RAM */
	bool has_best;
	struct kms_guest_region best; /* of this pass, so far */
	unsigned refused;             /* pages of this pass that had the magic and were no region */
	char reason[KMS_ERR_TEXT_BYTES]; /* of the last of them */
};

/**
 * Searches on, max_bytes of RAM at most: 64 MiB are 5 ms once they are mapped.
 *
 * A guest that stands while it is read is not searched to the end: the first region is taken, a call
 * looks at 1 MiB, and a pass reaches twice as far as the one before.
 *
 * Returns 1 when *out is the newest region of all RAM, 0 if the pass is not over yet.
 * Errors: -ENOENT: a pass found none (err: why not, where there was the magic; reach_bytes is set where it
 *         did not reach all RAM); the next call
 *         begins another one. As kms_guest_read()
 */
int kms_guest_search(struct kms_guest_search *search, struct kms_guest_memory *memory,
		     uint64_t max_bytes, struct kms_guest_region *out, struct kms_err *err);

#endif
