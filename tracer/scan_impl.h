/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside a scan: what both orders share, by seq (scan.c) and by time (scan_newest.c).
 */
#ifndef KMS_TRACER_SCAN_IMPL_H
#define KMS_TRACER_SCAN_IMPL_H

#include <stddef.h>
#include <stdint.h>

#include "tracer/event.h"
#include "tracer/scan.h"

/** A block that waits. Chunk 0: an open block. */
struct scan_block {
	uint64_t key; /* what it waits by: its ordinal, or the run time of its last event */
	uint64_t ordinal;
	int64_t chunk;
	uint32_t index; /* in the chunk */
	uint32_t image, target;
	uint16_t ring;
};

struct kms_scan {
	struct kms_trace *trace;
	struct kms_scan_query query;
	uint32_t *order; /* chunks that may hold something, by their first (last) seq */
	size_t n_order, next;
	struct scan_block *heap;
	size_t n_heap, heap_room;
	struct kms_chunk_block *dir; /* KMS_CHUNK_BLOCKS_MAX, scratch */
	struct kms_event *event;     /* of the block being given out */
	size_t n_events, at;
	struct scan_block block;
	struct kms_scan_event out;
	struct kms_scan_work work;
	struct scan_newest *newest; /* by_time: blocks that are open at once */
	size_t n_newest, newest_room;
	uint32_t tid_thread, tid; /* the last look-up, in block.image */
	uint32_t tid_image;
};

/** Takes chunks until none that is left can have a block that comes before all that wait. */
int scan_fill_heap(struct kms_scan *scan, struct kms_err *err);

/** Takes the first block that waits and decodes it: scan->block, event, n_events. One must wait. */
int scan_open_block(struct kms_scan *scan, struct kms_err *err);

/** Fills scan->out with an event of scan->block; false if it is not asked for. */
bool scan_give_event(struct kms_scan *scan, const struct kms_event *event);

/* scan_newest.c */

/** kms_scan_next() of a query by_time. */
int scan_newest_next(struct kms_scan *scan, const struct kms_scan_event **out, struct kms_err *err);
void scan_newest_deinit(struct kms_scan *scan);

#endif
