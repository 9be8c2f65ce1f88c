/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/base_scan.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "schema/record.h"
#include "schema/spans.h"
#include "tracer/attach_look.h"

enum {
	SPANS_AT_ONCE = 2048,
	TABLES_AT_ONCE = 256,    /* side tables read by one call */
	SIDES_AT_ONCE = 1 << 16, /* their entries together; no slab has more */
	SESSIONS_TOLD = 16,      /* a side entry has so much of the session's number */
	SESSION_SHIFT = 11,      /* KMS_SIDE_MARK */
	NO_PAST = 0,
	MAX_ALIGN = KMS_PAGE_BYTES,
};

struct scan {
	const struct kms_base_plan *plan;
	int (*emit)(void *arg, const struct kms_base_entry *entry);
	void *arg;
	struct kms_base_result *result;
	uint64_t sides_read;
	/* side tables to be read by the next call */
	struct kms_span span[TABLES_AT_ONCE];
	struct iovec remote[TABLES_AT_ONCE]; /* addresses there */
	size_t n_spans, n_sides;
	struct kms_span *table; /* SPANS_AT_ONCE */
	struct kms_side *side;  /* SIDES_AT_ONCE */
};

/* Can there be such a span? What does not fit together is not looked at. */
static bool is_sound(const struct kms_span *span)
{
	uint64_t bytes = (uint64_t)span->pages * KMS_PAGE_BYTES;
	/* behind the last block there may be less than a stride: no header of a next one */
	uint64_t need = (uint64_t)(span->count - 1) * span->stride_bytes + span->first_bytes +
			span->usable_bytes;

	if (!span->pages || !span->count || span->count > SIDES_AT_ONCE || !span->side_address ||
	    span->base % KMS_PAGE_BYTES || span->cache >= KMS_MAX_CACHES ||
	    span->base + bytes < span->base || span->first_bytes >= bytes)
		return false;
	if (span->state == KMS_SPAN_LARGE)
		return span->count == 1;
	if (span->state == KMS_SPAN_GUARD)
		return need <= bytes && span->usable_bytes < span->stride_bytes &&
		       span->reserved <= MAX_ALIGN && !(span->reserved & (span->reserved - 1));
	return span->stride_bytes && need <= bytes;
}

/* Was the block's last event recorded in this region, so that its stack is of its trie? */
static uint32_t stack_of(const struct kms_base_plan *plan, const struct kms_side *side)
{
	uint32_t back = plan->session - plan->first_session;
	uint32_t age = (plan->session - (side->last_ring >> SESSION_SHIFT)) % SESSIONS_TOLD;

	if (side->last_ring == KMS_SIDE_UNRECORDED || side->last_ring == NO_PAST || age > back ||
	    side->alloc_stack >= plan->nodes)
		return 0;
	return side->alloc_stack;
}

/* With it a block is known again that was live when recording began anew. */
static uint32_t generation_of(const struct kms_side *side)
{
	return side->last_ring == KMS_SIDE_UNRECORDED || side->last_ring == NO_PAST
		       ? 0
		       : KMS_BASE_GENERATION | side->generation;
}

/* Where block @i of a span begins, given its size; 0: it cannot be. */
static uint64_t block_address(const struct kms_span *span, uint32_t i, uint64_t size)
{
	uint64_t end, align = span->reserved ? span->reserved : 1;

	if (span->state != KMS_SPAN_GUARD)
		return span->base + span->first_bytes + (uint64_t)i * span->stride_bytes;
	if (size > span->usable_bytes)
		return 0;
	end = span->base + (uint64_t)i * span->stride_bytes + span->usable_bytes;
	return (end - (size ? size : 1)) & ~(align - 1);
}

static int emit_block(struct scan *scan, const struct kms_span *span, uint32_t i,
		      const struct kms_side *side)
{
	bool is_large = span->state == KMS_SPAN_LARGE;
	uint64_t size =
		is_large && side->size_bytes == UINT32_MAX ? span->large_bytes : side->size_bytes;
	struct kms_base_entry entry = {
		.kind = KMS_BASE_BLOCK,
		.address = block_address(span, i, size),
		.size = size,
		.stack = stack_of(scan->plan, side),
		.first = generation_of(side),
		.flags = (span->checks & ~KMS_SPAN_OWN_CALLS) |
			 (span->state == KMS_SPAN_GUARD ? KMS_ATTR_GUARDED : 0u),
		.cache = span->cache,
		.is_large = is_large,
	};

	if (!entry.address || size >> 48)
		return 0;
	if (scan->result->blocks >= scan->plan->max_blocks) {
		scan->result->cut = true;
		return -ENOSPC;
	}
	scan->result->blocks++;
	return scan->emit(scan->arg, &entry);
}

/* A large span begins at the page of its block, as its slab event has it. */
static int emit_span(struct scan *scan, const struct kms_span *span)
{
	bool is_large = span->state == KMS_SPAN_LARGE;
	uint32_t front = is_large ? span->first_bytes / KMS_PAGE_BYTES : 0;
	const struct kms_base_entry entry = {
		.kind = KMS_BASE_SPAN,
		.address = span->base + (uint64_t)front * KMS_PAGE_BYTES,
		.size = span->pages - front,
		.stack = is_large ? 0 : span->stride_bytes,
		.first = span->first_bytes - front * KMS_PAGE_BYTES,
		.flags = span->checks & ~KMS_SPAN_OWN_CALLS,
		.cache = span->cache,
	};

	scan->result->spans++;
	/* blocks of a guard run lie at other places each time */
	return span->state == KMS_SPAN_GUARD ? 0 : scan->emit(scan->arg, &entry);
}

static int emit_sides(struct scan *scan, const struct kms_span *span, const struct kms_side *side)
{
	int result = emit_span(scan, span);

	for (uint32_t i = 0; !result && i < span->count; i++)
		if (side[i].state == KMS_BLOCK_LIVE)
			result = emit_block(scan, span, i, &side[i]);
	return result;
}

static ssize_t copy(const struct kms_base_plan *plan, uint64_t address, void *to, size_t n)
{
	return plan->copy ? plan->copy(plan->copy_arg, address, to, n)
			  : kms_memory_copy(plan->pid, address, to, n);
}

/* The tables that were noted, one after the other; stops at the first that is not all there. */
static ssize_t copy_each(struct scan *scan)
{
	uint8_t *to = (uint8_t *)scan->side;
	size_t done = 0;

	for (size_t i = 0; i < scan->n_spans; i++) {
		size_t n = scan->remote[i].iov_len;
		ssize_t got = copy(scan->plan, (uint64_t)(uintptr_t)scan->remote[i].iov_base,
				   to + done, n);

		if (got < 0)
			return done ? (ssize_t)done : got;
		done += (size_t)got;
		if ((size_t)got < n)
			break;
	}
	return (ssize_t)done;
}

static ssize_t copy_noted(struct scan *scan)
{
	struct iovec local = {.iov_base = scan->side,
			      .iov_len = scan->n_sides * sizeof(*scan->side)};
	ssize_t got;

	if (scan->plan->copy)
		return copy_each(scan);
	got = process_vm_readv(scan->plan->pid, &local, 1, scan->remote, scan->n_spans, 0);
	return got < 0 ? -errno : got;
}

/* Reads the side tables that were noted, and gives out what is live in them. */
static int flush(struct scan *scan)
{
	const struct kms_side *side = scan->side;
	ssize_t got;
	size_t left;
	int result = 0;

	if (!scan->n_spans)
		return 0;
	got = copy_noted(scan);
	if (got < 0 && got != -EFAULT)
		result = (int)got;
	left = got < 0 ? 0 : (size_t)got / sizeof(*side);
	for (size_t i = 0; !result && i < scan->n_spans; i++) {
		const struct kms_span *span = &scan->span[i];

		/* the system stops at the first that is not there: those behind it are skipped, too */
		if (left < span->count) {
			scan->result->skipped += scan->n_spans - i;
			break;
		}
		result = emit_sides(scan, span, side);
		side += span->count;
		left -= span->count;
	}
	scan->n_spans = scan->n_sides = 0;
	return result;
}

static int note(struct scan *scan, const struct kms_span *span)
{
	int result = 0;

	if (scan->n_spans == TABLES_AT_ONCE || scan->n_sides + span->count > SIDES_AT_ONCE)
		result = flush(scan);
	scan->sides_read += span->count;
	if (!result && scan->sides_read > KMS_BASE_MAX_SIDES) {
		scan->result->cut = true;
		return -ENOSPC;
	}
	scan->span[scan->n_spans] = *span;
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): of another process */
	scan->remote[scan->n_spans].iov_base = (void *)(uintptr_t)span->side_address;
	scan->remote[scan->n_spans++].iov_len = span->count * sizeof(struct kms_side);
	scan->n_sides += span->count;
	return result;
}

/* Entry 0 of the table is never used; a table whose memory ends is at its end. */
static int scan_table(struct scan *scan)
{
	const struct kms_base_plan *plan = scan->plan;
	uint64_t end =
		plan->span_entries < KMS_BASE_MAX_SPANS ? plan->span_entries : KMS_BASE_MAX_SPANS;
	int result = 0;

	for (uint64_t at = 1; !result && at < end;) {
		size_t want = end - at < SPANS_AT_ONCE ? (size_t)(end - at) : SPANS_AT_ONCE;
		ssize_t got = copy(plan, plan->span_table + at * sizeof(*scan->table), scan->table,
				   want * sizeof(*scan->table));
		size_t n = got < 0 ? 0 : (size_t)got / sizeof(*scan->table);

		if (got < 0 && got != -EFAULT)
			return (int)got;
		for (size_t i = 0; !result && i < n; i++) {
			const struct kms_span *span = &scan->table[i];

			if (span->state == KMS_SPAN_FREE || span->state > KMS_SPAN_GUARD ||
			    !span->checks)
				continue; /* without checks its side table is not kept */
			if (is_sound(span))
				result = note(scan, span);
			else
				scan->result->skipped++;
		}
		if (n < want)
			break;
		at += n;
	}
	return result ? result : flush(scan);
}

int kms_base_scan(const struct kms_base_plan *plan,
		  int (*emit)(void *arg, const struct kms_base_entry *entry), void *arg,
		  struct kms_base_result *result)
{
	struct scan *scan = calloc(1, sizeof(*scan));
	int code = -ENOMEM;

	*result = (struct kms_base_result){0};
	if (!scan)
		return -ENOMEM;
	scan->plan = plan;
	scan->emit = emit;
	scan->arg = arg;
	scan->result = result;
	scan->table = malloc(SPANS_AT_ONCE * sizeof(*scan->table));
	scan->side = malloc(SIDES_AT_ONCE * sizeof(*scan->side));
	if (scan->table && scan->side)
		code = scan_table(scan);
	if (code == -ESRCH && result->spans)
		result->cut = true;
	if (code == -ENOSPC && result->cut)
		code = 0;
	free(scan->table);
	free(scan->side);
	free(scan);
	return code;
}
