/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading one block of records (schema/record.h). Pure: no allocation, no I/O, no trust. This is
 * the one decoder of the tracer: ingest walks with it, the live model and the file reader decode.
 */
#ifndef KMS_TRACER_BLOCK_H
#define KMS_TRACER_BLOCK_H

#include <stdbool.h>
#include <stddef.h>

#include "schema/region.h"
#include "tracer/event.h"

/** What one pass over a block found. */
struct kms_block_summary {
	uint32_t events; /* that consume a sequence, a LOST counts as one here */
	uint32_t bytes;  /* where the last good record ends, counted from record[0] */
	uint64_t lost;
	uint64_t next_seq; /* sequence after the block's last event */
	uint64_t last_time_ns;
	uint64_t min_address, max_address;
	uint32_t by_kind[KMS_EVENT_KINDS];
	uint32_t max_node; /* highest stack node named */
	bool truncated;    /* the rest is the beginning of a record that fill cuts off */
};

/** Called for each 4 KiB page number that holds an event's address, repeats possible. May be NULL. */
typedef void kms_page_fn(void *arg, uint64_t page);

/**
 * Checks every record of a private copy of a block and sums it up.
 *
 * Shape:  @block is a copy that nobody else writes; @from_bytes: only records that begin at or
 *         after this offset are counted (0 all; the rest was counted by an earlier walk)
 * Errors: -EBADMSG if any record is malformed or the header is out of range; the summary then
 *         holds the good records before it. A record (or prefix) that fill cuts off is -EBADMSG
 *         with summary->truncated: in a block that is still open its rest may yet come
 */
int kms_block_walk(const struct kms_block *block, uint32_t from_bytes,
		   struct kms_block_summary *summary, kms_page_fn *page_fn, void *page_arg);

/**
 * Decodes a block into events, with times interpolated between time records.
 *
 * Shape:  @out has room for @max_events; KMS_SEQ_PER_BLOCK is always enough
 * Errors: -EBADMSG as above with *n_out = good events; -ENOSPC: more than max_events
 */
int kms_block_decode(const struct kms_block *block, struct kms_event *out, size_t max_events,
		     size_t *n_out);

#endif
