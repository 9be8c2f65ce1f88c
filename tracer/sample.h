/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The figures of a snapshot that a timeline has.
 */
#ifndef KMS_TRACER_SAMPLE_H
#define KMS_TRACER_SAMPLE_H

#include "schema/snapshot.h"

/** Of the whole run. */
static inline struct kms_view_sample kms_sample_of(const struct kms_snapshot *snapshot)
{
	const struct kms_view_stats *s = &snapshot->stats;
	struct kms_view_sample sample = {
		.time_ns = snapshot->time_ns,
		.live_bytes = s->live_bytes,
		.live_objects = s->live_objects,
		.allocs = s->allocs,
		.frees = s->frees,
		.alloc_rate = s->alloc_rate,
		.free_rate = s->free_rate,
		.faults = s->faults,
		.lost = s->lost,
	};

	for (size_t i = 0; i < snapshot->n_guards; i++) {
		sample.guard_used += snapshot->guard[i].s.used;
		sample.guard_depth += snapshot->guard[i].s.depth;
	}
	return sample;
}

/** Of the target at this place of the snapshot; all 0 but the time where nothing is known of it. */
static inline struct kms_view_sample kms_sample_of_target(const struct kms_snapshot *snapshot,
							  size_t index)
{
	const struct kms_view_stats *s =
		snapshot->target_stats ? &snapshot->target_stats[index] : NULL;
	struct kms_view_sample sample = {.time_ns = snapshot->time_ns};

	if (!s)
		return sample;
	sample.live_bytes = s->live_bytes;
	sample.live_objects = s->live_objects;
	sample.allocs = s->allocs;
	sample.frees = s->frees;
	sample.alloc_rate = s->alloc_rate;
	sample.free_rate = s->free_rate;
	sample.faults = s->faults;
	sample.lost = s->lost;
	for (size_t i = 0; i < snapshot->n_guards; i++) {
		if (snapshot->guard[i].target != snapshot->target[index].id)
			continue;
		sample.guard_used = snapshot->guard[i].s.used;
		sample.guard_depth = snapshot->guard[i].s.depth;
	}
	return sample;
}

#endif
