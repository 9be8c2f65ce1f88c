/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What is written to targets, and stopping them: commands, values for processes to come, real threads
 * that are held and let go. Targets are child processes with a synthetic region.
 */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test/unit.h"
#include "schema/snapshot.h"
#include "schema/variables.h"
#include "tracer/hold.h"
#include "tracer/images_impl.h"
#include "tracer/process.h"
#include "tracer/test/images_run.h"

enum {
	COUNTERS = 3,    /* threads of a target that count; the first is its main thread's */
	LOOKS = 100,     /* so often nothing may have moved */
	FAULT_INDEX = 4, /* of the made-up fault */
};

/* What a target and the test share beside the region. */
struct shared {
	_Atomic uint64_t counter[COUNTERS];
	atomic_bool stand; /* the main thread is to stand as at a fault */
};

static struct shared *share(void)
{
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(shared != MAP_FAILED);
	return shared;
}

static void *count(void *arg)
{
	_Atomic uint64_t *counter = arg;

	for (;;)
		atomic_fetch_add(counter, 1);
	return NULL;
}

/* As the allocator does it: says that it stands, waits for the word to go on, says that it goes. */
static void stand(struct synth *s)
{
	const struct kms_request *request = synth_at(s, KMS_SEC_REQUEST, 0);
	struct kms_slot *slot = synth_at(s, KMS_SEC_SLOT, 0);

	slot->stop_fault = FAULT_INDEX + 1;
	slot->stop_tid = (uint32_t)gettid();
	slot->stop_nr++;
	__atomic_store_n(&slot->stop_state, KMS_STOP_FAULT, __ATOMIC_RELEASE);
	while (!__atomic_load_n(&request->item[KMS_VAR_CONTINUE].v, __ATOMIC_ACQUIRE))
		sched_yield();
	__atomic_store_n(&slot->stop_state, KMS_STOP_NONE, __ATOMIC_RELEASE);
}

static _Noreturn void be_counter(const char *path, struct shared *shared)
{
	struct synth s;
	pthread_t thread;

	synth_create(&s, path, &(struct synth_config){0});
	synth_slot(&s, 0, (uint32_t)getpid(), KMS_NO_INDEX);
	for (int i = 1; i < COUNTERS; i++)
		if (pthread_create(&thread, NULL, count, &shared->counter[i]))
			_exit(1);
	for (;;) {
		atomic_fetch_add(&shared->counter[0], 1);
		if (atomic_exchange(&shared->stand, false))
			stand(&s);
	}
}

static pid_t spawn_counter(struct run *run, struct shared *shared)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		be_counter(run_file(run, "img-1"), shared);
	run->child[0] = pid;
	return pid;
}

static void poll_until_state(struct run *run, uint32_t target, uint32_t state)
{
	uint64_t end = kms_mono_ns() + RUN_DEADLINE_NS;

	while (run->collect.target[target].info.state != state) {
		run_poll(run);
		assert_true(kms_mono_ns() < end);
	}
}

/* Whether a counter moves; looks until it does, or LOOKS times. */
static bool moves(struct run *run, const struct shared *shared, int counter)
{
	uint64_t before = atomic_load(&shared->counter[counter]);
	bool moved = false;

	for (int i = 0; i < LOOKS && !moved; i++) {
		run_poll(run); /* waits a millisecond, too */
		moved = atomic_load(&shared->counter[counter]) != before;
	}
	return moved;
}

static void a_command_is_new_each_time_and_pending_until_done(void **state)
{
	struct run *run = *state;
	struct kms_images_variable v;
	struct kms_err err = KMS_ERR_INIT;
	const struct kms_request *request;
	struct kms_slot *slot;
	struct synth s;

	run_start(run, 0, false);
	synth_create(&s, run_file(run, "img-1"), &(struct synth_config){0});
	synth_slot(&s, 0, (uint32_t)getpid(), KMS_NO_INDEX);
	run_poll(run);
	run_poll(run);
	request = synth_at(&s, KMS_SEC_REQUEST, 0);
	slot = synth_at(&s, KMS_SEC_SLOT, 0);
	assert_int_equal(kms_images_request(run->images, 0, KMS_VAR_MARK, 7, &err), 0);
	assert_int_equal(request->item[KMS_VAR_MARK].v, request->seq.v << 32 | 7);
	assert_int_equal(kms_images_request(run->images, 0, KMS_VAR_MARK, 7, &err), 0);
	assert_int_equal(request->item[KMS_VAR_MARK].v, request->seq.v << 32 | 7);
	slot->acked_seq = request->seq.v; /* taken up, and still being carried out */
	assert_int_equal(kms_images_variable(run->images, 1, KMS_VAR_MARK, &v, &err), 0);
	assert_true(v.is_pending && v.requested == 7);
	slot->ack[KMS_VAR_MARK].seq = (uint32_t)request->seq.v;
	assert_int_equal(kms_images_variable(run->images, 1, KMS_VAR_MARK, &v, &err), 0);
	assert_false(v.is_pending);
	synth_close(&s);
	run_poll_until_over(run, 1);
}

static uint64_t item(const struct synth *s, uint32_t slot, unsigned variable)
{
	const struct kms_request *request = synth_at(s, KMS_SEC_REQUEST, slot);
	const struct kms_pair *pair = &request->item[variable];

	return pair->v == ~pair->not_v ? pair->v : UINT64_MAX;
}

static void processes_to_come_are_asked_too(void **state)
{
	struct run *run = *state;
	struct kms_err err = KMS_ERR_INIT;
	struct synth s, other;

	run_start(run, 0, false);
	synth_create(&s, run_file(run, "img-1"), &(struct synth_config){.slots = 4});
	synth_slot(&s, 0, (uint32_t)getpid(), KMS_NO_INDEX);
	run_poll(run);
	run_poll(run);
	assert_int_equal(kms_images_request(run->images, 0, KMS_VAR_GUARD_DEPTH, 512, &err), 0);
	assert_int_equal(kms_images_request(run->images, 0, KMS_VAR_SIZE, 0, &err), 0);
	assert_int_equal(kms_images_request(run->images, 0, KMS_VAR_VERIFY, 1, &err), 0);
	assert_int_equal(kms_images_request(run->images, 1, KMS_VAR_GUARD_DEPTH, 1024, &err), 0);
	synth_slot(&s, 1, (uint32_t)getpid(), 0);
	synth_create(&other, run_file(run, "img-2"), &(struct synth_config){0});
	synth_slot(&other, 0, (uint32_t)getpid(), KMS_NO_INDEX);
	for (int i = 0; i < 20 && !run->collect.target[3].is_known; i++)
		run_poll(run);
	assert_int_equal(item(&s, 1, KMS_VAR_GUARD_DEPTH), 1024); /* as its parent */
	assert_int_equal(item(&s, 1, KMS_VAR_SIZE), 0);
	assert_int_equal(item(&other, 0, KMS_VAR_GUARD_DEPTH), 512); /* as all */
	assert_int_equal(item(&other, 0, KMS_VAR_SIZE), 0);
	assert_int_equal(item(&other, 0, KMS_VAR_POISON),
			 UINT64_MAX); /* of which nobody said anything */
	assert_int_equal(item(&other, 0, KMS_VAR_VERIFY),
			 UINT64_MAX); /* a command is for those that live */
	synth_close(&s);
	synth_close(&other);
	run_poll_until_over(run, 2);
}

static void a_target_stands_when_asked_and_goes_on(void **state)
{
	struct run *run = *state;
	struct shared *shared = share();
	struct kms_err err = KMS_ERR_INIT;

	run_start(run, 0, false);
	spawn_counter(run, shared);
	poll_until_state(run, 1, KMS_STATE_RUNNING);
	assert_int_equal(kms_images_resume(run->images, 1, &err), -EALREADY);
	for (int round = 0; round < 3; round++) {
		assert_int_equal(kms_images_stop(run->images, round ? 1 : 0, &err), 0);
		for (int i = 0; i < COUNTERS; i++)
			assert_false(moves(run, shared, i));
		poll_until_state(run, 1, KMS_STATE_STOPPED);
		assert_int_equal(run->collect.target[1].info.stop_reason, KMS_STOP_REQUEST);
		assert_int_equal(kms_images_stop(run->images, 1, &err), -EALREADY);
		assert_int_equal(kms_images_resume(run->images, 1, &err), 0);
		for (int i = 0; i < COUNTERS; i++)
			assert_true(moves(run, shared, i));
		poll_until_state(run, 1, KMS_STATE_RUNNING);
		assert_int_equal(run->collect.target[1].info.stop_reason, KMS_STOP_NONE);
	}
	assert_int_equal(kms_images_stop(run->images, 9, &err), -ESRCH);
	/* who leaves it lets it go */
	assert_int_equal(kms_images_stop(run->images, 1, &err), 0);
	assert_int_equal(kms_images_leave(run->images, 1, &err), 0);
	for (int i = 0; i < COUNTERS; i++)
		assert_true(moves(run, shared, i));
	run_end_child(run, run->child[0]);
	run_poll_until_over(run, 1);
	munmap(shared, sizeof(*shared));
}

static void a_target_that_stands_by_itself_is_held_but_for_that_thread(void **state)
{
	struct run *run = *state;
	struct shared *shared = share();
	struct kms_err err = KMS_ERR_INIT;
	const struct collect_target *target = &run->collect.target[1];

	run_start(run, 0, false);
	spawn_counter(run, shared);
	poll_until_state(run, 1, KMS_STATE_RUNNING);
	atomic_store(&shared->stand, true);
	poll_until_state(run, 1, KMS_STATE_STOPPED);
	assert_int_equal(target->info.stop_reason, KMS_STOP_FAULT);
	assert_int_equal(target->info.stop_fault, FAULT_INDEX + 1);
	for (int i = 0; i < COUNTERS; i++)
		assert_false(moves(run, shared, i));
	assert_int_equal(kms_images_stop(run->images, 1, &err), -EALREADY);
	assert_int_equal(kms_images_resume(run->images, 1, &err),
			 0); /* it answers: it is not held */
	for (int i = 0; i < COUNTERS; i++)
		assert_true(moves(run, shared, i));
	poll_until_state(run, 1, KMS_STATE_RUNNING);
	run_end_child(run, run->child[0]);
	run_poll_until_over(run, 1);
	munmap(shared, sizeof(*shared));
}

static void a_held_target_that_is_killed_is_over(void **state)
{
	struct run *run = *state;
	struct shared *shared = share();
	struct kms_err err = KMS_ERR_INIT;
	pid_t pid;

	run_start(run, 0, false);
	pid = spawn_counter(run, shared);
	poll_until_state(run, 1, KMS_STATE_RUNNING);
	assert_int_equal(kms_images_stop(run->images, 1, &err), 0);
	kill(pid, SIGKILL);
	run_poll_until_over(run, 1);
	/* who holds a process is told of its end before its parent; here both are this process */
	assert_true(waitpid(pid, NULL, 0) == pid || errno == ECHILD);
	run->child[0] = 0;
	assert_int_equal(run->collect.target[1].info.state, KMS_STATE_EXITED);
	assert_int_equal(run->collect.target[1].info.stop_reason, KMS_STOP_NONE);
	munmap(shared, sizeof(*shared));
}

/* A region may name whom it likes. */
static void only_who_has_the_region_is_held(void **state)
{
	struct run *run = *state;
	struct shared *shared = share();
	struct kms_err err = KMS_ERR_INIT;
	struct synth s;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		count(&shared->counter[0]);
	run->child[0] = pid;
	run_start(run, 0, false);
	synth_create(&s, run_file(run, "img-1"), &(struct synth_config){0});
	synth_slot(&s, 0, (uint32_t)pid, KMS_NO_INDEX);
	poll_until_state(run, 1, KMS_STATE_RUNNING);
	assert_int_equal(kms_images_stop(run->images, 1, &err), -EPERM);
	assert_non_null(strstr(err.text, "does not have its memory"));
	assert_true(moves(run, shared, 0));
	assert_int_equal(run->collect.target[1].info.state, KMS_STATE_RUNNING);
	run_end_child(run, pid);
	synth_close(&s);
	run_poll_until_over(run, 1);
	munmap(shared, sizeof(*shared));
}

static void who_holds_lets_go_at_its_end(void **state)
{
	struct run *run = *state;
	struct shared *shared = share();
	struct kms_hold *hold = kms_hold_create(&(struct kms_hold_config){0});
	struct kms_hold_ask ask = {0};

	run_start(run, 0, false);
	ask.pid = spawn_counter(run, shared);
	poll_until_state(run, 1, KMS_STATE_RUNNING);
	for (int i = 0; i < COUNTERS; i++)
		assert_true(moves(run, shared, i));
	assert_int_equal(kms_hold_take(hold, &ask), 0);
	assert_int_equal(kms_hold_await(hold, 20000), 0);
	assert_int_equal(kms_hold_state(hold, ask.pid), KMS_HOLD_HELD);
	for (int i = 0; i < COUNTERS; i++)
		assert_false(moves(run, shared, i));
	kms_hold_destroy(hold);
	for (int i = 0; i < COUNTERS; i++)
		assert_true(moves(run, shared, i));
	run_end_child(run, ask.pid);
	run_poll_until_over(run, 1);
	munmap(shared, sizeof(*shared));
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, run_set_up, run_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_command_is_new_each_time_and_pending_until_done),
		TEST(processes_to_come_are_asked_too),
		TEST(a_target_stands_when_asked_and_goes_on),
		TEST(a_target_that_stands_by_itself_is_held_but_for_that_thread),
		TEST(a_held_target_that_is_killed_is_over),
		TEST(only_who_has_the_region_is_held),
		TEST(who_holds_lets_go_at_its_end),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
