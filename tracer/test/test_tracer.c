/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The whole tracer on synthetic programs: what they wrote is in the live picture and in the file.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test/unit.h"
#include "tracer/process.h"
#include "tracer/test/synth.h"
#include "tracer/tracer.h"

/* A folder for regions and the trace, and what the tracer said. */
struct run {
	char dir[64];
	char file[96];
	char said[512];
	int n_said;
	struct kms_tracer *tracer;
};

static void say(void *arg, const char *line)
{
	struct run *run = arg;

	snprintf(run->said, sizeof(run->said), "%s", line);
	run->n_said++;
}

static int set_up(void **state)
{
	struct run *run = calloc(1, sizeof(*run));

	if (!run)
		return -1;
	snprintf(run->dir, sizeof(run->dir), "/dev/shm/kms-test-tracer-XXXXXX");
	if (!mkdtemp(run->dir))
		return -1;
	snprintf(run->file, sizeof(run->file), "%s/out.kms", run->dir);
	*state = run;
	return 0;
}

static int tear_down(void **state)
{
	struct run *run = *state;
	int result;

	unlink(run->file);
	result = rmdir(run->dir);
	free(run);
	return result;
}

static void start(struct run *run, pid_t first_pid, size_t queue_bytes)
{
	struct kms_tracer_config config = {.run_dir = run->dir,
					   .output = run->file,
					   .command = "test",
					   .first_pid = first_pid,
					   .queue_bytes = queue_bytes,
					   .say = say,
					   .say_arg = run};
	struct kms_err err = KMS_ERR_INIT;

	run->tracer = kms_tracer_start(&config, &err);
	if (!run->tracer)
		fail_msg("%s", err.text);
}

static const char *region(const struct run *run, int n)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/img-%d", run->dir, n);
	return path;
}

static void put_pairs(struct synth *s, struct synth_ring *ring, uint64_t n)
{
	struct enc_event slab = {.kind = KMS_EVENT_SLAB_GROW,
				 .address = 0x10000,
				 .value = 256,
				 .cache = synth_cache(s, "malloc-64", 64),
				 .stride = 64};
	uint32_t node = synth_node(s, 0, 0x1234);

	synth_ring_put(ring, &slab);
	for (uint64_t i = 0; i < n; i++) {
		struct enc_event e = {.kind = KMS_EVENT_ALLOC,
				      .address = 0x10000 + i % 64 * 64,
				      .size = 48,
				      .stack = node,
				      .checks = 3};

		if (i < 10)
			e.address = 0x90000 + i * 64; /* stays allocated */

		synth_ring_put(ring, &e);
		e.kind = KMS_EVENT_FREE;
		if (i >= 10)
			synth_ring_put(ring, &e);
	}
}

/* A program: n allocations, all freed but the first ten; waits at the gate if there is one. */
static pid_t spawn(const struct run *run, int nr, uint64_t n, int gate_fd)
{
	pid_t pid = fork();
	struct synth_ring ring;
	struct synth s;
	char byte;

	if (pid)
		return pid;
	alarm(60); /* should a test fail: nobody reads the ring any more */
	synth_create(&s, region(run, nr), &(struct synth_config){.blocks_per_ring = 64});
	synth_slot(&s, 0, (uint32_t)getpid(), KMS_NO_INDEX);
	synth_ring_claim(&ring, &s, 0, 0);
	put_pairs(&s, &ring, n);
	if (gate_fd >= 0)
		(void)!read(gate_fd, &byte, 1);
	synth_ring_close(&ring);
	_exit(7);
}

static void wait_over(struct run *run)
{
	for (int i = 0; i < 200; i++) {
		if (kms_tracer_wait(run->tracer, 100) == KMS_TRACER_OVER)
			return;
	}
	fail_msg("the run does not end");
}

static void end_run(struct run *run, pid_t pid)
{
	struct kms_err err = KMS_ERR_INIT;
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	kms_tracer_exited(run->tracer, pid, status);
	wait_over(run);
	if (kms_tracer_stop(run->tracer, &err))
		fail_msg("%s", err.text);
}

static void every_event_is_in_the_file(void **state)
{
	const struct kms_snapshot *snapshot;
	struct run *run = *state;
	struct kms_file *file;
	struct kms_view view;
	pid_t pid;

	pid = spawn(run, 1, 100000, -1);
	start(run, pid, 0);
	spawn(run, 2, 50000, -1);
	spawn(run, 3, 1000, -1);
	end_run(run, pid);
	while (wait(NULL) > 0)
		;
	assert_int_equal(kms_file_open(run->file, &file, NULL), 0);
	assert_int_equal(kms_file_state(file), KMS_FILE_FINISHED);
	view = kms_file_view(file);
	snapshot = view.ops->acquire(view.ctx);
	assert_true(snapshot->finished);
	assert_int_equal(snapshot->stats.events[KMS_EVENT_ALLOC], 151000);
	assert_int_equal(snapshot->stats.events[KMS_EVENT_FREE], 151000 - 30);
	assert_int_equal(snapshot->stats.live_objects, 30);
	assert_int_equal(snapshot->stats.lost, 0);
	assert_int_equal(snapshot->n_targets, 3);
	for (size_t i = 0; i < snapshot->n_targets; i++) {
		assert_int_equal(snapshot->target[i].state, KMS_STATE_EXITED);
		assert_int_equal(snapshot->target[i].exit_status,
				 (pid_t)snapshot->target[i].pid == pid ? 7 << 8 : -1);
	}
	view.ops->release(view.ctx, snapshot);
	kms_file_close(file);
	assert_int_equal(run->n_said, 0);
}

static int count_event(void *arg, const struct kms_view_event *event)
{
	uint64_t *count = arg;

	count[event->kind]++;
	return 0;
}

static void a_sync_makes_picture_and_queries_whole(void **state)
{
	struct kms_event_query query = {
		.before_seq = UINT64_MAX, .to_ns = UINT64_MAX, .limit = SIZE_MAX};
	const struct kms_snapshot *snapshot = NULL;
	uint64_t count[KMS_EVENT_KINDS] = {0};
	struct kms_err err = KMS_ERR_INIT;
	struct run *run = *state;
	struct kms_view_stack stack;
	uint64_t end_ns = kms_mono_ns() + 20000000000u;
	struct kms_view view;
	int gate[2];
	pid_t pid;

	assert_int_equal(pipe(gate), 0);
	pid = spawn(run, 1, 5000, gate[0]);
	start(run, pid, 0);
	view = kms_tracer_view(run->tracer);
	for (;;) {
		assert_int_equal(kms_tracer_sync(run->tracer, 10000), 0);
		snapshot = view.ops->acquire(view.ctx);
		if (snapshot->stats.allocs == 5000 && snapshot->stats.frees == 4990)
			break;
		view.ops->release(view.ctx, snapshot);
		assert_true(kms_mono_ns() < end_ns);
	}
	assert_int_equal(snapshot->stats.live_bytes, 480);
	assert_int_equal(snapshot->n_leaks, 1);
	assert_int_equal(snapshot->leak[0].count, 10);
	if (view.ops->stack(view.ctx, snapshot->leak[0].stack_id, &stack, &err))
		fail_msg("%s", err.text);
	assert_int_equal(stack.n_frames, 1);
	assert_int_equal(stack.frame[0].address, 0x1234);
	view.ops->stack_free(view.ctx, &stack);
	view.ops->release(view.ctx, snapshot);
	if (view.ops->events(view.ctx, &query, count_event, count, &err))
		fail_msg("%s", err.text);
	assert_int_equal(count[KMS_EVENT_ALLOC], 5000);
	assert_int_equal(count[KMS_EVENT_FREE], 4990);
	assert_int_equal(kms_tracer_live(run->tracer), 1);
	assert_int_equal(write(gate[1], "x", 1), 1);
	end_run(run, pid);
	close(gate[1]);
	close(gate[0]);
}

static void little_memory_slows_the_program_and_loses_nothing(void **state)
{
	const struct kms_snapshot *snapshot;
	struct run *run = *state;
	struct kms_file *file;
	struct kms_view view;
	pid_t pid;

	pid = spawn(run, 1, 300000, -1);
	start(run, pid, 64 << 10);
	end_run(run, pid);
	assert_int_equal(kms_file_open(run->file, &file, NULL), 0);
	view = kms_file_view(file);
	snapshot = view.ops->acquire(view.ctx);
	assert_int_equal(snapshot->stats.events[KMS_EVENT_ALLOC], 300000);
	assert_int_equal(snapshot->stats.lost, 0);
	view.ops->release(view.ctx, snapshot);
	kms_file_close(file);
}

static void a_program_without_a_region_is_told_once(void **state)
{
	struct run *run = *state;
	int told = 0;
	pid_t pid = fork();

	if (pid == 0) {
		pause();
		_exit(0);
	}
	start(run, pid, 0);
	for (int i = 0; i < 30; i++)
		told += kms_tracer_wait(run->tracer, 50) == KMS_TRACER_MISSING;
	assert_int_equal(told, 1);
	assert_int_equal(kill(pid, SIGKILL), 0);
	end_run(run, pid);
}

static void what_is_no_trace_is_not_replaced(void **state)
{
	struct kms_err err = KMS_ERR_INIT;
	struct run *run = *state;
	struct kms_tracer_config config = {.run_dir = run->dir, .output = run->file};
	int fd = open(run->file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_int_equal(write(fd, "my thesis", 9), 9);
	close(fd);
	assert_null(kms_tracer_start(&config, &err));
	assert_int_equal(err.code, -EEXIST);
	unlink(run->file);
	config.run_dir = "/nonexistent";
	assert_null(kms_tracer_start(&config, &err));
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(every_event_is_in_the_file),
		TEST(a_sync_makes_picture_and_queries_whole),
		TEST(little_memory_slows_the_program_and_loses_nothing),
		TEST(a_program_without_a_region_is_told_once),
		TEST(what_is_no_trace_is_not_replaced),
	};

	if (kms_symbols_is_helper(argc, argv))
		return kms_symbols_helper_main(argc, argv);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
