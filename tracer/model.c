/* SPDX-License-Identifier: BSD-2-Clause */
/* The live model: see model.h for what, model_internal.h for where, model.md for how. */
#include "tracer/model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/model_internal.h"

enum {
	SNAPSHOT_NS = 100 * 1000 * 1000,
	PARK_NS = 200 * 1000 * 1000,
	IDLE_SNAPSHOT_NS = 1000 * 1000 * 1000, /* ages go on while nothing else does */
	MAX_SITES = 100000,
	MAX_PARKED = 1 << 18,
	HISTORY_EVENTS = 1 << 17,
	PASS_BUDGET = 1 << 17, /* places looked at for medians, each time a snapshot is due */
};

#define MEMORY_BYTES ((size_t)200 << 20)

static struct kms_model_config with_defaults(const struct kms_model_config *config)
{
	struct kms_model_config c = config ? *config : (struct kms_model_config){0};

	c.snapshot_ns = c.snapshot_ns ? c.snapshot_ns : SNAPSHOT_NS;
	c.max_sites = c.max_sites ? c.max_sites : MAX_SITES;
	c.park_ns = c.park_ns ? c.park_ns : PARK_NS;
	c.memory_bytes = c.memory_bytes ? c.memory_bytes : MEMORY_BYTES;
	c.max_parked = c.max_parked ? c.max_parked : MAX_PARKED;
	c.history_events = c.history_events ? c.history_events : HISTORY_EVENTS;
	return c;
}

static int model_init(struct kms_model *model, const struct kms_model_config *config)
{
	struct kms_snapshot_arena *first;
	int result;

	model->config = with_defaults(config);
	model->memory.limit_bytes = model->config.memory_bytes;
	model->pool.memory = &model->memory;
	kms_list_init(&model->held);
	if (model->config.file) {
		model->file = strdup(model->config.file);
		if (!model->file)
			return -ENOMEM;
	}
	result = kms_sites_init(&model->sites, &model->memory, model->config.max_sites);
	if (!result)
		result = kms_park_init(&model->park, &model->memory, model->config.max_parked);
	if (!result)
		result = kms_model_history_init(model, model->config.history_events);
	if (result)
		return result;
	first = kms_model_snapshot(model);
	if (!first)
		return -ENOMEM;
	kms_snapshot_box_init(&model->box, first);
	model->has_box = true;
	return 0;
}

struct kms_model *kms_model_create(const struct kms_model_config *config)
{
	struct kms_model *model = calloc(1, sizeof(*model));

	if (!model)
		return NULL;
	if (model_init(model, config) == 0)
		return model;
	kms_model_destroy(model);
	return NULL;
}

void kms_model_destroy(struct kms_model *model)
{
	if (!model)
		return;
	if (model->has_box)
		kms_snapshot_box_deinit(&model->box);
	kms_model_streams_deinit(model);
	kms_model_pass_deinit(model);
	kms_model_faults_deinit(model);
	kms_model_history_deinit(model);
	kms_park_deinit(&model->park);
	for (uint32_t id = 1; id <= model->top_target; id++)
		kms_model_target_destroy(model, kms_model_target_find(model, id));
	for (uint32_t id = 1; id <= model->top_image; id++)
		kms_model_image_destroy(model, kms_model_image_find(model, id));
	kms_sites_deinit(&model->sites);
	kms_memory_free(&model->memory, model->target,
			model->target_room * sizeof(struct kms_model_target *));
	kms_memory_free(&model->memory, model->image,
			model->image_room * sizeof(struct kms_model_image *));
	kms_memory_free(&model->memory, model->ring_row,
			model->ring_row_room * sizeof(*model->ring_row));
	kms_memory_free(&model->memory, model->ring_row_index,
			model->ring_row_slots * sizeof(*model->ring_row_index));
	free(model->file);
	free(model);
}

/* Tables, targets, slots and rings: what the blocks are read against. */
static int take_news(struct kms_model *model, const struct kms_batch *batch)
{
	int result = 0;
	int one;

	for (size_t i = 0; i < batch->n_tables; i++) {
		if (batch->table[i].section == KMS_SEC_FAULT ||
		    batch->table[i].section == KMS_TABLE_BASE)
			continue; /* need their targets */
		one = kms_model_image_add(model, &batch->table[i]);
		result = one ? one : result;
	}
	for (size_t i = 0; i < batch->n_targets; i++) {
		one = kms_model_target_announce(model, &batch->target[i]);
		result = one ? one : result;
	}
	for (size_t i = 0; i < batch->n_slots; i++) {
		one = kms_model_target_slot(model, &batch->slot[i]);
		result = one ? one : result;
	}
	for (size_t i = 0; i < batch->n_rings; i++) {
		one = kms_model_target_ring(model, &batch->ring[i]);
		result = one ? one : result;
	}
	for (size_t i = 0; i < batch->n_tables; i++) {
		one = 0;
		if (batch->table[i].section == KMS_TABLE_BASE)
			one = kms_model_base_add(model, &batch->table[i]);
		else if (batch->table[i].section == KMS_SEC_FAULT)
			one = kms_model_faults_add(model, &batch->table[i]);
		result = one ? one : result;
	}
	return result;
}

/* How region time and the time of batches go together: events are never younger than their batch. */
static void set_clocks(struct kms_model *model)
{
	for (uint32_t id = 1; id <= model->top_image; id++) {
		struct kms_model_image *image = kms_model_image_find(model, id);
		int64_t offset;

		if (!image || !model->batch_ns || image->last_event_ns == image->clock_event_ns)
			continue;
		image->clock_event_ns = image->last_event_ns;
		offset = (int64_t)(model->batch_ns - image->last_event_ns);
		if (!image->has_clock || offset < image->clock_offset)
			image->clock_offset = offset;
		image->has_clock = true;
	}
}

/* Nothing more comes of a target that has ended: what waits is applied. */
static void end_targets(struct kms_model *model)
{
	struct kms_park_queue *queue = kms_park_oldest(&model->park);

	while (queue) {
		const struct kms_model_target *target = kms_model_target_find(model, queue->target);

		if (target->ended || model->finished) {
			kms_model_unpark(model, model->batch_ns, target->id);
			queue = kms_park_oldest(&model->park);
		} else {
			queue = kms_park_younger(&model->park, queue);
		}
	}
}

int kms_model_feed(struct kms_model *model, const struct kms_batch *batch, struct kms_err *err)
{
	int result, one;

	if (batch->time_ns > model->batch_ns)
		model->batch_ns = batch->time_ns;
	model->batches++;
	result = take_news(model, batch);
	one = kms_model_streams(model, batch);
	result = one ? one : result;
	if (batch->what == KMS_BATCH_END) {
		one = kms_model_streams_finish(model);
		result = one ? one : result;
		model->finished = true;
		model->changes++;
	}
	set_clocks(model);
	kms_model_unpark(model, model->batch_ns, 0);
	end_targets(model);
	kms_model_faults_owners(model, batch->what);
	kms_model_sample(model);
	kms_model_make_room(model);
	if (result)
		return kms_err_set(err, result,
				   "the live model could not take over all of a batch");
	return 0;
}

void kms_model_publish(struct kms_model *model, bool force)
{
	struct kms_snapshot_arena *arena;
	uint64_t run_ns = kms_model_run_now(model);
	bool due = model->batch_ns - model->published_ns >= model->config.snapshot_ns;
	bool moved = run_ns - model->published_run_ns >= IDLE_SNAPSHOT_NS;
	bool settled;

	if (!force && !due)
		return;
	settled = kms_model_medians(model, force ? SIZE_MAX : PASS_BUDGET);
	if (!force && settled && !moved && model->settled &&
	    model->changes == model->published_changes)
		return;
	arena = kms_model_snapshot(model);
	if (!arena)
		return; /* the old one stays */
	if (kms_snapshot_publish(&model->box, arena)) {
		kms_snapshot_destroy(arena);
		return;
	}
	model->settled = settled;
	model->published_ns = model->batch_ns;
	model->published_run_ns = run_ns;
	model->published_changes = model->changes;
}

void kms_model_set_figures(struct kms_model *model, const struct kms_model_figures *figures)
{
	model->figures = *figures;
}

void kms_model_get_counts(const struct kms_model *model, struct kms_model_counts *counts)
{
	*counts = model->counts;
	counts->parked = model->park.total;
	counts->folded = model->sites.folded;
	counts->memory_bytes = model->memory.used_bytes;
	counts->sites = model->sites.used;
}

const struct kms_snapshot *kms_model_acquire(struct kms_model *model)
{
	return kms_snapshot_acquire(&model->box);
}

void kms_model_release(struct kms_model *model, const struct kms_snapshot *snapshot)
{
	kms_snapshot_release(&model->box, snapshot);
}
