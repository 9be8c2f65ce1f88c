/* SPDX-License-Identifier: BSD-2-Clause */
/* Which cache an address of an event belongs to, fast. Inside of linux_record.c. */
#ifndef KMS_TRACER_GUEST_LINUX_OWNER_H
#define KMS_TRACER_GUEST_LINUX_OWNER_H

#include <stdint.h>

#include "tracer/batch.h"
#include "tracer/guest/linux_impl.h"

/** The caches of one kernel as a region's table, and the pages that were looked at in this poll. */
struct kms_lx_owners;

/** NULL: no memory. */
struct kms_lx_owners *kms_lx_owners_create(void);
void kms_lx_owners_destroy(struct kms_lx_owners *owners);

/** The guest goes on: pages are to be looked at anew, and caches are as of the last refresh. */
void kms_lx_owners_renew(struct kms_lx_owners *owners, const struct kms_linux *lx);

/** Index of the cache of a block of an event; KMS_NO_INDEX: it is not known (any more). */
uint32_t kms_lx_owner_of(struct kms_lx_owners *owners, struct kms_linux *lx,
			 const struct kms_linux_event *event);

/** Index of a cache by its index in the last refresh. */
uint32_t kms_lx_owner_index(const struct kms_lx_owners *owners, const struct kms_linux *lx,
			    uint32_t cache);

/** Bytes of a cache's objects; 0 unknown. */
uint32_t kms_lx_owner_bytes(const struct kms_lx_owners *owners, uint32_t index);

/** Adds the caches that are new. Errors: -ENOMEM: they are added the next time */
int kms_lx_owners_feed(struct kms_lx_owners *owners, uint32_t image, struct kms_batch *batch);

#endif
