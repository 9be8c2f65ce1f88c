/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Events from the newest on, by time: see scan.h.
 *
 * Each ring's blocks are in the order of time, those of different rings are not. So blocks are opened from
 * the one with the last event on, and several are open at once: the newest event of all is given out when no
 * block that is still closed can have a newer one. A block is opened only when its last event is the
 * next one, so there are no more of them than events.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/scan_impl.h"
#include "tracer/trace.h"

/** An open block, its last events that are asked for. */
struct scan_newest {
	struct scan_block block;
	struct kms_event *event; /* left of them, the newest at the end */
	size_t left;
	uint64_t time_ns, seq; /* of the newest */
};

static bool is_newer(const struct scan_newest *a, const struct scan_newest *b)
{
	return a->time_ns != b->time_ns ? a->time_ns > b->time_ns : a->seq > b->seq;
}

static void set_newest(const struct kms_scan *scan, struct scan_newest *open)
{
	const struct kms_event *event = &open->event[open->left - 1];

	open->time_ns = kms_trace_time(scan->trace, open->block.target, event->time_ns);
	open->seq = open->block.ordinal * KMS_SEQ_PER_BLOCK + event->index;
}

static void heap_down(struct kms_scan *scan, size_t i)
{
	struct scan_newest *heap = scan->newest;

	for (;;) {
		size_t first = i;
		struct scan_newest t;

		for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < scan->n_newest;
		     child++)
			if (is_newer(&heap[child], &heap[first]))
				first = child;
		if (first == i)
			return;
		t = heap[i];
		heap[i] = heap[first];
		heap[first] = t;
		i = first;
	}
}

static void heap_push(struct kms_scan *scan, struct scan_newest open)
{
	struct scan_newest *heap = scan->newest;
	size_t i = scan->n_newest++;

	for (; i && is_newer(&open, &heap[(i - 1) / 2]); i = (i - 1) / 2)
		heap[i] = heap[(i - 1) / 2];
	heap[i] = open;
}

static int reserve(struct kms_scan *scan)
{
	size_t room = scan->newest_room ? scan->newest_room * 2 : 16;
	struct scan_newest *grown;

	if (scan->n_newest < scan->newest_room)
		return 0;
	grown = reallocarray(scan->newest, room, sizeof(*grown));
	if (!grown)
		return -ENOMEM;
	scan->newest = grown;
	scan->newest_room = room;
	return 0;
}

/* Keeps the last events of the block just decoded that are asked for, as many as can be given out. */
static int keep_block(struct kms_scan *scan)
{
	struct scan_newest open = {.block = scan->block};
	size_t from = scan->n_events;
	size_t n = 0;

	/* those that fit move to the end of the scratch array */
	for (size_t i = scan->n_events; i-- > 0 && n < scan->query.max;)
		if (scan_give_event(scan, &scan->event[i])) {
			scan->event[--from] = scan->event[i];
			n++;
		}
	scan->n_events = 0;
	if (!n)
		return 0;
	open.event = malloc(n * sizeof(*open.event));
	if (!open.event || reserve(scan) < 0) {
		free(open.event);
		return -ENOMEM;
	}
	memcpy(open.event, &scan->event[from], n * sizeof(*open.event));
	open.left = n;
	set_newest(scan, &open);
	heap_push(scan, open);
	return 0;
}

/* Opens blocks until none that waits can have an event newer than the newest at hand. */
static int open_blocks(struct kms_scan *scan, struct kms_err *err)
{
	int result = scan_fill_heap(scan, err);

	while (!result && scan->n_heap &&
	       (!scan->n_newest || scan->heap[0].key >= scan->newest[0].time_ns)) {
		result = scan_open_block(scan, err);
		if (!result && keep_block(scan) < 0)
			result = kms_err_set(err, -ENOMEM, "out of memory");
		if (!result)
			result = scan_fill_heap(scan, err);
	}
	return result;
}

int scan_newest_next(struct kms_scan *scan, const struct kms_scan_event **out, struct kms_err *err)
{
	struct scan_newest *first;
	int result = open_blocks(scan, err);

	*out = NULL;
	if (result < 0 || !scan->n_newest)
		return result;
	first = &scan->newest[0];
	scan->block = first->block;
	(void)scan_give_event(scan, &first->event[--first->left]); /* it was when it was kept */
	*out = &scan->out;
	if (first->left) {
		set_newest(scan, first);
	} else {
		free(first->event);
		*first = scan->newest[--scan->n_newest];
	}
	heap_down(scan, 0);
	return 0;
}

void scan_newest_deinit(struct kms_scan *scan)
{
	for (size_t i = 0; i < scan->n_newest; i++)
		free(scan->newest[i].event);
	free(scan->newest);
}
