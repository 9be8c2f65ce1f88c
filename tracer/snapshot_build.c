/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The picture of the model that others see.
 *
 * Every part is made twice: once to count its room, once to fill it in, by the same code, so that
 * one block of memory holds all.
 */
#include "tracer/snapshot_build.h"

#include <stdlib.h>
#include <string.h>

#include "tracer/stack_id.h"

enum {
	ALIGN = 8,
	US = 1000,
};

void *kms_build_take(struct kms_snapshot_build *build, size_t n, size_t element_bytes)
{
	size_t bytes = (n * element_bytes + ALIGN - 1) & ~(size_t)(ALIGN - 1);

	build->bytes += bytes;
	return build->arena && n ? kms_snapshot_take(build->arena, bytes) : NULL;
}

const char *kms_build_string(struct kms_snapshot_build *build, const char *text, size_t limit)
{
	size_t n = strnlen(text, limit);
	char *copy = kms_build_take(build, n + 1, 1);

	if (copy)
		memcpy(copy, text, n);
	return copy;
}

const char *kms_build_cache_name(struct kms_snapshot_build *build, uint32_t image, uint16_t cache)
{
	const struct kms_model_image *from = kms_model_image_find(build->model, image);
	const struct kms_cache_entry *entry = from ? kms_model_cache_entry(from, cache) : NULL;
	const char **place;

	if (!entry)
		return NULL;
	place = &build->cache_name[(size_t)image * KMS_MAX_CACHES + cache];
	if (!*place) {
		*place = kms_build_string(build, entry->name, sizeof(entry->name));
		if (!*place)
			*place = ""; /* counted */
	}
	return *place;
}

static size_t count_targets(const struct kms_model *model)
{
	size_t n = 0;

	for (uint32_t id = 1; id <= model->top_target; id++) {
		const struct kms_model_target *target = kms_model_target_find(model, id);

		n += target && target->announced;
	}
	return n;
}

/* The fault that a target stands at, by its number in the run. */
static uint32_t stop_fault(const struct kms_model *model, const struct kms_model_target *target)
{
	for (size_t i = 0; target->stop_fault && i < model->n_faults; i++)
		if (model->fault[i].image == target->image &&
		    model->fault[i].index + 1 == target->stop_fault)
			return model->fault[i].id;
	return 0;
}

static void build_targets(struct kms_snapshot_build *build)
{
	const struct kms_model *model = build->model;
	size_t n = count_targets(model);
	struct kms_view_target *row = kms_build_take(build, n, sizeof(*row));

	if (build->out) {
		build->out->n_targets = n;
		build->out->target = row;
	}
	for (uint32_t id = 1; id <= model->top_target; id++) {
		const struct kms_model_target *target = kms_model_target_find(model, id);
		struct kms_view_target view;

		if (!target || !target->announced)
			continue;
		view = (struct kms_view_target){
			.id = target->id,
			.parent = target->parent,
			.pid = target->pid,
			.state = target->state,
			.kind = target->kind ? target->kind : KMS_TARGET_PROCESS,
			.exit_status = target->exit_status,
			.name = kms_build_string(build, target->name, sizeof(target->name)),
			.command =
				kms_build_string(build, target->command, sizeof(target->command)),
			.start_wall_ns = target->start_wall_ns,
			.end_wall_ns = target->end_wall_ns,
			.stop_reason = target->stop_reason,
			.stop_fault = stop_fault(model, target),
		};
		if (row)
			*row++ = view;
	}
}

/* Blocks freed since the oldest in the FIFO was, and how long ago that is. */
static struct kms_view_guard guard_view(const struct kms_model *model,
					const struct kms_model_target *target)
{
	const struct kms_guard_stat *s = &target->slot_copy.guard;
	/* pending: asked for and not taken up, or taken up and not yet drained */
	struct kms_view_guard view = {.target = target->id,
				      .s = *s,
				      .pending = target->slot_copy.guard_pending ||
						 s->used > s->depth};
	uint64_t now = kms_model_target_now(model, target);

	if (s->used && s->frees > s->oldest_free_nr)
		view.window_frees = s->frees - s->oldest_free_nr;
	if (s->used && s->oldest_free_ns && now > s->oldest_free_ns)
		view.oldest_age_us = (now - s->oldest_free_ns) / US;
	return view;
}

static void build_guards(struct kms_snapshot_build *build)
{
	const struct kms_model *model = build->model;
	struct kms_view_guard *row;
	size_t n = 0;

	for (uint32_t id = 1; id <= model->top_target; id++) {
		const struct kms_model_target *target = kms_model_target_find(model, id);

		n += target && target->slot_copy.known;
	}
	row = kms_build_take(build, n, sizeof(*row));
	if (!build->out)
		return;
	build->out->n_guards = n;
	build->out->guard = row;
	for (uint32_t id = 1; id <= model->top_target; id++) {
		const struct kms_model_target *target = kms_model_target_find(model, id);

		if (target && target->slot_copy.known)
			/* NOLINTNEXTLINE(clang-analyzer-core.NullDereference): as many as were counted */
			*row++ = guard_view(model, target);
	}
}

/* What a target lost in threads that got no ring. */
static void build_unringed(struct kms_snapshot_build *build, struct kms_view_ring *row)
{
	const struct kms_model *model = build->model;

	for (uint32_t id = 1; id <= model->top_target; id++) {
		const struct kms_model_target *target = kms_model_target_find(model, id);

		if (target && target->slot_copy.lost_unringed)
			*row++ = (struct kms_view_ring){
				.target = id,
				.ring = KMS_VIEW_NO_RING,
				.produced = target->slot_copy.lost_unringed,
				.lost = target->slot_copy.lost_unringed,
			};
	}
}

static size_t count_unringed(const struct kms_model *model)
{
	size_t n = 0;

	for (uint32_t id = 1; id <= model->top_target; id++) {
		const struct kms_model_target *target = kms_model_target_find(model, id);

		n += target && target->slot_copy.lost_unringed;
	}
	return n;
}

static void build_rings(struct kms_snapshot_build *build)
{
	const struct kms_model *model = build->model;
	size_t n = model->n_ring_rows + count_unringed(model);
	struct kms_view_ring *row = kms_build_take(build, n, sizeof(*row));

	if (!build->out)
		return;
	build->out->n_rings = n;
	build->out->ring = row;
	for (size_t i = 0; i < model->n_ring_rows; i++) {
		const struct kms_model_ring_row *from = &model->ring_row[i];

		row[i] = (struct kms_view_ring){
			.target = from->target,
			.ring = from->ring,
			.produced = from->produced + from->claim_produced + from->untold,
			.stored = from->stored,
			.lost = from->lost + from->claim_lost + from->untold,
		};
	}
	build_unringed(build, row + model->n_ring_rows);
}

static void fault_view(struct kms_snapshot_build *build, const struct kms_model_fault *fault,
		       struct kms_view_fault *row)
{
	const struct kms_model_image *image = kms_model_image_find(build->model, fault->image);
	const struct kms_thread *thread = image ? kms_model_thread(image, fault->raw.thread) : NULL;
	size_t n_owners = kms_model_fault_owners(fault, NULL);
	struct kms_view_owner *owner = kms_build_take(build, n_owners, sizeof(*fault->owner));
	const char *thread_name =
		thread ? kms_build_string(build, thread->name, sizeof(thread->name)) : NULL;
	const char *cache =
		fault->raw.cache < KMS_MAX_CACHES
			? kms_build_cache_name(build, fault->image, (uint16_t)fault->raw.cache)
			: NULL;

	if (!row)
		return;
	if (owner)
		(void)kms_model_fault_owners(fault, owner); /* as many as before */
	*row = (struct kms_view_fault){
		.target = fault->target,
		.id = fault->id,
		.raw = fault->raw,
		.stack_id = kms_stack_id(fault->image, fault->raw.stack),
		.alloc_stack_id = kms_stack_id(fault->image, fault->raw.alloc_stack),
		.free_stack_id = kms_stack_id(fault->image, fault->raw.free_stack),
		.cache = cache,
		.thread_name = thread_name,
		.tid = thread ? thread->tid : 0,
		.n_owners = owner ? n_owners : 0,
		.owner = owner,
	};
}

static void build_faults(struct kms_snapshot_build *build)
{
	const struct kms_model *model = build->model;
	struct kms_view_fault *row = kms_build_take(build, model->n_faults, sizeof(*row));

	if (build->out) {
		build->out->n_faults = model->n_faults;
		build->out->fault = row;
	}
	for (size_t i = 0; i < model->n_faults; i++)
		fault_view(build, &model->fault[i], row ? &row[i] : NULL);
}

static void build_head(struct kms_snapshot_build *build)
{
	const struct kms_model *model = build->model;
	const char *file = model->file ? kms_build_string(build, model->file, SIZE_MAX) : NULL;
	struct kms_snapshot *out = build->out;

	if (!out)
		return;
	out->file = file;
	out->seq = model->stored;
	out->time_ns = kms_model_run_now(model);
	out->wall_ns = model->run_wall_ns;
	out->finished = model->finished;
	out->incomplete = out->stats.lost || model->counts.unkept || model->unknown_sessions ||
			  model->counts.forks_inexact || model->counts.children_lost;
}

static void build_all(struct kms_snapshot_build *build)
{
	build->bytes = 0;
	memset(build->cache_name, 0,
	       ((size_t)build->model->top_image + 1) * KMS_MAX_CACHES * sizeof(const char *));
	build_targets(build);
	kms_build_stats(build);
	kms_build_caches(build);
	build_guards(build);
	build_faults(build);
	build_rings(build);
	kms_build_leaks(build);
	build_head(build);
}

struct kms_snapshot_arena *kms_model_snapshot(struct kms_model *model)
{
	struct kms_snapshot_build build = {.model = model};

	build.cache_name =
		calloc(((size_t)model->top_image + 1) * KMS_MAX_CACHES, sizeof(const char *));
	if (!build.cache_name)
		return NULL;
	build_all(&build);
	build.arena = kms_snapshot_create(build.bytes);
	if (build.arena) {
		build.out = &build.arena->pub;
		build_all(&build);
	}
	free(build.cache_name);
	return build.arena;
}
