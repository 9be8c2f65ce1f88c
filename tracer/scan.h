/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Events of a trace in the order of seq, upwards or downwards, or from the newest on, chosen before as much as possible is
 * opened: by chunk (seq, time, kind, page and stack filters), by block (seq, time, target), by event.
 */
#ifndef KMS_TRACER_SCAN_H
#define KMS_TRACER_SCAN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "schema/snapshot.h"
#include "tracer/trace.h"

/** What to find. Ranges are inclusive. */
struct kms_scan_query {
	uint64_t seq_min, seq_max;
	uint64_t time_min, time_max; /* run time */
	uint64_t address;
	bool has_address;
	uint64_t site; /* stack id */
	bool has_site;
	uint32_t kinds;  /* bit mask of enum kms_event_kind; 0 finds nothing */
	uint32_t target; /* 0 any */
	bool descending;
	/* Instead of by seq, from the newest on by time, ties by seq; those before (before_ns, before_seq) only. Of a
	 * block no more than @max are kept at a time, so no more can be asked for. */
	bool by_time;
	uint64_t before_ns, before_seq;
	size_t max;
};

/** Finds everything. */
#define KMS_SCAN_ALL                                                                               \
	{                                                                                          \
		.seq_max = UINT64_MAX, .time_max = UINT64_MAX, .kinds = UINT32_MAX                 \
	}

/** An event, and what kms_view_event has no place for. event.cache is not set. */
struct kms_scan_event {
	struct kms_view_event event;
	uint64_t value; /* as in tracer/event.h */
	uint32_t image;
	uint32_t cache;   /* of slab events, else KMS_NO_INDEX */
	bool has_address; /* the kind has one */
	bool has_size;
};

/** How much work a scan was. */
struct kms_scan_work {
	uint64_t chunks;      /* in the file */
	uint64_t chunks_read; /* whose directory was read */
	uint64_t blocks_decoded;
};

struct kms_scan;

/**
 * Starts a scan; the trace was refreshed, and stays in the same read transaction until the end.
 *
 * Owner:  kms_scan_close()
 * Errors: -ENOMEM; as kms_trace_refresh()
 */
int kms_scan_open(struct kms_trace *trace, const struct kms_scan_query *query,
		  struct kms_scan **out, struct kms_err *err);

/**
 * The next event.
 *
 * Shape:  *out borrowed until the next call; NULL at the end
 * Errors: as kms_trace_block()
 */
int kms_scan_next(struct kms_scan *scan, const struct kms_scan_event **out, struct kms_err *err);

/** Name of the cache of the event that kms_scan_next() gave last; NULL unknown. */
const char *kms_scan_cache(struct kms_scan *scan);

void kms_scan_work(const struct kms_scan *scan, struct kms_scan_work *out);

/** NULL is allowed. */
void kms_scan_close(struct kms_scan *scan);

#endif
