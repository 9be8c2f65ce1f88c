/* SPDX-License-Identifier: BSD-2-Clause */
/* A view for tests: see fixture_view.h. */
#include "server/test/fixture_content.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/err.h"
#include "schema/spans.h"
#include "schema/variables.h"

static const uint64_t heap = FIXTURE_HEAP;
static const uint64_t wall = FIXTURE_WALL_NS;

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
	  {0x555500001250, LEAKY, 0x1250, "main", "leaky.c", 40, false}}                             },
	{FIXTURE_STACK_ACCESS,
	 2,			{{0x555500002234, LEAKY, 0x2234, "consume", "uaf.c", 31, false},
	  {0x555500001250, LEAKY, 0x1250, "main", "uaf.c", 50, false}}                               },
	{FIXTURE_STACK_ALLOC,
	 2,			{{0x555500003234, LEAKY, 0x3234, "make_node", "uaf.c", 10, false},
	  {0x555500001250, LEAKY, 0x1250, "main", "uaf.c", 48, false}}                               },
	{FIXTURE_STACK_FREE,    1, {{0x555500004234, LEAKY, 0x4234, "drop_node", "uaf.c", 20, false}}           },
	{FIXTURE_STACK_BARE,
	 2,			{{0x7f0000002010, "/usr/bin/python3.11", 0x2010, NULL, NULL, 0, false},
	  {0xffff8000deadb000, NULL, 0, NULL, NULL, 0, false}}                                       },
	{FIXTURE_STACK_HOSTILE,
	 1,			{{0x1000, FIXTURE_HOSTILE, 0x10, FIXTURE_HOSTILE, FIXTURE_HOSTILE, 1, false}}},
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
	/* time goes with seq */
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
		event = make_event(query->newest_first ? FIXTURE_EVENTS - 1 - i : i);
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
		.cache = i % 5 == 4 ? FIXTURE_HOSTILE : "malloc-48",
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

/* As of a Linux guest; names and log are the guest's, so not to be trusted. */
static int kfence(void *ctx, uint32_t target, struct kms_view_kfence *state,
		  int (*emit)(void *arg, const struct kms_view_kfence_object *object), void *arg,
		  struct kms_err *err)
{
	const struct kms_view_kfence_object objects[] = {
		{.state = KMS_KFENCE_LIVE,
		 .address = heap,
		 .bytes = 48,
		 .cache = "malloc-48",
		 .alloc_pid = 7,
		 .alloc_stack_id = FIXTURE_STACK_ALLOC},
		{ .index = 1,
		 .state = KMS_KFENCE_FREED,
		 .address = heap + 8192,
		 .bytes = 64,
		 .alloc_pid = 7,
		 .free_pid = 8,
		 .alloc_stack_id = FIXTURE_STACK_ALLOC,
		 .free_stack_id = FIXTURE_STACK_FREE},
	};

	(void)ctx;
	(void)err;
	*state = (struct kms_view_kfence){.target = target ? target : 1,
					  .enabled = true,
					  .pool = heap,
					  .sample_interval_ms = 100,
					  .objects = 255,
					  .live = 1,
					  .freed = 1,
					  .has_counters = target != 2,
					  .allocs = 2,
					  .frees = 1,
					  .bugs = 1,
					  .reports = 1,
					  .report = {"BUG: KFENCE: out-of-bounds \033[31mread"}};
	for (size_t i = 0; emit && i < sizeof(objects) / sizeof(objects[0]); i++)
		if (emit(arg, &objects[i]))
			break;
	return 0;
}

static int explain(void *ctx, uint32_t target, uint64_t address, char *text, size_t bytes,
		   struct kms_err *err)
{
	(void)ctx;
	(void)err;
	if (target == 1 || address < heap)
		return -ENOENT;
	(void)snprintf(text, bytes, "object 3 of 16\n\033[31mred\n");
	return 0;
}

static int samples(void *ctx, const struct kms_sample_query *query,
		   int (*emit)(void *arg, const struct kms_view_sample *sample), void *arg,
		   struct kms_err *err)
{
	(void)ctx;
	(void)err;
	for (uint64_t i = 0; i < FIXTURE_SAMPLES; i++) {
		struct kms_view_sample sample = {
			.time_ns = i * 2000000,
			.live_bytes = (query->target ? query->target : 1000) + i % 100,
			.allocs = i,
			.guard_depth = 512};

		if (sample.time_ns < query->from_ns || sample.time_ns > query->to_ns)
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
	static const char *const names[FIXTURE_MARKS + 1] = {"start", FIXTURE_HOSTILE, "start", ""};
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
		int64_t moved = i == 1 ? 1000 : 0; /* blocks that are in another cache now */
		struct kms_view_diff_cache caches[] = {
			{i == 8 ? NULL : "malloc-48", moved,  0    },
                        {"malloc-64",                 -moved, 2 - i}
                };
		struct kms_view_diff row = {
			.target = 1 + (uint32_t)(i >= 5),
			.stack_id = i == 3 ? FIXTURE_STACK_MISSING : FIXTURE_STACK_LEAK,
			.cache = i == 8 ? NULL : "malloc-48",
			.bytes = (i < 2 || i > 5 ? 100 - i * 20 : 48) * (a == 1 ? 2 : 1),
			.count = 2 - i,
			.n_caches = i == 1 ? 2 : 1,
			.caches = caches,
		};

		if (i >= 2 && i <= 5) /* ties come by stack and target */
			row.stack_id = FIXTURE_STACK_LEAK + (uint64_t)i;
		caches[0].bytes += row.bytes;
		caches[0].count += moved ? 0 : row.count;
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
					     .who = id == 3 ? FIXTURE_HOSTILE : "uid 1000 pid 4711",
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
	memset(f, 0, sizeof(*f));
	pthread_mutex_init(&f->lock, NULL);
	f->stopped[1] = f->stopped[2] = live;
	fixture_fill(f, live);
	f->ops = (struct kms_view_ops){.acquire = acquire,
				       .release = release,
				       .stack = stack,
				       .stack_free = stack_free,
				       .events = events,
				       .blocks = blocks,
				       .whatis = whatis,
				       .slabs = slabs,
				       .kfence = kfence,
				       .explain = explain,
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
