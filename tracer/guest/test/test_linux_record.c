/* SPDX-License-Identifier: BSD-2-Clause */
/* The kmem events of a Linux guest on their way into batches and a trace. */
#include "base/test/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tracer/batch_build.h"
#include "tracer/block.h"
#include "tracer/guest/linux_encode.h"
#include "tracer/guest/linux_view.h"
#include "tracer/guest/test/fake_linux.h"
#include "tracer/symbols.h"
#include "tracer/test/rng.h"
#include "tracer/tracer.h"

enum {
	WRITES = 5000,
	DEADLINE_S = 20,
};

static void make_write(struct rng *rng, struct kms_linux_write *out, uint64_t *time_ns)
{
	static const uint64_t sizes[] = {0, 8, 255, 256, 4096, 65536, 1 << 22};
	static const uint64_t bases[] = {0x1000, 0xffff888000000000, 0xffff888012345678};

	*time_ns += rng_below(rng, 3) ? rng_below(rng, 1000) : 0;
	*out = (struct kms_linux_write){
		.time_ns = *time_ns,
		.address = bases[rng_below(rng, 3)] +
			   rng_below(rng, 1 << 20) * (1 + rng_below(rng, 8)),
		.bytes = sizes[rng_below(rng, 7)],
		.node = (uint32_t)rng_below(rng, 300),
		.thread = (uint32_t)(rng_below(rng, 10) ? 3 : rng_below(rng, 5)),
		.cache = rng_below(rng, 4) ? (uint32_t)rng_below(rng, 256) : KMS_NO_INDEX,
		.kind = rng_below(rng, 2) ? KMS_EVENT_ALLOC : KMS_EVENT_FREE,
		.generation = (uint8_t)rng_below(rng, 256),
		.has_generation = rng_below(rng, 2) != 0,
	};
	if (rng_below(rng, 50) == 0) {
		out->kind = KMS_EVENT_LOST;
		out->bytes = 1 + rng_below(rng, 100000);
	}
}

static void assert_is_event(const struct kms_event *event, const struct kms_linux_write *write)
{
	assert_int_equal(event->kind, write->kind);
	assert_int_equal(event->time_ns, write->time_ns);
	assert_int_equal(event->session, 1);
	if (write->kind == KMS_EVENT_LOST) {
		assert_int_equal(event->value, write->bytes);
		return;
	}
	assert_int_equal(event->address, write->address);
	assert_int_equal(event->size, write->bytes);
	assert_int_equal(event->stack, write->node);
	assert_int_equal(event->thread, write->thread);
	assert_int_equal(event->cache, write->cache);
	assert_int_equal(event->has_generation, write->has_generation);
	if (write->has_generation)
		assert_int_equal(event->generation, write->generation);
}

/* Blocks may be sent in parts: what counts of each is behind from_bytes. */
static size_t compare(const struct kms_batch *batch, const struct kms_linux_write *write,
		      uint64_t *seq)
{
	static struct kms_event event[KMS_SEQ_PER_BLOCK];
	size_t done = 0, n;

	for (size_t i = 0; i < batch->n_blocks; i++) {
		const struct kms_batch_block *block = &batch->block[i];
		uint64_t given = 0;

		assert_int_equal(block->block.ring, 5);
		assert_int_equal(kms_block_decode(&block->block, event, KMS_SEQ_PER_BLOCK, &n), 0);
		for (size_t j = 0; j < n; j++) {
			if (event[j].offset < block->from_bytes)
				continue;
			assert_int_equal(event[j].ring_seq, *seq);
			*seq += event[j].kind == KMS_EVENT_LOST ? event[j].value : 1;
			given++;
			if (event[j].kind != KMS_EVENT_CONTEXT)
				assert_is_event(&event[j], &write[done++]);
		}
		assert_int_equal(given, block->summary.events);
	}
	return done;
}

static void a_stream_decodes_to_what_was_put_in(void **state)
{
	static struct kms_linux_write write[WRITES];
	struct kms_linux_stream *stream = calloc(1, sizeof(*stream));
	struct rng rng;
	uint64_t time_ns = 5000, seq = 0;
	size_t sent = 0;

	(void)state;
	assert_non_null(stream);
	rng_init(&rng, rng_seed());
	stream->ring = 5;
	while (sent < WRITES) {
		struct kms_batch *batch = kms_batch_create();
		size_t n = 1 + rng_below(&rng, 700);

		n = n < WRITES - sent ? n : WRITES - sent;
		for (size_t i = 0; i < n; i++) {
			make_write(&rng, &write[sent + i], &time_ns);
			assert_int_equal(kms_linux_stream_put(stream, batch, &write[sent + i]), 0);
		}
		assert_int_equal(kms_linux_stream_flush(stream, batch), 0);
		assert_int_equal(compare(batch, &write[sent], &seq), n);
		sent += n;
		kms_batch_put(batch);
	}
	assert_int_equal(stream->seq, seq);
	free(stream);
}

/* A view on a kernel's memory, and the tracer that takes its events. */
struct run {
	struct fake_linux *fake;
	struct kms_linux_view *view;
	struct kms_tracer *tracer;
	char dir[64], file[96];
};

static void run_start(struct run *run, uint64_t seed)
{
	struct kms_linux_view_config config = {
		.linux_options = {.is_still = true}, .command = "qemu", .pid = 4711};
	struct kms_tracer_config tracer = {.command = "qemu"};
	struct kms_err err = KMS_ERR_INIT;

	*run = (struct run){.fake = fake_linux_make(seed)};
	snprintf(run->dir, sizeof(run->dir), "/dev/shm/kms-test-linux-XXXXXX");
	assert_non_null(mkdtemp(run->dir));
	snprintf(run->file, sizeof(run->file), "%s/out.kms", run->dir);
	config.memory = run->fake->ram.memory;
	assert_int_equal(kms_linux_view_start(&config, &run->view, &err), 0);
	tracer.origin = kms_linux_view_origin(run->view);
	tracer.run_dir = run->dir;
	tracer.output = run->file;
	run->tracer = kms_tracer_start(&tracer, &err);
	if (!run->tracer)
		fail_msg("%s", err.text);
	assert_int_equal(kms_linux_view_record(run->view, run->tracer, &err), 0);
}

static void run_end(struct run *run)
{
	kms_linux_view_record_end(run->view);
	assert_int_equal(kms_tracer_finish(run->tracer, NULL), 0);
	kms_linux_view_stop(run->view);
	kms_tracer_destroy(run->tracer);
	fake_linux_drop(run->fake);
}

static void run_drop(struct run *run)
{
	assert_int_equal(unlink(run->file), 0);
	assert_int_equal(rmdir(run->dir), 0);
}

static uint64_t now_s(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec;
}

/* Waits until so many events were stored. */
static void await_events(struct run *run, uint64_t events)
{
	struct kms_view view = kms_tracer_view(run->tracer);
	uint64_t end = now_s() + DEADLINE_S, allocs = 0, frees = 0;

	while (now_s() < end && allocs + frees < events) {
		const struct kms_snapshot *snapshot = view.ops->acquire(view.ctx);

		allocs = snapshot->stats.allocs;
		frees = snapshot->stats.frees;
		assert_int_equal(snapshot->n_caches, FAKE_CACHES);
		view.ops->release(view.ctx, snapshot);
		(void)usleep(2000); /* the view's thread reads 40 times a second */
	}
	assert_int_equal(allocs + frees, events);
}

struct seen {
	struct kms_view view;
	uint64_t last_ns, n, rings[2], named;
};

static int see(void *arg, const struct kms_view_event *event)
{
	struct seen *seen = arg;
	struct kms_view_stack stack;

	if (event->kind != KMS_EVENT_ALLOC && event->kind != KMS_EVENT_FREE)
		return 0;
	assert_true(event->time_ns <= seen->last_ns);
	seen->last_ns = event->time_ns;
	assert_int_equal(event->tid, 7);
	assert_true(event->ring < 2);
	seen->rings[event->ring]++;
	seen->n++;
	assert_int_equal(seen->view.ops->stack(seen->view.ctx, event->stack_id, &stack, NULL), 0);
	assert_int_equal(stack.n_frames, 1);
	seen->named += stack.frame[0].function != NULL;
	seen->view.ops->stack_free(seen->view.ctx, &stack);
	return 0;
}

/* All events of a view, newest first: their time, CPU, process and call site. */
static void look_at_events(const struct kms_view *view, uint64_t expected)
{
	const struct kms_event_query query = {.before_seq = UINT64_MAX,
					      .before_ns = UINT64_MAX,
					      .to_ns = UINT64_MAX,
					      .limit = 100000,
					      .newest_first = true};
	struct seen seen = {.view = *view, .last_ns = UINT64_MAX};

	assert_int_equal(view->ops->events(view->ctx, &query, see, &seen, NULL), 0);
	assert_int_equal(seen.n, expected);
	assert_in_range(seen.rings[0], expected / 2 - 2, expected / 2 + 2);
	assert_int_equal(seen.named, expected);
}

/* The writer moves on: what it commits to, and how many pages it went to. */
static void ring_move(struct fake_linux *fake, unsigned cpu, unsigned page, uint64_t touched)
{
	uint8_t *ring = fake->ram.bytes + (fake->ring_cpu[cpu] - fake->linear);
	uint64_t commit = fake->ring_cpu[cpu] + 512 + page * 256U;

	memcpy(ring + fake_offset_of(fake, "ring_buffer_per_cpu", "commit_page"), &commit, 8);
	memcpy(ring + fake_offset_of(fake, "ring_buffer_per_cpu", "pages_touched"), &touched, 8);
}

/* Events of a CPU that its first page has room for: fake_linux.c writes 28 or 36 bytes of each. */
static uint64_t on_first_page(unsigned cpu)
{
	uint64_t n = 0, bytes = 16;

	for (unsigned i = cpu; i < FAKE_EVENTS; i += 2, n++) {
		bytes += i % 3 == 2 ? 28 : 36;
		if (bytes > 4096)
			break;
	}
	return n;
}

static void events_are_in_view_and_file_with_cpu_and_call_site(void **state)
{
	struct kms_file *file;
	struct kms_view view;
	struct run run;
	/* what was on the pages when we came is nobody's */
	const uint64_t events = FAKE_EVENTS - on_first_page(0) - on_first_page(1);

	(void)state;
	run_start(&run, 11);
	ring_move(run.fake, 0, 2, 102);
	ring_move(run.fake, 1, 2, 102);
	await_events(&run, events);
	view = kms_tracer_view(run.tracer);
	look_at_events(&view, events);
	run_end(&run);
	assert_int_equal(kms_file_open(run.file, &file, NULL), 0);
	view = kms_file_view(file);
	look_at_events(&view, events);
	kms_file_close(file);
	run_drop(&run);
}

static void lost_pages_are_lost_events(void **state)
{
	struct kms_view view;
	struct run run;
	uint64_t end = now_s() + DEADLINE_S, lost = 0;

	(void)state;
	run_start(&run, 12);
	view = kms_tracer_view(run.tracer);
	ring_move(run.fake, 0, 1, 200); /* 100 pages on in a ring of 4 */
	while (now_s() < end && !lost) {
		const struct kms_snapshot *snapshot = view.ops->acquire(view.ctx);

		lost = snapshot->stats.lost;
		assert_true(!lost || snapshot->incomplete);
		view.ops->release(view.ctx, snapshot);
		(void)usleep(2000); /* the view's thread reads 40 times a second */
	}
	assert_in_range(lost, 96, 100 * 4096 / 8);
	run_end(&run);
	run_drop(&run);
}

/* Waits until so many kernels were seen, and the newest is in that state. */
static void await_boot(struct run *run, size_t targets, uint32_t state)
{
	struct kms_view view = kms_tracer_view(run->tracer);
	uint64_t end = now_s() + DEADLINE_S;
	bool is_so = false;

	while (now_s() < end && !is_so) {
		const struct kms_snapshot *snapshot = view.ops->acquire(view.ctx);

		is_so = snapshot->n_targets == targets &&
			snapshot->target[targets - 1].state == state;
		view.ops->release(view.ctx, snapshot);
		(void)usleep(2000); /* the view's thread looks once a second */
	}
	assert_true(is_so);
}

static int count_of_second(void *arg, const struct kms_view_event *event)
{
	if (event->kind == KMS_EVENT_ALLOC || event->kind == KMS_EVENT_FREE) {
		assert_int_equal(event->target, 2);
		++*(uint64_t *)arg;
	}
	return 0;
}

static void a_kernel_that_boots_again_is_another_image_of_the_trace(void **state)
{
	const struct kms_event_query query = {.before_seq = UINT64_MAX,
					      .before_ns = UINT64_MAX,
					      .to_ns = UINT64_MAX,
					      .limit = 100000};
	const uint64_t events = FAKE_EVENTS - on_first_page(0) - on_first_page(1);
	struct kms_file *file;
	struct kms_view view;
	struct run run;
	uint64_t n = 0;

	(void)state;
	run_start(&run, 13);
	memset(run.fake->ram.bytes + run.fake->info_at, 0, 4096);
	await_boot(&run, 1, KMS_STATE_EXITED);
	fake_linux_write_info(run.fake, run.fake->info_at, "6.12.0-fake");
	await_boot(&run, 2, KMS_STATE_RUNNING);
	ring_move(run.fake, 0, 2, 102);
	ring_move(run.fake, 1, 2, 102);
	await_events(&run, events);
	run_end(&run);
	assert_int_equal(kms_file_open(run.file, &file, NULL), 0);
	view = kms_file_view(file);
	assert_int_equal(view.ops->events(view.ctx, &query, count_of_second, &n, NULL), 0);
	assert_int_equal(n, events);
	kms_file_close(file);
	run_drop(&run);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_stream_decodes_to_what_was_put_in),
		cmocka_unit_test(events_are_in_view_and_file_with_cpu_and_call_site),
		cmocka_unit_test(lost_pages_are_lost_events),
		cmocka_unit_test(a_kernel_that_boots_again_is_another_image_of_the_trace),
	};

	if (kms_symbols_is_helper(argc, argv))
		return kms_symbols_helper_main(argc,
					       argv); /* the tracer starts us again for that */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
