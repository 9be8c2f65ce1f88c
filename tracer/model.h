/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The live model: what is allocated now, by site and by cache, kept from the same batches that the
 * store writes. One thread feeds; snapshots are immutable and may be read by any thread.
 */
#ifndef KMS_TRACER_MODEL_H
#define KMS_TRACER_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "schema/snapshot.h"
#include "tracer/batch.h"

struct kms_model;

/** A member that is 0 means its default. */
struct kms_model_config {
	uint64_t snapshot_ns; /* at most this old (default 100 ms) */
	uint32_t max_sites;   /* then folded by parent frame (default 100000) */
	const char *file;     /* path of the trace, copied; NULL none */
	/** How long an event waits for its predecessors, and a child for its parent, in batch time
	 * (default 200 ms). UINT64_MAX: until the end; for files, where time stands still. */
	uint64_t park_ns;
	size_t memory_bytes;     /* that the model keeps at most (default 200 MiB) */
	uint32_t max_parked;     /* events (default 262144) */
	uint32_t history_events; /* remembered for forks and owners of faults (default 131072) */
};

/** What others know and the picture shows. */
struct kms_model_figures {
	uint64_t db_bytes;
	uint64_t lag_us;
	double ns_per_event;
};

/** How the model fared; all since its start. */
struct kms_model_counts {
	uint64_t parked;        /* events that had to wait for their turn */
	uint64_t forced;        /* of those, applied without it: the deadline, or no room */
	uint64_t outdated;      /* forced ones that later events of the address had overtaken */
	uint64_t foreign;       /* frees of addresses that were not known to be allocated */
	uint64_t reopened;      /* allocations of addresses that were: their free was lost */
	uint64_t unkept;        /* blocks counted but not kept, for want of memory */
	uint64_t malformed;     /* blocks of records that ended in a malformed one */
	uint64_t forks;         /* children formed from their parent's past */
	uint64_t forks_forced;  /* of those, before all of the parent's events were there */
	bool children_lost;     /* some found no slot */
	uint64_t forks_inexact; /* of those, from a past longer gone than is remembered */
	uint64_t folded;        /* allocations counted at a folded site */
	size_t memory_bytes;    /* held now, snapshots not included */
	uint32_t sites;
};

/**
 * An empty model.
 * Owner:  kms_model_destroy() frees it; NULL without memory.
 */
struct kms_model *kms_model_create(const struct kms_model_config *config);

/** Frees a model; every snapshot must have been given back. NULL is allowed. */
void kms_model_destroy(struct kms_model *model);

/**
 * Applies a batch. Events out of turn are parked per address until their predecessors came.
 *
 * Shape:  tables, targets and slots are taken over first, then the blocks. The slots of a batch are
 *         copied before its rings are read, so that what a parent wrote before a fork is there when
 *         the child's slot is. A batch without anything but a time moves the clock on.
 * Errors: -ENOMEM: the batch is applied as far as possible; counts of events are whole
 */
int kms_model_feed(struct kms_model *model, const struct kms_batch *batch, struct kms_err *err);

/** Builds and publishes a snapshot if the last one is too old and differs, or @force. */
void kms_model_publish(struct kms_model *model, bool force);

/** For the next snapshot. Same thread as feed. */
void kms_model_set_figures(struct kms_model *model, const struct kms_model_figures *figures);

/** A finding whose address had owners, perhaps, that the model has forgotten. */
struct kms_model_owners_gap {
	size_t fault; /* for kms_model_owners_set() */
	uint32_t target;
	uint64_t address;
	uint64_t until_ns; /* run time: who got the address from then on came after the finding */
	size_t known;      /* owners that the model knows */
};

/** The next one from place *at on, which moves on; false at the end. Same thread as feed. */
bool kms_model_owners_gap(const struct kms_model *model, size_t *at,
			  struct kms_model_owners_gap *gap);

/** Sets all of its owners, oldest first; of very many the newest are kept. Errors: -ENOMEM */
int kms_model_owners_set(struct kms_model *model, size_t fault, const struct kms_view_owner *owner,
			 size_t n);

/** Is what happened in @target the past of @of, too? A child's address had its parent's owners. */
bool kms_model_is_past_of(const struct kms_model *model, uint32_t target, uint32_t of);

/** Same thread as feed. */
void kms_model_get_counts(const struct kms_model *model, struct kms_model_counts *counts);

/** Borrow the newest snapshot (any thread); give it back by kms_model_release. Never NULL. */
const struct kms_snapshot *kms_model_acquire(struct kms_model *model);
void kms_model_release(struct kms_model *model, const struct kms_snapshot *snapshot);

#endif
