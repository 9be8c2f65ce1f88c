/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The blocks of a batch, applied in the order of time.
 *
 * The blocks of each ring are a stream. The stream whose next event is the oldest gives a run of
 * events, then all are compared again: so events of different rings are nearly in order, few must
 * be parked, and the peak of live bytes is that of the program and not of our reading. Blocks of a
 * forked child whose set is not there yet are held back. A ring that changes hands is several
 * streams, one for each claim: a claim that waits does not hold up the next owner's.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/block.h"
#include "tracer/model_internal.h"

enum {
	BUFFERS = 128,   /* more blocks at a time are applied whole, out of order */
	RUN_MIN = 16,    /* shorter runs cost more than their order is worth */
	RETRY_RUNS = 64, /* runs between looks at what waits; what they go too far is undone */
};

/* A block to apply: of the batch, or held back before. */
struct entry {
	const struct kms_batch_block *block;
	struct kms_model_held *held;
	uint16_t claim; /* of its ring */
	bool done;
};

/* The blocks of one claim of a ring. */
struct stream {
	size_t at, end;          /* in the entries */
	uint64_t time_ns;        /* of the next event, or of the next block */
	struct kms_event *event; /* decoded block, NULL none */
	size_t next, n;
	int buffer; /* -1: the shared one, for a block that is applied at once */
	struct kms_model_source source;
	size_t row; /* of model.ring_row, SIZE_MAX none */
};

/** Kept from batch to batch. */
struct kms_stream_buffers {
	struct kms_event *event[BUFFERS + 1]; /* the last one is the shared one */
	bool busy[BUFFERS];
	struct entry *entry;
	size_t n_entries, entry_room;
	struct stream *stream;
	size_t n_streams, stream_room;
	struct stream **heap; /* by time, the oldest first */
	size_t n_heap, heap_room;
	struct stream **waiting;
	size_t n_waiting, waiting_room;
	unsigned runs;
};

/* Its array may move whenever an image gets another ring. */
static struct kms_model_ring *ring_of(const struct stream *s)
{
	return &s->source.image->ring[s->source.ring];
}

static struct kms_event *buffer_get(struct kms_model *model, int *index)
{
	struct kms_stream_buffers *b = model->buffers;
	int i = 0;

	while (i < BUFFERS && b->busy[i])
		i++;
	*index = i < BUFFERS ? i : -1;
	if (!b->event[i])
		b->event[i] = kms_memory_alloc(&model->memory,
					       KMS_SEQ_PER_BLOCK * sizeof(struct kms_event));
	if (i < BUFFERS && b->event[i])
		b->busy[i] = true;
	return b->event[i];
}

static void buffer_put(struct kms_stream_buffers *b, struct stream *s)
{
	if (s->buffer >= 0)
		b->busy[s->buffer] = false;
	s->event = NULL;
}

static void heap_down(struct kms_stream_buffers *b, size_t i)
{
	for (;;) {
		size_t least = i;
		struct stream *t;

		for (size_t child = 2 * i + 1; child <= 2 * i + 2 && child < b->n_heap; child++)
			if (b->heap[child]->time_ns < b->heap[least]->time_ns)
				least = child;
		if (least == i)
			return;
		t = b->heap[i];
		b->heap[i] = b->heap[least];
		b->heap[least] = t;
		i = least;
	}
}

static void heap_push(struct kms_stream_buffers *b, struct stream *s)
{
	size_t i = b->n_heap++;

	for (; i && b->heap[(i - 1) / 2]->time_ns > s->time_ns; i = (i - 1) / 2)
		b->heap[i] = b->heap[(i - 1) / 2];
	b->heap[i] = s;
}

static void heap_pop(struct kms_stream_buffers *b)
{
	b->heap[0] = b->heap[--b->n_heap];
	heap_down(b, 0);
}

/* Does the block begin with what was lost before it? */
static bool begins_lost(const struct kms_block *block)
{
	return block->fill && block->record[0] == KMS_REC_LOST << KMS_REC_CODE_SHIFT;
}

/* Whose the block is: a claim begins at sequence 0 or with another target. */
static uint16_t claim_note(struct kms_model_ring *ring, const struct kms_batch_block *block)
{
	struct kms_model_claim *claim = kms_model_claim(ring, ring->claim);

	if (!ring->last_number || claim->target != block->target ||
	    (block->block.number != ring->last_number && block->block.first_seq == 0)) {
		claim = kms_model_claim(ring, ++ring->claim);
		*claim = (struct kms_model_claim){.begun_ns = block->block.base_time_ns,
						  .next_seq = block->block.first_seq,
						  .target = block->target,
						  .begins_lost = begins_lost(&block->block)};
	}
	ring->last_number = block->block.number;
	return ring->claim;
}

static size_t first_new(const struct kms_event *event, size_t n, uint32_t from_bytes)
{
	size_t low = 0;

	while (low < n) { /* the first that begins at or behind from_bytes */
		size_t middle = low + (n - low) / 2;

		if (event[middle].offset < from_bytes)
			low = middle + 1;
		else
			n = middle;
	}
	return low;
}

/* Decodes the stream's next block; its events are next..n. */
static int block_begin(struct kms_model *model, struct stream *s)
{
	const struct kms_batch_block *block = model->buffers->entry[s->at].block;
	struct kms_model_ring_row *row;

	s->event = buffer_get(model, &s->buffer);
	if (!s->event)
		return -ENOMEM;
	if (kms_block_decode(&block->block, s->event, KMS_SEQ_PER_BLOCK, &s->n))
		model->counts.malformed += block->complete;
	s->next = block->from_bytes ? first_new(s->event, s->n, block->from_bytes) : 0;
	row = kms_model_ring_row(model, block->target, block->image, block->block.ring);
	s->row = row ? (size_t)(row - model->ring_row) : SIZE_MAX;
	return 0;
}

/* The block is applied, or cannot be: on to the next one. */
static void block_end(struct kms_model *model, struct stream *s)
{
	struct kms_stream_buffers *b = model->buffers;

	if (s->event)
		buffer_put(b, s);
	b->entry[s->at++].done = true;
	if (s->at < s->end)
		s->time_ns = b->entry[s->at].block->block.base_time_ns;
}

/* Has the event a time that must count: is it of a slab, or of the one block that fills it? */
static bool is_timed(const struct stream *s, size_t i)
{
	const struct kms_event *event = &s->event[i];

	if (event->kind == KMS_EVENT_SLAB_GROW || event->kind == KMS_EVENT_SLAB_RELEASE)
		return true;
	/* what follows the last event is not known yet */
	return event->kind == KMS_EVENT_FREE &&
	       (i + 1 == s->n || event[1].kind == KMS_EVENT_SLAB_RELEASE);
}

/* How many events to apply before other streams are asked again. */
static size_t run_length(const struct kms_stream_buffers *b, const struct stream *s)
{
	size_t left = s->n - s->next;
	uint64_t until = UINT64_MAX;
	size_t run = 1;

	for (size_t i = 1; i < b->n_heap && i <= 2; i++)
		until = b->heap[i]->time_ns < until ? b->heap[i]->time_ns : until;
	if (s->buffer < 0 || until == UINT64_MAX)
		return left;
	while (run < left && run < KMS_MODEL_RUN) {
		if (s->event[s->next + run].time_ns > until &&
		    (run >= RUN_MIN || is_timed(s, s->next + run)))
			break;
		run++;
	}
	return run;
}

static void block_run(struct kms_model *model, struct stream *s)
{
	size_t run = run_length(model->buffers, s);
	const struct kms_event *last = &s->event[s->next + run - 1];
	const uint64_t *gaps = &s->source.target->events[KMS_EVENT_LOST];
	uint64_t stored = run + *gaps; /* what was lost is not stored */
	struct kms_model_claim *claim = kms_model_claim(ring_of(s), s->source.claim);

	kms_model_apply(&s->source, &s->event[s->next], run);
	stored -= *gaps;
	model->stored += stored;
	if (s->row != SIZE_MAX)
		model->ring_row[s->row].stored += stored;
	if (claim) {
		claim->next_seq = last->ring_seq + (last->kind == KMS_EVENT_LOST ? last->value : 1);
		claim->last_ns = last->time_ns;
	}
	if (last->time_ns > s->source.image->last_event_ns)
		s->source.image->last_event_ns = last->time_ns;
	s->next += run;
	if (s->next < s->n)
		s->time_ns = s->event[s->next].time_ns;
}

/* Whose the next block is, and whether it can be applied. 0, -EAGAIN, or an error. */
static int block_admit(struct kms_model *model, struct stream *s)
{
	const struct kms_batch_block *block = model->buffers->entry[s->at].block;
	struct kms_model_image *image = kms_model_image_get(model, block->image);
	struct kms_model_target *target = kms_model_target_get(model, block->target);

	if (!image || !target || !kms_model_image_ring(model, image, block->block.ring))
		return -ENOMEM;
	if (!kms_model_is_ready(model, target)) {
		if (!target->waiting_since_ns)
			target->waiting_since_ns = model->batch_ns ? model->batch_ns : 1;
		return -EAGAIN;
	}
	s->source = kms_model_source_of(model, target, image);
	s->source.ring = block->block.ring;
	s->source.claim = model->buffers->entry[s->at].claim;
	return 0;
}

/* Streams that waited and can go on. */
static void waiting_retry(struct kms_model *model)
{
	struct kms_stream_buffers *b = model->buffers;
	size_t kept = 0;

	for (size_t i = 0; i < b->n_waiting; i++) {
		/* one that can go on may be the parent of the next */
		model->horizon_ns = b->n_heap ? b->heap[0]->time_ns : UINT64_MAX;
		if (block_admit(model, b->waiting[i]) == -EAGAIN)
			b->waiting[kept++] = b->waiting[i];
		else
			heap_push(b, b->waiting[i]);
	}
	b->n_waiting = kept;
}

/* One run of the stream at the top of the heap. */
static int step(struct kms_model *model)
{
	struct kms_stream_buffers *b = model->buffers;
	struct stream *s = b->heap[0];
	int result = 0;

	if (!s->event) {
		model->horizon_ns = s->time_ns;
		result = block_admit(model, s);
		if (result == -EAGAIN) {
			heap_pop(b);
			b->waiting[b->n_waiting++] = s;
			if (!b->n_heap)
				waiting_retry(model);
			return 0;
		}
		if (!result)
			result = block_begin(model, s);
	}
	if (!result && s->next < s->n)
		block_run(model, s);
	if (result || s->next >= s->n)
		block_end(model, s);
	if (s->at >= s->end)
		heap_pop(b);
	else
		heap_down(b, 0);
	if (b->n_waiting && (!b->n_heap || ++b->runs % RETRY_RUNS == 0))
		waiting_retry(model);
	return result;
}

static int by_place(const void *a, const void *b)
{
	const struct kms_batch_block *x = ((const struct entry *)a)->block;
	const struct kms_batch_block *y = ((const struct entry *)b)->block;

	if (x->image != y->image)
		return x->image < y->image ? -1 : 1;
	if (x->block.ring != y->block.ring)
		return x->block.ring < y->block.ring ? -1 : 1;
	if (x->block.number != y->block.number)
		return x->block.number < y->block.number ? -1 : 1;
	return (x->from_bytes > y->from_bytes) - (x->from_bytes < y->from_bytes);
}

/* All that is to be applied, by image, ring and number. */
static int entries_collect(struct kms_model *model, const struct kms_batch *batch)
{
	struct kms_stream_buffers *b = model->buffers;
	size_t n_blocks = batch ? batch->n_blocks : 0;

	b->n_entries = 0;
	if (kms_memory_reserve(&model->memory, &b->entry, &b->entry_room, n_blocks + model->n_held,
			       sizeof(*b->entry)))
		return -ENOMEM;
	for (struct kms_list *it = kms_list_first(&model->held); it;
	     it = kms_list_next(&model->held, it)) {
		struct kms_model_held *held = KMS_CONTAINER_OF(it, struct kms_model_held, link);

		b->entry[b->n_entries++] =
			(struct entry){.block = &held->block, .held = held, .claim = held->claim};
	}
	for (size_t i = 0; i < n_blocks; i++) {
		const struct kms_batch_block *block = &batch->block[i];

		if (block->block.ring < KMS_MAX_RINGS && block->image && block->target)
			b->entry[b->n_entries++] = (struct entry){.block = block};
		else
			model->counts.malformed++;
	}
	if (b->n_entries > 1)
		qsort(b->entry, b->n_entries, sizeof(*b->entry), by_place);
	return 0;
}

/* Notes the claims of the entries from @at to @end, all of one image. */
static int entries_claim(struct kms_model *model, size_t at, size_t end)
{
	struct kms_model_image *image =
		kms_model_image_get(model, model->buffers->entry[at].block->image);

	for (; at < end; at++) {
		struct entry *entry = &model->buffers->entry[at];
		struct kms_model_ring *ring =
			image ? kms_model_image_ring(model, image, entry->block->block.ring) : NULL;

		if (!ring)
			return -ENOMEM;
		if (!entry->held)
			entry->claim = claim_note(ring, entry->block);
	}
	return 0;
}

/* One stream of the entries from @at on that are of the same claim; returns where they end. */
static size_t stream_make(struct kms_stream_buffers *b, size_t at, size_t end)
{
	struct stream *s = &b->stream[b->n_streams++];
	const struct entry *first = &b->entry[at];

	*s = (struct stream){.at = at, .time_ns = first->block->block.base_time_ns};
	while (at < end && b->entry[at].block->block.ring == first->block->block.ring &&
	       b->entry[at].claim == first->claim)
		at++;
	s->end = at;
	heap_push(b, s);
	return at;
}

/* Streams of the entries from @at on that are of one image; the end of those entries in *end. */
static int streams_make(struct kms_model *model, size_t at, size_t *end)
{
	struct kms_stream_buffers *b = model->buffers;
	uint32_t image = b->entry[at].block->image;
	size_t room;

	for (*end = at; *end < b->n_entries && b->entry[*end].block->image == image;)
		++*end;
	room = *end - at;
	b->n_streams = b->n_heap = b->n_waiting = 0;
	/* NOLINTBEGIN(bugprone-sizeof-expression): arrays of pointers */
	if (kms_memory_reserve(&model->memory, &b->stream, &b->stream_room, room,
			       sizeof(*b->stream)) ||
	    kms_memory_reserve(&model->memory, &b->heap, &b->heap_room, room, sizeof(*b->heap)) ||
	    kms_memory_reserve(&model->memory, &b->waiting, &b->waiting_room, room,
			       sizeof(*b->waiting)) ||
	    entries_claim(model, at, *end))
		return -ENOMEM;
	/* NOLINTEND(bugprone-sizeof-expression) */
	while (at < *end)
		at = stream_make(b, at, *end);
	return 0;
}

static int hold(struct kms_model *model, const struct entry *entry)
{
	struct kms_model_held *held = kms_memory_alloc(&model->memory, sizeof(*held));

	if (!held)
		return -ENOMEM;
	kms_list_init(&held->link);
	held->block = *entry->block;
	held->claim = entry->claim;
	kms_list_push_back(&model->held, &held->link);
	model->n_held++;
	return 0;
}

static void held_drop(struct kms_model *model, struct kms_model_held *held)
{
	kms_list_remove(&held->link);
	kms_memory_free(&model->memory, held, sizeof(*held));
	model->n_held--;
}

/* Keeps what could not be applied. */
static int entries_settle(struct kms_model *model)
{
	struct kms_stream_buffers *b = model->buffers;
	int result = 0;

	for (size_t i = 0; i < b->n_entries; i++) {
		struct entry *entry = &b->entry[i];

		if (entry->done && entry->held)
			held_drop(model, entry->held);
		else if (!entry->done && !entry->held && hold(model, entry))
			result = -ENOMEM;
	}
	b->n_entries = 0;
	return result;
}

static int streams_run(struct kms_model *model, const struct kms_batch *batch)
{
	int result = entries_collect(model, batch);
	int one;
	size_t end;

	if (result)
		return result;
	for (size_t at = 0; at < model->buffers->n_entries; at = end) {
		one = streams_make(model, at, &end);
		while (!one && model->buffers->n_heap) {
			int stepped = step(model);

			result = stepped ? stepped : result;
		}
		result = one ? one : result;
	}
	one = entries_settle(model);
	return one ? one : result;
}

/* Was the one forked before the other? Such a one may be the other's parent. */
static bool is_elder(const struct kms_model_target *a, const struct kms_model_target *b)
{
	return !b || a->slot_copy.fork_ns < b->slot_copy.fork_ns;
}

/* Forms the eldest child that waits for longer than @wait_ns; false if there is none. */
static bool force_eldest(struct kms_model *model, uint64_t wait_ns)
{
	struct kms_model_target *eldest = NULL;

	for (struct kms_list *it = kms_list_first(&model->held); it;
	     it = kms_list_next(&model->held, it)) {
		struct kms_model_held *held = KMS_CONTAINER_OF(it, struct kms_model_held, link);
		struct kms_model_target *target = kms_model_target_find(model, held->block.target);

		if (target && target->birth != KMS_BIRTH_READY &&
		    model->batch_ns - target->waiting_since_ns >= wait_ns &&
		    is_elder(target, eldest))
			eldest = target;
	}
	if (eldest)
		kms_model_fork_force(model, eldest);
	return eldest;
}

/* Children that have waited long enough, each with what it wrote before the next one is formed. */
static int force_waiting(struct kms_model *model, uint64_t wait_ns)
{
	int result = 0;

	while (model->n_held && force_eldest(model, wait_ns)) {
		int one = streams_run(model, NULL);

		result = one ? one : result;
	}
	return result;
}

int kms_model_streams(struct kms_model *model, const struct kms_batch *batch)
{
	int result, one;

	if (!model->buffers)
		model->buffers = kms_memory_alloc(&model->memory, sizeof(*model->buffers));
	if (!model->buffers)
		return -ENOMEM;
	result = force_waiting(model,
			       model->n_held > KMS_MODEL_HELD_BLOCKS ? 0 : model->config.park_ns);
	if (!batch->n_blocks && !model->n_held)
		return result;
	one = streams_run(model, batch);
	return one ? one : result;
}

int kms_model_streams_finish(struct kms_model *model)
{
	return force_waiting(model, 0);
}

void kms_model_streams_deinit(struct kms_model *model)
{
	struct kms_stream_buffers *b = model->buffers;
	struct kms_list *link;

	while ((link = kms_list_first(&model->held)))
		held_drop(model, KMS_CONTAINER_OF(link, struct kms_model_held, link));
	if (!b)
		return;
	for (size_t i = 0; i <= BUFFERS; i++)
		kms_memory_free(&model->memory, b->event[i],
				KMS_SEQ_PER_BLOCK * sizeof(struct kms_event));
	kms_memory_free(&model->memory, b->entry, b->entry_room * sizeof(*b->entry));
	kms_memory_free(&model->memory, b->stream, b->stream_room * sizeof(*b->stream));
	kms_memory_free(&model->memory, b->heap, b->heap_room * sizeof(struct stream *));
	kms_memory_free(&model->memory, b->waiting, b->waiting_room * sizeof(struct stream *));
	kms_memory_free(&model->memory, b, sizeof(*b));
	model->buffers = NULL;
}
