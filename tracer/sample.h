/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The figures of a snapshot that a timeline has.
 */
#ifndef KMS_TRACER_SAMPLE_H
#define KMS_TRACER_SAMPLE_H

#include "schema/snapshot.h"

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

#endif
