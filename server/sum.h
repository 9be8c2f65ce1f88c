/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sums over the targets of a run: what a client gets that names no target.
 */
#ifndef KMS_SERVER_SUM_H
#define KMS_SERVER_SUM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "schema/snapshot.h"

/**
 * Guard figures of one target, or of the run.
 *
 * Contents (used, bytes, pages, live, maps) and depths are those of the targets that still live, or
 * of all if none does; counters (frees, evictions, unguarded) are of all. Depths and the oldest age
 * are the largest, the window is the smallest of a FIFO that holds something: what is promised for
 * every target.
 */
struct kms_guard_sum {
	struct kms_guard_stat s;
	uint64_t oldest_age_us;
	uint64_t window_frees;
	bool pending;
	bool mixed_backend; /* the targets use different ones */
};

/** Sums up the guard rows of a target, 0 all. All zero if there are none. */
void kms_sum_guard(const struct kms_snapshot *snapshot, uint32_t target, struct kms_guard_sum *sum);

/** Adds the figures of a cache row to @sum, whose name and target stay; utilization anew. */
void kms_sum_cache(struct kms_view_cache *sum, const struct kms_view_cache *row);

/** A target's own statistics; NULL: the snapshot has none of it. */
const struct kms_view_stats *kms_stats_of(const struct kms_snapshot *snapshot, uint32_t target);

/**
 * The statistics of one target, from the rows that name it; 0: those of the run.
 *
 * @peak_known is false for one of several targets in a snapshot without target_stats.
 */
void kms_sum_stats(const struct kms_snapshot *snapshot, uint32_t target,
		   struct kms_view_stats *stats, bool *peak_known);

/**
 * Sums cache rows of one name into one row, whose target is 0.
 *
 * Shape:  target 0: rows of all targets; names are the snapshot's
 * Owner:  the caller frees *rows
 * Errors: -ENOMEM
 */
int kms_sum_caches(const struct kms_snapshot *snapshot, uint32_t target,
		   struct kms_view_cache **rows, size_t *n_rows);

/** Whether a target still runs or stands still. */
bool kms_target_is_live(const struct kms_snapshot *snapshot, uint32_t target);

#endif
