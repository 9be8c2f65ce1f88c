/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A fault as text for people, the same wherever it is shown. The order is KASAN's: headline, access,
 * allocated by, freed by, the block and its neighbours, the bytes around, earlier owners.
 *
 * Names come from the target and are made printable; the text holds line feeds and no other control
 * characters.
 */
#ifndef KMS_SERVER_REPORT_H
#define KMS_SERVER_REPORT_H

#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "schema/snapshot.h"
#include "server/stacks.h"

/** The first line, without a line feed: "BUG: use_after_free: read 16 bytes inside ... in f (f.c:12)". */
void kms_report_headline(struct kms_buf *out, struct kms_stacks *stacks,
			 const struct kms_view_fault *fault);

/** A frame: "function (file:line)", "function (module+0xoff)" or what there is. */
void kms_report_frame(struct kms_buf *out, const struct kms_view_frame *frame);

/** @before and the first frame outside the allocator; nothing for a stack that is not known. */
void kms_report_caller(struct kms_buf *out, struct kms_stacks *stacks, uint64_t stack_id,
		       const char *before);

/** One line about an owner of an address, "  2. 48 bytes, thread 7, allocated at ... in ...". */
void kms_report_owner(struct kms_buf *out, struct kms_stacks *stacks,
		      const struct kms_view_owner *owner, size_t number);

/** The whole report; of the address's owners at most @max_owners, and how many more there are. */
void kms_report_fault(struct kms_buf *out, struct kms_stacks *stacks,
		      const struct kms_view_fault *fault, size_t max_owners);

/* Names as in the API; static, "unknown" for a value that is none. */
const char *kms_fault_kind_name(uint32_t kind);
const char *kms_fault_access_name(uint32_t access);
const char *kms_block_state_name(uint32_t state);
const char *kms_level_name(uint32_t level);
const char *kms_policy_name(uint32_t policy);

#endif
