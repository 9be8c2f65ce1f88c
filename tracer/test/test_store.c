/* SPDX-License-Identifier: BSD-2-Clause */
/* The store: what was added can be read, while it is written, when it is finished, and after a kill. */
#include <errno.h>
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
#include <unistd.h>

#include <cmocka.h>

#include "base/io.h"
#include "tracer/batch_build.h"
#include "tracer/db.h"
#include "tracer/file_connect.h"
#include "tracer/scan.h"
#include "tracer/stack_id.h"
#include "tracer/store.h"
#include "tracer/test/trace_build.h"
#include "tracer/trace_lock.h"

#define TRACE "test_store.kms"

static const char *const leftovers[] = {"", "-wal", "-shm", ".lock", ".new"};

static void remove_all(const char *path)
{
	char name[256];

	for (size_t i = 0; i < sizeof(leftovers) / sizeof(*leftovers); i++) {
		(void)snprintf(name, sizeof(name), "%s%s", path, leftovers[i]);
		(void)unlink(name);
	}
}

static int clean(void **state)
{
	(void)state;
	remove_all(TRACE);
	return 0;
}

static struct kms_store *create(uint64_t retention)
{
	struct kms_store_config config = {
		.path = TRACE,
		.command = "program",
		.commit_ns = 1,
		.retention_bytes = retention,
	};
	struct kms_err err = KMS_ERR_INIT;
	struct kms_store *store = NULL;

	if (kms_store_create(&config, &store, &err) < 0)
		fail_msg("cannot create: %s", err.text);
	return store;
}

static void add(struct kms_store *store, struct kms_batch *batch)
{
	struct kms_err err = KMS_ERR_INIT;

	if (kms_store_add(store, batch, &err) < 0)
		fail_msg("cannot add: %s", err.text);
	kms_batch_put(batch);
}

/* An open trace. */
struct reading {
	sqlite3 *db;
	struct kms_trace *trace;
};

static struct reading open_trace(void)
{
	struct reading r;
	struct kms_err err = KMS_ERR_INIT;

	if (kms_file_connect(TRACE, &r.db, &err) < 0 ||
	    kms_trace_create(r.db, &r.trace, &err) < 0 || kms_db_exec(r.db, "BEGIN", &err) < 0 ||
	    kms_trace_refresh(r.trace, &err) < 0)
		fail_msg("cannot open: %s", err.text);
	return r;
}

static void close_trace(struct reading *r)
{
	kms_trace_destroy(r->trace);
	assert_int_equal(sqlite3_close(r->db), SQLITE_OK);
}

static int64_t number(struct reading *r, const char *sql)
{
	int64_t value = 0;
	struct kms_err err = KMS_ERR_INIT;

	if (kms_db_int(r->db, sql, &value, &err) < 0)
		fail_msg("%s: %s", sql, err.text);
	return value;
}

static void expect_whole(struct reading *r)
{
	sqlite3_stmt *stmt;

	assert_int_equal(sqlite3_prepare_v2(r->db, "PRAGMA integrity_check", -1, &stmt, NULL),
			 SQLITE_OK);
	assert_int_equal(sqlite3_step(stmt), SQLITE_ROW);
	assert_string_equal((const char *)sqlite3_column_text(stmt, 0), "ok");
	assert_int_equal(sqlite3_finalize(stmt), SQLITE_OK);
}

static void expect_event(const struct tb *tb, uint32_t ring, const struct enc_event *want,
			 const struct kms_scan_event *got)
{
	assert_int_equal(got->event.kind, want->kind);
	assert_int_equal(got->event.target, tb_target(tb, ring));
	if (want->kind == KMS_EVENT_LOST) {
		assert_int_equal(got->value, want->value);
		return;
	}
	if (got->has_address)
		assert_int_equal(got->event.address, want->address);
	if (want->kind == KMS_EVENT_SLAB_GROW)
		return;
	assert_int_equal(got->event.size, want->size);
	assert_int_equal(got->event.stack_id, kms_stack_id(tb_target(tb, ring), want->stack));
	assert_int_equal(got->event.flags & 0xff00, want->attributes);
}

/*
 * Each ring's events are there, in order, with the rings mixed; @at_least of each ring's are there.
 * Returns how many events there are.
 */
static size_t expect_events(struct reading *r, const struct tb *tb, bool all)
{
	struct kms_scan_query query = KMS_SCAN_ALL;
	const struct kms_scan_event *e;
	struct kms_scan *scan;
	size_t next[TB_RINGS_MAX] = {0};
	uint64_t last_ns[TB_RINGS_MAX] = {0}, last_seq = 0;
	size_t n = 0;

	assert_int_equal(kms_scan_open(r->trace, &query, &scan, NULL), 0);
	while (kms_scan_next(scan, &e, NULL) == 0 && e) {
		uint32_t ring = e->event.tid - TB_FIRST_TID;

		assert_true(ring < tb->n_rings && next[ring] < tb->ring[ring].n_events);
		expect_event(tb, ring, &tb->ring[ring].event[next[ring]++], e);
		assert_true(e->event.seq > last_seq);
		assert_true(e->event.time_ns >= last_ns[ring] && e->event.time_ns <= tb->time_ns);
		last_seq = e->event.seq;
		last_ns[ring] = e->event.time_ns;
		n++;
	}
	kms_scan_close(scan);
	for (uint32_t ring = 0; all && ring < tb->n_rings; ring++)
		assert_int_equal(next[ring], tb->ring[ring].n_events);
	return n;
}

static void everything_that_was_added_comes_back(void **state)
{
	struct tb tb;
	struct kms_store *store = create(0);
	struct reading r;
	struct kms_batch_slot *slot;
	struct kms_batch *last;
	uint64_t bytes, events;

	(void)state;
	tb_init(&tb, rng_seed(), 40, 3);
	for (unsigned i = 0; i < 150; i++) {
		tb_run(&tb, rng_below(&tb.rng, 3000));
		add(store, tb_poll(&tb, false));
	}
	last = tb_end(&tb);
	slot = kms_batch_add_slot(last, 0);
	slot->target = 1;
	slot->slot.lost_unringed = 7; /* has a row of its own */
	add(store, last);
	kms_store_figures(store, &bytes, &events);
	assert_int_equal(kms_store_close(store, NULL), 0);

	r = open_trace();
	expect_whole(&r);
	expect_events(&r, &tb, true);
	assert_int_equal(number(&r, "SELECT count(*) FROM open_blocks"), 0);
	assert_int_equal(number(&r, "SELECT sum(produced) FROM rings"), tb.produced + 7);
	assert_int_equal(number(&r, "SELECT sum(stored + lost) FROM rings"), tb.produced + 7);
	assert_int_equal(number(&r, "SELECT sum(stored) FROM rings"), events);
	assert_int_equal(number(&r, "SELECT value FROM meta WHERE key = 'produced'"),
			 tb.produced + 7);
	assert_int_equal(number(&r, "SELECT value - (SELECT sum(lost) FROM rings) FROM meta "
				    "WHERE key = 'lost'"),
			 0);
	assert_int_equal(number(&r, "SELECT lost FROM rings WHERE ring = -1"), 7);
	assert_int_equal(number(&r, "SELECT count(*) FROM meta WHERE key = 'state' AND "
				    "value = 'finished'"),
			 1);
	assert_true(bytes > 0);
	close_trace(&r);
	/* a finished trace is one file */
	assert_int_equal(access(TRACE "-wal", F_OK), -1);
	assert_int_equal(access(TRACE ".lock", F_OK), -1);
	tb_deinit(&tb);
}

static void a_reader_sees_each_commit_while_the_trace_is_written(void **state)
{
	struct tb tb;
	struct kms_store *store = create(0);
	struct reading r;
	size_t seen = 0;

	(void)state;
	tb_init(&tb, rng_seed(), 20, 2);
	tb_run(&tb, 100);
	add(store, tb_poll(&tb, true));
	assert_int_equal(kms_store_commit(store, true, NULL), 0);
	r = open_trace();
	for (unsigned i = 0; i < 40; i++) {
		size_t n;

		tb_run(&tb, rng_below(&tb.rng, 20000));
		add(store, tb_poll(&tb, true));
		assert_int_equal(kms_store_commit(store, true, NULL), 0);
		assert_int_equal(kms_db_exec(r.db, "COMMIT; BEGIN", NULL), 0);
		assert_int_equal(kms_trace_refresh(r.trace, NULL), 0);
		n = expect_events(&r, &tb, true);
		assert_true(n > seen || tb.produced == seen);
		seen = n;
	}
	close_trace(&r);
	assert_int_equal(kms_store_close(store, NULL), 0);
	tb_deinit(&tb);
}

static void a_read_transaction_does_not_see_later_commits(void **state)
{
	struct tb tb;
	struct kms_store *store = create(0);
	struct reading r;
	size_t n;

	(void)state;
	tb_init(&tb, rng_seed(), 4, 1);
	tb_run(&tb, 5000);
	add(store, tb_poll(&tb, true));
	assert_int_equal(kms_store_commit(store, true, NULL), 0);
	r = open_trace();
	n = expect_events(&r, &tb, true);
	tb_run(&tb, 50000);
	add(store, tb_poll(&tb, true));
	assert_int_equal(kms_store_commit(store, true, NULL), 0);
	assert_int_equal(kms_trace_refresh(r.trace, NULL), 0);
	assert_int_equal(expect_events(&r, &tb, false), n);
	close_trace(&r);
	assert_int_equal(kms_store_close(store, NULL), 0);
	tb_deinit(&tb);
}

/* Tells through the pipe what was committed, until it is killed. */
static void write_for_ever(int out, uint64_t seed)
{
	struct tb tb;
	struct kms_store *store = create(0);

	tb_init(&tb, seed, 10, 2);
	for (;;) {
		struct kms_batch *batch;

		tb_run(&tb, 2000);
		batch = tb_poll(&tb, true);
		batch->what = KMS_BATCH_SYNC;
		add(store, batch);
		if (kms_write_full(out, &tb.produced, sizeof(tb.produced)) < 0)
			_exit(0);
	}
}

static void a_killed_writer_leaves_a_trace_that_has_all_it_committed(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 6; round++) {
		uint64_t seed = rng_seed() + round, told = 0, produced = 0;
		struct reading r;
		struct tb tb;
		int pipe_fd[2], status;
		pid_t child;

		assert_int_equal(pipe(pipe_fd), 0);
		child = fork();
		if (child == 0)
			write_for_ever(pipe_fd[1], seed);
		(void)close(pipe_fd[1]);
		for (unsigned i = 0; i < 3 + round * 7; i++)
			assert_int_equal(kms_read_full(pipe_fd[0], &told, sizeof(told)),
					 sizeof(told));
		assert_int_equal(kill(child, SIGKILL), 0);
		assert_int_equal(waitpid(child, &status, 0), child);
		/* what was still in the pipe was committed too */
		while (kms_read_full(pipe_fd[0], &produced, sizeof(produced)) == sizeof(produced))
			told = produced;
		(void)close(pipe_fd[0]);

		assert_false(kms_trace_is_locked(TRACE, NULL));
		r = open_trace();
		expect_whole(&r);
		produced = (uint64_t)number(&r, "SELECT value FROM meta WHERE key = 'produced'");
		assert_true(produced >= told);
		assert_int_equal(number(&r, "SELECT sum(stored + lost) FROM rings"), produced);
		assert_int_equal(number(&r, "SELECT count(*) FROM meta WHERE key = 'state' AND "
					    "value = 'running'"),
				 1);
		/* the same again up to there */
		tb_init(&tb, seed, 10, 2);
		while (tb.produced < produced) {
			tb_run(&tb, 2000);
			kms_batch_put(tb_poll(&tb, true));
		}
		assert_int_equal(tb.produced, produced);
		expect_events(&r, &tb, true);
		close_trace(&r);
		tb_deinit(&tb);
		/* and it may be replaced */
		assert_int_equal(kms_store_close(create(0), NULL), 0);
	}
}

static void old_chunks_go_and_totals_stay(void **state)
{
	const uint64_t limit = 3 << 20;
	struct tb tb;
	struct kms_store *store = create(limit);
	struct reading r;
	int64_t removed, lost_records;
	size_t n;
	struct stat st;

	(void)state;
	tb_init(&tb, rng_seed(), 8, 1);
	for (unsigned i = 0; i < 60; i++) {
		tb_run(&tb, 50000);
		add(store, tb_poll(&tb, true));
	}
	add(store, tb_end(&tb));
	assert_int_equal(kms_store_close(store, NULL), 0);
	assert_int_equal(stat(TRACE, &st), 0);
	assert_true((uint64_t)st.st_size < limit + (1 << 20));

	r = open_trace();
	expect_whole(&r);
	removed = number(&r, "SELECT value FROM meta WHERE key = 'removed'");
	assert_true(removed > 0);
	assert_int_equal(number(&r, "SELECT sum(stored + lost) FROM rings"), tb.produced);
	n = (size_t)number(&r, "SELECT sum(events) FROM chunks");
	lost_records = number(&r, "SELECT count(*) FROM events WHERE kind = 'lost'");
	assert_int_equal(number(&r, "SELECT count(*) FROM events"), n);
	assert_true((int64_t)n + removed >=
		    number(&r, "SELECT sum(stored) FROM rings") + lost_records);
	close_trace(&r);
	tb_deinit(&tb);
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "w");

	assert_non_null(file);
	assert_true(fputs(text, file) >= 0);
	assert_int_equal(fclose(file), 0);
}

static void expect_refused(const char *path, int code, const char *says)
{
	struct kms_store_config config = {.path = path};
	struct kms_err err = KMS_ERR_INIT;
	struct kms_store *store = NULL;

	assert_int_equal(kms_store_create(&config, &store, &err), code);
	assert_null(store);
	if (!strstr(err.text, says))
		fail_msg("'%s' does not say '%s'", err.text, says);
	assert_string_equal(err.subject, path);
}

static void only_a_finished_trace_is_replaced(void **state)
{
	struct kms_store *store;
	struct kms_err err = KMS_ERR_INIT;
	struct stat before, after;

	(void)state;
	write_file(TRACE, "my novel, without a copy, and long enough to be a header of something, "
			  "which it is not: it is my novel.");
	expect_refused(TRACE, -EEXIST, "not a kmemscope trace");
	assert_int_equal(stat(TRACE, &before), 0);
	assert_int_equal(before.st_size, 103);
	write_file(TRACE, "SQLite format 3");
	expect_refused(TRACE, -EEXIST, "not a kmemscope trace");
	expect_refused("/dev/null", -EEXIST, "no regular file");
	expect_refused(".", -EEXIST, "folder");
	expect_refused("no-such-folder/a.kms", -ENOENT, "No such file");
	expect_refused("", -ENOENT, "No such file");
	assert_int_equal(access(TRACE ".lock", F_OK), -1);
	assert_int_equal(unlink(TRACE), 0);

	write_file(TRACE, ""); /* as mktemp(1) makes it */
	store = create(0);
	expect_refused(TRACE, -EBUSY, "still being written by process");
	assert_int_equal(kms_store_close(store, &err), 0);
	assert_int_equal(stat(TRACE, &before), 0);
	store = create(0);
	assert_int_equal(stat(TRACE, &after), 0);
	assert_true(after.st_ino != before.st_ino);
	assert_int_equal(kms_store_close(store, &err), 0);
}

static void another_database_is_not_replaced(void **state)
{
	sqlite3 *db;

	(void)state;
	assert_int_equal(sqlite3_open(TRACE, &db), SQLITE_OK);
	assert_int_equal(kms_db_exec(db, "CREATE TABLE precious(x)", NULL), 0);
	assert_int_equal(sqlite3_close(db), SQLITE_OK);
	expect_refused(TRACE, -EEXIST, "not a kmemscope trace");
}

static struct kms_batch_table *table(struct kms_batch *batch, uint32_t section, uint32_t first,
				     uint32_t count, uint32_t bytes)
{
	struct kms_batch_table *t = kms_batch_add_table(batch, section, first, count, bytes);

	assert_non_null(t);
	t->image = 1;
	return t;
}

static uint64_t pc_of(struct reading *r, uint32_t index)
{
	const void *entry = kms_trace_entry(r->trace, 1, KMS_SEC_NODE, index);
	struct kms_node node;

	if (!entry)
		return UINT64_MAX;
	memcpy(&node, entry, sizeof(node));
	return node.epoch_ready ? node.pc : 0;
}

static void holes_of_tables_are_filled_later(void **state)
{
	struct kms_store *store = create(0);
	struct kms_batch *batch = kms_batch_create();
	struct kms_node node = {.epoch_ready = KMS_NODE_READY};
	struct kms_batch_table *t = table(batch, KMS_SEC_NODE, 0, 5000, sizeof(node));
	struct reading r;

	(void)state;
	for (uint32_t i = 0; i < 5000; i++) {
		node.pc = i * 16;
		if (i % 7 != 3)
			memcpy(t->data + i * sizeof(node), &node, sizeof(node));
	}
	add(store, batch);
	/* the pages are no longer in memory after two commits without them */
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(kms_store_commit(store, true, NULL), 0);
	batch = kms_batch_create();
	for (uint32_t i = 3; i < 5000; i += 7) {
		t = table(batch, KMS_SEC_NODE, i, 1, sizeof(node));
		node.pc = i * 16;
		memcpy(t->data, &node, sizeof(node));
	}
	add(store, batch);
	assert_int_equal(kms_store_close(store, NULL), 0);
	r = open_trace();
	for (uint32_t i = 0; i < 5000; i++)
		assert_int_equal(pc_of(&r, i), i * 16);
	assert_int_equal(pc_of(&r, 5000), UINT64_MAX);
	close_trace(&r);
}

static void impossible_tables_are_refused(void **state)
{
	static const struct {
		uint32_t section, first, count, bytes;
	} rows[] = {
		{KMS_SEC_RING,  0,             1,  16                            },
		{99,            0,             1,  16                            },
		{KMS_SEC_NODE,  0,             1,  17                            },
		{KMS_SEC_NODE,  KMS_MAX_NODES, 1,  16                            },
		{KMS_SEC_NODE,  UINT32_MAX,    2,  16                            },
		{KMS_SEC_CACHE, 250,           10, sizeof(struct kms_cache_entry)},
	};
	struct kms_store *store = create(0);

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		struct kms_batch *batch = kms_batch_create();

		(void)table(batch, rows[i].section, rows[i].first, rows[i].count, rows[i].bytes);
		assert_int_equal(kms_store_add(store, batch, NULL), -EINVAL);
		kms_batch_put(batch);
	}
	assert_int_equal(kms_store_close(store, NULL), 0);
}

static void names_become_rows(void **state)
{
	static const char path[] = "/usr/lib/x86_64-linux-gnu/libexample.so.6";
	struct kms_store *store = create(0);
	struct kms_module module = {
		.start = 0x1000,
		.end = 0x9000,
		.load_bias = 0x1000,
		.ready = 1,
		.build_id_bytes = 2,
		.build_id = {0xab, 0x01}
        };
	struct tb tb;
	struct kms_batch *batch;
	struct kms_batch_table *t;
	struct enc_event mark = {.kind = KMS_EVENT_MARK, .value = 2};
	struct reading r;

	(void)state;
	tb_init(&tb, 1, 2, 1);
	tb_run(&tb, 10);
	/* the module comes before its string in the batch */
	t = table(tb.batch, KMS_SEC_MODULE, 5, 1, sizeof(module));
	module.path_string = 2;
	memcpy(t->data, &module, sizeof(module));
	assert_int_equal(tb_string(&tb, 1, path), 2);
	tb_put(&tb, 0, mark);
	batch = tb_poll(&tb, true);
	add(store, batch);
	assert_int_equal(kms_store_close(store, NULL), 0);

	r = open_trace();
	assert_int_equal(number(&r, "SELECT count(*) FROM modules WHERE image = 1 AND idx = 5 AND "
				    "path = '/usr/lib/x86_64-linux-gnu/libexample.so.6' AND "
				    "build_id = 'ab01' AND \"start\" = 4096"),
			 1);
	assert_int_equal(number(&r, "SELECT count(*) FROM threads WHERE tid = 1001"), 1);
	assert_int_equal(number(&r, "SELECT count(*) FROM cache_names WHERE name = 'kmem-64'"), 1);
	assert_int_equal(number(&r, "SELECT count(*) FROM marks m JOIN events e ON e.seq = m.seq "
				    "WHERE e.kind = 'mark' AND m.name LIKE '/usr/lib/%'"),
			 1);
	close_trace(&r);
	tb_deinit(&tb);
}

static void caches_of_events_follow_their_slabs(void **state)
{
	struct tb tb;
	struct kms_store *store = create(0);
	struct reading r;
	struct kms_scan_query query = KMS_SCAN_ALL;
	const struct kms_scan_event *e;
	struct kms_scan *scan;
	size_t n = 0;

	(void)state;
	tb_init(&tb, rng_seed(), 5, 1);
	tb_run(&tb, 20000);
	add(store, tb_poll(&tb, true));
	add(store, tb_end(&tb));
	assert_int_equal(kms_store_close(store, NULL), 0);
	r = open_trace();
	assert_int_equal(kms_scan_open(r.trace, &query, &scan, NULL), 0);
	while (kms_scan_next(scan, &e, NULL) == 0 && e) {
		const char *cache = kms_scan_cache(scan);

		if (!e->has_address) {
			assert_null(cache);
			continue;
		}
		assert_non_null(cache);
		assert_string_equal(cache, tb_cache_name(e->event.address));
		n++;
	}
	assert_true(n > 19000);
	kms_scan_close(scan);
	close_trace(&r);
	tb_deinit(&tb);
}

static void slab(struct tb *tb, uint32_t kind, uint32_t cache, uint64_t time_ns)
{
	struct enc_event e = {.kind = kind,
			      .address = TB_HEAP_BASE,
			      .value = TB_SLAB_PAGES,
			      .cache = cache,
			      .first = 16,
			      .stride = 64,
			      .stamp = true,
			      .time_ns = time_ns};

	tb->time_ns = time_ns;
	tb_put(tb, 0, e);
}

static void an_address_has_the_cache_of_its_time(void **state)
{
	const uint64_t second = 1000000000;
	struct tb tb;
	struct kms_store *store = create(0);
	struct reading r;
	struct kms_trace_where where = {
		.target = 1, .image = 1, .address = TB_HEAP_BASE + 80, .size = 1 << 20};

	(void)state;
	tb_init(&tb, 1, 1, 1);
	tb.time_ns = second;
	slab(&tb, KMS_EVENT_SLAB_GROW, 0, second);
	slab(&tb, KMS_EVENT_SLAB_RELEASE, 0, 2 * second);
	slab(&tb, KMS_EVENT_SLAB_GROW, 2, 3 * second);
	add(store, tb_poll(&tb, true));
	add(store, tb_end(&tb));
	assert_int_equal(kms_store_close(store, NULL), 0);
	r = open_trace();
	where.time_ns = second / 2;
	assert_null(kms_trace_cache(r.trace, &where));
	where.time_ns = second - 1000; /* within the tick by which times are uncertain */
	assert_string_equal(kms_trace_cache(r.trace, &where), "malloc-64");
	where.time_ns = 2 * second - 1;
	assert_string_equal(kms_trace_cache(r.trace, &where), "malloc-64");
	where.time_ns = 2 * second + second / 2;
	assert_null(kms_trace_cache(r.trace, &where));
	where.time_ns = 9 * second;
	assert_string_equal(kms_trace_cache(r.trace, &where), "pool");
	where.address = TB_HEAP_BASE + (uint64_t)TB_SLAB_PAGES * KMS_PAGE_BYTES;
	assert_null(kms_trace_cache(r.trace, &where));
	where.size = 40; /* no slab, as of a guarded block: the smallest cache of the front */
	assert_string_equal(kms_trace_cache(r.trace, &where), "malloc-64");
	where.flags = KMS_CHECK_HEADER;
	assert_string_equal(kms_trace_cache(r.trace, &where), "kmem-64");
	where.size = 60; /* 8 bytes of header do not fit any more */
	assert_null(kms_trace_cache(r.trace, &where));
	close_trace(&r);
	tb_deinit(&tb);
}

static void audit_entries_are_kept(void **state)
{
	struct kms_store *store = create(0);
	struct kms_store_audit audit = {.wall_ns = 5,
					.who = "uid 0",
					.target = 1,
					.value = 30000,
					.variable = "kmem_guard_depth",
					.result = "ok"};
	struct reading r;

	(void)state;
	assert_int_equal(kms_store_audit(store, &audit, NULL), 0);
	audit.result = NULL;
	assert_int_equal(kms_store_audit(store, &audit, NULL), 0);
	assert_int_equal(kms_store_close(store, NULL), 0);
	r = open_trace();
	assert_int_equal(number(&r, "SELECT count(*) FROM audit WHERE value = 30000 AND "
				    "variable = 'kmem_guard_depth'"),
			 2);
	close_trace(&r);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(everything_that_was_added_comes_back, clean, clean),
		cmocka_unit_test_setup_teardown(
			a_reader_sees_each_commit_while_the_trace_is_written, clean, clean),
		cmocka_unit_test_setup_teardown(a_read_transaction_does_not_see_later_commits,
						clean, clean),
		cmocka_unit_test_setup_teardown(
			a_killed_writer_leaves_a_trace_that_has_all_it_committed, clean, clean),
		cmocka_unit_test_setup_teardown(old_chunks_go_and_totals_stay, clean, clean),
		cmocka_unit_test_setup_teardown(only_a_finished_trace_is_replaced, clean, clean),
		cmocka_unit_test_setup_teardown(another_database_is_not_replaced, clean, clean),
		cmocka_unit_test_setup_teardown(holes_of_tables_are_filled_later, clean, clean),
		cmocka_unit_test_setup_teardown(impossible_tables_are_refused, clean, clean),
		cmocka_unit_test_setup_teardown(names_become_rows, clean, clean),
		cmocka_unit_test_setup_teardown(caches_of_events_follow_their_slabs, clean, clean),
		cmocka_unit_test_setup_teardown(an_address_has_the_cache_of_its_time, clean, clean),
		cmocka_unit_test_setup_teardown(audit_entries_are_kept, clean, clean),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
