/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Which cache an address belonged to at some time: see trace.h. All spans of the trace are loaded
 * when the first event is asked for; they are few, one for each slab that ever was.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/trace_impl.h"

enum {
	/* Times of events between two stamps are interpolated, up to a tick off. */
	SLACK_NS = 10 * 1000 * 1000,
	STEPS_MAX = 4096, /* spans looked at for one address: a hostile file could nest them all */
	PARENTS_MAX = 64,
	SPANS_MAX = 1 << 24,
	REDZONE_BYTES = 2, /* what checks add to a request */
	HEADER_BYTES = 8,
};

void trace_forget_spans(struct kms_trace *trace)
{
	free(trace->span);
	trace->span = NULL;
	trace->n_spans = trace->spans_room = 0;
	trace->has_spans = false;
	kms_u64map_deinit(&trace->span_first);
}

static bool read_span(sqlite3_stmt *row, struct trace_span *out)
{
	int64_t target = sqlite3_column_int64(row, 0), image = sqlite3_column_int64(row, 1);
	int64_t pages = sqlite3_column_int64(row, 3), cache = sqlite3_column_int64(row, 4);

	if (target < 1 || target > KMS_RUN_TARGETS_MAX || image < 1 || image > KMS_RUN_IMAGES_MAX ||
	    pages < 1 || pages > INT64_MAX / KMS_PAGE_BYTES || cache < 0 || cache >= KMS_MAX_CACHES)
		return false;
	out->target = (uint32_t)target;
	out->image = (uint32_t)image;
	out->cache = (uint32_t)cache;
	out->base = (uint64_t)sqlite3_column_int64(row, 2);
	if (__builtin_add_overflow(out->base, (uint64_t)pages * KMS_PAGE_BYTES, &out->end))
		out->end = UINT64_MAX;
	out->t0_ns = (uint64_t)sqlite3_column_int64(row, 5);
	out->t1_ns = sqlite3_column_type(row, 6) == SQLITE_NULL
			     ? UINT64_MAX
			     : (uint64_t)sqlite3_column_int64(row, 6);
	return true;
}

/* SQLite sorts bases as signed numbers; we look for unsigned ones. */
static int by_place(const void *a, const void *b)
{
	const struct trace_span *x = a, *y = b;

	if (x->target != y->target)
		return x->target < y->target ? -1 : 1;
	if (x->base != y->base)
		return x->base < y->base ? -1 : 1;
	return x->t0_ns < y->t0_ns ? -1 : x->t0_ns > y->t0_ns;
}

static int index_spans(struct kms_trace *trace)
{
	if (trace->n_spans)
		qsort(trace->span, trace->n_spans, sizeof(*trace->span), by_place);
	for (size_t i = 0; i < trace->n_spans; i++) {
		struct trace_span *s = &trace->span[i];
		bool first = !i || s[-1].target != s->target;

		s->max_end = first || s[-1].max_end < s->end ? s->end : s[-1].max_end;
		if (first && kms_u64map_set(&trace->span_first, s->target, i) < 0)
			return -ENOMEM;
	}
	return 0;
}

static int load_spans(struct kms_trace *trace)
{
	sqlite3_stmt *stmt = trace->stmt[TRACE_SPANS];
	int result = 0;

	while (!result && trace->n_spans < SPANS_MAX && sqlite3_step(stmt) == SQLITE_ROW) {
		result = trace_grow(&trace->span, &trace->spans_room, trace->n_spans,
				    sizeof(*trace->span));
		if (!result && read_span(stmt, &trace->span[trace->n_spans]))
			trace->n_spans++;
	}
	(void)sqlite3_reset(stmt); /* what could not be read has no cache */
	return result ? result : index_spans(trace);
}

/* One past the last span of the target that begins at or below the address. */
static size_t upper_bound(const struct kms_trace *trace, size_t first, uint32_t target,
			  uint64_t address)
{
	size_t low = first, high = trace->n_spans;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		const struct trace_span *s = &trace->span[middle];

		if (s->target == target && s->base <= address)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* How far a time lies outside of a span's life; 0 inside. */
static uint64_t distance(const struct trace_span *span, uint64_t time_ns)
{
	if (time_ns < span->t0_ns)
		return span->t0_ns - time_ns;
	return time_ns >= span->t1_ns ? time_ns - span->t1_ns + 1 : 0;
}

static const struct trace_span *find_span(const struct kms_trace *trace, uint32_t target,
					  uint64_t address, uint64_t time_ns)
{
	const uint64_t *first = kms_u64map_find(&trace->span_first, target);
	const struct trace_span *best = NULL;
	uint64_t best_distance = SLACK_NS;
	size_t i, steps = 0;

	if (!first)
		return NULL;
	for (i = upper_bound(trace, *first, target, address);
	     i > *first && trace->span[i - 1].max_end > address && steps++ < STEPS_MAX; i--) {
		const struct trace_span *s = &trace->span[i - 1];

		if (s->end <= address || distance(s, time_ns) >= best_distance)
			continue;
		best = s;
		best_distance = distance(s, time_ns);
		if (!best_distance)
			break;
	}
	return best;
}

static bool serves(const struct kms_cache_entry *cache, bool is_kmem)
{
	if (cache->kind == KMS_CACHE_LARGE)
		return (strncmp(cache->name, "kmem", 4) == 0) == is_kmem;
	return cache->kind == (is_kmem ? KMS_CACHE_KMEM : KMS_CACHE_MALLOC);
}

/* The smallest cache of the front that such a block fits into. */
static const char *guess(struct kms_trace *trace, const struct kms_trace_where *where)
{
	bool is_kmem = where->flags &
		       (KMS_CHECK_HEADER | KMS_ATTR_INTR | KMS_ATTR_NOSLEEP | KMS_ATTR_KMEM);
	uint64_t need = where->size + (where->flags & KMS_CHECK_REDZONE ? REDZONE_BYTES : 0) +
			(where->flags & KMS_CHECK_HEADER ? HEADER_BYTES : 0);
	uint64_t best_bytes = UINT64_MAX;
	uint32_t best = KMS_NO_INDEX;

	for (uint32_t i = 0; i < KMS_MAX_CACHES; i++) {
		const void *entry = kms_trace_entry(trace, where->image, KMS_SEC_CACHE, i);
		struct kms_cache_entry cache;
		uint64_t bytes;

		if (!entry)
			break;
		memcpy(&cache, entry, sizeof(cache));
		bytes = cache.kind == KMS_CACHE_LARGE ? UINT64_MAX : cache.object_bytes;
		if (!cache.ready || !serves(&cache, is_kmem) || bytes < need)
			continue;
		if (best == KMS_NO_INDEX || bytes < best_bytes) {
			best = i;
			best_bytes = bytes;
		}
	}
	return best == KMS_NO_INDEX ? NULL : kms_trace_cache_name(trace, where->image, best);
}

const char *kms_trace_cache(struct kms_trace *trace, const struct kms_trace_where *where)
{
	const struct kms_trace_target *target = kms_trace_target(trace, where->target);
	uint32_t id = where->target;
	uint64_t time_ns = where->time_ns;

	if (!trace->has_spans) {
		trace->has_spans = true;
		(void)load_spans(trace); /* without memory some events have no cache */
	}
	for (unsigned i = 0; i < PARENTS_MAX; i++) {
		const struct trace_span *span = find_span(trace, id, where->address, time_ns);

		if (span)
			return kms_trace_cache_name(trace, span->image, span->cache);
		/* what its parent had when it was forked */
		if (!target)
			break;
		time_ns = target->start_ns < time_ns ? target->start_ns : time_ns;
		id = target->parent;
		target = kms_trace_target(trace, id);
		if (!target || target->image != where->image)
			break;
	}
	return guess(trace, where);
}
