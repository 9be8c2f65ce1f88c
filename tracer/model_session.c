/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A new beginning when recording was switched off and on again.
 *
 * In between blocks came and went without a record, and nobody counted generations. A block that was
 * live before may be gone; to keep it would show leaks that are none. So the set begins anew, empty,
 * as after an attach: a block is known again from its next allocation, and the free of one that is
 * not known is no news. Sites keep what they have counted.
 */
#include "tracer/model_commit.h"

/* The whereabouts of a block are unknown: it is nobody's, and was not freed that we know of. */
static void forget_block(void *arg, uint64_t address, const struct kms_live *live)
{
	const struct kms_model_source *source = arg;
	struct kms_sites *sites = &source->model->sites;
	uint32_t owner = sites->site[live->site].target;

	(void)address;
	if (owner == source->target->id || owner == 0)
		kms_site_take(sites, live->site, kms_live_size(live));
}

static void forget_blocks(const struct kms_model_source *source)
{
	struct kms_model_target *target = source->target;
	uint64_t from = 0;
	size_t budget = SIZE_MAX;

	/* the walk ends only at the end: nothing bounds it */
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): forget_block only reads it */
	(void)kms_live_walk(&target->set, &from, &budget, forget_block, (void *)(uintptr_t)source);
	kms_live_set_aside(&target->set, &target->before);
	source->model->live_bytes -= target->live_bytes - target->inherited_bytes;
	target->live_objects = target->live_bytes = 0;
	target->inherited_objects = target->inherited_bytes = 0;
	target->unkept_objects = target->unkept_bytes = 0;
	for (size_t i = 0; i < target->cache_room; i++) {
		struct kms_model_cache *cache = &target->cache[i];

		cache->live = cache->live_bytes = 0;
		cache->guarded = cache->guarded_bytes = 0;
	}
}

/* Events that waited for their turn: it will not come. */
static void forget_parked(const struct kms_model_source *source)
{
	struct kms_park *park = &source->model->park;
	struct kms_park_queue *queue = kms_park_oldest(park);

	while (queue) {
		struct kms_park_queue *next = kms_park_younger(park, queue);
		bool more = queue->target == source->target->id;
		struct kms_parked parked;

		while (more) {
			bool own = !queue->lane->first->heir_of;

			more = kms_park_take(park, queue, queue->lane, &parked);
			if (own)
				kms_model_commit_outdated(source, &parked.event);
		}
		queue = next;
	}
}

void kms_model_session_begin(const struct kms_model_source *source, const struct kms_event *first)
{
	struct kms_model_target *target = source->target;

	forget_parked(source);
	forget_blocks(source);
	target->session = first->session;
	target->session_ns = first->time_ns;
	target->restarted = source->model->history.next;
	target->lost_before = kms_model_target_lost(source->model, target);
	target->changes++;
	source->model->sessions++;
	source->model->unknown_sessions++;
	kms_model_base_begun(source);
}

void kms_model_session_late(const struct kms_model_source *source, const struct kms_event *event)
{
	source->target->events[event->kind]++;
	if (event->kind <= KMS_EVENT_FREE)
		kms_model_commit_outdated(source, event);
	else if (event->kind == KMS_EVENT_LOST)
		source->target->lost_in_rings += event->value;
}
