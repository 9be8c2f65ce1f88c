/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * One view over many runs: what the daemon's API shows.
 *
 * Each run is a kms_view of its own (a live tracer, or the file that it left behind). Their numbers are
 * made unique here, and stay what they are as long as the fleet lives:
 *
 *	target, fault   the next free number when it is first seen, small enough to be typed
 *	stack           run << 44 | image << 22 | node
 *	event seq       run << 44 | seq: ordered by run, then as in the run
 *	times           since the fleet's zero, whatever the run's own zero is
 *
 * A picture of the fleet holds pictures of all runs, taken together: sums are sums over them.
 */
#ifndef KMS_TRACER_FLEET_H
#define KMS_TRACER_FLEET_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "schema/snapshot.h"

struct kms_fleet;

/** One run. The view is valid until kms_fleet_replace() or kms_fleet_remove() has returned. */
struct kms_fleet_source {
	struct kms_view view;
	bool is_live; /* variables can be set, targets stopped, and so on */
	/** What acquire() waits for, begun early so that all runs are waited for together; may be NULL. */
	uint64_t (*refresh_begin)(void *arg);
	void (*refresh_end)(void *arg, uint64_t number);
	/** Sets a variable in every process to come; NULL: the view's variable_set is asked. */
	void (*want)(void *arg, unsigned variable, uint64_t value);
	void *arg; /* of these functions */
};

/** Takes a process into the fleet; as kms_view_ops.attach. *run: the run that it became. */
typedef int kms_fleet_attach_fn(void *arg, const char *who, const char *what, bool stopped,
				uint32_t *run, struct kms_err *err);

/**
 * A fleet without runs.
 *
 * Shape:  zero_wall_ns: time 0 of its pictures; 0: now
 * Owner:  kms_fleet_destroy() frees it; NULL without memory.
 */
struct kms_fleet *kms_fleet_create(uint64_t zero_wall_ns);

/** Every run was removed, every picture given back. NULL is allowed. */
void kms_fleet_destroy(struct kms_fleet *fleet);

/** How processes are attached; before the view is used. Without it attach is not supported. */
void kms_fleet_set_attach(struct kms_fleet *fleet, kms_fleet_attach_fn *attach, void *arg);

/** The view; valid until kms_fleet_destroy(). Its functions may be called from any thread. */
struct kms_view kms_fleet_view(struct kms_fleet *fleet);

/**
 * Adds a run. What was asked of all targets of the fleet is asked of it, too.
 * Shape:  *number: the run's, from 1; never used again
 * Errors: -ENOMEM, -ENOSPC (a million runs)
 */
int kms_fleet_add(struct kms_fleet *fleet, const struct kms_fleet_source *source, uint32_t *number,
		  struct kms_err *err);

/** Shows a run by another source from now on; returns when nobody uses the old one. Errors: -ENOMEM */
int kms_fleet_replace(struct kms_fleet *fleet, uint32_t number,
		      const struct kms_fleet_source *source, struct kms_err *err);

/** Takes a run out; returns when nobody uses its source. */
void kms_fleet_remove(struct kms_fleet *fleet, uint32_t number);

/** The fleet's number of a target of run @number, from its first picture on; 0: not known yet. */
uint32_t kms_fleet_target(struct kms_fleet *fleet, uint32_t number, uint32_t target);

#endif
