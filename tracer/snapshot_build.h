/* SPDX-License-Identifier: BSD-2-Clause */
/* What the files that build a snapshot share. */
#ifndef KMS_TRACER_SNAPSHOT_BUILD_H
#define KMS_TRACER_SNAPSHOT_BUILD_H

#include "tracer/model_internal.h"

/** A snapshot under construction. */
struct kms_snapshot_build {
	struct kms_model *model;
	struct kms_snapshot_arena *arena; /* NULL while the room is counted */
	struct kms_snapshot *out;         /* likewise */
	size_t bytes;                     /* the room */
	const char **cache_name;          /* [image * KMS_MAX_CACHES + cache] */
};

/** Counts room for @n elements of @element_bytes, or takes it. NULL while counting, or for none. */
void *kms_build_take(struct kms_snapshot_build *build, size_t n, size_t element_bytes);

/** The same for a string of at most @limit bytes. */
const char *kms_build_string(struct kms_snapshot_build *build, const char *text, size_t limit);

/** Name of a cache, kept once; NULL unknown. */
const char *kms_build_cache_name(struct kms_snapshot_build *build, uint32_t image, uint16_t cache);

/*
 * Each is called twice: to count its room, then to fill in its part.
 */
void kms_build_leaks(struct kms_snapshot_build *build);
void kms_build_caches(struct kms_snapshot_build *build);
void kms_build_stats(struct kms_snapshot_build *build);

#endif
