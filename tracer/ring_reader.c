/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading one ring: see ring_reader.h.
 */
#include "tracer/ring_reader.h"

#include <errno.h>
#include <string.h>

#include "tracer/batch_build.h"
#include "tracer/block_parse.h"

/* What one access copies: a ring's description, or a block. */
struct view_job {
	const struct kms_region *region;
	uint32_t ring;
	struct kms_ring_view view;
};

static void copy_view(void *arg)
{
	struct view_job *job = arg;
	const struct kms_ring_desc *desc = kms_region_at(job->region, KMS_SEC_RING_DESC, job->ring);
	struct kms_ring_view *view = &job->view;

	/*
	 * The order counts. State before head: with CLOSED the head is the last one. Head before
	 * claims: a block of a new claim is not seen without the claim. Both pair with release
	 * stores of the ring's owner.
	 */
	view->state = kms_load_acquire_u32(&desc->state);
	view->head_block = kms_load_acquire_u64(&desc->head_block);
	view->claims = kms_load_acquire_u32(&desc->claims);
	view->first_block = kms_load_u64_relaxed(&desc->first_block);
	view->slot = kms_load_u32_relaxed(&desc->slot);
	view->next_seq = kms_load_u64_relaxed(&desc->next_seq);
	view->lost = kms_load_u64_relaxed(&desc->lost);
}

struct block_job {
	const struct kms_block *from;
	struct kms_block *to;
	uint64_t number;
	uint32_t skip; /* records already known: copied too, a block is decoded from its start */
	bool is_there;
};

static void copy_block(void *arg)
{
	struct block_job *job = arg;
	const struct kms_block *from = job->from;
	struct kms_block *to = job->to;
	uint32_t fill;

	/* pairs with the producer's release store of number: the header is the block's */
	job->is_there = kms_load_acquire_u64(&from->number) == job->number;
	if (!job->is_there)
		return;
	/* pairs with its release store of fill: the records below are whole */
	fill = kms_load_acquire_u32(&from->fill);
	memcpy(&to->first_seq, &from->first_seq,
	       offsetof(struct kms_block, fill) - offsetof(struct kms_block, first_seq));
	memcpy(&to->slot, &from->slot,
	       offsetof(struct kms_block, record) - offsetof(struct kms_block, slot));
	memcpy(to->record, from->record,
	       fill <= KMS_RECORD_AREA_BYTES ? fill : KMS_RECORD_AREA_BYTES);
	to->number = job->number;
	to->fill = fill; /* the walk refuses a wrong one */
	job->is_there = kms_load_acquire_u64(&from->number) == job->number;
}

void kms_ring_reader_init(struct kms_ring_reader *reader, uint32_t ring, uint64_t position)
{
	memset(reader, 0, sizeof(*reader));
	reader->ring = ring;
	reader->next_block = position ? position : 1;
}

uint64_t kms_ring_produced(const struct kms_ring_reader *reader)
{
	return reader->next_seq - reader->start_seq + reader->extra_lost;
}

static int damaged(const struct kms_ring_reader *reader, struct kms_err *err, const char *what,
		   uint64_t number)
{
	return kms_err_set(err, -EBADMSG, "ring %u, block %llu: %s (%llu)", reader->ring,
			   (unsigned long long)reader->next_block, what,
			   (unsigned long long)number);
}

/* The ring has a new owner: everything of the old one was read, or it could not be claimed. */
static int begin_claim(struct kms_ring_reader *reader, const struct kms_ring_view *view,
		       struct kms_err *err)
{
	if (reader->from_bytes || (reader->claim && !reader->is_over && reader->next_seq))
		return damaged(reader, err, "claimed again before it was read", view->claims);
	reader->is_joined = !reader->claim && view->first_block < reader->next_block;
	if (view->first_block != reader->next_block && !reader->is_joined)
		return damaged(reader, err, "a claim begins at another block", view->first_block);
	reader->has_start = !reader->is_joined;
	reader->start_seq = 0;
	reader->claim = view->claims;
	reader->is_over = false;
	reader->next_seq = 0;
	reader->lost = 0;
	reader->extra_lost = 0;
	return 0;
}

static int check_view(const struct kms_ring_reader *reader, const struct kms_region *region,
		      const struct kms_ring_view *view, struct kms_err *err)
{
	if (view->state > KMS_RING_CLOSED)
		return damaged(reader, err, "unknown state", view->state);
	if (view->slot >= region->head.slots)
		return damaged(reader, err, "owned by no slot", view->slot);
	if (view->head_block + 1 < reader->next_block)
		return damaged(reader, err, "head goes back", view->head_block);
	if (view->head_block >= reader->next_block + region->head.blocks_per_ring)
		return damaged(reader, err, "head beyond the room", view->head_block);
	if (reader->is_over && view->head_block >= reader->next_block)
		return damaged(reader, err, "goes on after its end", view->head_block);
	return 0;
}

/* The sequence of a block goes on where the last one ended: what was lost in between is a record. */
static int check_sequence(struct kms_ring_reader *reader, const struct kms_block *block,
			  struct kms_err *err)
{
	uint64_t expected = reader->from_bytes ? reader->first_seq : reader->next_seq;

	if (!reader->has_start)
		expected = reader->start_seq = block->first_seq;
	reader->has_start = true;
	if (block->first_seq != expected)
		return damaged(reader, err, "sequence jumps", block->first_seq);
	reader->first_seq = block->first_seq;
	return 0;
}

static int check_block(struct kms_ring_reader *reader, const struct kms_region *region,
		       struct kms_batch_block *out, struct kms_err *err)
{
	struct kms_block *block = &out->block;
	int result;

	if (block->fill < reader->from_bytes)
		return damaged(reader, err, "fill shrinks", block->fill);
	if (block->slot >= region->head.slots)
		return damaged(reader, err, "written by no slot", block->slot);
	if (block->ring != reader->ring)
		return damaged(reader, err, "of another ring", block->ring);
	result = check_sequence(reader, block, err);
	if (result)
		return result;
	result = kms_block_walk(block, reader->from_bytes, &out->summary, NULL, NULL);
	if (result && out->summary.truncated && !out->complete) {
		/* its rest may yet come; until then the copy ends before it */
		block->fill = out->summary.bytes;
		out->summary.truncated = false;
		result = 0;
	}
	if (result)
		return damaged(reader, err, "malformed record at", out->summary.bytes);
	if (block->fill < reader->from_bytes)
		return damaged(reader, err, "records changed", block->fill);
	return 0;
}

/* Counts what is in the copy. */
static void take(struct kms_ring_reader *reader, const struct kms_batch_block *out)
{
	reader->lost += out->summary.lost;
	reader->next_seq = out->summary.next_seq;
	reader->from_bytes = out->block.fill;
}

/* One block into the batch. Returns enum kms_ring_news or an error. */
static int read_block(struct kms_ring_reader *reader, struct kms_region *region,
		      struct kms_batch *batch, bool complete, struct kms_err *err)
{
	uint32_t blocks = region->head.blocks_per_ring;
	uint64_t index = (uint64_t)reader->ring * blocks + (reader->next_block & (blocks - 1));
	struct block_job job = {.from = kms_region_at(region, KMS_SEC_RING, index),
				.number = reader->next_block};
	struct kms_batch_block *out = kms_batch_add_block(batch);
	int result;

	if (!out)
		return kms_err_set(err, -ENOMEM, "no memory for a block");
	job.to = &out->block;
	out->complete = complete;
	out->from_bytes = reader->from_bytes;
	result = kms_region_access(region, copy_block, &job);
	if (!result && !job.is_there) {
		kms_batch_keep_blocks(batch, batch->n_blocks - 1);
		return KMS_RING_IDLE;
	}
	if (!result)
		result = check_block(reader, region, out, err);
	if (result) {
		kms_batch_keep_blocks(batch, batch->n_blocks - 1);
		return result;
	}
	if (!complete && out->block.fill == reader->from_bytes) {
		kms_batch_keep_blocks(batch, batch->n_blocks - 1);
		return KMS_RING_IDLE;
	}
	take(reader, out);
	return KMS_RING_NEWS;
}

static void next_block(struct kms_ring_reader *reader)
{
	reader->next_block++;
	reader->from_bytes = 0;
}

/* The blocks that were left behind, all complete. */
static int read_complete(struct kms_ring_reader *reader, struct kms_region *region,
			 const struct kms_ring_ask *ask, uint64_t head, struct kms_batch *batch,
			 struct kms_err *err)
{
	int news = KMS_RING_IDLE;

	while (reader->next_block < head) {
		int result;

		if (batch->bytes >= ask->batch_bytes)
			return KMS_RING_MORE;
		result = read_block(reader, region, batch, true, err);
		if (result < 0)
			return result;
		if (result == KMS_RING_IDLE)
			return damaged(reader, err, "a complete block is missing", head);
		next_block(reader);
		news = KMS_RING_NEWS;
	}
	return news;
}

/* The claim is over: its open block is read for good, and what was lost behind it is counted. */
static int read_last(struct kms_ring_reader *reader, struct kms_region *region,
		     const struct kms_ring_view *view, struct kms_batch *batch, struct kms_err *err)
{
	if (view->head_block == reader->next_block) {
		int result = read_block(reader, region, batch, true, err);

		if (result < 0)
			return result;
		next_block(reader);
	}
	/* what a former tracer read is not in our sums */
	if (reader->is_joined) {
		if (reader->has_start && view->next_seq - reader->next_seq <= KMS_BLOCK_LOST_MAX)
			reader->extra_lost = view->next_seq - reader->next_seq;
		reader->is_over = true;
		return KMS_RING_NEWS;
	}
	/* an owner that said goodbye left its sums: they and the blocks must say the same */
	if (view->next_seq - reader->next_seq == view->lost - reader->lost &&
	    view->lost - reader->lost <= KMS_BLOCK_LOST_MAX)
		reader->extra_lost = view->lost - reader->lost;
	else if (view->state == KMS_RING_CLOSED)
		return damaged(reader, err, "other sums than its owner's", view->next_seq);
	reader->is_over = true;
	return KMS_RING_NEWS;
}

static int read_open(struct kms_ring_reader *reader, struct kms_region *region,
		     const struct kms_ring_ask *ask, const struct kms_ring_view *view,
		     struct kms_batch *batch, struct kms_err *err)
{
	if (view->head_block != reader->next_block ||
	    ask->now_ns - reader->taken_ns < ask->partial_ns)
		return KMS_RING_IDLE;
	if (batch->bytes >= ask->batch_bytes)
		return KMS_RING_MORE;
	return read_block(reader, region, batch, false, err);
}

static int read_claim(struct kms_ring_reader *reader, struct kms_region *region,
		      const struct kms_ring_ask *ask, const struct kms_ring_view *view,
		      struct kms_batch *batch, struct kms_err *err)
{
	bool is_new = view->claims != reader->claim;
	int result = is_new ? begin_claim(reader, view, err) : 0;
	int news;

	if (!result)
		result = check_view(reader, region, view, err);
	if (result)
		return result;
	if (reader->is_over)
		return KMS_RING_IDLE;
	reader->slot = view->slot;
	reader->told_lost = view->lost;
	reader->fill =
		(double)(view->head_block + 1 - reader->next_block) / region->head.blocks_per_ring;
	news = read_complete(reader, region, ask, view->head_block, batch, err);
	if (news < 0 || news == KMS_RING_MORE)
		return news;
	/* the state of a claim that is new to us may still be that of the one before */
	if (ask->is_final || (!is_new && view->state != KMS_RING_OWNED))
		return read_last(reader, region, view, batch, err);
	result = read_open(reader, region, ask, view, batch, err);
	return result ? result : news;
}

int kms_ring_read(struct kms_ring_reader *reader, struct kms_region *region,
		  const struct kms_ring_ask *ask, struct kms_batch *batch, struct kms_err *err)
{
	struct view_job job = {.region = region, .ring = reader->ring};
	int result = kms_region_access(region, copy_view, &job);

	if (result)
		return kms_err_set(err, result, "ring %u: the file was cut short", reader->ring);
	if (!job.view.claims)
		return KMS_RING_IDLE; /* never claimed, or just now */
	result = read_claim(reader, region, ask, &job.view, batch, err);
	if (result == KMS_RING_NEWS || result == KMS_RING_MORE)
		reader->taken_ns = ask->now_ns;
	return result;
}
