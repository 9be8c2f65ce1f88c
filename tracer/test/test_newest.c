/* SPDX-License-Identifier: BSD-2-Clause */
/* Events from the newest on: of a trace, and of the runs of a fleet, compared with all of them sorted. */
#include <stdlib.h>
#include <unistd.h>

#include "base/test/unit.h"
#include "tracer/file.h"
#include "tracer/fleet.h"
#include "tracer/store.h"
#include "tracer/test/trace_build.h"

#define TRACE "test_newest.kms"

enum {
	RINGS = 6,
	RUNS = 3,
	RUN_EVENTS = 40,
	ZERO_NS = 1000000,
};

/* Collected events. */
struct seen {
	struct kms_view_event *event;
	size_t n, room;
};

static int see(void *arg, const struct kms_view_event *event)
{
	struct seen *seen = arg;

	if (seen->n == seen->room) {
		seen->room = seen->room ? seen->room * 2 : 1024;
		seen->event = reallocarray(seen->event, seen->room, sizeof(*seen->event));
		assert_non_null(seen->event);
	}
	seen->event[seen->n++] = *event;
	return 0;
}

static int newest_first(const void *a, const void *b)
{
	const struct kms_view_event *x = a, *y = b;

	if (x->time_ns != y->time_ns)
		return x->time_ns > y->time_ns ? -1 : 1;
	return x->seq > y->seq ? -1 : x->seq < y->seq;
}

static void ask(struct kms_view view, const struct kms_event_query *query, struct seen *seen)
{
	struct kms_err err = KMS_ERR_INIT;

	seen->n = 0;
	if (view.ops->events(view.ctx, query, see, seen, &err) < 0)
		fail_msg("%s", err.text);
}

/* Pages of @limit, one after the other, are all events that the query finds in its other order, sorted. */
static void expect_pages(struct kms_view view, struct kms_event_query query, size_t limit)
{
	struct seen all = {0}, page = {0};
	size_t n = 0;

	query.before_seq = UINT64_MAX;
	query.limit = SIZE_MAX;
	ask(view, &query, &all);
	assert_true(all.n > 0);
	qsort(all.event, all.n, sizeof(*all.event), newest_first);
	query.newest_first = true;
	query.before_ns = UINT64_MAX;
	query.limit = limit;
	do {
		ask(view, &query, &page);
		assert_true(page.n <= limit && n + page.n <= all.n);
		for (size_t i = 0; i < page.n; i++, n++) {
			assert_int_equal(page.event[i].seq, all.event[n].seq);
			assert_int_equal(page.event[i].time_ns, all.event[n].time_ns);
			assert_int_equal(page.event[i].target, all.event[n].target);
			query.before_ns = page.event[i].time_ns;
			query.before_seq = page.event[i].seq;
		}
	} while (page.n);
	assert_int_equal(n, all.n);
	free(all.event);
	free(page.event);
}

/* A trace whose rings were written to at the same time, its last blocks still open if it is not @closed. */
static struct kms_store *write_trace(struct tb *tb, bool closed)
{
	const struct kms_store_config config = {
		.path = TRACE, .command = "program", .commit_ns = 1};
	struct kms_err err = KMS_ERR_INIT;
	struct kms_store *store;
	struct kms_batch *batch;

	(void)unlink(TRACE);
	tb_init(tb, rng_seed(), RINGS, 2);
	if (kms_store_create(&config, &store, &err) < 0)
		fail_msg("%s", err.text);
	for (unsigned i = 0; i < 12; i++) {
		tb_run(tb, 4000);
		batch = closed && i == 11 ? tb_end(tb) : tb_poll(tb, true);
		assert_int_equal(kms_store_add(store, batch, &err), 0);
		kms_batch_put(batch);
	}
	if (!closed)
		return store;
	assert_int_equal(kms_store_close(store, &err), 0);
	return NULL;
}

static void newest_of_a_trace_come_by_time_page_by_page(void **state)
{
	const struct kms_event_query any = {.to_ns = UINT64_MAX};
	struct kms_event_query q;
	struct kms_file *file;
	struct kms_view view;
	struct tb tb;

	(void)state;
	(void)write_trace(&tb, true);
	assert_int_equal(kms_file_open(TRACE, &file, NULL), 0);
	view = kms_file_view(file);
	expect_pages(view, any, 997);
	expect_pages(view, any, SIZE_MAX);
	q = any;
	q.kinds = 1u << KMS_EVENT_CHECK | 1u << KMS_EVENT_FREE;
	q.target = 2;
	expect_pages(view, q, 501);
	q = any;
	q.from_ns = tb.time_ns / 3;
	q.to_ns = tb.time_ns / 2;
	expect_pages(view, q, 700);
	q = any;
	q.address = TB_HEAP_BASE + 640;
	expect_pages(view, q, 3);
	kms_file_close(file);
	tb_deinit(&tb);
	(void)unlink(TRACE);
}

static void newest_of_a_trace_that_is_written_are_in_its_open_blocks(void **state)
{
	struct kms_file *file;
	struct kms_store *store;
	struct tb tb;

	(void)state;
	store = write_trace(&tb, false);
	assert_int_equal(kms_file_open(TRACE, &file, NULL), 0);
	expect_pages(kms_file_view(file), (struct kms_event_query){.to_ns = UINT64_MAX}, 400);
	kms_file_close(file);
	assert_int_equal(kms_store_close(store, NULL), 0);
	tb_deinit(&tb);
	(void)unlink(TRACE);
}

/* A run of a fleet: every third moment has two events. */
struct run {
	struct kms_snapshot s;
	struct kms_view_target target;
	struct kms_view_ops ops;
	uint32_t number;
};

static const struct kms_snapshot *run_acquire(void *ctx)
{
	return &((struct run *)ctx)->s;
}

static void run_release(void *ctx, const struct kms_snapshot *snapshot)
{
	(void)ctx;
	(void)snapshot;
}

static bool run_has(const struct kms_event_query *q, const struct kms_view_event *event)
{
	if (q->newest_first)
		return event->time_ns < q->before_ns ||
		       (event->time_ns == q->before_ns && event->seq < q->before_seq);
	return event->seq >= q->from_seq && event->seq < q->before_seq;
}

static int run_events(void *ctx, const struct kms_event_query *query,
		      int (*emit)(void *arg, const struct kms_view_event *event), void *arg,
		      struct kms_err *err)
{
	size_t sent = 0;

	(void)ctx;
	(void)err;
	for (uint64_t i = 0; i < RUN_EVENTS && sent < query->limit; i++) {
		uint64_t seq = query->newest_first ? RUN_EVENTS - i : i + 1;
		const struct kms_view_event event = {
			.seq = seq, .time_ns = 10 + seq * 2 / 3 * 5, .target = 1};

		if (!run_has(query, &event))
			continue;
		sent++;
		if (emit(arg, &event))
			break;
	}
	return 0;
}

static void newest_of_all_runs_come_by_time_page_by_page(void **state)
{
	struct kms_fleet *fleet = kms_fleet_create(ZERO_NS);
	struct run run[RUNS] = {0};
	struct kms_view view;

	(void)state;
	assert_non_null(fleet);
	view = kms_fleet_view(fleet);
	for (unsigned i = 0; i < RUNS; i++) {
		struct kms_fleet_source source = {
			.view = {.ops = &run[i].ops, .ctx = &run[i]}
                };

		run[i].target = (struct kms_view_target){.id = 1, .name = "prog"};
		/* the third begins with the second, and both within the first */
		run[i].s = (struct kms_snapshot){.wall_ns = ZERO_NS + (i ? 45 : 0),
						 .n_targets = 1,
						 .target = &run[i].target};
		run[i].ops = (struct kms_view_ops){
			.acquire = run_acquire, .release = run_release, .events = run_events};
		assert_int_equal(kms_fleet_add(fleet, &source, &run[i].number, NULL), 0);
	}
	view.ops->release(view.ctx, view.ops->acquire(view.ctx)); /* targets get their numbers */
	expect_pages(view, (struct kms_event_query){.to_ns = UINT64_MAX}, 7);
	expect_pages(view, (struct kms_event_query){.to_ns = UINT64_MAX}, 1);
	expect_pages(view, (struct kms_event_query){.to_ns = UINT64_MAX, .target = 2}, 4);
	for (unsigned i = 0; i < RUNS; i++)
		kms_fleet_remove(fleet, run[i].number);
	kms_fleet_destroy(fleet);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(newest_of_a_trace_come_by_time_page_by_page),
		cmocka_unit_test(newest_of_a_trace_that_is_written_are_in_its_open_blocks),
		cmocka_unit_test(newest_of_all_runs_come_by_time_page_by_page),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
