/* SPDX-License-Identifier: BSD-2-Clause */
/* Traces as views: finished, live, and left behind by a killed tracer. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"
#include "tracer/db.h"
#include "tracer/file.h"
#include "tracer/stack_id.h"
#include "tracer/store.h"
#include "tracer/test/trace_build.h"

#define TRACE "test_file.kms"

static int clean(void **state)
{
	(void)state;
	(void)unlink(TRACE);
	(void)unlink(TRACE "-wal");
	(void)unlink(TRACE "-shm");
	(void)unlink(TRACE ".lock");
	return 0;
}

static struct kms_store *create(void)
{
	struct kms_store_config config = {.path = TRACE, .command = "program", .commit_ns = 1};
	struct kms_err err = KMS_ERR_INIT;
	struct kms_store *store = NULL;

	if (kms_store_create(&config, &store, &err) < 0)
		fail_msg("%s", err.text);
	return store;
}

static void add(struct kms_store *store, struct kms_batch *batch)
{
	struct kms_err err = KMS_ERR_INIT;

	if (kms_store_add(store, batch, &err) < 0)
		fail_msg("%s", err.text);
	kms_batch_put(batch);
}

static struct kms_file *open_file(void)
{
	struct kms_err err = KMS_ERR_INIT;
	struct kms_file *file = NULL;

	if (kms_file_open(TRACE, &file, &err) < 0)
		fail_msg("%s", err.text);
	return file;
}

/* Fills a struct of numbers so that no two members are equal. */
static void fill(void *out, size_t bytes, uint64_t seed)
{
	uint64_t *word = out;

	for (size_t i = 0; i < bytes / sizeof(*word); i++)
		word[i] = seed + i;
}

/* A picture with something in each array. */
struct picture {
	struct kms_snapshot s;
	struct kms_view_target target[2];
	struct kms_view_stats target_stats[2];
	struct kms_view_cache cache[2];
	struct kms_view_guard guard[1];
	struct kms_view_leak leak[3];
	struct kms_view_fault fault[2];
	struct kms_view_owner owner[3];
};

static void fill_stats(struct kms_view_stats *stats, uint64_t seed)
{
	fill(stats, sizeof(*stats), seed);
	stats->ring_fill = 0.25;
	stats->ns_per_event = 12.5;
}

static void make_picture(struct picture *p)
{
	memset(p, 0, sizeof(*p));
	p->s.seq = 77;
	p->s.time_ns = 5000000000;
	p->s.wall_ns = TB_START_WALL_NS;
	fill_stats(&p->s.stats, 1000);
	for (unsigned i = 0; i < 2; i++) {
		p->target[i] = (struct kms_view_target){
			.id = i + 1,
			.pid = 501 + i,
			.state = KMS_STATE_EXITED,
			.kind = KMS_TARGET_PROCESS,
			.name = "program",
			.command = "program --with arguments",
			.start_wall_ns = TB_START_WALL_NS,
		};
		fill_stats(&p->target_stats[i], 2000 + 100 * i);
		fill(&p->cache[i], sizeof(p->cache[i]), 3000 + 100 * i);
		p->cache[i].target = i + 1;
		p->cache[i].name = i ? "malloc-64" : "large";
		p->cache[i].utilization = 0.5;
		p->cache[i].pool = NULL; /* a process has none */
	}
	fill(&p->guard[0].s, sizeof(p->guard[0].s), 4000);
	p->guard[0].target = 1;
	p->guard[0].s.limited_by = KMS_LIMITED_BYTES;
	p->guard[0].s.backend = KMS_GUARD_UFFD;
	p->guard[0].pending = true;
	p->guard[0].oldest_age_us = 9;
	p->guard[0].window_frees = 10;
	for (unsigned i = 0; i < 3; i++) {
		p->leak[i] = (struct kms_view_leak){
			.target = 1,
			.id = "0123456789abcdef",
			.stack_id = kms_stack_id(1, 5 + i),
			.cache = i ? "malloc-64" : NULL,
			.bytes = 100 - i,
			.count = 10 + i,
			.age_p50_us = 20 + i,
			.allocs = 30 + i,
			.score = 99.5 - i,
			.evidence = {.growth_bytes_per_s = 1.5,
				     .age_over_lifetime = 2.5,
				     .freed = i,
				     .never_freed = i == 0,
				     .at_exit = i == 1},
			.state = "open",
			.folded = i == 2,
		};
	}
	for (unsigned i = 0; i < 2; i++) {
		struct kms_view_fault *f = &p->fault[i];

		fill(&f->raw, sizeof(f->raw), 6000 + 1000 * i);
		f->raw.kind = KMS_FAULT_OVERFLOW + i;
		f->raw.access = KMS_ACCESS_WRITE;
		f->raw.level = KMS_LEVEL_SOFTINT;
		f->raw.bytes_count = 32;
		strcpy(f->raw.text, "kmem_free(0x1000, 8): redzone broken");
		f->id = i + 1;
		f->target = 2;
		f->cache = "malloc-64";
		f->thread_name = "worker";
		f->tid = 44;
		f->stack_id = kms_stack_id(1, 8);
		f->alloc_stack_id = kms_stack_id(1, 9);
	}
	p->fault[1].n_owners = 3;
	p->fault[1].owner = p->owner;
	for (unsigned i = 0; i < 3; i++)
		fill(&p->owner[i], sizeof(p->owner[i]), 8000 + 10 * i);
	p->s.n_targets = p->s.n_caches = p->s.n_faults = 2;
	p->s.n_guards = 1;
	p->s.n_leaks = 3;
	p->s.target = p->target;
	p->s.target_stats = p->target_stats;
	p->s.cache = p->cache;
	p->s.guard = p->guard;
	p->s.leak = p->leak;
	p->s.fault = p->fault;
}

static void expect_text(const char *got, const char *want)
{
	assert_int_equal(!got, !want);
	if (got)
		assert_string_equal(got, want);
}

static void expect_stats(const struct kms_view_stats *got, struct kms_view_stats want)
{
	want.db_bytes = got->db_bytes; /* of the file now */
	want.produced = got->produced; /* of the rings, for the run */
	want.stored = got->stored;
	want.lost = got->lost;
	assert_memory_equal(got, &want, sizeof(want));
}

static void expect_picture(const struct kms_snapshot *got, const struct picture *want)
{
	assert_int_equal(got->seq, want->s.seq);
	assert_int_equal(got->time_ns, want->s.time_ns);
	assert_int_equal(got->wall_ns, want->s.wall_ns);
	expect_stats(&got->stats, want->s.stats);
	assert_int_equal(got->n_targets, 2);
	assert_int_equal(got->n_caches, 2);
	assert_int_equal(got->n_guards, 1);
	assert_int_equal(got->n_leaks, 3);
	assert_int_equal(got->n_faults, 2);
	for (unsigned i = 0; i < 2; i++) {
		struct kms_view_cache cache = want->cache[i];

		expect_stats(&got->target_stats[i], want->target_stats[i]);
		expect_text(got->target[i].name, want->target[i].name);
		expect_text(got->target[i].command, want->target[i].command);
		assert_int_equal(got->target[i].kind, KMS_TARGET_PROCESS);
		assert_int_equal(got->target[i].state, KMS_STATE_EXITED);
		expect_text(got->cache[i].name, cache.name);
		cache.name = got->cache[i].name;
		assert_memory_equal(&got->cache[i], &cache, sizeof(cache));
	}
	assert_memory_equal(&got->guard[0].s, &want->guard[0].s, sizeof(want->guard[0].s));
	assert_true(got->guard[0].pending);
	assert_int_equal(got->guard[0].window_frees, 10);
	for (unsigned i = 0; i < 3; i++) {
		const struct kms_view_leak *a = &got->leak[i], *b = &want->leak[i];

		assert_string_equal(a->id, b->id);
		expect_text(a->cache, b->cache);
		expect_text(a->state, b->state);
		assert_true(a->stack_id == b->stack_id && a->bytes == b->bytes &&
			    a->count == b->count && a->age_p50_us == b->age_p50_us &&
			    a->allocs == b->allocs && a->folded == b->folded &&
			    a->target == b->target);
		assert_true(a->score == b->score);
		assert_true(a->evidence.growth_bytes_per_s == 1.5 &&
			    a->evidence.age_over_lifetime == 2.5 && a->evidence.freed == i &&
			    a->evidence.never_freed == (i == 0) && a->evidence.at_exit == (i == 1));
	}
	for (unsigned i = 0; i < 2; i++) {
		const struct kms_view_fault *a = &got->fault[i], *b = &want->fault[i];

		assert_memory_equal(&a->raw, &b->raw, sizeof(a->raw));
		expect_text(a->cache, b->cache);
		expect_text(a->thread_name, b->thread_name);
		assert_true(a->id == b->id && a->tid == b->tid && a->stack_id == b->stack_id &&
			    a->alloc_stack_id == b->alloc_stack_id &&
			    a->free_stack_id == b->free_stack_id && a->target == b->target);
	}
	assert_int_equal(got->fault[0].n_owners, 0);
	assert_int_equal(got->fault[1].n_owners, 3);
	for (unsigned i = 0; i < 3; i++) {
		struct kms_view_owner a = got->fault[1].owner[i], b = want->owner[i];

		assert_true(a.alloc_ns == b.alloc_ns && a.free_ns == b.free_ns &&
			    a.bytes == b.bytes && a.alloc_stack_id == b.alloc_stack_id &&
			    a.free_stack_id == b.free_stack_id && a.thread == b.thread);
	}
}

static void a_finished_trace_shows_the_last_snapshot(void **state)
{
	struct tb tb;
	struct kms_store *store = create();
	static struct picture picture;
	const struct kms_snapshot *s;
	struct kms_file *file;
	struct kms_view view;

	(void)state;
	tb_init(&tb, rng_seed(), 5, 2);
	tb_run(&tb, 30000);
	add(store, tb_poll(&tb, true));
	make_picture(&picture);
	picture.s.n_leaks = 1;
	assert_int_equal(kms_store_snapshot(store, &picture.s, NULL), 0);
	add(store, tb_end(&tb));
	make_picture(&picture);
	assert_int_equal(kms_store_snapshot(store, &picture.s, NULL), 0);
	assert_int_equal(kms_store_close(store, NULL), 0);

	file = open_file();
	assert_int_equal(kms_file_state(file), KMS_FILE_FINISHED);
	view = kms_file_view(file);
	s = view.ops->acquire(view.ctx);
	expect_picture(s, &picture);
	assert_true(s->finished);
	assert_null(s->tracer_lost);
	assert_false(s->incomplete);
	assert_string_equal(s->file, TRACE);
	assert_int_equal(s->stats.produced, tb.produced);
	assert_int_equal(s->stats.stored + s->stats.lost, tb.produced);
	assert_int_equal(s->n_rings, 5);
	view.ops->release(view.ctx, s);
	kms_file_close(file);
	tb_deinit(&tb);
}

/* Counts events and checks that they are in order. */
struct counted {
	size_t n;
	uint64_t last_seq;
	struct kms_event_query query;
	size_t without_cache;
};

static int count_event(void *arg, const struct kms_view_event *e)
{
	struct counted *c = arg;

	assert_true(!c->n || e->seq > c->last_seq);
	assert_true(!c->query.address || e->address == c->query.address);
	assert_true(!c->query.kinds || (c->query.kinds >> e->kind & 1));
	assert_true(!c->query.target || e->target == c->query.target);
	assert_true(!c->query.site || e->stack_id == c->query.site);
	assert_true(e->seq >= c->query.from_seq);
	c->without_cache += e->kind <= KMS_EVENT_FREE && !e->cache;
	c->last_seq = e->seq;
	c->n++;
	return 0;
}

static size_t count(struct kms_view view, struct kms_event_query query)
{
	struct counted c = {.query = query};
	struct kms_err err = KMS_ERR_INIT;

	if (view.ops->events(view.ctx, &query, count_event, &c, &err) < 0)
		fail_msg("%s", err.text);
	assert_int_equal(c.without_cache, 0);
	return c.n;
}

static void events_are_found_by_every_member_of_the_query(void **state)
{
	struct tb tb;
	struct kms_store *store = create();
	struct kms_event_query all = {
		.before_seq = UINT64_MAX, .to_ns = UINT64_MAX, .limit = SIZE_MAX};
	struct kms_event_query q;
	struct kms_file *file;
	struct kms_view view;
	size_t n = 0, want[3] = {0};

	(void)state;
	tb_init(&tb, rng_seed(), 6, 2);
	tb_run(&tb, 60000);
	add(store, tb_poll(&tb, true));
	for (uint32_t i = 0; i < 6; i++)
		for (size_t k = 0; k < tb.ring[i].n_events; k++) {
			const struct enc_event *e = &tb.ring[i].event[k];

			n++;
			want[0] += e->kind == KMS_EVENT_FREE;
			want[1] += tb_target(&tb, i) == 2;
			want[2] += e->kind != KMS_EVENT_LOST && e->address == TB_HEAP_BASE + 640;
		}
	add(store, tb_end(&tb));
	assert_int_equal(kms_store_close(store, NULL), 0);
	file = open_file();
	view = kms_file_view(file);
	assert_int_equal(count(view, all), n);
	q = all;
	q.kinds = 1u << KMS_EVENT_FREE;
	assert_int_equal(count(view, q), want[0]);
	q = all;
	q.target = 2;
	assert_int_equal(count(view, q), want[1]);
	q = all;
	q.address = TB_HEAP_BASE + 640;
	q.kinds = 1u << KMS_EVENT_ALLOC | 1u << KMS_EVENT_FREE | 1u << KMS_EVENT_CHECK;
	assert_true(count(view, q) <= want[2] && count(view, q) > 0);
	q = all;
	q.limit = 17;
	assert_int_equal(count(view, q), 17);
	q = all;
	q.from_ns = tb.time_ns / 3;
	n = count(view, q);
	q.to_ns = q.from_ns - 1;
	q.from_ns = 0;
	assert_int_equal(n + count(view, q), count(view, all));
	q = all;
	q.from_seq = 5000;
	n = count(view, q);
	q.from_seq = 0;
	q.before_seq = 5000;
	assert_int_equal(n + count(view, q), count(view, all));
	kms_file_close(file);
	tb_deinit(&tb);
}

static void stacks_have_symbols_where_they_were_kept(void **state)
{
	struct kms_view_frame frame[3] = {
		{.address = 0x401000,
		 .module = "/bin/prog",
		 .offset = 0x1000,
		 .function = "leak\tone",
		 .file = "a \"b\".c",
		 .line = 12},
		{.address = 0x401000,
		 .module = "/bin/prog",
		 .offset = 0x1000,
		 .function = "caller",
		 .inlined = true},
		{.address = 0x402000},
	};
	struct kms_view_stack stack = {.n_frames = 3, .cut = true, .frame = frame}, got;
	struct kms_module module = {.start = 0x400000,
				    .end = 0x500000,
				    .load_bias = 0x400000,
				    .ready = 1,
				    .path_string = 2};
	struct kms_store *store = create();
	struct kms_batch_table *t;
	struct kms_file *file;
	struct kms_view view;
	struct tb tb;

	(void)state;
	tb_init(&tb, 1, 1, 1);
	tb_run(&tb, 3000);
	(void)tb_string(&tb, 1, "/usr/bin/python3");
	t = tb_table(&tb, 1, KMS_SEC_MODULE, 0, 1, sizeof(module));
	memcpy(t->data, &module, sizeof(module));
	add(store, tb_poll(&tb, true));
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(kms_store_stack_symbols(store, kms_stack_id(1, 9), &stack, NULL),
				 0);
	assert_int_equal(kms_store_close(store, NULL), 0);

	file = open_file();
	view = kms_file_view(file);
	assert_int_equal(view.ops->stack(view.ctx, kms_stack_id(1, 9), &got, NULL), 0);
	assert_int_equal(got.n_frames, 3);
	assert_true(got.cut);
	assert_string_equal(got.frame[0].function, "leak?one"); /* a control character */
	assert_string_equal(got.frame[0].file, "a \"b\".c");
	assert_int_equal(got.frame[0].line, 12);
	assert_true(got.frame[1].inlined);
	assert_null(got.frame[2].function);
	assert_int_equal(got.frame[2].address, 0x402000);
	view.ops->stack_free(view.ctx, &got);

	/* node 13 -> 6 -> 3 -> 1 -> 0, pc 0x400000 + 16 * node (trace_build.c) */
	assert_int_equal(view.ops->stack(view.ctx, kms_stack_id(1, 13), &got, NULL), 0);
	assert_int_equal(got.n_frames, 4);
	assert_false(got.cut);
	assert_int_equal(got.frame[0].address, 0x400000 + 13 * 16);
	assert_int_equal(got.frame[1].address, 0x400000 + 6 * 16);
	assert_string_equal(got.frame[0].module, "/usr/bin/python3");
	assert_int_equal(got.frame[0].offset, 13 * 16);
	assert_null(got.frame[0].function);
	view.ops->stack_free(view.ctx, &got);

	assert_int_equal(view.ops->stack(view.ctx, 0, &got, NULL), 0);
	assert_int_equal(got.n_frames, 0);
	assert_int_equal(view.ops->stack(view.ctx, kms_stack_id(7, 1 << 20), &got, NULL), 0);
	assert_int_equal(got.n_frames, 0);
	kms_file_close(file);
	tb_deinit(&tb);
}

/* Waits until a snapshot fulfils a condition; -1 after ten seconds. */
static int wait_for(struct kms_view view, bool (*is)(const struct kms_snapshot *, uint64_t),
		    uint64_t arg)
{
	struct timespec pause = {.tv_nsec = 5000000};

	for (unsigned i = 0; i < 2000; i++) {
		const struct kms_snapshot *s = view.ops->acquire(view.ctx);
		bool ok = is(s, arg);

		view.ops->release(view.ctx, s);
		if (ok)
			return 0;
		(void)nanosleep(&pause, NULL);
	}
	return -1;
}

static bool has_time(const struct kms_snapshot *s, uint64_t time_ns)
{
	return s->time_ns == time_ns && !s->finished;
}

static bool is_finished(const struct kms_snapshot *s, uint64_t produced)
{
	return s->finished && s->stats.produced == produced;
}

static void a_live_trace_is_followed_to_its_end(void **state)
{
	struct tb tb;
	struct kms_store *store = create();
	static struct picture picture;
	struct kms_file *file;
	struct kms_view view;

	(void)state;
	tb_init(&tb, rng_seed(), 5, 2);
	tb_run(&tb, 1000);
	add(store, tb_poll(&tb, true));
	assert_int_equal(kms_store_commit(store, true, NULL), 0);
	file = open_file();
	assert_int_equal(kms_file_state(file), KMS_FILE_LIVE);
	view = kms_file_view(file);
	make_picture(&picture);
	for (unsigned i = 1; i < 4; i++) {
		picture.s.time_ns = i;
		assert_int_equal(kms_store_snapshot(store, &picture.s, NULL), 0);
		assert_int_equal(wait_for(view, has_time, i), 0);
	}
	tb_run(&tb, 1000);
	add(store, tb_end(&tb));
	assert_int_equal(kms_store_close(store, NULL), 0);
	assert_int_equal(wait_for(view, is_finished, tb.produced), 0);
	assert_int_equal(kms_file_state(file), KMS_FILE_FINISHED);
	kms_file_close(file);
	tb_deinit(&tb);
}

/* Who holds a lock that keeps others from taking the file for theirs? Asked from another process. */
static pid_t holder_of_shared_lock(void)
{
	int pipe_fd[2], status;
	pid_t child, holder = -1;

	assert_int_equal(pipe(pipe_fd), 0);
	child = fork();
	if (child == 0) {
		/* SQLite's shared range (os_unix.c: SHARED_FIRST) */
		struct flock lock = {.l_type = F_WRLCK,
				     .l_whence = SEEK_SET,
				     .l_start = 0x40000002,
				     .l_len = 510};
		int fd = open(TRACE, O_RDWR);

		holder = fcntl(fd, F_GETLK, &lock) == 0 && lock.l_type != F_UNLCK ? lock.l_pid : 0;
		_exit(kms_write_full(pipe_fd[1], &holder, sizeof(holder)) < 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(kms_read_full(pipe_fd[0], &holder, sizeof(holder)), sizeof(holder));
	(void)close(pipe_fd[0]);
	(void)close(pipe_fd[1]);
	return holder;
}

static void a_reader_in_its_process_leaves_the_writer_its_locks(void **state)
{
	struct kms_store *store = create();
	struct kms_file *file;
	struct tb tb;

	(void)state;
	tb_init(&tb, 1, 2, 1);
	tb_run(&tb, 1000);
	add(store, tb_poll(&tb, true));
	assert_int_equal(kms_store_commit(store, true, NULL), 0);
	assert_int_equal(holder_of_shared_lock(), getpid());
	for (unsigned i = 0; i < 3; i++) {
		file = open_file();
		assert_int_equal(holder_of_shared_lock(), getpid());
		kms_file_close(file);
		assert_int_equal(holder_of_shared_lock(), getpid());
	}
	assert_int_equal(kms_store_close(store, NULL), 0);
	tb_deinit(&tb);
}

/* Leaves a trace as a killed tracer does. */
static void leave_behind(uint64_t seed, struct tb *tb)
{
	pid_t child;
	int status;

	tb_init(tb, seed, 8, 1);
	child = fork();
	if (child == 0) {
		struct kms_store *store = create();

		for (unsigned i = 0; i < 30; i++) {
			tb_run(tb, 5000);
			add(store, tb_poll(tb, i % 3 == 0));
		}
		add(store, tb_poll(tb, true));
		if (kms_store_commit(store, true, NULL) < 0)
			_exit(1);
		(void)raise(SIGKILL);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status));
	for (unsigned i = 0; i < 30; i++) {
		tb_run(tb, 5000);
		kms_batch_put(tb_poll(tb, i % 3 == 0));
	}
}

struct replayed {
	size_t events, batches, ends;
	uint64_t by_kind[KMS_EVENT_KINDS];
	uint64_t produced, last_ns[64];
	uint32_t next_bytes[64];
};

static int take_batch(void *arg, const struct kms_batch *batch)
{
	struct replayed *r = arg;

	for (size_t i = 0; i < batch->n_blocks; i++) {
		const struct kms_batch_block *b = &batch->block[i];

		assert_int_equal(b->from_bytes, r->next_bytes[b->block.ring]);
		r->next_bytes[b->block.ring] = b->complete ? 0 : b->block.fill;
		for (unsigned kind = 0; kind < KMS_EVENT_KINDS; kind++)
			r->by_kind[kind] += b->summary.by_kind[kind];
		r->events += b->summary.events;
	}
	for (size_t i = 0; i < batch->n_rings; i++)
		r->produced += batch->ring[i].produced;
	r->batches++;
	r->ends += batch->what == KMS_BATCH_END;
	return 0;
}

static void a_replay_gives_every_event_once(void **state)
{
	static struct replayed r;
	struct tb tb;
	struct kms_file *file;
	size_t n = 0;

	(void)state;
	leave_behind(rng_seed(), &tb);
	file = open_file();
	memset(&r, 0, sizeof(r));
	assert_int_equal(kms_file_replay(file, take_batch, &r, NULL), 0);
	for (uint32_t i = 0; i < tb.n_rings; i++)
		n += tb.ring[i].n_events;
	assert_int_equal(r.events, n);
	assert_int_equal(r.produced, tb.produced);
	assert_int_equal(r.ends, 1);
	assert_true(r.batches > 3);
	kms_file_close(file);
	tb_deinit(&tb);
}

static void a_lost_trace_says_when_and_has_figures_of_all_its_events(void **state)
{
	struct tb tb;
	struct kms_file *file;
	struct kms_view view;
	const struct kms_snapshot *s;
	uint64_t allocs = 0, frees = 0;

	(void)state;
	leave_behind(rng_seed(), &tb);
	file = open_file();
	assert_int_equal(kms_file_state(file), KMS_FILE_LOST);
	view = kms_file_view(file);
	s = view.ops->acquire(view.ctx);
	assert_false(s->finished);
	assert_non_null(s->tracer_lost);
	assert_non_null(strstr(s->tracer_lost, "lost"));
	assert_int_equal(s->n_targets, 1);
	assert_int_equal(s->target[0].state, KMS_STATE_LOST);
	assert_int_equal(s->stats.produced, tb.produced);
	for (uint32_t i = 0; i < tb.n_rings; i++)
		for (size_t k = 0; k < tb.ring[i].n_events; k++) {
			allocs += tb.ring[i].event[k].kind == KMS_EVENT_ALLOC;
			frees += tb.ring[i].event[k].kind == KMS_EVENT_FREE;
		}
	assert_int_equal(s->stats.events[KMS_EVENT_ALLOC], allocs);
	assert_int_equal(s->stats.events[KMS_EVENT_FREE], frees);
	assert_true(s->stats.live_objects > 0);
	view.ops->release(view.ctx, s);
	kms_file_close(file);
	tb_deinit(&tb);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_finished_trace_shows_the_last_snapshot, clean,
						clean),
		cmocka_unit_test_setup_teardown(events_are_found_by_every_member_of_the_query,
						clean, clean),
		cmocka_unit_test_setup_teardown(stacks_have_symbols_where_they_were_kept, clean,
						clean),
		cmocka_unit_test_setup_teardown(a_live_trace_is_followed_to_its_end, clean, clean),
		cmocka_unit_test_setup_teardown(a_reader_in_its_process_leaves_the_writer_its_locks,
						clean, clean),
		cmocka_unit_test_setup_teardown(a_replay_gives_every_event_once, clean, clean),
		cmocka_unit_test_setup_teardown(
			a_lost_trace_says_when_and_has_figures_of_all_its_events, clean, clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
