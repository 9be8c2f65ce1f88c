/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The owners that the address of a finding had before it.
 *
 * A finding may be read before the events that led to it: tables are read after the rings, an open
 * block waits for more, events wait for their turn. So a finding is looked after until all of that
 * has certainly been applied: each batch's news of its address is added. What was already forgotten
 * when it came stands in the trace (owners.h).
 */
#include <errno.h>
#include <string.h>

#include "tracer/model_internal.h"
#include "tracer/stack_id.h"

enum {
	OWNERS_MAX = 1024, /* of one finding; up to twice as many, until the oldest are left out */
	LOOKUPS_MAX = 64,  /* findings looked after at a time */
	TICK_NS = 5000000, /* times of events are not exact, but within a tick */
	SETTLE_BATCHES = 160, /* as many as all rings of an image can fill, and some */
};

static const uint64_t settle_ns = 1000000000;

static bool covers(uint64_t begin, uint64_t bytes, const struct kms_fault *raw)
{
	uint64_t address = raw->block ? raw->block : raw->address;

	return address - begin < (bytes ? bytes : 1) || raw->address - begin < (bytes ? bytes : 1);
}

bool kms_model_is_past_of(const struct kms_model *model, uint32_t id, uint32_t of)
{
	for (unsigned steps = 0; of && steps < KMS_MAX_SLOTS; steps++) {
		const struct kms_model_target *target = kms_model_target_find(model, of);

		if (of == id)
			return true;
		of = target ? target->parent : 0;
	}
	return false;
}

static uint32_t tid_of(const struct kms_model_image *image, uint32_t index)
{
	const struct kms_thread *thread = kms_model_thread(image, index);

	return thread ? thread->tid : 0;
}

static uint64_t begin_of(const struct kms_model_fault *fault)
{
	return fault->raw.block ? fault->raw.block : fault->raw.address;
}

/* Was the address given out by this event after the finding? Of its own ring the order is known. */
static bool is_after(const struct kms_model_fault *fault, const struct kms_past *past)
{
	const struct kms_fault *raw = &fault->raw;

	if (past->time_ns > raw->time_ns + TICK_NS)
		return true;
	return past->ring == raw->ring && past->target == fault->target &&
	       past->ring_seq > raw->ring_seq && past->time_ns + TICK_NS >= raw->time_ns;
}

/* Room for one more; beyond the limit the oldest are left out. Errors: -ENOMEM */
static int owner_room(struct kms_model *model, struct kms_model_fault *fault)
{
	if (fault->n_owners == 2 * (size_t)OWNERS_MAX) {
		memmove(fault->owner, fault->owner + OWNERS_MAX,
			OWNERS_MAX * sizeof(*fault->owner));
		fault->n_owners = OWNERS_MAX;
	}
	return kms_memory_reserve(&model->memory, &fault->owner, &fault->owner_room,
				  fault->n_owners + 1, sizeof(*fault->owner));
}

static void owner_add(struct kms_model *model, const struct kms_model_image *image,
		      struct kms_model_fault *fault, const struct kms_past *past)
{
	bool freed = past->kind == KMS_EVENT_FREE; /* else the free was lost, before this time */

	if (owner_room(model, fault)) {
		fault->owners_missing = true;
		return;
	}
	fault->owner[fault->n_owners++] = (struct kms_view_owner){
		.alloc_ns = kms_model_run_time(model, image, past->alloc_ns),
		.free_ns = kms_model_run_time(model, image, past->time_ns),
		.bytes = (uint64_t)past->size_high << 32 | past->size_low,
		.alloc_stack_id = kms_stack_id(image->id, past->alloc_stack),
		.free_stack_id = freed ? kms_stack_id(image->id, past->stack) : 0,
		.thread = tid_of(image, past->thread),
	};
}

/* One remembered event: the end of an owner, or the beginning of one that came after the finding. */
static void look_at(struct kms_model *model, const struct kms_model_image *image,
		    struct kms_model_fault *fault, const struct kms_past *past)
{
	bool ends = past->kind == KMS_EVENT_FREE || past->kind == KMS_EVENT_LOST;

	if (past->kind == KMS_EVENT_ALLOC && past->address == begin_of(fault) &&
	    past->time_ns < fault->until_ns && is_after(fault, past) &&
	    kms_model_is_past_of(model, past->target, fault->target))
		fault->until_ns = past->time_ns;
	if (ends &&
	    covers(past->address, (uint64_t)past->size_high << 32 | past->size_low, &fault->raw) &&
	    past->alloc_ns < fault->until_ns && past->alloc_ns <= fault->raw.time_ns + TICK_NS &&
	    kms_model_is_past_of(model, past->target, fault->target))
		owner_add(model, image, fault, past);
}

/* The block that lives at the finding's address now, unless it came after it. */
static void look_at_live(struct kms_model *model, const struct kms_model_image *image,
			 struct kms_model_fault *fault)
{
	const struct kms_model_target *target = kms_model_target_find(model, fault->target);
	const struct kms_live *live = target ? kms_live_find(&target->set, begin_of(fault)) : NULL;

	fault->has_live =
		live && live->low_bits & KMS_LIVE_LIVE && kms_live_time(live) < fault->until_ns;
	if (!fault->has_live)
		return;
	fault->live = (struct kms_view_owner){
		.alloc_ns = kms_model_run_time(model, image, kms_live_time(live)),
		.bytes = kms_live_size(live),
		.alloc_stack_id = kms_stack_id(image->id, model->sites.site[live->site].node),
		.thread = tid_of(image, live->thread),
	};
}

static void look_up(struct kms_model *model, const struct kms_model_image *image,
		    struct kms_model_fault *fault)
{
	const struct kms_model_history *history = &model->history;
	uint64_t oldest = kms_model_history_oldest(history);
	bool had_live = fault->has_live;
	size_t n = fault->n_owners;

	if (fault->looked_at < oldest) {
		fault->owners_missing = true;
		fault->looked_at = oldest;
	}
	while (fault->looked_at < history->next)
		look_at(model, image, fault, kms_model_history_at(history, fault->looked_at++));
	look_at_live(model, image, fault);
	model->changes += n != fault->n_owners || had_live != fault->has_live;
}

/* Is what was published before the finding applied for certain? */
static bool is_settled(const struct kms_model *model, const struct kms_model_fault *fault,
		       enum kms_batch_what what)
{
	const struct kms_model_target *target = kms_model_target_find(model, fault->target);

	if (what == KMS_BATCH_END)
		return true;
	/* all that there was when it was asked for has been sent before */
	if (what == KMS_BATCH_SYNC && model->batches > fault->seen_batch)
		return !(target && target->birth == KMS_BIRTH_WAITING) &&
		       !kms_park_find(&model->park, fault->target, begin_of(fault));
	return model->batches - fault->seen_batch >= SETTLE_BATCHES &&
	       model->batch_ns - fault->seen_ns >= settle_ns;
}

void kms_model_faults_owners(struct kms_model *model, enum kms_batch_what what)
{
	size_t first = model->faults_settled;
	size_t end = model->n_faults;

	if (end - first > LOOKUPS_MAX && what != KMS_BATCH_END)
		end = first + LOOKUPS_MAX;
	for (size_t i = first; i < end; i++) {
		struct kms_model_fault *fault = &model->fault[i];
		const struct kms_model_image *image = kms_model_image_find(model, fault->image);

		if (image && !fault->settled)
			look_up(model, image, fault);
		fault->settled = fault->settled || is_settled(model, fault, what);
		if (fault->settled && i == model->faults_settled)
			model->faults_settled++;
	}
}

bool kms_model_owners_gap(const struct kms_model *model, size_t *at,
			  struct kms_model_owners_gap *gap)
{
	for (; *at < model->n_faults; ++*at) {
		const struct kms_model_fault *fault = &model->fault[*at];
		const struct kms_model_image *image = kms_model_image_find(model, fault->image);
		uint64_t until_ns = fault->until_ns;

		if (!fault->owners_missing || !image)
			continue;
		if (until_ns == UINT64_MAX)
			until_ns = fault->raw.time_ns + TICK_NS + 1;
		*gap = (struct kms_model_owners_gap){
			.fault = *at,
			.target = fault->target,
			.address = begin_of(fault),
			.until_ns = kms_model_run_time(model, image, until_ns),
			.known = fault->n_owners + fault->has_live,
		};
		++*at;
		return true;
	}
	return false;
}

int kms_model_owners_set(struct kms_model *model, size_t fault_at,
			 const struct kms_view_owner *owner, size_t n)
{
	struct kms_model_fault *fault = &model->fault[fault_at];
	size_t left_out = n > OWNERS_MAX ? n - OWNERS_MAX : 0;

	n -= left_out;
	if (kms_memory_reserve(&model->memory, &fault->owner, &fault->owner_room, n + 1,
			       sizeof(*fault->owner)))
		return -ENOMEM;
	memcpy(fault->owner, owner + left_out, n * sizeof(*owner));
	fault->n_owners = n;
	fault->has_live = false; /* it is one of them */
	fault->owners_missing = false;
	model->changes++;
	return 0;
}

size_t kms_model_fault_owners(const struct kms_model_fault *fault, struct kms_view_owner *out)
{
	size_t n = 0;

	if (fault->has_live && out)
		out[n] = fault->live;
	n += fault->has_live;
	for (size_t i = fault->n_owners; out && i > 0; i--)
		out[n++] = fault->owner[i - 1];
	return fault->n_owners + fault->has_live;
}
