/* SPDX-License-Identifier: BSD-2-Clause */
/* Content for tests: see fixture_view.h. */
#include "server/test/fixture_view.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "schema/spans.h"
#include "schema/variables.h"

#define HOSTILE "</script>\x1b]52;c;\x07\"\\\n\xff\xe2\x80\xae<img src=x>"

static const uint64_t heap = UINT64_C(0x7f3c00040000);
static const uint64_t wall = UINT64_C(1790000000123456789);

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
						.name = HOSTILE,
						.command = HOSTILE,
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
	f->cache[8].name = HOSTILE;
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
		snprintf(leak->id, sizeof(leak->id), "%016x", 0x5eed0000 + i % 5);
	}
}

static void fill_fault(struct kms_view_fault *fault, uint32_t kind)
{
	struct kms_fault *raw = &fault->raw;

	fault->target = 1 + kind % 2;
	fault->id = kind;
	fault->cache = "malloc-64";
	fault->thread_name = kind == KMS_FAULT_UNDERFLOW ? HOSTILE : "worker";
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

/* A snapshot that was given out, with copies of what fixture_change() writes to. */
struct picture {
	struct kms_snapshot snapshot; /* first: release() gets its address */
	struct kms_view_guard guard[FIXTURE_GUARDS];
	struct kms_view_leak leak[FIXTURE_LEAKS];
};

static const struct kms_snapshot *acquire(void *ctx)
{
	struct fixture *f = ctx;
	struct picture *picture = malloc(sizeof(*picture));

	if (!picture)
		abort();
	atomic_fetch_add(&f->borrowed, 1);
	pthread_mutex_lock(&f->lock);
	picture->snapshot = f->snapshot;
	memcpy(picture->guard, f->guard, sizeof(f->guard));
	memcpy(picture->leak, f->leak, sizeof(f->leak));
	pthread_mutex_unlock(&f->lock);
	if (picture->snapshot.guard)
		picture->snapshot.guard = picture->guard;
	if (picture->snapshot.leak)
		picture->snapshot.leak = picture->leak;
	return &picture->snapshot;
}

static void release(void *ctx, const struct kms_snapshot *snapshot)
{
	struct fixture *f = ctx;

	free((void *)snapshot); /* NOLINT(cast-qual): it is ours */
	atomic_fetch_sub(&f->borrowed, 1);
}

void fixture_change(struct fixture *f, enum fixture_change change)
{
	pthread_mutex_lock(&f->lock);
	f->snapshot.seq++;
	f->snapshot.time_ns += 1000000;
	f->snapshot.stats.allocs += change == FIXTURE_STATS;
	f->guard[1].s.frees += change == FIXTURE_GUARD;
	f->leak[0].count += change == FIXTURE_LEAK;
	pthread_mutex_unlock(&f->lock);
}

#define LEAKY "/opt/app/leaky"

/* Frames by stack id. */
/* clang-format off: it would align columns that are not there */
static const struct {
	uint64_t id;
	size_t n;
	struct kms_view_frame frame[3];
} stacks[] = {
	{FIXTURE_STACK_LEAK,
	 3,			{{0x7f0000001010, "/usr/lib/libkmem_malloc.so", 0x1010, "malloc", NULL, 0, false},
	  {0x555500001234, LEAKY, 0x1234, "leak_one", "leaky.c", 12, true},
	  {0x555500001250, LEAKY, 0x1250, "main", "leaky.c", 40, false}}                  },
	{FIXTURE_STACK_ACCESS,
	 2,			{{0x555500002234, LEAKY, 0x2234, "consume", "uaf.c", 31, false},
	  {0x555500001250, LEAKY, 0x1250, "main", "uaf.c", 50, false}}                    },
	{FIXTURE_STACK_ALLOC,
	 2,			{{0x555500003234, LEAKY, 0x3234, "make_node", "uaf.c", 10, false},
	  {0x555500001250, LEAKY, 0x1250, "main", "uaf.c", 48, false}}                    },
	{FIXTURE_STACK_FREE,    1, {{0x555500004234, LEAKY, 0x4234, "drop_node", "uaf.c", 20, false}}},
	{FIXTURE_STACK_BARE,
	 2,			{{0x7f0000002010, "/usr/bin/python3.11", 0x2010, NULL, NULL, 0, false},
	  {0xffff8000deadb000, NULL, 0, NULL, NULL, 0, false}}                            },
	{FIXTURE_STACK_HOSTILE, 1, {{0x1000, HOSTILE, 0x10, HOSTILE, HOSTILE, 1, false}}             },
};

/* clang-format on */

static int stack(void *ctx, uint64_t stack_id, struct kms_view_stack *out, struct kms_err *err)
{
	struct fixture *f = ctx;

	atomic_fetch_add(&f->asked, 1);
	for (size_t i = 0; i < sizeof(stacks) / sizeof(stacks[0]); i++) {
		if (stacks[i].id != stack_id)
			continue;
		out->n_frames = stacks[i].n;
		out->cut = stack_id == FIXTURE_STACK_BARE;
		out->frame = malloc(sizeof(stacks[i].frame));
		if (!out->frame)
			return kms_err_set(err, -ENOMEM, "out of memory");
		memcpy(out->frame, stacks[i].frame, sizeof(stacks[i].frame));
		atomic_fetch_add(&f->stacks, 1);
		return 0;
	}
	return kms_err_set(err, -ENOENT, "not in the trace");
}

static void stack_free(void *ctx, struct kms_view_stack *s)
{
	struct fixture *f = ctx;

	free(s->frame);
	atomic_fetch_sub(&f->stacks, 1);
}

/* Event number i of the run: allocs and frees in turn, every 100th a check. */
static struct kms_view_event make_event(uint64_t i)
{
	struct kms_view_event event = {.seq = i * 3,
				       .time_ns = i * 1000,
				       .address = heap + i % 64 * 64,
				       .size = 40 + i % 8,
				       .stack_id = i % 2 ? FIXTURE_STACK_FREE : FIXTURE_STACK_ALLOC,
				       .kind = i % 2 ? KMS_EVENT_FREE : KMS_EVENT_ALLOC,
				       .flags = KMS_CHECK_SIZE | KMS_CHECK_REDZONE |
						(i % 2 ? 0 : KMS_ATTR_ZERO),
				       .target = 1 + (uint32_t)(i % 2),
				       .tid = 4250,
				       .cache = "malloc-48"};

	if (i % 100 == 0)
		event.kind = KMS_EVENT_CHECK;
	return event;
}

static bool wanted(const struct kms_view_event *event, const struct kms_event_query *query)
{
	return event->seq >= query->from_seq && event->seq < query->before_seq &&
	       (!query->address || event->address == query->address) &&
	       event->time_ns >= query->from_ns && event->time_ns <= query->to_ns &&
	       (!query->site || event->stack_id == query->site) &&
	       (!query->kinds || query->kinds >> event->kind & 1) &&
	       (!query->target || event->target == query->target);
}

static int events(void *ctx, const struct kms_event_query *query,
		  int (*emit)(void *arg, const struct kms_view_event *event), void *arg,
		  struct kms_err *err)
{
	const struct fixture *f = ctx;
	struct timespec slow = {.tv_sec = f->slow_ms / 1000,
				.tv_nsec = f->slow_ms % 1000 * 1000000L};
	struct kms_view_event event;
	size_t sent = 0;

	(void)err;
	if (f->slow_ms)
		nanosleep(&slow, NULL); /* a slow source, not a wait for one */
	for (uint64_t i = 0; i < FIXTURE_EVENTS && sent < query->limit; i++) {
		event = make_event(i);
		if (!wanted(&event, query))
			continue;
		sent++;
		if (emit(arg, &event))
			break;
	}
	return 0;
}

/* NOLINTNEXTLINE(readability-function-size): its shape is struct kms_view_ops' */
static int variable_get(void *ctx, uint32_t target, unsigned variable, uint64_t *requested,
			uint64_t *effective, bool *pending, struct kms_err *err)
{
	struct fixture *f = ctx;

	if (target == 1)
		return kms_err_set(err, -ESRCH, "target 1 does not live");
	if (variable != KMS_VAR_GUARD_DEPTH) {
		*requested = *effective = variable;
		*pending = false;
		return 0;
	}
	*requested = f->depth;
	*effective = (f->depth + 511) / 512 * 512;
	*pending = f->depth == 4096; /* a value that a test asks for */
	return 0;
}

static int variable_set(void *ctx, const char *who, uint32_t target, unsigned variable,
			uint64_t value, struct kms_err *err)
{
	struct fixture *f = ctx;

	snprintf(f->who, sizeof(f->who), "%s", who);
	if (f->refuse_writes)
		return kms_err_set(err, -ESRCH, "the program has ended");
	if (variable == KMS_VAR_GUARD_DEPTH) {
		f->depth = value;
		f->depth_target = target;
	}
	return 0;
}

/* Live block i, by target and address. */
static struct kms_view_block make_block(uint32_t i)
{
	return (struct kms_view_block){
		.target = 1 + i / (FIXTURE_BLOCKS / 2),
		.state = KMS_BLOCK_LIVE,
		.address = heap + i % (FIXTURE_BLOCKS / 2) * 64,
		.bytes = 40 + i % 8,
		.cache = i % 5 == 4 ? HOSTILE : "malloc-48",
		.slab = heap,
		.slab_pages = 1,
		.alloc_ns = i == 7 ? 0 : UINT64_C(1000000) * i + 1,
		.alloc_stack_id = i % 2 ? FIXTURE_STACK_LEAK : FIXTURE_STACK_ALLOC,
		.alloc_tid = 4250,
	};
}

static bool block_wanted(const struct kms_view_block *block, const struct kms_block_query *query)
{
	if (block->target < query->after_target ||
	    (block->target == query->after_target && block->address <= query->after_address))
		return false;
	return (!query->target || block->target == query->target) &&
	       (!query->site || block->alloc_stack_id == query->site) &&
	       (!query->cache || strcmp(block->cache, query->cache) == 0) &&
	       block->bytes >= query->min_bytes;
}

static int blocks(void *ctx, const struct kms_block_query *query,
		  int (*emit)(void *arg, const struct kms_view_block *block), void *arg,
		  struct kms_err *err)
{
	size_t sent = 0;

	(void)ctx;
	(void)err;
	for (uint32_t i = 0; i < FIXTURE_BLOCKS && sent < query->limit; i++) {
		struct kms_view_block block = make_block(i);

		if (!block_wanted(&block, query))
			continue;
		sent++;
		if (emit(arg, &block))
			break;
	}
	return 0;
}

/* Target 1: live blocks; target 2: what was freed at the same places; target 3 knows nothing. */
static int whatis(void *ctx, uint32_t target, uint64_t address, struct kms_view_block *out,
		  struct kms_err *err)
{
	uint64_t offset = address - heap;

	(void)ctx;
	if (target > 2 || offset >= (uint64_t)FIXTURE_BLOCKS / 2 * 64)
		return target > 3 ? kms_err_set(err, -ESRCH, "no target %u", target) : 0;
	*out = make_block((uint32_t)(offset / 64));
	if (target == 1)
		return 0;
	out->target = target;
	out->state = KMS_BLOCK_QUARANTINE;
	out->free_ns = UINT64_C(99000000);
	out->free_stack_id = FIXTURE_STACK_FREE;
	out->slab = 0;
	return 0;
}

static int slabs(void *ctx, uint32_t target, const char *cache,
		 int (*emit)(void *arg, const struct kms_view_slab *slab), void *arg,
		 struct kms_err *err)
{
	uint8_t bitmap[11] = {0x01, 0xff, 0x80};

	(void)ctx;
	(void)cache;
	(void)err;
	for (uint32_t i = 0; i < 2 * FIXTURE_SLABS; i++) {
		struct kms_view_slab slab = {.target = 1 + i / FIXTURE_SLABS,
					     .base = heap + i % FIXTURE_SLABS * 4096,
					     .pages = 1,
					     .count = 83,
					     .live = 10,
					     .bitmap = bitmap};

		if (target && target != slab.target)
			continue;
		if (emit(arg, &slab))
			break;
	}
	return 0;
}

static int samples(void *ctx, uint64_t from_ns, uint64_t to_ns,
		   int (*emit)(void *arg, const struct kms_view_sample *sample), void *arg,
		   struct kms_err *err)
{
	(void)ctx;
	(void)err;
	for (uint64_t i = 0; i < FIXTURE_SAMPLES; i++) {
		struct kms_view_sample sample = {.time_ns = i * 2000000,
						 .live_bytes = 1000 + i % 100,
						 .allocs = i,
						 .guard_depth = 512};

		if (sample.time_ns < from_ns || sample.time_ns > to_ns)
			continue;
		if (emit(arg, &sample))
			break;
	}
	return 0;
}

static int mark(void *ctx, const char *who, const char *name, uint64_t *id, struct kms_err *err)
{
	struct fixture *f = ctx;

	(void)err;
	snprintf(f->who, sizeof(f->who), "%s", who);
	snprintf(f->mark, sizeof(f->mark), "%s", name);
	*id = FIXTURE_MARKS + 1;
	return 0;
}

static int marks(void *ctx, int (*emit)(void *arg, const struct kms_view_mark *mark), void *arg,
		 struct kms_err *err)
{
	static const char *const names[FIXTURE_MARKS + 1] = {"start", HOSTILE, "start", ""};
	const struct fixture *f = ctx;

	(void)err;
	for (uint64_t i = 0; i < FIXTURE_MARKS + (f->mark[0] != 0); i++) {
		struct kms_view_mark m = {i + 1, UINT64_C(1000000000) * (i + 1), names[i]};

		if (i == FIXTURE_MARKS)
			m.name = f->mark;
		if (emit(arg, &m))
			break;
	}
	return 0;
}

/* The gains of mark 1 are larger than those of mark 2; four rows gained the same. */
static int diff(void *ctx, uint64_t a, uint64_t b,
		int (*emit)(void *arg, const struct kms_view_diff *row), void *arg,
		struct kms_err *err)
{
	(void)ctx;
	(void)b;
	(void)err;
	for (int64_t i = 0; i < FIXTURE_GAINS; i++) {
		struct kms_view_diff row = {
			.target = 1 + (uint32_t)(i >= 5),
			.stack_id = i == 3 ? FIXTURE_STACK_MISSING : FIXTURE_STACK_LEAK,
			.cache = i == 8 ? NULL : "malloc-48",
			.bytes = (i < 2 || i > 5 ? 100 - i * 20 : 48) * (a == 1 ? 2 : 1),
			.count = 2 - i,
		};

		if (i >= 2 && i <= 5) /* ties come by stack and target */
			row.stack_id = FIXTURE_STACK_LEAK + (uint64_t)i;
		if (emit(arg, &row))
			break;
	}
	return 0;
}

static int audit(void *ctx, int (*emit)(void *arg, const struct kms_view_audit *row), void *arg,
		 struct kms_err *err)
{
	(void)ctx;
	(void)err;
	for (uint64_t id = FIXTURE_AUDITS; id > 0; id--) {
		struct kms_view_audit row = {.id = id,
					     .wall_ns = wall + id,
					     .who = id == 3 ? HOSTILE : "uid 1000 pid 4711",
					     .target = (uint32_t)(id % 3),
					     .variable = "kmem_guard_depth",
					     .value = id == 5 ? UINT64_MAX : 30000,
					     .result = "ok"};

		if (emit(arg, &row))
			break;
	}
	return 0;
}

/* FIXTURE_MEMORY_BYTES from FIXTURE_MEMORY on: each byte is its offset, a text at 0x40. */
static int memory(void *ctx, uint32_t target, uint64_t address, void *to, size_t n, size_t *n_read,
		  struct kms_err *err)
{
	uint64_t offset = address - FIXTURE_MEMORY;
	uint8_t *byte = to;

	(void)ctx;
	*n_read = 0;
	if (target != 2 || offset >= FIXTURE_MEMORY_BYTES)
		return kms_err_set(err, -EFAULT, "nothing is mapped there");
	for (; *n_read < n && offset < FIXTURE_MEMORY_BYTES; offset++)
		byte[(*n_read)++] = offset >= 0x40 && offset < 0x48
					    ? (uint8_t) "kmem(9)"[offset - 0x40]
					    : (uint8_t)offset;
	return 0;
}

/* One target, or 0 all: target 1 runs at first, the others stand. */
static int set_stopped(struct fixture *f, const char *who, uint32_t target, bool stopped,
		       struct kms_err *err)
{
	bool changed = false;

	snprintf(f->who, sizeof(f->who), "%s", who);
	for (uint32_t i = 0; i < FIXTURE_TARGETS; i++) {
		if (target && target != i + 1)
			continue;
		changed |= f->stopped[i] != stopped;
		f->stopped[i] = stopped;
	}
	f->target[1].state = f->stopped[1] ? KMS_STATE_STOPPED : KMS_STATE_RUNNING;
	return changed ? 0 : kms_err_set(err, -EALREADY, "it is so already");
}

static int stop(void *ctx, const char *who, uint32_t target, struct kms_err *err)
{
	return set_stopped(ctx, who, target, true, err);
}

static int resume(void *ctx, const char *who, uint32_t target, struct kms_err *err)
{
	return set_stopped(ctx, who, target, false, err);
}

void fixture_init(struct fixture *f, bool live)
{
	struct kms_snapshot *s = &f->snapshot;

	memset(f, 0, sizeof(*f));
	pthread_mutex_init(&f->lock, NULL);
	fill_targets(f, live);
	f->stopped[1] = f->stopped[2] = live;
	fill_caches(f);
	fill_guards(f);
	fill_leaks(f);
	fill_faults(f);
	fill_stats(f);
	for (uint32_t i = 0; i < FIXTURE_RINGS; i++)
		f->ring[i] = (struct kms_view_ring){i < 2 ? 1 : i, i, 1000, 990, 10};
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
	f->ops = (struct kms_view_ops){.acquire = acquire,
				       .release = release,
				       .stack = stack,
				       .stack_free = stack_free,
				       .events = events,
				       .blocks = blocks,
				       .whatis = whatis,
				       .slabs = slabs,
				       .samples = samples,
				       .marks = marks,
				       .diff = diff,
				       .audit = audit};
	if (live) {
		f->ops.memory = memory;
		f->ops.stop = stop;
		f->ops.resume = resume;
		f->ops.variable_get = variable_get;
		f->ops.variable_set = variable_set;
		f->ops.mark = mark;
		fixture_attach_init(f);
	}
	f->view = (struct kms_view){&f->ops, f};
}
