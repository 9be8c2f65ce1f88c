/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The figures of an image: counters by cache, slots, rings. See image.h.
 *
 * A counter row belongs to a ring, is never reset, and outlives the ring's owner. So we remember
 * what it said, and book each difference to the process that owned the ring at that time.
 */
#include <assert.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/variables.h"
#include "tracer/batch_build.h"
#include "tracer/block_parse.h"
#include "tracer/image_impl.h"

/* A run of words to copy. */
struct words_job {
	const struct kms_region *region;
	unsigned kind;
	uint64_t index;
	void *to;
	size_t bytes;
};

static void copy_words(void *arg)
{
	struct words_job *job = arg;

	kms_copy_relaxed(job->to, kms_region_at(job->region, job->kind, job->index), job->bytes);
}

static int copy(struct kms_image *image, unsigned kind, uint64_t index, void *to, size_t bytes,
		struct kms_err *err)
{
	struct words_job job = {&image->region, kind, index, to, bytes};
	int result = kms_region_access(&image->region, copy_words, &job);

	return result ? kms_err_set(err, result, "the file was cut short") : 0;
}

static uint32_t n_caches(const struct kms_image *image)
{
	return (uint32_t)kms_tables_count(&image->tables, KMS_SEC_CACHE);
}

/* Allocates a row of counters unless it is there. */
static int need_row(struct kms_counter **row, struct kms_err *err)
{
	if (!*row)
		*row = calloc(KMS_MAX_CACHES, sizeof(**row));
	return *row ? 0 : kms_err_set(err, -ENOMEM, "no memory for counters");
}

/* Adds to total what a row of the region counted since last. */
static int book(struct kms_image *image, uint64_t row, struct kms_counter **last,
		struct kms_counter **total, struct kms_err *err)
{
	struct kms_counter now[KMS_MAX_CACHES];
	uint32_t n = n_caches(image);
	int result = need_row(last, err);

	if (!result)
		result = need_row(total, err);
	if (!result)
		result = copy(image, KMS_SEC_COUNTER, row * KMS_MAX_CACHES, now, n * sizeof(*now),
			      err);
	if (result)
		return result;
	assert(*last && *total);
	for (uint32_t i = 0; i < n; i++) {
		struct kms_counter *sum = &(*total)[i];
		struct kms_counter *old = &(*last)[i];

		sum->allocs += now[i].allocs - old->allocs;
		sum->frees += now[i].frees - old->frees;
		sum->alloc_bytes += now[i].alloc_bytes - old->alloc_bytes;
		sum->free_bytes += now[i].free_bytes - old->free_bytes;
		*old = now[i];
	}
	return 0;
}

int kms_image_ring_book(struct kms_image *image, struct kms_image_ring *ring, struct kms_err *err)
{
	if (ring->reader.slot >= image->region.head.slots)
		return 0;
	return book(image, ring->reader.ring, &ring->last, &image->slot[ring->reader.slot].total,
		    err);
}

static int book_all(struct kms_image *image, uint32_t slot, struct kms_err *err)
{
	struct kms_image_slot *s = &image->slot[slot];
	int result =
		book(image, (uint64_t)image->region.head.rings + slot, &s->unrung, &s->total, err);

	for (uint32_t i = 0; !result && i < image->n_rings; i++) {
		struct kms_image_ring *ring = &image->ring[i];

		if (ring->reader.claim && ring->reader.slot == slot && !ring->reader.is_over)
			result = kms_image_ring_book(image, ring, err);
	}
	return result;
}

/* Numbers of a slot that index something, or are told by name. */
static int check_slot(const struct kms_slot *slot, uint32_t index, struct kms_err *err)
{
	if (slot->guard.limited_by > KMS_LIMITED_MEMORY ||
	    slot->guard.backend > KMS_GUARD_PAGE_TABLE ||
	    slot->fork_cut_first > KMS_MAX_FORK_CUTS || slot->fork_cut_count > KMS_MAX_FORK_CUTS)
		return kms_err_set(err, -EBADMSG, "slot %u: impossible numbers", index);
	return 0;
}

/* Once an image: how many there are says the first who finds out. */
static void say_lost_children(struct kms_image *image, const struct kms_slot *slot)
{
	char line[512];

	if (!slot->lost_children || image->lost_children_said || !image->env->say)
		return;
	image->lost_children_said = true;
	(void)snprintf(line, sizeof(line), /* cut if need be */
		       "%s (pid %u): %u processes at a time are traced; children forked beside "
		       "them are not",
		       image->program[0] ? image->program : image->name, (unsigned)slot->pid,
		       (unsigned)image->n_slots);
	image->env->say(image->env->say_arg, line);
}

struct memory_job {
	const struct kms_region *region;
	uint32_t no_memory;
};

static void copy_no_memory(void *arg)
{
	struct memory_job *job = arg;
	const struct kms_region_header *head = (const void *)job->region->map;

	job->no_memory = kms_load_u32_relaxed(&head->no_memory);
}

void kms_image_say_no_room(struct kms_image_env *env, const char *who)
{
	char line[PATH_MAX];

	if (env->no_room_said || !env->say)
		return;
	env->no_room_said = true;
	(void)snprintf(line, sizeof(line), /* cut if need be */
		       "%s: no room is left in %s for its shared memory: from here on programs "
		       "are traced in part, or not at all",
		       who, env->dir);
	env->say(env->say_arg, line);
}

static int look_for_memory(struct kms_image *image)
{
	struct memory_job job = {.region = &image->region};
	int result = kms_region_access(&image->region, copy_no_memory, &job);

	if (result || !job.no_memory)
		return result;
	/* who found none for a slot is no process beyond those that can be traced */
	image->lost_children_said = true;
	kms_image_say_no_room(image->env, image->program[0] ? image->program : image->name);
	return 0;
}

/* A depth that was asked for and not taken up: who looks now sees that it is on its way. */
static int note_request(struct kms_image *image, uint32_t index, struct kms_batch_slot *out)
{
	uint64_t depth;
	uint64_t seq;
	bool is_requested;
	int result = kms_control_requested(&image->control, index, KMS_VAR_GUARD_DEPTH, &depth,
					   &is_requested, &seq);

	if (result || !is_requested || seq == out->slot.acked_seq)
		return result;
	out->guard_pending = depth != out->slot.guard.depth_requested;
	out->slot.guard.depth_requested = depth;
	return 0;
}

static int add_slot(struct kms_image *image, uint32_t index, struct kms_batch *batch,
		    struct kms_err *err)
{
	struct kms_image_slot *slot = &image->slot[index];
	struct kms_batch_slot *out;
	uint32_t n = n_caches(image);
	int result = book_all(image, index, err);

	if (result)
		return result;
	out = kms_batch_add_slot(batch, n);
	if (!out)
		return kms_err_set(err, -ENOMEM, "no memory for counters");
	out->target = slot->target->info.id;
	out->image = image->ordinal;
	memcpy(out->counter, slot->total, n * sizeof(*out->counter));
	result = copy(image, KMS_SEC_SLOT, index, &out->slot, sizeof(out->slot), err);
	if (!result)
		result = copy(image, KMS_SEC_CACHE_STAT, (uint64_t)index * KMS_MAX_CACHES,
			      out->cache_stat, n * sizeof(*out->cache_stat), err);
	if (!result && note_request(image, index, out))
		result = kms_err_set(err, -EFAULT, "slot %u: its memory is gone", index);
	if (!result)
		result = check_slot(&out->slot, index, err);
	if (!result && look_for_memory(image))
		result = kms_err_set(err, -EFAULT, "slot %u: its memory is gone", index);
	if (!result)
		say_lost_children(image, &out->slot);
	return result;
}

/* What a former tracer knew of is in no figure of ours, so of such a claim nothing is said. */
static uint64_t untold(const struct kms_ring_reader *reader, uint64_t lost)
{
	uint64_t more;

	if (reader->is_joined || reader->told_lost <= lost)
		return 0;
	more = reader->told_lost - lost;
	return more < KMS_BLOCK_LOST_MAX ? more : KMS_BLOCK_LOST_MAX; /* it is hostile */
}

static int add_ring(struct kms_image *image, struct kms_image_ring *ring, struct kms_batch *batch,
		    struct kms_err *err)
{
	const struct kms_ring_reader *reader = &ring->reader;
	const struct kms_target *target = image->slot[reader->slot].target;
	uint64_t produced = kms_ring_produced(reader);
	uint64_t lost = reader->lost + reader->extra_lost;
	uint64_t more = untold(reader, lost);
	struct kms_batch_ring *out;

	if (!target || target->is_ignored ||
	    (ring->sent_claim == reader->claim && ring->sent_produced == produced &&
	     ring->sent_lost == lost && ring->sent_untold == more))
		return 0;
	out = kms_batch_add_ring(batch);
	if (!out)
		return kms_err_set(err, -ENOMEM, "no memory for counters");
	*out = (struct kms_batch_ring){.target = target->info.id,
				       .image = image->ordinal,
				       .ring = reader->ring,
				       .claim = reader->claim,
				       .produced = produced,
				       .lost = lost,
				       .untold = more,
				       .fill = reader->fill};
	ring->sent_claim = reader->claim;
	ring->sent_produced = produced;
	ring->sent_lost = lost;
	ring->sent_untold = more;
	return 0;
}

static bool is_due(const struct kms_image_slot *slot, uint64_t now_ns, enum kms_image_copy which)
{
	bool active = slot->is_active || slot->was_active;
	uint64_t every = active ? KMS_IMAGE_COUNTERS_NS : KMS_IMAGE_COUNTERS_IDLE_NS;

	if (which == KMS_IMAGE_COPY_NONE || !slot->target || slot->target->is_ignored ||
	    slot->is_over || slot->is_new)
		return false;
	if (which == KMS_IMAGE_COPY_ALL || (which == KMS_IMAGE_COPY_NEW && active))
		return true;
	return slot->is_dead || now_ns - slot->counters_ns >= every;
}

int kms_image_counters(struct kms_image *image, uint64_t now_ns, enum kms_image_copy which,
		       struct kms_batch *batch, struct kms_err *err)
{
	int result = 0;
	bool any = false;

	for (uint32_t i = 0; !result && i < image->n_slots; i++) {
		struct kms_image_slot *slot = &image->slot[i];

		if (!is_due(slot, now_ns, which))
			continue;
		result = add_slot(image, i, batch, err);
		slot->counters_ns = now_ns;
		slot->was_active = slot->is_active;
		slot->is_active = false;
		any = true;
	}
	for (uint32_t i = 0; !result && any && i < image->n_rings; i++) {
		if (image->ring[i].reader.claim)
			result = add_ring(image, &image->ring[i], batch, err);
	}
	if (!result && any)
		result = kms_tables_read_hits(&image->tables, &image->region, batch, err);
	return result;
}
