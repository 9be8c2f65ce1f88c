/* SPDX-License-Identifier: BSD-2-Clause */
/* What the snapshot of the tests' view has in it: see fixture_view.h. */
#include "server/test/fixture_content.h"

#include <stdio.h>

#include "schema/spans.h"

static const uint64_t heap = FIXTURE_HEAP;
static const uint64_t wall = FIXTURE_WALL_NS;

static void fill_targets(struct fixture *f, bool live)
{
	f->target[0] = (struct kms_view_target){.id = 1,
						.pid = 4242,
						.state = KMS_STATE_EXITED,
						.kind = KMS_TARGET_PROCESS,
						.exit_status = 3 << 8,
						.name = "python3",
						.command = "python3 app.py --port 8080",
						.start_wall_ns = wall,
						.end_wall_ns = wall + 9000000000u};
	f->target[1] =
		(struct kms_view_target){.id = 2,
					 .parent = 1,
					 .pid = 4243,
					 .state = live ? KMS_STATE_STOPPED : KMS_STATE_EXITED,
					 .stop_reason = live ? KMS_STOP_FAULT : KMS_STOP_NONE,
					 .stop_fault = live ? 3 : 0,
					 .stale = live,
					 .kind = KMS_TARGET_PROCESS,
					 .exit_status = live ? -1 : 9,
					 .name = "python3",
					 .command = "python3 app.py --port 8080",
					 .start_wall_ns = wall + 2000000000u};
	f->target[2] = (struct kms_view_target){.id = 3,
						.parent = 1,
						.pid = 4244,
						.state = KMS_STATE_LOST,
						.kind = KMS_TARGET_PROCESS,
						.exit_status = -1,
						.name = FIXTURE_HOSTILE,
						.command = FIXTURE_HOSTILE,
						.start_wall_ns = wall + 3000000000u};
}

static void fill_caches(struct fixture *f)
{
	static const char *const names[3] = {"malloc-48", "malloc-64", "malloc-pages"};
	static const uint64_t sizes[3] = {48, 64, 4096};
	struct kms_view_cache *cache;

	for (unsigned int i = 0; i < FIXTURE_CACHES; i++) {
		cache = &f->cache[i];
		*cache = (struct kms_view_cache){.target = i / 3 + 1,
						 .name = names[i % 3],
						 .object_bytes = sizes[i % 3],
						 .objects_live = 1000 + i,
						 .objects_cached = 10,
						 .objects_guarded = i,
						 .objects_total = 1280,
						 .slabs = 20,
						 .pages = 20,
						 .waste_bytes = 1024,
						 .live_bytes = (1000 + i) * sizes[i % 3] / 2,
						 .allocs = 500000 + i,
						 .frees = 499000,
						 .failed = i,
						 .alloc_rate = 1200,
						 .free_rate = 1100};
		cache->utilization = (double)cache->live_bytes / (double)(cache->pages * 4096);
	}
	f->cache[8].name = FIXTURE_HOSTILE;
}

static void fill_guards(struct fixture *f)
{
	for (uint32_t i = 0; i < FIXTURE_GUARDS; i++)
		f->guard[i] = (struct kms_view_guard){
			.target = i + 1,
			.oldest_age_us = 1500000,
			.window_frees = 1204 + i,
			.s = {.depth_requested = 30000,
			      .depth = 30208,
			      .used = 1204,
			      .bytes = 1204 * 8192,
			      .pages = 2408,
			      .live = 17,
			      .frees = 40000,
			      .evictions = 12,
			      .unguarded = 3,
			      .maps_used = 60,
			      .maps_max = 65530,
			      .limited_by = KMS_LIMITED_DEPTH,
			      .backend = KMS_GUARD_UFFD}
                };
}

static void fill_leaks(struct fixture *f)
{
	static const uint64_t stacks[FIXTURE_LEAKS] = {FIXTURE_STACK_LEAK,    FIXTURE_STACK_ALLOC,
						       FIXTURE_STACK_BARE,    FIXTURE_STACK_HOSTILE,
						       FIXTURE_STACK_MISSING, FIXTURE_STACK_LEAK};
	struct kms_view_leak *leak;

	for (unsigned int i = 0; i < FIXTURE_LEAKS; i++) {
		leak = &f->leak[i];
		*leak = (struct kms_view_leak){
			.target = i == 5 ? 2 : 1,
			.stack_id = stacks[i],
			.cache = "malloc-48",
			.bytes = 48000 / (i + 1),
			.count = 1000 / (i + 1),
			.age_p50_us = 3200000,
			.allocs = 1000,
			.score = 97 - 20.0 * (i >> 1),
			.state = i == 4 ? "suppressed" : "open",
			.evidence = {.growth_bytes_per_s = 1234.5,
				     .age_over_lifetime = i * 2.5,
				     .freed = i * 7,
				     .never_freed = i == 0,
				     .at_exit = i < 2}
                };
		/* every second one of two sizes */
		leak->n_caches = 1 + i % 2;
		leak->caches = f->leak_cache[i];
		leak->caches[0] =
			(struct kms_view_leak_cache){"malloc-48", leak->bytes, leak->count};
		if (leak->n_caches == 2) {
			leak->caches[1] = (struct kms_view_leak_cache){"malloc-64", 60, 1};
			leak->caches[0].bytes -= 60;
			leak->caches[0].count--;
		}
		snprintf(leak->id, sizeof(leak->id), "%016x", 0x5eed0000 + i % 5);
	}
}

static void fill_fault(struct kms_view_fault *fault, uint32_t kind)
{
	struct kms_fault *raw = &fault->raw;

	fault->target = 1 + kind % 2;
	fault->id = kind;
	fault->cache = "malloc-64";
	fault->thread_name = kind == KMS_FAULT_UNDERFLOW ? FIXTURE_HOSTILE : "worker";
	fault->tid = 4250;
	fault->stack_id = FIXTURE_STACK_ACCESS;
	fault->alloc_stack_id = FIXTURE_STACK_ALLOC;
	raw->kind = kind;
	raw->access = KMS_ACCESS_WRITE;
	raw->time_ns = UINT64_C(1000000) * kind;
	raw->block = heap + 0x1000;
	raw->block_bytes = 60;
	raw->address = raw->block + 60;
	raw->argument_bytes = 48;
	raw->expected = 0xa5;
	raw->found = 0x41;
	raw->block_state = KMS_BLOCK_LIVE;
	raw->neighbour[0] = raw->block - 64;
	raw->neighbour_bytes[0] = 50;
	raw->neighbour_state[0] = KMS_BLOCK_FREE;
	raw->bytes_address = raw->block + 8;
	raw->bytes_count = 96;
	for (unsigned int i = 0; i < 96; i++)
		raw->bytes[i] = (uint8_t)(i + 0x30);
	snprintf(raw->text, sizeof(raw->text), "kmem: message of kind %u", kind);
}

static void fill_faults(struct fixture *f)
{
	struct kms_view_fault *uaf = &f->fault[KMS_FAULT_USE_AFTER_FREE - 1];

	for (uint32_t kind = 1; kind <= FIXTURE_FAULTS; kind++)
		fill_fault(&f->fault[kind - 1], kind);
	uaf->raw.access = KMS_ACCESS_READ;
	uaf->raw.address = uaf->raw.block + 16;
	uaf->raw.block_state = KMS_BLOCK_QUARANTINE;
	uaf->raw.expected = uaf->raw.found = 0;
	uaf->raw.hits = 2;
	uaf->free_stack_id = FIXTURE_STACK_FREE;
	uaf->n_owners = FIXTURE_OWNERS;
	uaf->owner = f->owner;
	for (unsigned int i = 0; i < FIXTURE_OWNERS; i++)
		f->owner[i] =
			(struct kms_view_owner){.alloc_ns = UINT64_C(900000) - i * 1000,
						.free_ns = i ? UINT64_C(900500) - i * 1000 : 0,
						.bytes = 60,
						.alloc_stack_id = FIXTURE_STACK_ALLOC,
						.free_stack_id = i ? FIXTURE_STACK_FREE : 0,
						.thread = 4250};
	f->fault[KMS_FAULT_UNDERFLOW - 1].raw.address = heap + 0x1000 - 1;
	f->fault[KMS_FAULT_INVALID_FREE - 1].raw.block = 0;
	f->fault[KMS_FAULT_WRONG_CONTEXT - 1].raw.level = KMS_LEVEL_HARDINT;
	f->fault[KMS_FAULT_NULL_FREE - 1].stack_id = FIXTURE_STACK_MISSING;
	f->fault[KMS_FAULT_NULL_FREE - 1].alloc_stack_id = 0;
}

static void fill_stats(struct fixture *f)
{
	f->snapshot.stats = (struct kms_view_stats){.live_bytes = 12400000,
						    .live_objects = 9036,
						    .peak_bytes = 19100000,
						    .allocs = 4500036,
						    .frees = 4491000,
						    .failed = 36,
						    .alloc_rate = 10800,
						    .free_rate = 9900,
						    .faults = FIXTURE_FAULTS,
						    .produced = 9000000,
						    .stored = 8999958,
						    .lost = 42,
						    .ring_fill = 0.03,
						    .waits = 2,
						    .waited_ns = 1500000,
						    .lag_us = 1200,
						    .db_bytes = 41 << 20,
						    .ns_per_event = 23.5};
	f->snapshot.stats.events[KMS_EVENT_ALLOC] = 4500036;
	f->snapshot.stats.events[KMS_EVENT_FREE] = 4491000;
	f->snapshot.stats.events[KMS_EVENT_LOST] = 1;
}

void fixture_fill(struct fixture *f, bool live)
{
	struct kms_snapshot *s = &f->snapshot;

	fill_targets(f, live);
	fill_caches(f);
	fill_guards(f);
	fill_leaks(f);
	fill_faults(f);
	fill_stats(f);
	for (uint32_t i = 0; i < FIXTURE_RINGS; i++)
		f->ring[i] = (struct kms_view_ring){i < 2 ? 1 : i, i ? i : KMS_VIEW_NO_RING, 1000,
						    990, 10};
	s->seq = 7497;
	s->time_ns = UINT64_C(12000000000);
	s->wall_ns = wall;
	s->finished = !live;
	s->file = "/tmp/kmemscope.python3.4242.kms";
	s->n_targets = FIXTURE_TARGETS;
	s->target = f->target;
	s->n_caches = FIXTURE_CACHES;
	s->cache = f->cache;
	s->n_guards = FIXTURE_GUARDS;
	s->guard = f->guard;
	s->n_leaks = FIXTURE_LEAKS;
	s->leak = f->leak;
	s->n_faults = FIXTURE_FAULTS;
	s->fault = f->fault;
	s->n_rings = FIXTURE_RINGS;
	s->ring = f->ring;
}
