/* SPDX-License-Identifier: BSD-2-Clause */
/* What an event does to the model when it is its turn; model_apply.c decides when that is. */
#ifndef KMS_TRACER_MODEL_COMMIT_H
#define KMS_TRACER_MODEL_COMMIT_H

#include "tracer/model_internal.h"

enum {
	KMS_MODEL_CONTESTED = 256,
};

/** Addresses with parked events whose turn may have come. More than fit wait for the deadline. */
struct kms_model_contested {
	size_t n;
	uint64_t address[KMS_MODEL_CONTESTED];
};

/** Did the event happen before its target was forked? Then it is no event of this target. */
static inline bool kms_model_is_inherited(const struct kms_model_source *source)
{
	return source->owner.target != source->target->id;
}

/** @live: the address's entry, or NULL. It may be another one afterwards. */
void kms_model_commit_alloc(const struct kms_model_source *source, const struct kms_event *event,
			    struct kms_live *live);
void kms_model_commit_free(const struct kms_model_source *source, const struct kms_event *event,
			   struct kms_live *live);

/** A block of the base comes into the figures, and goes out of them without having been freed. */
void kms_model_add_live(const struct kms_model_source *source, uint64_t bytes, uint16_t cache,
			uint32_t flags);
void kms_model_take_base(const struct kms_model_source *source, const struct kms_live *live);

/** Counts an event that others overtook: its block is gone, or it never mattered. */
void kms_model_commit_outdated(const struct kms_model_source *source,
			       const struct kms_event *event);

/** A slab was made or released. */
void kms_model_commit_slab(const struct kms_model_source *source, const struct kms_event *event,
			   struct kms_model_contested *contested);

#endif
