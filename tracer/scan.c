/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Blocks of different chunks interleave: one that was open for long lies in a late chunk with an
 * early ordinal. So the blocks wait in a heap by ordinal, and one leaves it only when no chunk that
 * is still unread can have an earlier one.
 */
#include "tracer/scan_impl.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/block.h"
#include "tracer/stack_id.h"

static bool before(const struct kms_scan *scan, uint64_t a, uint64_t b)
{
	return scan->query.descending || scan->query.by_time ? a > b : a < b;
}

static int heap_push(struct kms_scan *scan, const struct scan_block *block)
{
	size_t i = scan->n_heap;

	if (i == scan->heap_room) {
		size_t room = i ? i * 2 : 256;
		struct scan_block *heap = realloc(scan->heap, room * sizeof(*heap));

		if (!heap)
			return -ENOMEM;
		scan->heap = heap;
		scan->heap_room = room;
	}
	while (i && before(scan, block->key, scan->heap[(i - 1) / 2].key)) {
		scan->heap[i] = scan->heap[(i - 1) / 2];
		i = (i - 1) / 2;
	}
	scan->heap[i] = *block;
	scan->n_heap++;
	return 0;
}

static struct scan_block heap_pop(struct kms_scan *scan)
{
	struct scan_block top = scan->heap[0];
	struct scan_block last = scan->heap[--scan->n_heap];
	size_t i = 0, child;

	while ((child = 2 * i + 1) < scan->n_heap) {
		if (child + 1 < scan->n_heap &&
		    before(scan, scan->heap[child + 1].key, scan->heap[child].key))
			child++;
		if (!before(scan, scan->heap[child].key, last.key))
			break;
		scan->heap[i] = scan->heap[child];
		i = child;
	}
	scan->heap[i] = last;
	return top;
}

/* By what the block's entry says: can it hold something that is asked for? */
static bool block_fits(const struct kms_scan *scan, const struct kms_chunk_block *entry)
{
	const struct kms_scan_query *q = &scan->query;
	uint64_t seq = entry->ordinal * KMS_SEQ_PER_BLOCK;

	if (!entry->events || seq > q->seq_max || seq + KMS_SEQ_PER_BLOCK - 1 < q->seq_min)
		return false;
	if (q->target && entry->target != q->target)
		return false;
	if (q->has_site && q->site && kms_stack_image(q->site) != entry->image)
		return false;
	return kms_trace_time(scan->trace, entry->target, entry->base_time_ns) <= q->time_max &&
	       kms_trace_time(scan->trace, entry->target, entry->last_time_ns) >= q->time_min;
}

static int push_blocks(struct kms_scan *scan, int64_t chunk, const struct kms_chunk_block *entry,
		       size_t n, struct kms_err *err)
{
	for (size_t i = 0; i < n; i++) {
		struct scan_block block = {
			.key = scan->query.by_time ? kms_trace_time(scan->trace, entry[i].target,
								    entry[i].last_time_ns)
						   : entry[i].ordinal,
			.ordinal = entry[i].ordinal,
			.chunk = chunk,
			.index = (uint32_t)i,
			.image = entry[i].image,
			.target = entry[i].target,
			.ring = entry[i].ring,
		};

		if (block_fits(scan, &entry[i]) && heap_push(scan, &block) < 0)
			return kms_err_set(err, -ENOMEM, "out of memory");
	}
	return 0;
}

static int push_open_blocks(struct kms_scan *scan, struct kms_err *err)
{
	struct kms_chunk_block *open;
	size_t n;
	int result = kms_trace_open_blocks(scan->trace, &open, &n, err);

	if (result < 0)
		return result;
	result = push_blocks(scan, 0, open, n, err);
	free(open);
	return result;
}

static bool chunk_fits(const struct kms_scan *scan, const struct kms_trace_chunk *chunk)
{
	const struct kms_scan_query *q = &scan->query;

	return chunk->seq_min <= q->seq_max && chunk->seq_max >= q->seq_min &&
	       chunk->t0_ns <= q->time_max && chunk->t1_ns >= q->time_min &&
	       (chunk->kinds & q->kinds);
}

/* @arg: the scan whose chunks they are numbers of. */
static int by_seq_min(const void *a, const void *b, void *arg)
{
	const struct kms_scan *scan = arg;
	size_t n;
	const struct kms_trace_chunk *chunk = kms_trace_chunks(scan->trace, &n);
	uint64_t x = chunk[*(const uint32_t *)a].seq_min, y = chunk[*(const uint32_t *)b].seq_min;

	return x < y ? -1 : x > y;
}

static int by_seq_max_down(const void *a, const void *b, void *arg)
{
	const struct kms_scan *scan = arg;
	size_t n;
	const struct kms_trace_chunk *chunk = kms_trace_chunks(scan->trace, &n);
	uint64_t x = chunk[*(const uint32_t *)a].seq_max, y = chunk[*(const uint32_t *)b].seq_max;

	return x > y ? -1 : x < y;
}

static int by_time_down(const void *a, const void *b, void *arg)
{
	const struct kms_scan *scan = arg;
	size_t n;
	const struct kms_trace_chunk *chunk = kms_trace_chunks(scan->trace, &n);
	uint64_t x = chunk[*(const uint32_t *)a].t1_ns, y = chunk[*(const uint32_t *)b].t1_ns;

	return x > y ? -1 : x < y;
}

static int choose_chunks(struct kms_scan *scan)
{
	size_t n;
	const struct kms_trace_chunk *chunk = kms_trace_chunks(scan->trace, &n);

	scan->order = malloc((n + 1) * sizeof(*scan->order));
	if (!scan->order)
		return -ENOMEM;
	for (size_t i = 0; i < n; i++)
		if (chunk_fits(scan, &chunk[i]))
			scan->order[scan->n_order++] = (uint32_t)i;
	qsort_r(scan->order, scan->n_order, sizeof(*scan->order),
		scan->query.by_time      ? by_time_down
		: scan->query.descending ? by_seq_max_down
					 : by_seq_min,
		scan);
	scan->work.chunks = n;
	return 0;
}

int kms_scan_open(struct kms_trace *trace, const struct kms_scan_query *query,
		  struct kms_scan **out, struct kms_err *err)
{
	struct kms_scan *scan = calloc(1, sizeof(*scan));
	int result = -ENOMEM;

	if (!scan)
		return kms_err_set(err, -ENOMEM, "out of memory");
	scan->trace = trace;
	scan->query = *query;
	if (query->by_time && query->before_ns < query->time_max)
		scan->query.time_max = query->before_ns;
	scan->tid_thread = KMS_NO_INDEX;
	scan->dir = malloc(KMS_CHUNK_BLOCKS_MAX * sizeof(*scan->dir));
	scan->event = malloc(KMS_SEQ_PER_BLOCK * sizeof(*scan->event));
	if (scan->dir && scan->event)
		result = choose_chunks(scan);
	if (result < 0)
		kms_err_set(err, result, "out of memory");
	else
		result = push_open_blocks(scan, err);
	if (result < 0) {
		kms_scan_close(scan);
		return result;
	}
	*out = scan;
	return 0;
}

void kms_scan_close(struct kms_scan *scan)
{
	if (!scan)
		return;
	scan_newest_deinit(scan);
	free(scan->order);
	free(scan->heap);
	free(scan->dir);
	free(scan->event);
	free(scan);
}

void kms_scan_work(const struct kms_scan *scan, struct kms_scan_work *out)
{
	*out = scan->work;
}

/* Puts the blocks of a chunk into the heap, if its filters let it. */
static int take_chunk(struct kms_scan *scan, const struct kms_trace_chunk *chunk,
		      struct kms_err *err)
{
	const struct kms_scan_query *q = &scan->query;
	bool page = q->has_address && q->address, stack = q->has_site && q->site, yes = true;
	size_t n;
	int result = 0;

	if (page || stack)
		result = kms_trace_may_contain(scan->trace, chunk->id,
					       page ? q->address / KMS_PAGE_BYTES : UINT64_MAX,
					       stack ? q->site : UINT64_MAX, &yes, err);
	if (result < 0 || !yes)
		return result;
	scan->work.chunks_read++;
	result = kms_trace_dir(scan->trace, chunk->id, scan->dir, &n, err);
	return result ? result : push_blocks(scan, chunk->id, scan->dir, n, err);
}

/* Can this chunk have a block that comes before all that wait? */
static bool may_come_first(const struct kms_scan *scan, const struct kms_trace_chunk *chunk)
{
	uint64_t seq = scan->query.descending ? chunk->seq_max : chunk->seq_min;
	uint64_t key = scan->query.by_time ? chunk->t1_ns : seq / KMS_SEQ_PER_BLOCK;

	return !scan->n_heap || !before(scan, scan->heap[0].key, key);
}

int scan_fill_heap(struct kms_scan *scan, struct kms_err *err)
{
	size_t n;
	const struct kms_trace_chunk *chunk = kms_trace_chunks(scan->trace, &n);
	int result;

	while (scan->next < scan->n_order && scan->order[scan->next] < n &&
	       may_come_first(scan, &chunk[scan->order[scan->next]])) {
		result = take_chunk(scan, &chunk[scan->order[scan->next++]], err);
		if (result < 0)
			return result;
	}
	return 0;
}

int scan_open_block(struct kms_scan *scan, struct kms_err *err)
{
	const struct kms_block *block;
	int result;

	scan->block = heap_pop(scan);
	result = kms_trace_block(scan->trace, scan->block.chunk, scan->block.index,
				 scan->block.ordinal, &block, err);
	if (result < 0)
		return result;
	scan->work.blocks_decoded++;
	/* a malformed record ends the block, as it ended the target's trace */
	(void)kms_block_decode(block, scan->event, KMS_SEQ_PER_BLOCK, &scan->n_events);
	scan->at = 0;
	return 0;
}

/* Opens the next block; false at the end. */
static int next_block(struct kms_scan *scan, bool *found, struct kms_err *err)
{
	int result = scan_fill_heap(scan, err);

	*found = !result && scan->n_heap != 0;
	return *found ? scan_open_block(scan, err) : result;
}

static uint32_t tid_of(struct kms_scan *scan, uint32_t thread)
{
	if (thread != scan->tid_thread || scan->block.image != scan->tid_image) {
		scan->tid_thread = thread;
		scan->tid_image = scan->block.image;
		scan->tid = kms_trace_tid(scan->trace, scan->block.image, thread);
	}
	return scan->tid;
}

#define ADDRESS_KINDS                                                                              \
	(1u << KMS_EVENT_ALLOC | 1u << KMS_EVENT_FREE | 1u << KMS_EVENT_CHECK |                    \
	 1u << KMS_EVENT_EVICT | 1u << KMS_EVENT_SLAB_GROW | 1u << KMS_EVENT_SLAB_RELEASE)

static bool event_fits(const struct kms_scan_query *q, const struct kms_event *event, uint64_t seq,
		       uint64_t stack_id, uint64_t time_ns)
{
	return (q->kinds >> event->kind & 1) && seq >= q->seq_min && seq <= q->seq_max &&
	       time_ns >= q->time_min && time_ns <= q->time_max &&
	       (!q->by_time || time_ns < q->before_ns ||
		(time_ns == q->before_ns && seq < q->before_seq)) &&
	       (!q->has_site || stack_id == q->site) &&
	       (!q->has_address ||
		(event->address == q->address && (ADDRESS_KINDS >> event->kind & 1)));
}

bool scan_give_event(struct kms_scan *scan, const struct kms_event *event)
{
	struct kms_scan_event *out = &scan->out;
	uint64_t seq = scan->block.ordinal * KMS_SEQ_PER_BLOCK + event->index;
	uint64_t stack_id = kms_stack_id(scan->block.image, event->stack);
	uint64_t time_ns = kms_trace_time(scan->trace, scan->block.target, event->time_ns);

	if (!event_fits(&scan->query, event, seq, stack_id, time_ns))
		return false;
	out->event = (struct kms_view_event){
		.seq = seq,
		.time_ns = time_ns,
		.address = event->address,
		.size = event->size,
		.stack_id = stack_id,
		.kind = event->kind,
		.flags = event->flags,
		.target = scan->block.target,
		.tid = tid_of(scan, event->thread),
		.ring = scan->block.ring,
	};
	out->value = event->value;
	out->image = scan->block.image;
	out->cache = event->cache;
	out->has_address = ADDRESS_KINDS >> event->kind & 1;
	out->has_size = out->has_address || event->kind == KMS_EVENT_ALLOC_FAILED;
	return true;
}

int kms_scan_next(struct kms_scan *scan, const struct kms_scan_event **out, struct kms_err *err)
{
	bool found = true;

	if (scan->query.by_time)
		return scan_newest_next(scan, out, err);
	for (;;) {
		while (scan->at < scan->n_events) {
			size_t i = scan->at++;

			if (scan->query.descending)
				i = scan->n_events - 1 - i;
			if (scan_give_event(scan, &scan->event[i])) {
				*out = &scan->out;
				return 0;
			}
		}
		scan->n_events = 0;
		int result = next_block(scan, &found, err);

		if (result < 0)
			return result;
		if (!found) {
			*out = NULL;
			return 0;
		}
	}
}

const char *kms_scan_cache(struct kms_scan *scan)
{
	const struct kms_view_event *event = &scan->out.event;
	struct kms_trace_where where = {
		.target = event->target,
		.image = scan->out.image,
		.address = event->address,
		.time_ns = event->time_ns,
		.size = event->size,
		.flags = event->flags,
	};

	if (scan->out.cache != KMS_NO_INDEX)
		return kms_trace_cache_name(scan->trace, where.image, scan->out.cache);
	return scan->out.has_address ? kms_trace_cache(scan->trace, &where) : NULL;
}
