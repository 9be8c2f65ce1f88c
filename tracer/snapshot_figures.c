/* SPDX-License-Identifier: BSD-2-Clause */
/* Totals and caches of a snapshot. What each figure means stands in schema/snapshot.h. */
#include "tracer/snapshot_build.h"

/* Returns what the rings' owners lost and no record says yet. */
static uint64_t add_rings(const struct kms_model *model, const struct kms_model_target *target,
			  struct kms_view_stats *stats)
{
	uint64_t untold = 0;

	for (size_t i = 0; i < model->n_ring_rows; i++) {
		const struct kms_model_ring_row *row = &model->ring_row[i];

		if (row->target != target->id)
			continue;
		stats->produced += row->produced + row->claim_produced;
		stats->lost += row->lost + row->claim_lost;
		untold += row->untold;
		if (!target->ended && row->fill > stats->ring_fill)
			stats->ring_fill = row->fill;
	}
	return untold;
}

/* How old the oldest event is that is not in the picture: in a batch, or parked out of its turn. */
static uint64_t lag_us(const struct kms_model *model)
{
	const struct kms_park_queue *oldest = kms_park_oldest(&model->park);
	uint64_t parked_us = oldest ? (model->batch_ns - oldest->since_ns) / 1000 : 0;

	return model->figures.lag_us > parked_us ? model->figures.lag_us : parked_us;
}

static struct kms_view_stats target_stats(const struct kms_model *model,
					  const struct kms_model_target *target)
{
	const struct kms_model_slot *slot = &target->slot_copy;
	struct kms_view_stats stats = {
		.live_bytes = target->live_bytes,
		.live_objects = target->live_objects,
		.peak_bytes = target->peak_bytes,
		.allocs = target->events[KMS_EVENT_ALLOC],
		.frees = target->events[KMS_EVENT_FREE],
		.failed = target->events[KMS_EVENT_ALLOC_FAILED],
		.alloc_rate = target->alloc_rate,
		.free_rate = target->free_rate,
		.faults = slot->lost_faults,
		.waits = slot->waits,
		.waited_ns = slot->waited_ns,
		.lag_us = lag_us(model),
		.db_bytes = model->figures.db_bytes,
		.ns_per_event = model->figures.ns_per_event,
	};
	uint64_t untold;

	for (size_t i = 0; i < model->n_faults; i++)
		stats.faults += model->fault[i].target == target->id;
	for (unsigned kind = 1; kind < KMS_EVENT_KINDS; kind++) {
		stats.events[kind] = target->events[kind];
		stats.stored += kind == KMS_EVENT_LOST ? 0 : target->events[kind];
	}
	untold = add_rings(model, target, &stats);
	stats.lost = kms_model_lost_of(target, stats.lost) + untold;
	stats.produced += slot->lost_unringed;
	if (stats.stored + stats.lost > stats.produced)
		stats.produced = stats.stored + stats.lost;
	return stats;
}

/* Has the target's last whole second gone by with the run's? */
static bool is_current(const struct kms_model *model, const struct kms_model_target *target,
		       uint64_t run_now)
{
	uint64_t at = kms_model_run_time(model, kms_model_image_find(model, target->image),
					 kms_model_target_now(model, target));

	return !target->ended || at + UINT64_C(1000000000) >= run_now;
}

static void add_stats(struct kms_view_stats *sum, const struct kms_view_stats *stats,
		      const struct kms_model_target *target, bool current)
{
	sum->live_bytes += stats->live_bytes - target->inherited_bytes;
	sum->live_objects += stats->live_objects - target->inherited_objects;
	sum->allocs += stats->allocs;
	sum->frees += stats->frees;
	sum->failed += stats->failed;
	sum->alloc_rate += current ? stats->alloc_rate : 0;
	sum->free_rate += current ? stats->free_rate : 0;
	sum->faults += stats->faults;
	for (unsigned kind = 0; kind < KMS_EVENT_KINDS; kind++)
		sum->events[kind] += stats->events[kind];
	sum->produced += stats->produced;
	sum->stored += stats->stored;
	sum->lost += stats->lost;
	if (stats->ring_fill > sum->ring_fill)
		sum->ring_fill = stats->ring_fill;
	sum->waits += stats->waits;
	sum->waited_ns += stats->waited_ns;
}

/* Was something lost that no new session has made good? */
static bool is_stale(const struct kms_model_target *target, const struct kms_view_stats *stats)
{
	return (target->state == KMS_STATE_RUNNING || target->state == KMS_STATE_STOPPED) &&
	       stats->lost > target->lost_before;
}

void kms_build_stats(struct kms_snapshot_build *build)
{
	struct kms_model *model = build->model;
	uint64_t run_now = build->out ? kms_model_run_now(model) : 0;
	struct kms_view_stats *row;
	struct kms_view_stats sum = {0};
	size_t n = 0;

	for (uint32_t id = 1; id <= model->top_target; id++) {
		const struct kms_model_target *target = kms_model_target_find(model, id);

		n += target && target->announced;
	}
	row = kms_build_take(build, n, sizeof(*row));
	if (!build->out)
		return;
	build->out->target_stats = row; /* in the order of build->out->target */
	n = 0;
	for (uint32_t id = 1; id <= model->top_target; id++) {
		struct kms_model_target *target = kms_model_target_find(model, id);
		struct kms_view_stats stats;

		if (!target)
			continue;
		kms_model_target_roll(target, kms_model_target_now(model, target));
		stats = target_stats(model, target);
		add_stats(&sum, &stats, target, is_current(model, target, run_now));
		if (!target->announced)
			continue;
		build->out->target[n].stale = is_stale(target, &stats);
		row[n++] = stats;
	}
	sum.peak_bytes = model->peak_bytes;
	sum.lag_us = lag_us(model);
	sum.db_bytes = model->figures.db_bytes;
	sum.ns_per_event = model->figures.ns_per_event;
	build->out->stats = sum;
}

static const struct kms_cache_stat *stat_of(const struct kms_model_target *target, size_t index)
{
	return index && index <= target->n_cache_stats ? &target->cache_stat[index - 1] : NULL;
}

/* Has the cache ever been used? */
static bool is_used(const struct kms_model_target *target, size_t index)
{
	const struct kms_cache_stat *stat = stat_of(target, index);
	const struct kms_model_cache *figures;

	if (stat && (stat->objects_total || stat->failed || stat->guarded_allocs))
		return true;
	if (index >= target->cache_room)
		return false;
	figures = &target->cache[index];
	return figures->allocs || figures->frees || figures->live;
}

static uint64_t minus(uint64_t a, uint64_t b)
{
	return a > b ? a - b : 0;
}

/* What slabs say: the blocks that are not live, and the bytes that are nobody's. */
static void add_stat(struct kms_view_cache *row, const struct kms_cache_stat *stat,
		     const struct kms_model_cache *figures)
{
	uint64_t in_slabs_live = minus(row->objects_live, figures->guarded);
	uint64_t bytes = stat->pages * KMS_PAGE_BYTES;
	uint64_t requested = minus(figures->live_bytes, figures->guarded_bytes);
	uint64_t unused = minus(stat->objects_total, in_slabs_live);

	row->objects_guarded = minus(stat->guarded_allocs, stat->guarded_frees);
	row->objects_total = stat->objects_total + row->objects_guarded;
	/* what is live is known from events, which are newer than the copy of the figures */
	if (row->objects_total < row->objects_live)
		row->objects_total = row->objects_live;
	row->objects_cached = minus(unused, stat->objects_in_slabs);
	row->slabs = stat->slabs;
	row->pages = stat->pages;
	row->failed = stat->failed;
	row->waste_bytes = minus(bytes, requested + unused * row->object_bytes);
	row->utilization = bytes ? (double)requested / (double)bytes : 0;
}

/* With events lost the counters are right and the events are not. */
static void add_counters(struct kms_view_cache *row, const struct kms_model_target *target,
			 size_t index)
{
	const struct kms_counter *counter =
		index && index <= target->n_cache_stats ? &target->counter[index - 1] : NULL;

	if (!counter || (!target->lost_in_rings && !target->slot_copy.lost_unringed) ||
	    counter->allocs < row->allocs)
		return;
	if (!target->parent || !target->slot_copy.fork_ns) {
		row->objects_live = minus(counter->allocs, counter->frees);
		row->live_bytes = minus(counter->alloc_bytes, counter->free_bytes);
	}
	row->allocs = counter->allocs;
	row->frees = counter->frees;
}

static struct kms_view_cache cache_view(struct kms_snapshot_build *build,
					const struct kms_model_target *target, size_t index)
{
	static const struct kms_model_cache nothing;
	const struct kms_model_cache *figures =
		index < target->cache_room ? &target->cache[index] : &nothing;
	const struct kms_model_image *image = kms_model_image_find(build->model, target->image);
	const struct kms_cache_entry *entry =
		index ? kms_model_cache_entry(image, (uint32_t)(index - 1)) : NULL;
	const struct kms_cache_stat *stat = stat_of(target, index);
	struct kms_view_cache row = {
		.target = target->id,
		.name = index ? kms_build_cache_name(build, target->image, (uint16_t)(index - 1))
			      : NULL,
		.object_bytes = entry ? entry->object_bytes : 0,
		.objects_live = figures->live,
		.objects_guarded = figures->guarded,
		.live_bytes = figures->live_bytes,
		.allocs = figures->allocs,
		.frees = figures->frees,
		.alloc_rate = figures->alloc_rate,
		.free_rate = figures->free_rate,
	};

	add_counters(&row, target, index);
	if (stat)
		add_stat(&row, stat, figures);
	if (!row.name)
		row.name = "(unknown)";
	return row;
}

static size_t cache_places(const struct kms_model_target *target)
{
	size_t stats = (size_t)target->n_cache_stats + 1;

	return stats > target->cache_room ? stats : target->cache_room;
}

void kms_build_caches(struct kms_snapshot_build *build)
{
	const struct kms_model *model = build->model;
	struct kms_view_cache *row = NULL;
	size_t n = 0;

	for (int fill = 0; fill <= 1; fill++) {
		if (fill) {
			row = kms_build_take(build, n, sizeof(*row));
			if (build->out) {
				build->out->n_caches = n;
				build->out->cache = row;
			}
		}
		for (uint32_t id = 1; id <= model->top_target; id++) {
			const struct kms_model_target *target = kms_model_target_find(model, id);

			for (size_t i = 0; target && i < cache_places(target); i++) {
				struct kms_view_cache view;

				if (!is_used(target, i))
					continue;
				n += !fill;
				if (!fill)
					continue;
				view = cache_view(build, target, i);
				if (row)
					*row++ = view;
			}
		}
	}
}
