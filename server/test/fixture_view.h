/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A view with made-up content for tests: three targets (a Python-like one that exited, its fork that
 * runs, and one with hostile names), caches, guards, leaks, faults of every kind, 2,500 events, live
 * blocks, slabs, samples, marks and an audit.
 */
#ifndef KMS_SERVER_TEST_FIXTURE_VIEW_H
#define KMS_SERVER_TEST_FIXTURE_VIEW_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "schema/record.h"
#include "schema/snapshot.h"

enum {
	FIXTURE_TARGETS = 3,
	FIXTURE_CACHES = 9,
	FIXTURE_GUARDS = 3,
	FIXTURE_LEAKS = 6,
	FIXTURE_FAULTS = KMS_FAULT_KINDS - 1, /* one of each kind */
	FIXTURE_RINGS = 4,
	FIXTURE_EVENTS = 2500,
	FIXTURE_OWNERS = 120,
	FIXTURE_BLOCKS = 50, /* half of them of target 2 */
	FIXTURE_SLABS = 7,   /* of each cache and target */
	FIXTURE_SAMPLES = 5000,
	FIXTURE_MARKS = 3,
	FIXTURE_GAINS = 9,
	FIXTURE_AUDITS = 11,
};

/* Memory of target 2, the one that runs. */
#define FIXTURE_MEMORY UINT64_C(0x7f3c00050000)

enum {
	FIXTURE_MEMORY_BYTES = 0x2100, /* the last page is short */
};

/* stack ids */
enum {
	FIXTURE_STACK_LEAK = 11,
	FIXTURE_STACK_ACCESS = 12,
	FIXTURE_STACK_ALLOC = 13,
	FIXTURE_STACK_FREE = 14,
	FIXTURE_STACK_BARE = 15,    /* no symbols */
	FIXTURE_STACK_HOSTILE = 16, /* names with control bytes */
	FIXTURE_STACK_MISSING = 99, /* not available */
};

struct fixture {
	pthread_mutex_t lock; /* between fixture_change() and requests in other threads */
	struct kms_snapshot snapshot;
	struct kms_view_target target[FIXTURE_TARGETS];
	struct kms_view_cache cache[FIXTURE_CACHES];
	struct kms_view_guard guard[FIXTURE_GUARDS];
	struct kms_view_leak leak[FIXTURE_LEAKS];
	struct kms_view_leak_cache leak_cache[FIXTURE_LEAKS][2];
	struct kms_view_fault fault[FIXTURE_FAULTS];
	struct kms_view_owner owner[FIXTURE_OWNERS];
	struct kms_view_ring ring[FIXTURE_RINGS];
	struct kms_view_ops ops;
	struct kms_view view;
	atomic_int borrowed; /* snapshots out: 0 between requests */
	atomic_int stacks;   /* stacks out */
	uint64_t depth;      /* last kmem_guard_depth written */
	uint32_t depth_target;
	bool refuse_writes;
	bool stopped[FIXTURE_TARGETS];
	char who[64];         /* of the last write */
	char mark[128];       /* that was set last, number FIXTURE_MARKS + 1; "" none */
	unsigned int slow_ms; /* events() takes this long */
	atomic_uint asked;    /* stacks asked for so far */
};

/** Fills @fixture; @live: it runs and takes writes, else it is a finished trace. */
void fixture_init(struct fixture *fixture, bool live);

/** Adds attach and detach. */
void fixture_attach_init(struct fixture *f);

/** What changes in the documents of one topic each. */
enum fixture_change {
	FIXTURE_STATS,  /* another allocation */
	FIXTURE_GUARD,  /* another free that the FIFO holds */
	FIXTURE_LEAK,   /* another leaked block */
	FIXTURE_MOMENT, /* nothing: the snapshot is a later one */
};

/** Makes a later snapshot with a change; from any thread. */
void fixture_change(struct fixture *fixture, enum fixture_change change);

#endif
