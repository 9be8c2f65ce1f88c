/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Compiled for the host, for 32-bit and freestanding for the guest: all must see one layout. No
 * code, only assertions.
 */
#include <stddef.h>

#include "schema/attach.h"
#include "schema/record.h"
#include "schema/region.h"
#include "schema/spans.h"
#include "schema/variables.h"

#define SIZE_IS(type, bytes) _Static_assert(sizeof(struct type) == (bytes), #type " size")
#define AT(type, member, offset_)                                                                  \
	_Static_assert(offsetof(struct type, member) == (offset_), #type "." #member)

SIZE_IS(kms_section, 32);
SIZE_IS(kms_region_header, 688);
AT(kms_region_header, region_bytes, 16);
AT(kms_region_header, image_id, 32);
AT(kms_region_header, target_kind, 64);
AT(kms_region_header, stalled, 92);
AT(kms_region_header, arena_base, 96);
AT(kms_region_header, section, 168);
AT(kms_region_header, no_memory, 680);
SIZE_IS(kms_tracer_page, KMS_PAGE_BYTES);
AT(kms_tracer_page, wake, 48);
AT(kms_tracer_page, pid, 52);
SIZE_IS(kms_request, KMS_PAGE_BYTES);
AT(kms_request, held, 4);
AT(kms_request, item, 24);
SIZE_IS(kms_slot, KMS_PAGE_BYTES);
AT(kms_slot, acked_seq, 40);
AT(kms_slot, lost_children, 120);
AT(kms_slot, guard, 128);
AT(kms_slot, stop_state, 240);
AT(kms_slot, ack, 256);
AT(kms_slot, session, 256 + 16 * KMS_REQUEST_ITEMS);
SIZE_IS(kms_guard_stat, 112);
SIZE_IS(kms_ring_desc, 128);
AT(kms_ring_desc, first_block, 24);
SIZE_IS(kms_block, KMS_PAGE_BYTES);
AT(kms_block, fill, 32);
AT(kms_block, record, 64);
SIZE_IS(kms_node, 16);
SIZE_IS(kms_cache_entry, 72);
SIZE_IS(kms_cache_stat, 64);
SIZE_IS(kms_counter, 32);
SIZE_IS(kms_module, 80);
SIZE_IS(kms_thread, 32);
SIZE_IS(kms_string_head, 8);
SIZE_IS(kms_fork_cut, 16);
SIZE_IS(kms_fault, 640);
AT(kms_fault, time_ns, 16);
AT(kms_fault, bytes, 176);
SIZE_IS(kms_attach_page, KMS_PAGE_BYTES);
AT(kms_attach_page, state, 24);
AT(kms_attach_page, request, 56);
AT(kms_attach_page, run_dir, 88);
SIZE_IS(kms_side, 16);
SIZE_IS(kms_span, 64);
AT(kms_span, pages, 24);
_Static_assert((int)KMS_VARIABLE_COUNT <= (int)KMS_REQUEST_ITEMS, "requests hold every variable");
_Static_assert((int)KMS_VAR_PANIC_OF(KMS_FAULT_RING_CORRUPT) == (int)KMS_VAR_PANIC_RING_CORRUPT,
	       "policy variables follow enum kms_fault_kind");
_Static_assert((KMS_PAGE_BYTES - 64) / KMS_REC_MIN_BYTES < KMS_SEQ_PER_BLOCK,
	       "a block's events fit its range of sequence numbers");
