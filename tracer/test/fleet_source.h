/* SPDX-License-Identifier: BSD-2-Clause */
/* Runs that are known to the last number, and a fleet over two of them. */
#ifndef KMS_TRACER_TEST_FLEET_SOURCE_H
#define KMS_TRACER_TEST_FLEET_SOURCE_H

#include <stdatomic.h>

#include "schema/snapshot.h"
#include "tracer/fleet.h"
#include "tracer/stack_id.h"

enum {
	FLEET_SOURCE_TARGETS = 2,
	FLEET_SOURCE_EVENTS = 3,
	FLEET_SOURCE_ZERO_NS = 1000000,
	FLEET_SOURCE_NODE = 7,
};

/** A run: target t has t * scale bytes live, one leak, one fault, FLEET_SOURCE_EVENTS events. */
struct fleet_source {
	struct kms_snapshot s;
	struct kms_view_target target[FLEET_SOURCE_TARGETS];
	struct kms_view_cache cache[FLEET_SOURCE_TARGETS];
	struct kms_view_leak leak[FLEET_SOURCE_TARGETS];
	struct kms_view_fault fault[FLEET_SOURCE_TARGETS];
	struct kms_view_owner owner;
	struct kms_view_ops ops;
	uint64_t scale;
	atomic_int held;
	uint64_t variable;
	uint32_t variable_target;
	int variable_result;
	uint64_t wanted; /* of processes to come */
	uint64_t marks;
	uint64_t old_samples; /* at time 5, in front of the others */
	int mark_result;
	bool is_ending; /* events are not to be had */
};

/** A fleet with two runs, the second 1000 ns younger. */
struct fleet_bench {
	struct kms_fleet *fleet;
	struct kms_view view;
	struct fleet_source *source[2];
	uint32_t run[2];
};

/** A run whose live bytes are @scale, @offset_ns younger than the fleet. Owner: free() */
struct fleet_source *fleet_source_new(uint64_t scale, uint64_t offset_ns);

/** It as the source of a live run. */
struct kms_fleet_source fleet_source_live(struct fleet_source *source);

/** For cmocka: *state is a struct fleet_bench. */
int fleet_bench_setup(void **state);
int fleet_bench_teardown(void **state);

#endif
