/* SPDX-License-Identifier: BSD-2-Clause */
/* Sums over targets: see sum.h. */
#include "server/sum.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

bool kms_target_is_live(const struct kms_snapshot *snapshot, uint32_t target)
{
	for (size_t i = 0; i < snapshot->n_targets; i++)
		if (snapshot->target[i].id == target)
			return snapshot->target[i].state == KMS_STATE_RUNNING ||
			       snapshot->target[i].state == KMS_STATE_STOPPED;
	return false;
}

/* What a FIFO holds now, and how deep it is. */
static void add_contents(struct kms_guard_sum *sum, const struct kms_view_guard *row)
{
	struct kms_guard_stat *s = &sum->s;

	s->depth_requested = max_u64(s->depth_requested, row->s.depth_requested);
	s->depth = max_u64(s->depth, row->s.depth);
	s->used += row->s.used;
	s->bytes += row->s.bytes;
	s->pages += row->s.pages;
	s->live += row->s.live;
	s->maps_used += row->s.maps_used;
	s->maps_max = max_u64(s->maps_max, row->s.maps_max);
	sum->pending |= row->pending;
	sum->oldest_age_us = max_u64(sum->oldest_age_us, row->oldest_age_us);
	if (row->s.used && (!sum->window_frees || row->window_frees < sum->window_frees))
		sum->window_frees = row->window_frees;
	if (s->limited_by == KMS_LIMITED_NONE)
		s->limited_by = row->s.limited_by;
	if (s->backend && row->s.backend && s->backend != row->s.backend)
		sum->mixed_backend = true;
	if (!s->backend)
		s->backend = row->s.backend;
}

void kms_sum_guard(const struct kms_snapshot *snapshot, uint32_t target, struct kms_guard_sum *sum)
{
	const struct kms_view_guard *row;
	bool any_live = false;

	memset(sum, 0, sizeof(*sum));
	for (size_t i = 0; i < snapshot->n_guards; i++)
		any_live |= kms_target_is_live(snapshot, snapshot->guard[i].target);
	for (size_t i = 0; i < snapshot->n_guards; i++) {
		row = &snapshot->guard[i];
		if (target && row->target != target)
			continue;
		sum->s.frees += row->s.frees;
		sum->s.evictions += row->s.evictions;
		sum->s.unguarded += row->s.unguarded;
		if (target || !any_live || kms_target_is_live(snapshot, row->target))
			add_contents(sum, row);
	}
}

void kms_sum_cache(struct kms_view_cache *sum, const struct kms_view_cache *row)
{
	/* live bytes include those of guarded blocks, which are in no page of the cache */
	double used_pages = sum->utilization * (double)sum->pages;

	sum->object_bytes = max_u64(sum->object_bytes, row->object_bytes);
	sum->objects_live += row->objects_live;
	sum->objects_cached += row->objects_cached;
	sum->objects_guarded += row->objects_guarded;
	sum->objects_total += row->objects_total;
	sum->slabs += row->slabs;
	used_pages += row->utilization * (double)row->pages;
	sum->pages += row->pages;
	sum->waste_bytes += row->waste_bytes;
	sum->live_bytes += row->live_bytes;
	sum->allocs += row->allocs;
	sum->frees += row->frees;
	sum->failed += row->failed;
	sum->alloc_rate += row->alloc_rate;
	sum->free_rate += row->free_rate;
	sum->utilization = sum->pages ? used_pages / (double)sum->pages : 0;
}

static void add_rings(const struct kms_snapshot *snapshot, uint32_t target,
		      struct kms_view_stats *stats)
{
	for (size_t i = 0; i < snapshot->n_rings; i++) {
		if (snapshot->ring[i].target != target)
			continue;
		stats->produced += snapshot->ring[i].produced;
		stats->stored += snapshot->ring[i].stored;
		stats->lost += snapshot->ring[i].lost;
	}
}

const struct kms_view_stats *kms_stats_of(const struct kms_snapshot *snapshot, uint32_t target)
{
	for (size_t i = 0; snapshot->target_stats && i < snapshot->n_targets; i++)
		if (snapshot->target[i].id == target)
			return &snapshot->target_stats[i];
	return NULL;
}

void kms_sum_stats(const struct kms_snapshot *snapshot, uint32_t target,
		   struct kms_view_stats *stats, bool *peak_known)
{
	const struct kms_view_stats *own = kms_stats_of(snapshot, target);
	const struct kms_view_cache *cache;

	*stats = snapshot->stats;
	*peak_known = true;
	if (!target || (snapshot->n_targets == 1 && snapshot->target[0].id == target))
		return;
	/* What belongs to the tracer stays: lag, file, cost. */
	*peak_known = own != NULL;
	stats->ring_fill = own ? own->ring_fill : 0;
	stats->waits = own ? own->waits : 0;
	stats->waited_ns = own ? own->waited_ns : 0;
	stats->live_bytes = stats->live_objects = stats->peak_bytes = 0;
	stats->allocs = stats->frees = stats->failed = 0;
	stats->alloc_rate = stats->free_rate = stats->faults = 0;
	stats->produced = stats->stored = stats->lost = 0;
	for (size_t i = 0; i < snapshot->n_caches; i++) {
		cache = &snapshot->cache[i];
		if (cache->target != target)
			continue;
		stats->live_bytes += cache->live_bytes;
		stats->live_objects += cache->objects_live;
		stats->allocs += cache->allocs;
		stats->frees += cache->frees;
		stats->failed += cache->failed;
		stats->alloc_rate += cache->alloc_rate;
		stats->free_rate += cache->free_rate;
	}
	for (size_t i = 0; i < snapshot->n_faults; i++)
		stats->faults += snapshot->fault[i].target == target;
	if (own)
		stats->peak_bytes = max_u64(own->peak_bytes, stats->live_bytes);
	add_rings(snapshot, target, stats);
}

int kms_sum_caches(const struct kms_snapshot *snapshot, uint32_t target,
		   struct kms_view_cache **rows, size_t *n_rows)
{
	struct kms_view_cache *sums = calloc(snapshot->n_caches + 1, sizeof(*sums));
	const struct kms_view_cache *row;
	size_t n = 0;
	size_t at;

	if (!sums)
		return -ENOMEM;
	for (size_t i = 0; i < snapshot->n_caches; i++) {
		row = &snapshot->cache[i];
		if (target && target != row->target)
			continue;
		for (at = 0; at < n && strcmp(sums[at].name, row->name) != 0; at++)
			;
		if (at == n)
			sums[n++].name = row->name;
		kms_sum_cache(&sums[at], row);
	}
	*rows = sums;
	*n_rows = n;
	return 0;
}
