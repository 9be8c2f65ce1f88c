/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The live model: what is allocated now, by site and by cache, kept from the same batches that the
 * store writes. One thread feeds; snapshots are immutable and may be read by any thread.
 */
#ifndef KMS_TRACER_MODEL_H
#define KMS_TRACER_MODEL_H

#include "base/err.h"
#include "schema/snapshot.h"
#include "tracer/batch.h"

struct kms_model;

/** Symbol lookup for leak ids and evidence; see tracer/symbols.h. NULL in tests. */
struct kms_model_config {
	uint64_t snapshot_ns; /* at most this old (default 100 ms) */
	uint32_t max_sites;   /* then folded by parent frame (default 100000) */
	const char *file;
};

struct kms_model *kms_model_create(const struct kms_model_config *config);
void kms_model_destroy(struct kms_model *model);

/** Applies a batch. Events out of turn are parked per address until their predecessors came. */
int kms_model_feed(struct kms_model *model, const struct kms_batch *batch, struct kms_err *err);

/** Builds and publishes a snapshot if the last one is too old, or @force. */
void kms_model_publish(struct kms_model *model, bool force);

/** Borrow the newest snapshot (any thread); give it back by kms_model_release. */
const struct kms_snapshot *kms_model_acquire(struct kms_model *model);
void kms_model_release(struct kms_model *model, const struct kms_snapshot *snapshot);

#endif
