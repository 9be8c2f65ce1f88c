/* SPDX-License-Identifier: BSD-2-Clause */
/* Targets: what batches say of processes, their clocks and their figures. */
#include <errno.h>
#include <string.h>

#include "base/hash.h"
#include "schema/variables.h"
#include "tracer/model_internal.h"

enum {
	NS_PER_S = 1000000000,
	RING_ROW_SLOTS_MIN = 64,
};

struct kms_model_target *kms_model_target_find(const struct kms_model *model, uint32_t id)
{
	return id < model->target_room ? model->target[id] : NULL;
}

struct kms_model_target *kms_model_target_get(struct kms_model *model, uint32_t id)
{
	struct kms_model_target *target = kms_model_target_find(model, id);

	if (target || !id || id >= KMS_MODEL_MAX_TARGETS)
		return target;
	if (kms_memory_reserve(&model->memory, &model->target, &model->target_room, (size_t)id + 1,
			       sizeof(struct kms_model_target *)))
		return NULL;
	target = kms_memory_alloc(&model->memory, sizeof(*target));
	if (!target)
		return NULL;
	target->id = id;
	target->exit_status = -1;
	target->state = KMS_STATE_RUNNING;
	target->first_site = KMS_SITE_NONE;
	kms_live_init(&target->set, &model->pool);
	kms_live_init(&target->before, &model->pool);
	kms_model_clock_init(&target->clock);
	model->target[id] = target;
	if (id > model->top_target)
		model->top_target = id;
	return target;
}

static void stats_free(struct kms_model *model, struct kms_model_target *target)
{
	kms_memory_free(&model->memory, target->cache_stat,
			target->n_cache_stats * sizeof(*target->cache_stat));
	kms_memory_free(&model->memory, target->counter,
			target->n_cache_stats * sizeof(*target->counter));
	target->cache_stat = NULL;
	target->counter = NULL;
	target->n_cache_stats = 0;
}

void kms_model_target_destroy(struct kms_model *model, struct kms_model_target *target)
{
	if (!target)
		return;
	kms_live_deinit(&target->set);
	kms_live_deinit(&target->before);
	kms_model_base_free(model, target);
	stats_free(model, target);
	kms_memory_free(&model->memory, target->cache, target->cache_room * sizeof(*target->cache));
	kms_memory_free(&model->memory, target, sizeof(*target));
}

struct kms_model_cache *kms_model_target_cache(struct kms_model *model,
					       struct kms_model_target *target, uint16_t cache)
{
	static struct kms_model_cache nowhere; /* without memory; never read */
	size_t index = cache < KMS_MAX_CACHES ? (size_t)cache + 1 : 0;

	if (index < target->cache_room)
		return &target->cache[index];
	if (kms_memory_reserve(&model->memory, &target->cache, &target->cache_room, index + 1,
			       sizeof(*target->cache)))
		return target->cache_room ? &target->cache[0] : &nowhere;
	return &target->cache[index];
}

static bool is_over(uint32_t state)
{
	return state == KMS_STATE_EXITED || state == KMS_STATE_LOST || state == KMS_STATE_CORRUPT ||
	       state == KMS_STATE_DETACHED;
}

/* A forked child begins with its parent's blocks; anything else with none. */
static void set_birth(struct kms_model *model, struct kms_model_target *target)
{
	const struct kms_model_target *parent = kms_model_target_find(model, target->parent);

	if (target->birth != KMS_BIRTH_UNKNOWN)
		return;
	if (target->parent && target->parent != target->id && parent &&
	    parent->image == target->image)
		target->birth = KMS_BIRTH_WAITING;
	else
		target->birth = KMS_BIRTH_READY;
}

/* Target time when it ended: by its clock if that is known, else when it was heard of. */
static uint64_t end_time(const struct kms_model *model, const struct kms_model_target *target,
			 const struct kms_model_image *image)
{
	if (target->end_wall_ns && image->start_wall_ns &&
	    target->end_wall_ns > image->start_wall_ns)
		return target->end_wall_ns - image->start_wall_ns;
	return kms_model_target_now(model, target);
}

static void set_state(struct kms_model *model, struct kms_model_target *target, uint32_t state)
{
	struct kms_model_image *image = kms_model_image_find(model, target->image);
	bool stands = is_over(state) || state == KMS_STATE_STOPPED;

	if (stands && !target->clock_stopped)
		target->stopped_ns = is_over(state) ? end_time(model, target, image)
						    : kms_model_target_now(model, target);
	target->clock_stopped = stands;
	target->state = state;
	if (is_over(state) && !target->ended) {
		target->ended = true;
		target->changes++;
		image->n_ended++;
	}
}

/* Of what was live when we came, and what it did before, nothing is known but what a base will say. */
static void begin_late(struct kms_model *model, struct kms_model_target *target,
		       const struct kms_batch_target *news)
{
	const struct kms_event begin = {.session = (uint8_t)news->session,
					.time_ns = news->joined_ns};
	const struct kms_model_source source =
		kms_model_source_of(model, target, kms_model_image_find(model, target->image));

	if (target->session_known)
		return;
	kms_model_session_begin(&source, &begin);
	target->session_known = true;
}

int kms_model_target_announce(struct kms_model *model, const struct kms_batch_target *news)
{
	struct kms_model_image *image = kms_model_image_get(model, news->image);
	struct kms_model_target *target = kms_model_target_get(model, news->id);
	bool is_new;

	if (!image || !target)
		return -ENOMEM;
	is_new = !target->announced;
	if (is_new) {
		target->image = news->image;
		image->n_targets++;
	}
	target->announced = true;
	target->slot = news->slot;
	target->parent = news->parent;
	target->pid = news->pid;
	target->kind = news->kind ? news->kind : KMS_TARGET_PROCESS;
	target->exit_status = news->exit_status;
	target->stop_reason = news->stop_reason;
	target->stop_fault = news->stop_fault;
	target->start_wall_ns = news->start_wall_ns;
	target->end_wall_ns = news->end_wall_ns;
	memcpy(target->name, news->name, sizeof(target->name));
	memcpy(target->command, news->command, sizeof(target->command));
	if (news->region_start_wall_ns) {
		image->start_wall_ns = news->region_start_wall_ns;
		if (!model->run_wall_ns || image->start_wall_ns < model->run_wall_ns)
			model->run_wall_ns = image->start_wall_ns;
	}
	set_birth(model, target);
	if (is_new && news->joined_ns)
		begin_late(model, target, news);
	if (target->base_whole)
		kms_model_base_complete(model, target);
	set_state(model, target, news->state);
	model->changes++;
	return 0;
}

static int stats_copy(struct kms_model *model, struct kms_model_target *target,
		      const struct kms_batch_slot *news)
{
	uint32_t n = news->n_cache_stats < KMS_MAX_CACHES ? news->n_cache_stats : KMS_MAX_CACHES;

	if (n != target->n_cache_stats) {
		stats_free(model, target);
		target->cache_stat =
			kms_memory_alloc(&model->memory, n * sizeof(*target->cache_stat));
		target->counter = kms_memory_alloc(&model->memory, n * sizeof(*target->counter));
		target->n_cache_stats = n;
		if (n && (!target->cache_stat || !target->counter)) {
			stats_free(model, target);
			return -ENOMEM;
		}
	}
	for (uint32_t i = 0; i < n; i++) {
		target->cache_stat[i] = news->cache_stat[i];
		target->counter[i] = news->counter[i];
	}
	return 0;
}

int kms_model_target_slot(struct kms_model *model, const struct kms_batch_slot *news)
{
	struct kms_model_target *target = kms_model_target_get(model, news->target);
	const struct kms_slot *slot = &news->slot;

	if (!target)
		return -ENOMEM;
	if (slot->state != KMS_SLOT_LIVE && slot->state != KMS_SLOT_EXITED &&
	    slot->state != KMS_SLOT_LEFT)
		return 0; /* being filled */
	target->slot_copy = (struct kms_model_slot){
		.known = true,
		.fork_cut_first = slot->fork_cut_first,
		.fork_cut_count = slot->fork_cut_count,
		.fork_ns = slot->fork_ns,
		.lost_unringed = slot->lost_unringed,
		.lost_faults = slot->lost_faults,
		.lost_children = slot->lost_children,
		.waits = slot->waits,
		.waited_ns = slot->waited_ns,
		.guard = slot->guard,
		.guard_pending = news->guard_pending,
		.acked_depth = slot->ack[KMS_VAR_GUARD_DEPTH].value,
	};
	model->counts.children_lost |= slot->lost_children != 0;
	model->changes++;
	return stats_copy(model, target, news);
}

static uint64_t row_hash(uint32_t target, uint32_t ring)
{
	return kms_hash_join(target, ring);
}

/* Twice the room for the index of ring rows. */
static int rows_rehash(struct kms_model *model)
{
	size_t slots = model->ring_row_slots ? model->ring_row_slots * 2 : RING_ROW_SLOTS_MIN;
	uint32_t *index = kms_memory_alloc(&model->memory, slots * sizeof(*index));

	if (!index)
		return -ENOMEM;
	for (uint32_t i = 0; i < model->n_ring_rows; i++) {
		size_t at = row_hash(model->ring_row[i].target, model->ring_row[i].ring);

		while (index[at & (slots - 1)])
			at++;
		index[at & (slots - 1)] = i + 1;
	}
	kms_memory_free(&model->memory, model->ring_row_index,
			model->ring_row_slots * sizeof(*index));
	model->ring_row_index = index;
	model->ring_row_slots = slots;
	return 0;
}

uint64_t kms_model_target_lost(const struct kms_model *model, const struct kms_model_target *target)
{
	uint64_t in_rings = 0, untold = 0;

	for (size_t i = 0; i < model->n_ring_rows; i++) {
		const struct kms_model_ring_row *row = &model->ring_row[i];

		if (row->target != target->id)
			continue;
		in_rings += row->lost + row->claim_lost;
		untold += row->untold;
	}
	return kms_model_lost_of(target, in_rings) + untold;
}

struct kms_model_ring_row *kms_model_ring_row(struct kms_model *model, uint32_t target,
					      uint32_t image, uint32_t ring)
{
	struct kms_model_ring_row *row;
	size_t at = row_hash(target, ring);

	if (model->n_ring_rows * 2 >= model->ring_row_slots && rows_rehash(model))
		return NULL;
	for (;; at++) {
		uint32_t found = model->ring_row_index[at & (model->ring_row_slots - 1)];

		if (!found)
			break;
		row = &model->ring_row[found - 1];
		if (row->target == target && row->ring == ring)
			return row;
	}
	if (kms_memory_reserve(&model->memory, &model->ring_row, &model->ring_row_room,
			       model->n_ring_rows + 1, sizeof(*row)))
		return NULL;
	row = &model->ring_row[model->n_ring_rows++];
	*row = (struct kms_model_ring_row){.target = target, .image = image, .ring = ring};
	model->ring_row_index[at & (model->ring_row_slots - 1)] = (uint32_t)model->n_ring_rows;
	return row;
}

int kms_model_target_ring(struct kms_model *model, const struct kms_batch_ring *news)
{
	struct kms_model_ring_row *row;

	if (!news->target || news->target >= KMS_MODEL_MAX_TARGETS || news->ring >= KMS_MAX_RINGS)
		return 0; /* a ring that nobody has claimed */
	row = kms_model_ring_row(model, news->target, news->image, news->ring);
	if (!row)
		return -ENOMEM;
	if (row->claim != news->claim) {
		row->produced += row->claim_produced;
		row->lost += row->claim_lost;
		row->claim = news->claim;
	}
	row->claim_produced = news->produced;
	row->claim_lost = news->lost;
	row->untold = news->untold;
	row->fill = news->fill;
	return 0;
}

uint64_t kms_model_target_now(const struct kms_model *model, const struct kms_model_target *target)
{
	const struct kms_model_image *image = kms_model_image_find(model, target->image);
	uint64_t now = image ? image->last_event_ns : 0;

	if (target->clock_stopped)
		now = target->stopped_ns;
	else if (image && image->has_clock && (int64_t)model->batch_ns > image->clock_offset &&
		 model->batch_ns - (uint64_t)image->clock_offset > now)
		now = model->batch_ns - (uint64_t)image->clock_offset;
	return now > target->last_event_ns ? now : target->last_event_ns;
}

static void roll_caches(struct kms_model_target *target, bool next)
{
	for (size_t i = 0; i < target->cache_room; i++) {
		struct kms_model_cache *cache = &target->cache[i];

		cache->alloc_rate = next ? cache->allocs - cache->allocs_at : 0;
		cache->free_rate = next ? cache->frees - cache->frees_at : 0;
		cache->allocs_at = cache->allocs;
		cache->frees_at = cache->frees;
	}
}

void kms_model_target_roll(struct kms_model_target *target, uint64_t now_ns)
{
	uint64_t second = now_ns / NS_PER_S;
	bool next = second == target->second + 1; /* else a whole second went by without events */

	if (second <= target->second)
		return;
	target->alloc_rate = next ? target->events[KMS_EVENT_ALLOC] - target->allocs_at : 0;
	target->free_rate = next ? target->events[KMS_EVENT_FREE] - target->frees_at : 0;
	target->allocs_at = target->events[KMS_EVENT_ALLOC];
	target->frees_at = target->events[KMS_EVENT_FREE];
	roll_caches(target, next);
	target->second = second;
}

uint64_t kms_model_run_time(const struct kms_model *model, const struct kms_model_image *image,
			    uint64_t region_ns)
{
	if (!image || !image->start_wall_ns || image->start_wall_ns < model->run_wall_ns)
		return region_ns;
	return image->start_wall_ns - model->run_wall_ns + region_ns;
}

uint64_t kms_model_run_now(const struct kms_model *model)
{
	uint64_t now = 0;

	for (uint32_t id = 1; id <= model->top_target; id++) {
		const struct kms_model_target *target = kms_model_target_find(model, id);
		uint64_t at;

		if (!target)
			continue;
		at = kms_model_run_time(model, kms_model_image_find(model, target->image),
					kms_model_target_now(model, target));
		now = at > now ? at : now;
	}
	return now;
}
