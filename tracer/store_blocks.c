/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Blocks on their way into the file.
 *
 *	open     the ring still writes it; each commit replaces its row in open_blocks
 *	pending  complete, waits for others to make a chunk with; a row too, unless that is soon
 *	staged   in a finished chunk, waits for the commit
 */
#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "tracer/store_impl.h"

enum {
	BLOCK_HEAD_BYTES = offsetof(struct kms_block, record),
	BYTES_STEP = 32 << 10,
};

static uint64_t open_key(uint32_t image, uint32_t ring)
{
	return (uint64_t)image << 10 | ring;
}

static struct store_block *find_open(const struct kms_store *store, uint64_t key)
{
	const uint64_t *found = kms_u64map_find(&store->open, key);

	return found ? kms_u64map_pointer(*found) : NULL;
}

static uint32_t stored_events(const struct store_block *block)
{
	/* a LOST record is an event of the file, but not one of the ring */
	return block->entry.events - block->by_kind[KMS_EVENT_LOST];
}

/* An event that cannot be kept is not stored, and the figures say so. */
static void lose_events(struct kms_store *store, const struct store_block *block)
{
	store->ring[block->ring].stored -= stored_events(block);
	store->ring[block->ring].dirty = true;
	store->dropped += block->entry.events;
}

/* The block is complete. Makes a chunk when there are enough for one. */
static int make_pending(struct kms_store *store, struct store_block *block, struct kms_err *err)
{
	if (store->n_pending == KMS_CHUNK_BLOCKS) { /* the last chunk failed for want of memory */
		int result = store_make_chunk(store, false, err);

		if (result < 0) {
			lose_events(store, block);
			free(block);
			return result;
		}
	}
	if (!store->n_pending)
		store->pending_since_ns = kms_clock_now(kms_clock_system());
	store->pending[store->n_pending++] = block;
	return store_make_chunk(store, false, err);
}

static int close_open(struct kms_store *store, struct store_block *block, struct kms_err *err)
{
	(void)kms_u64map_remove(&store->open, open_key(block->entry.image, block->block.ring));
	return make_pending(store, block, err);
}

static struct store_block *alloc_block(struct kms_store *store)
{
	struct store_block *block = store->spare_blocks;

	if (!block)
		return calloc(1, sizeof(*block));
	store->spare_blocks = block->next;
	store->n_spare_blocks--;
	memset(block, 0, offsetof(struct store_block, block.record));
	return block;
}

static void free_block(struct kms_store *store, struct store_block *block)
{
	if (store->n_spare_blocks == KMS_STORE_SPARE_BLOCKS) {
		free(block);
		return;
	}
	block->next = store->spare_blocks;
	store->spare_blocks = block;
	store->n_spare_blocks++;
}

static struct store_block *new_block(struct kms_store *store, const struct kms_batch_block *from)
{
	struct store_block *block = alloc_block(store);
	int64_t ring = store_ring_index(store, from->target, from->block.ring);

	if (!block || ring < 0) {
		free(block);
		return NULL;
	}
	block->ring = (uint32_t)ring;
	block->entry.image = from->image;
	block->entry.target = from->target;
	block->entry.ordinal = store->next_ordinal;
	if (kms_u64map_set(&store->open, open_key(from->image, from->block.ring),
			   kms_u64map_value(block)) < 0) {
		free(block);
		return NULL;
	}
	store->next_ordinal++;
	return block;
}

/* Takes over the newest copy of a block and what it adds to the figures. */
static void update_block(struct kms_store *store, struct store_block *block,
			 const struct kms_batch_block *from, const struct kms_block_summary *added)
{
	uint32_t fill = added->bytes < from->block.fill ? added->bytes : from->block.fill;
	uint32_t before = stored_events(block);

	memcpy(&block->block, &from->block, BLOCK_HEAD_BYTES + fill);
	block->block.fill = fill;
	block->entry.events += added->events;
	block->entry.last_time_ns = added->last_time_ns;
	for (unsigned kind = 0; kind < KMS_EVENT_KINDS; kind++)
		block->by_kind[kind] += added->by_kind[kind];
	block->dirty = true;
	store->ring[block->ring].stored += stored_events(block) - before;
	store->ring[block->ring].dirty = true;
}

/* Adds a copy that goes on where the one before ended; else it is summed up anew. */
static int take_copy(struct kms_store *store, struct store_block *block,
		     const struct kms_batch_block *from)
{
	struct kms_block_summary whole;

	if (from->from_bytes == block->block.fill) {
		update_block(store, block, from, &from->summary);
		return store_add_marked_events(store, block, &from->summary, from->from_bytes);
	}
	store->ring[block->ring].stored -= stored_events(block);
	block->entry.events = 0;
	memset(block->by_kind, 0, sizeof(block->by_kind));
	(void)kms_block_walk(&from->block, 0, &whole, NULL, NULL); /* sums up what is good */
	update_block(store, block, from, &whole);
	return store_add_marked_events(store, block, &whole, 0);
}

int store_add_block(struct kms_store *store, const struct kms_batch_block *from,
		    struct kms_err *err)
{
	uint64_t key = open_key(from->image, from->block.ring);
	struct store_block *block;
	int result = 0;

	if (!from->image || from->image > KMS_RUN_IMAGES_MAX || !from->target ||
	    from->target > KMS_RUN_TARGETS_MAX || from->block.ring >= KMS_MAX_RINGS ||
	    from->block.fill > sizeof(from->block.record))
		return kms_err_set(err, -EINVAL, "block of image %u, target %u is impossible",
				   from->image, from->target);
	block = find_open(store, key);
	if (block && block->block.number != from->block.number) {
		result = close_open(store, block, err);
		block = NULL;
	}
	if (!block)
		block = new_block(store, from);
	if (!block || take_copy(store, block, from) < 0)
		return kms_err_set(err, -ENOMEM, "out of memory");
	if (from->complete && !result)
		result = close_open(store, block, err);
	return result;
}

int store_finish_blocks(struct kms_store *store, struct kms_err *err)
{
	int result = 0;

	/* Removing moves slots about: begin anew each time. */
	for (size_t i = 0; !result && i < store->open.slots; i++) {
		if (store->open.slot[i].value == UINT64_MAX)
			continue;
		result = close_open(store, kms_u64map_pointer(store->open.slot[i].value), err);
		i = (size_t)-1;
	}
	return result;
}

static int by_ring(const void *a, const void *b)
{
	const struct store_block *x = *(const struct store_block *const *)a;
	const struct store_block *y = *(const struct store_block *const *)b;

	if (x->entry.image != y->entry.image)
		return x->entry.image < y->entry.image ? -1 : 1;
	if (x->block.ring != y->block.ring)
		return x->block.ring < y->block.ring ? -1 : 1;
	return x->entry.ordinal < y->entry.ordinal ? -1 : 1;
}

/* A JSON list of the targets of pending blocks, which are sorted by image, hence nearly by target. */
static char *targets_json(const struct kms_store *store)
{
	char *out = malloc(store->n_pending * 11 + 3);
	size_t used = 1;
	uint32_t last = 0;

	if (!out)
		return NULL;
	out[0] = '[';
	for (size_t i = 0; i < store->n_pending; i++) {
		uint32_t target = store->pending[i]->entry.target;
		char text[16];
		int n;

		if (target == last)
			continue;
		n = snprintf(text, sizeof(text), "%s%u", used > 1 ? "," : "", target);
		memcpy(out + used, text, (size_t)n);
		used += (size_t)n;
		last = target;
	}
	memcpy(out + used, "]", 2);
	return out;
}

static struct store_bytes *take_bytes(struct kms_store *store, size_t bytes)
{
	size_t room = (bytes + BYTES_STEP - 1) / BYTES_STEP * BYTES_STEP;
	struct store_bytes *piece = store->spare;

	if (piece && piece->room >= bytes) {
		store->spare = piece->next;
		store->n_spare--;
		return piece;
	}
	piece = malloc(sizeof(*piece) + room);
	if (piece)
		piece->room = room;
	return piece;
}

static void give_bytes(struct kms_store *store, struct store_bytes *piece)
{
	if (!piece)
		return;
	if (store->n_spare == KMS_STORE_SPARE) {
		free(piece);
		return;
	}
	piece->next = store->spare;
	store->spare = piece;
	store->n_spare++;
}

static const uint8_t *copy_blob(uint8_t **at, const uint8_t *from, size_t bytes)
{
	uint8_t *to = *at;

	if (bytes)
		memcpy(to, from, bytes);
	*at += bytes;
	return to;
}

/* Copies what the writer lends. */
static int keep_chunk(struct kms_store *store, struct store_chunk *staged,
		      const struct kms_chunk *chunk)
{
	uint8_t *at;

	staged->chunk = *chunk;
	staged->n_bytes =
		chunk->dir_bytes + chunk->data_bytes + chunk->pages_bytes + chunk->stacks_bytes;
	staged->bytes = take_bytes(store, staged->n_bytes);
	if (!staged->bytes)
		return -ENOMEM;
	at = staged->bytes->byte;
	staged->chunk.dir = copy_blob(&at, chunk->dir, chunk->dir_bytes);
	staged->chunk.data = copy_blob(&at, chunk->data, chunk->data_bytes);
	staged->chunk.pages = copy_blob(&at, chunk->pages, chunk->pages_bytes);
	staged->chunk.stacks = copy_blob(&at, chunk->stacks, chunk->stacks_bytes);
	return 0;
}

static void free_chunk(struct kms_store *store, struct store_chunk *staged)
{
	if (!staged)
		return;
	give_bytes(store, staged->bytes);
	free(staged->targets);
	free(staged);
}

static void add_member(struct kms_store *store, struct store_chunk *staged,
		       const struct store_block *block)
{
	uint64_t t0 = store_run_time(store, block->entry.target, block->block.base_time_ns);
	uint64_t t1 = store_run_time(store, block->entry.target, block->entry.last_time_ns);

	staged->member[staged->n_members++] = (struct store_member){
		.ordinal = block->entry.ordinal,
		.ring = block->ring,
		.stored = stored_events(block),
		.written = block->written,
		.in_db = block->in_db,
	};
	staged->t0_ns = t0 < staged->t0_ns ? t0 : staged->t0_ns;
	staged->t1_ns = t1 > staged->t1_ns ? t1 : staged->t1_ns;
	for (unsigned kind = 0; kind < KMS_EVENT_KINDS; kind++)
		staged->by_kind[kind] += block->by_kind[kind];
}

static int encode_pending(struct kms_store *store, struct store_chunk *staged)
{
	struct kms_chunk chunk;
	int result;

	qsort(store->pending, store->n_pending, sizeof(struct store_block *), by_ring);
	kms_chunk_begin(store->writer);
	for (size_t i = 0; i < store->n_pending; i++) {
		struct store_block *block = store->pending[i];

		result = kms_chunk_add(store->writer, &block->entry, &block->block);
		assert(result == 0); /* what was added was walked, and there are not too many */
		if (result < 0)
			lose_events(store, block);
		else
			add_member(store, staged, block);
	}
	result = kms_chunk_end(store->writer, &chunk);
	if (!result)
		result = keep_chunk(store, staged, &chunk);
	if (!result)
		staged->targets = targets_json(store);
	return staged->targets || result ? result : -ENOMEM;
}

static bool chunk_is_due(const struct kms_store *store, bool all)
{
	uint64_t now;

	if (store->n_pending == KMS_CHUNK_BLOCKS || (all && store->n_pending))
		return true;
	if (store->n_pending < KMS_STORE_PENDING_MIN)
		return false;
	now = kms_clock_now(kms_clock_system());
	return now - store->pending_since_ns >= KMS_STORE_PENDING_NS;
}

int store_make_chunk(struct kms_store *store, bool all, struct kms_err *err)
{
	struct store_chunk *staged;
	int result;

	if (!chunk_is_due(store, all))
		return 0;
	staged = calloc(1, sizeof(*staged) + store->n_pending * sizeof(staged->member[0]));
	if (!staged)
		return kms_err_set(err, -ENOMEM, "out of memory");
	staged->t0_ns = UINT64_MAX;
	result = encode_pending(store, staged);
	if (result < 0) {
		free_chunk(store, staged);
		return kms_err_set(err, result, "cannot make a chunk");
	}
	staged->id = store->next_chunk++;
	*store->staged_end = staged;
	store->staged_end = &staged->next;
	store->staged_bytes += staged->n_bytes;
	for (size_t i = 0; i < store->n_pending; i++)
		free_block(store, store->pending[i]);
	store->n_pending = 0;
	return 0;
}

static void counts_json(const uint64_t by_kind[KMS_EVENT_KINDS], char out[512])
{
	size_t used = 0;

	for (unsigned kind = 0; kind < KMS_EVENT_KINDS; kind++)
		used += (size_t)snprintf(out + used, 512 - used, "%s%llu", kind ? "," : "[",
					 (unsigned long long)by_kind[kind]);
	(void)snprintf(out + used, 512 - used, "]"); /* 16 numbers of at most 20 digits */
}

static int write_chunk(struct kms_store *store, const struct store_chunk *staged)
{
	const struct kms_chunk *c = &staged->chunk;
	char counts[512];
	int rc;

	counts_json(staged->by_kind, counts);
	rc = KMS_RUN(store->stmt[STORE_CHUNK], KMS_INT(staged->id), KMS_INT(c->n_blocks),
		     KMS_INT(c->events), KMS_INT(c->ordinal_min * KMS_SEQ_PER_BLOCK),
		     KMS_INT(c->ordinal_max * KMS_SEQ_PER_BLOCK + KMS_SEQ_PER_BLOCK - 1),
		     KMS_INT(staged->t0_ns), KMS_INT(staged->t1_ns), KMS_TEXT(staged->targets),
		     KMS_TEXT(counts), KMS_BLOB(c->dir, c->dir_bytes),
		     KMS_BLOB(c->pages, c->pages_bytes), KMS_BLOB(c->stacks, c->stacks_bytes));
	if (rc == SQLITE_DONE)
		rc = KMS_RUN(store->stmt[STORE_CHUNK_DATA], KMS_INT(staged->id),
			     KMS_BLOB(c->data, c->data_bytes));
	for (size_t i = 0; rc == SQLITE_DONE && i < staged->n_members; i++)
		if (staged->member[i].in_db)
			rc = KMS_RUN(store->stmt[STORE_OPEN_BLOCK_DELETE],
				     KMS_INT(staged->member[i].ordinal));
	return rc;
}

static int write_open(struct kms_store *store, const struct store_block *block)
{
	if (!block->dirty)
		return SQLITE_DONE;
	return KMS_RUN(store->stmt[STORE_OPEN_BLOCK], KMS_INT(block->entry.ordinal),
		       KMS_INT(block->entry.image), KMS_INT(block->entry.target),
		       KMS_BLOB(&block->block, BLOCK_HEAD_BYTES + block->block.fill));
}

int store_write_blocks(struct kms_store *store)
{
	int rc = SQLITE_DONE;

	for (const struct store_chunk *c = store->staged; rc == SQLITE_DONE && c; c = c->next)
		rc = write_chunk(store, c);
	for (size_t i = 0; rc == SQLITE_DONE && i < store->n_pending; i++)
		rc = write_open(store, store->pending[i]);
	for (size_t i = 0; rc == SQLITE_DONE && i < store->open.slots; i++)
		if (store->open.slot[i].value != UINT64_MAX)
			rc = write_open(store, kms_u64map_pointer(store->open.slot[i].value));
	return rc;
}

static void mark_written(struct store_block *block)
{
	block->dirty = false;
	block->in_db = true;
	block->written = stored_events(block);
}

static void free_staged(struct kms_store *store)
{
	while (store->staged) {
		struct store_chunk *next = store->staged->next;

		free_chunk(store, store->staged);
		store->staged = next;
	}
	store->staged_end = &store->staged;
	store->staged_bytes = 0;
}

void store_blocks_written(struct kms_store *store)
{
	free_staged(store);
	for (size_t i = 0; i < store->n_pending; i++)
		mark_written(store->pending[i]);
	for (size_t i = 0; i < store->open.slots; i++)
		if (store->open.slot[i].value != UINT64_MAX)
			mark_written(kms_u64map_pointer(store->open.slot[i].value));
}

/* Its row in open_blocks, if it has one, stays: better than nothing. */
static void drop_member(struct kms_store *store, const struct store_member *member)
{
	struct store_ring *ring = &store->ring[member->ring];
	uint32_t dropped = member->stored - member->written;

	ring->stored -= dropped;
	ring->dirty = true;
	store->dropped += dropped;
}

void store_drop_staged(struct kms_store *store, size_t bytes)
{
	while (store->staged && store->staged_bytes > bytes) {
		struct store_chunk *oldest = store->staged;

		for (size_t i = 0; i < oldest->n_members; i++)
			drop_member(store, &oldest->member[i]);
		store->staged = oldest->next;
		if (!store->staged)
			store->staged_end = &store->staged;
		store->staged_bytes -= oldest->n_bytes;
		free_chunk(store, oldest);
	}
}

void store_blocks_free(struct kms_store *store)
{
	free_staged(store);
	while (store->spare) {
		struct store_bytes *next = store->spare->next;

		free(store->spare);
		store->spare = next;
	}
	while (store->spare_blocks) {
		struct store_block *next = store->spare_blocks->next;

		free(store->spare_blocks);
		store->spare_blocks = next;
	}
	for (size_t i = 0; i < store->n_pending; i++)
		free(store->pending[i]);
	for (size_t i = 0; i < store->open.slots; i++)
		if (store->open.slot[i].value != UINT64_MAX)
			free(kms_u64map_pointer(store->open.slot[i].value));
	kms_u64map_deinit(&store->open);
}
