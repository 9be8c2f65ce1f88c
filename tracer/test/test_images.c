/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Images: regions appear, are read and go; processes fork, execute, end and are killed. Targets are child processes with the synthetic producer, or this process itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test/unit.h"
#include "schema/snapshot.h"
#include "tracer/image_impl.h"
#include "tracer/images_impl.h"
#include "tracer/process.h"
#include "tracer/test/images_run.h"

static void a_process_is_read_to_its_end_and_its_region_removed(void **state)
{
	struct run *run = *state;
	const struct collect_target *target = &run->collect.target[1];
	pid_t pid;

	run_start(run, 0, false);
	pid = run_spawn_target(run_file(run, "img-1"), 20000);
	run_poll_until_over(run, 1);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	kms_images_exited(run->images, pid, 0x300);
	run_poll(run);
	assert_int_equal(run->collect.events, 20000);
	assert_int_equal(target->by_kind[KMS_EVENT_ALLOC], 20000);
	assert_int_equal(target->info.pid, pid);
	assert_int_equal(target->info.state, KMS_STATE_EXITED);
	assert_int_equal(target->info.exit_status, 0x300);
	assert_string_equal(target->info.name, "synth");
	assert_string_equal(target->info.command, "synth --test");
	assert_true(target->info.end_wall_ns >= target->info.start_wall_ns);
	assert_int_equal(access(run_file(run, "img-1"), F_OK), -1);
	assert_int_equal(run->n_said, 0);
}

static void a_killed_process_leaves_nothing_unread(void **state)
{
	struct run *run = *state;
	int gate[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(gate), 0);
	run_start(run, 0, false);
	pid = fork();
	if (pid == 0) {
		struct synth s;
		struct synth_ring ring;

		synth_create(&s, run_file(run, "img-1"), &(struct synth_config){0});
		synth_slot(&s, 0, (uint32_t)getpid(), KMS_NO_INDEX);
		synth_ring_claim(&ring, &s, 0, 0);
		run_put_allocs(&s, &ring, 777);
		(void)!write(gate[1], "x", 1);
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(read(gate[0], &byte, 1), 1);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	run_poll_until_over(run, 1);
	assert_int_equal(run->collect.events, 777);
	assert_int_equal(run->collect.target[1].info.state, KMS_STATE_EXITED);
	close(gate[0]);
	close(gate[1]);
}

/* The forked half: a slot and a ring of its own in the parent's region. */
static void be_child(struct synth *s, uint32_t slot, uint64_t n)
{
	struct synth_ring ring;
	struct enc_event e = {.kind = KMS_EVENT_FORK, .value = slot, .checks = 3};

	synth_slot(s, slot, (uint32_t)getpid(), 0);
	synth_ring_claim(&ring, s, slot, slot);
	synth_ring_put(&ring, &e);
	run_put_allocs(s, &ring, n);
	_exit(0);
}

static void forked_children_are_targets_with_parents(void **state)
{
	struct run *run = *state;
	pid_t pid;

	run_start(run, 0, false);
	pid = fork();
	if (pid == 0) {
		struct synth s;
		struct synth_ring ring;

		synth_create(&s, run_file(run, "img-1"),
			     &(struct synth_config){.slots = 40, .rings = 40});
		synth_slot(&s, 0, (uint32_t)getpid(), KMS_NO_INDEX);
		synth_ring_claim(&ring, &s, 0, 0);
		run_put_allocs(&s, &ring, 100);
		for (uint32_t i = 1; i < 40; i++) {
			if (fork() == 0)
				be_child(&s, i, 100 + i);
		}
		while (wait(NULL) > 0)
			;
		_exit(0);
	}
	run_poll_until_over(run, 1);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	for (uint32_t id = 1; id <= 40; id++) {
		const struct collect_target *target = &run->collect.target[id];

		assert_int_equal(target->info.state, KMS_STATE_EXITED);
		assert_int_equal(target->info.parent, id == 1 ? 0 : 1);
		assert_int_equal(target->by_kind[KMS_EVENT_ALLOC], 100 + target->info.slot);
		assert_int_equal(target->by_kind[KMS_EVENT_FORK], target->info.slot ? 1 : 0);
		assert_true(target->slots >= 1);
	}
	assert_false(run->collect.target[41].is_known);
}

/* It claims its slot after the tracer looked for slots and before the tracer asks who has the region. */
static void a_child_whose_first_sign_is_its_last_is_over(void **state)
{
	struct run *run = *state;
	struct synth s;
	struct synth_ring ring;
	struct kms_image *image;

	run_start(run, 0, false);
	synth_create(&s, run_file(run, "img-1"), &(struct synth_config){0});
	synth_slot(&s, 0, (uint32_t)getpid(), KMS_NO_INDEX);
	while (run->collect.target[1].info.state != KMS_STATE_RUNNING)
		run_poll(run);
	synth_slot(&s, 1, (uint32_t)getpid(), 0);
	synth_ring_claim(&ring, &s, 1, 1);
	run_put_allocs(&s, &ring, 60);
	synth_ring_close(&ring);
	synth_close(&s);
	image = KMS_CONTAINER_OF(kms_list_first(&run->images->list), struct kms_image, link);
	image->is_held = false;
	kms_image_slots_all_dead(image);
	run_poll_until_over(run, 1);
	assert_int_equal(run->collect.target[2].by_kind[KMS_EVENT_ALLOC], 60);
	assert_int_equal(run->collect.target[1].info.state, KMS_STATE_EXITED);
	assert_int_equal(run->collect.target[2].info.state, KMS_STATE_EXITED);
}

static void a_child_that_ends_is_over_while_its_parent_lives(void **state)
{
	struct run *run = *state;
	uint64_t end = kms_mono_ns() + RUN_DEADLINE_NS;
	struct synth s;
	pid_t pid;

	run_start(run, 0, false);
	synth_create(&s, run_file(run, "img-1"), &(struct synth_config){0});
	synth_slot(&s, 0, (uint32_t)getpid(), KMS_NO_INDEX);
	pid = fork();
	if (pid == 0)
		be_child(&s, 1, 50);
	run_poll_until_events(run, 51);
	while (run->collect.target[2].info.state != KMS_STATE_EXITED && kms_mono_ns() < end)
		run_poll(run);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(run->collect.target[2].info.state, KMS_STATE_EXITED);
	assert_int_equal(run->collect.target[1].info.state, KMS_STATE_RUNNING);
	synth_close(&s);
	run_poll_until_over(run, 1);
	assert_int_equal(run->collect.target[1].info.state, KMS_STATE_EXITED);
}

static void a_slot_used_again_is_another_target(void **state)
{
	struct run *run = *state;
	struct synth s;

	run_start(run, 0, false);
	synth_create(&s, run_file(run, "img-1"), &(struct synth_config){0});
	synth_slot(&s, 0, (uint32_t)getpid(), KMS_NO_INDEX);
	for (uint64_t n = 1; n <= 5; n++) {
		struct kms_ring_desc *desc = synth_at(&s, KMS_SEC_RING_DESC, 1);
		const struct kms_pair *position =
			(struct kms_pair *)synth_at(&s, KMS_SEC_TRACER, 256) + 1;
		pid_t pid = fork();

		if (pid == 0)
			be_child(&s, 1, 100 * n);
		assert_int_equal(waitpid(pid, NULL, 0), pid);
		/* dead and drained: the target may claim slot and ring again */
		while (position->v <= desc->head_block)
			run_poll(run);
	}
	synth_close(&s);
	run_poll_until_over(run, 1);
	for (uint32_t n = 1; n <= 5; n++) {
		assert_int_equal(run->collect.target[n + 1].by_kind[KMS_EVENT_ALLOC], 100 * n);
		assert_int_equal(run->collect.target[n + 1].info.state, KMS_STATE_EXITED);
	}
}

static void a_process_that_executes_another_program_is_two_targets(void **state)
{
	struct run *run = *state;
	pid_t pid;

	run_start(run, 0, false);
	pid = fork();
	if (pid == 0) {
		/* what exec does: the old mapping goes, the pid stays */
		run_be_target(run_file(run, "img-1"), 0, 300);
		run_be_target(run_file(run, "img-2"), 0, 400);
		_exit(0);
	}
	run_poll_until_over(run, 2);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(run->collect.target[1].by_kind[KMS_EVENT_ALLOC], 300);
	assert_int_equal(run->collect.target[2].by_kind[KMS_EVENT_ALLOC], 400);
	assert_int_equal(run->collect.target[2].info.parent, 1);
	assert_int_equal(run->collect.target[2].info.pid, pid);
}

static void a_process_between_two_programs_is_waited_for(void **state)
{
	struct run *run = *state;
	uint64_t end = kms_mono_ns() + RUN_DEADLINE_NS;
	struct kms_images_state now;
	int gate[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(gate), 0);
	run_start(run, 0, false);
	pid = fork();
	if (pid == 0) {
		run_be_target(run_file(run, "img-1"), 0, 300);
		(void)!read(gate[0], &byte, 1); /* the loader of the next program is at work */
		run_be_target(run_file(run, "img-2"), 0, 400);
		_exit(0);
	}
	do {
		now = run_poll(run);
	} while ((!now.opened || now.open) && kms_mono_ns() < end);
	assert_int_equal(now.open, 0);
	assert_int_equal(now.in_flight, 1);
	assert_int_equal(write(gate[1], "x", 1), 1);
	run_poll_until_over(run, 2);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(run_poll(run).in_flight, 0);
	close(gate[0]);
	close(gate[1]);
}

static void an_entry_is_found_in_any_block_of_entries(void **state)
{
	(void)state;
#define HAS(block) kms_environment_has(block, sizeof(block) - 1, "A=1")
	assert_true(HAS("A=1\0"));
	assert_true(HAS("B=2\0A=1\0"));
	assert_true(HAS("\0\0\0A=1\0C"));
	assert_false(HAS(""));
	assert_false(HAS("\0\0\0\0\0\0"));
	assert_false(HAS("A=1"));
	assert_false(HAS("A=12\0"));
	assert_false(HAS("BA=1\0"));
	assert_false(HAS("no end at all"));
#undef HAS
}

/* A program that stays until the test ends it; at the latest when this process does. */
static pid_t spawn_idle(struct run *run, char **environment)
{
	char *arguments[] = {"sleep", "1000", NULL};

	for (int i = 0; i < RUN_CHILDREN; i++)
		if (!run->child[i]) {
			assert_int_equal(posix_spawnp(&run->child[i], "sleep", NULL, NULL,
						      arguments, environment),
					 0);
			return run->child[i];
		}
	fail();
	return 0;
}

/*
 * Waits until find_tree says n. It may say more while processes are between two programs, and less
 * until one that was just spawned has left this process's memory, and environment.
 */
static void await_tree(struct run *run, uint32_t n)
{
	uint64_t end = kms_mono_ns() + RUN_DEADLINE_NS;
	uint32_t found;

	do {
		found = kms_images_find_tree(run->images);
	} while (found != n && kms_mono_ns() < end);
	assert_int_equal(found, n);
}

static void a_process_without_a_region_is_found_by_its_environment(void **state)
{
	struct run *run = *state;
	uint64_t end = kms_mono_ns() + RUN_DEADLINE_NS;
	struct kms_images_state now;
	char variable[128];
	char *environment[] = {"HOME=/", variable, NULL};
	char *other[] = {"HOME=/", "KMEMSCOPE_RUN=/dev/shm/kms-test-images-XXXXX", NULL};

	snprintf(variable, sizeof(variable), KMS_RUN_VARIABLE "=%s", run->dir);
	run_start(run, 0, false);
	await_tree(run, 0);
	spawn_idle(run, other);
	for (int i = 0; i < 20; i++) {
		pid_t pid = spawn_idle(run, environment);

		await_tree(run, 1);
		await_tree(run, 1);
		run_end_child(run, pid);
		do {
			now = run_poll(run);
		} while (now.in_flight && kms_mono_ns() < end);
		assert_int_equal(now.in_flight, 0);
		await_tree(run, 0);
	}
}

static void three_hundred_short_images_are_counted_exactly(void **state)
{
	struct run *run = *state;
	pid_t pid;

	run_start(run, 0, false);
	pid = fork();
	if (pid == 0) {
		for (int i = 0; i < 300; i++) {
			char name[32];

			snprintf(name, sizeof(name), "img-%d", i);
			if (i >= 2)
				wait(NULL);
			run_spawn_target(run_file(run, name), 200);
		}
		while (wait(NULL) > 0)
			;
		_exit(0);
	}
	run_poll_until_over(run, 300);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(run->collect.events, 300 * 200);
}

static void only_the_first_process_is_followed_if_asked(void **state)
{
	struct run *run = *state;
	struct synth s;
	struct synth_ring ring;
	pid_t pid;

	run_start(run, getpid(), true);
	synth_create(&s, run_file(run, "img-1"), &(struct synth_config){0});
	synth_slot(&s, 0, (uint32_t)getpid(), KMS_NO_INDEX);
	synth_ring_claim(&ring, &s, 0, 0);
	run_put_allocs(&s, &ring, 10);
	pid = fork();
	if (pid == 0)
		be_child(&s, 1, 1000);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	pid = run_spawn_target(run_file(run, "img-2"), 2000);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	synth_close(&s);
	run_poll_until_over(run, 2);
	assert_int_equal(run->collect.events, 10);
	assert_true(run->collect.target[1].is_known);
	assert_false(run->collect.target[2].is_known || run->collect.target[3].is_known);
}

static void a_file_that_is_no_region_is_said_once_and_left_alone(void **state)
{
	struct run *run = *state;
	char junk[8192];
	int fd;

	memset(junk, 'x', sizeof(junk));
	fd = open(run_file(run, "img-junk"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, junk, sizeof(junk)), sizeof(junk));
	close(fd);
	close(open(run_file(run, "other"), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	run_start(run, 0, false);
	for (int i = 0; i < 20; i++)
		run_poll(run);
	assert_int_equal(run->n_said, 1);
	assert_non_null(strstr(run->said, "img-junk"));
	assert_int_equal(unlink(run_file(run, "img-junk")), 0);
	assert_int_equal(unlink(run_file(run, "other")), 0);
}

static void an_abandoned_beginning_of_a_region_is_removed(void **state)
{
	struct run *run = *state;
	struct kms_images_ask ask = {.now_ns = kms_mono_ns(), .batch_bytes = 1 << 20};
	struct kms_images_state now;
	struct kms_images_news news;
	struct synth s;

	run_start(run, 0, false);
	synth_create(&s, run_file(run, "img-1"), &(struct synth_config){.unpublished = true});
	assert_int_equal(kms_images_poll(run->images, &ask, run->batch, &news), 0);
	ask.now_ns += 3 * RUN_DEADLINE_NS; /* long ago, but somebody has it open */
	assert_int_equal(kms_images_poll(run->images, &ask, run->batch, &news), 0);
	kms_images_state(run->images, &now);
	assert_int_equal(now.unfinished, 1);
	synth_close(&s);
	assert_int_equal(kms_images_poll(run->images, &ask, run->batch, &news), 0);
	kms_images_state(run->images, &now);
	assert_int_equal(now.unfinished, 0);
	assert_int_equal(access(run_file(run, "img-1"), F_OK), -1);
}

static void counters_go_to_the_process_that_counted(void **state)
{
	struct run *run = *state;
	struct kms_counter *row;
	struct synth_ring ring;
	struct synth s;
	pid_t pid;

	run_start(run, 0, false);
	synth_create(&s, run_file(run, "img-1"), &(struct synth_config){0});
	synth_cache(&s, "malloc-16", 16);
	synth_slot(&s, 0, (uint32_t)getpid(), KMS_NO_INDEX);
	synth_ring_claim(&ring, &s, 0, 0);
	row = synth_at(&s, KMS_SEC_COUNTER, 0);
	row->allocs = 70;
	row->frees = 60;
	run_put_allocs(&s, &ring, 1);
	synth_ring_close(&ring);
	run_poll_until_events(run, 1);
	/* the ring's row goes on counting for its next owner */
	pid = fork();
	if (pid == 0) {
		struct kms_counter *unrung = synth_at(
			&s, KMS_SEC_COUNTER, (uint64_t)(s.head->rings + 1) * KMS_MAX_CACHES);
		const struct kms_pair *position = synth_at(&s, KMS_SEC_TRACER, 256);

		while (__atomic_load_n(&position->v, __ATOMIC_ACQUIRE) <= ring.desc->head_block)
			usleep(100);
		synth_slot(&s, 1, (uint32_t)getpid(), 0);
		synth_ring_claim(&ring, &s, 0, 1);
		row->allocs += 5;
		unrung->allocs = 1000;
		run_put_allocs(&s, &ring, 1);
		_exit(0);
	}
	run_poll_until_events(run, 2);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	synth_close(&s);
	run_poll_until_over(run, 1);
	assert_int_equal(run->collect.target[1].counted_allocs, 70);
	assert_int_equal(run->collect.target[1].counted_frees, 60);
	assert_int_equal(run->collect.target[2].counted_allocs, 1005);
}

static void tables_are_sent_with_holes_filled_later(void **state)
{
	struct run *run = *state;
	struct kms_node *late;
	struct synth s;
	uint32_t hole, fault;

	run_start(run, 0, false);
	synth_create(&s, run_file(run, "img-1"), &(struct synth_config){0});
	synth_slot(&s, 0, (uint32_t)getpid(), KMS_NO_INDEX);
	synth_module(&s, "/usr/lib/libsynth.so", 0x1000, 0x2000);
	synth_thread(&s, 0, (uint32_t)getpid(), "main");
	hole = synth_reserve(&s, KMS_SEC_NODE, 1);
	synth_node(&s, 0, 0x5000);
	for (int i = 0; i < 20; i++)
		run_poll(run);
	assert_int_equal(run->collect.image[1]->n_modules, 1);
	assert_int_equal(run->collect.image[1]->n_strings, 1);
	assert_false(run->collect.image[1]->node[hole]);
	assert_true(run->collect.image[1]->node[hole + 1]);
	late = synth_at(&s, KMS_SEC_NODE, hole);
	__atomic_store_n(&late->epoch_ready, KMS_NODE_READY, __ATOMIC_RELEASE);
	fault = synth_fault(&s, KMS_FAULT_OVERFLOW, 0x1000, hole);
	for (int i = 0; i < 20; i++)
		run_poll(run);
	assert_true(run->collect.image[1]->node[hole]);
	assert_int_equal(run->collect.image[1]->n_faults, fault + 1);
	synth_close(&s);
	run_poll_until_over(run, 1);
}

static void a_variable_is_asked_for_and_its_answer_read(void **state)
{
	struct run *run = *state;
	struct kms_images_variable v;
	struct kms_err err = KMS_ERR_INIT;
	struct kms_slot *slot;
	struct synth s;

	run_start(run, 0, false);
	assert_int_equal(kms_images_request(run->images, 0, KMS_VAR_RESYNC, 1, &err), -ESRCH);
	assert_int_equal(kms_images_request(run->images, 1, 0, 512, &err), -ESRCH);
	kms_err_clear(&err);
	assert_int_equal(kms_images_variable(run->images, 7, 0, &v, &err), -ESRCH);
	synth_create(&s, run_file(run, "img-1"), &(struct synth_config){0});
	synth_slot(&s, 0, (uint32_t)getpid(), KMS_NO_INDEX);
	run_poll(run);
	run_poll(run);
	assert_int_equal(kms_images_variable(run->images, 0, 0, &v, &err), 0);
	assert_false(v.is_requested || v.is_pending);
	assert_int_equal(kms_images_request(run->images, 1, 0, 30000, &err), 0);
	assert_int_equal(kms_images_variable(run->images, 1, 0, &v, &err), 0);
	assert_true(v.is_requested && v.is_pending);
	assert_int_equal(v.requested, 30000);
	slot = synth_at(&s, KMS_SEC_SLOT, 0);
	slot->ack[0].value = 30208;
	slot->ack[0].status = KMS_ACK_ADJUSTED;
	slot->acked_seq = 1;
	assert_int_equal(kms_images_variable(run->images, 1, 0, &v, &err), 0);
	assert_false(v.is_pending);
	assert_int_equal(v.effective, 30208);
	assert_int_equal(v.status, KMS_ACK_ADJUSTED);
	synth_close(&s);
	run_poll_until_over(run, 1);
}

static void a_value_for_all_waits_for_the_first_process(void **state)
{
	struct run *run = *state;
	struct kms_images_variable v;
	struct kms_err err = KMS_ERR_INIT;
	struct synth s;

	run_start(run, 0, false);
	assert_int_equal(kms_images_request(run->images, 0, KMS_VAR_GUARD_DEPTH, 512, &err), 0);
	assert_int_equal(err.code, 0);
	synth_create(&s, run_file(run, "img-1"), &(struct synth_config){0});
	synth_slot(&s, 0, (uint32_t)getpid(), KMS_NO_INDEX);
	run_poll(run);
	run_poll(run);
	assert_int_equal(kms_images_variable(run->images, 1, KMS_VAR_GUARD_DEPTH, &v, &err), 0);
	assert_true(v.is_requested && v.is_pending);
	assert_int_equal(v.requested, 512);
	synth_close(&s);
	run_poll_until_over(run, 1);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, run_set_up, run_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_process_is_read_to_its_end_and_its_region_removed),
		TEST(a_killed_process_leaves_nothing_unread),
		TEST(forked_children_are_targets_with_parents),
		TEST(a_child_whose_first_sign_is_its_last_is_over),
		TEST(a_child_that_ends_is_over_while_its_parent_lives),
		TEST(a_slot_used_again_is_another_target),
		TEST(a_process_that_executes_another_program_is_two_targets),
		TEST(a_process_between_two_programs_is_waited_for),
		cmocka_unit_test(an_entry_is_found_in_any_block_of_entries),
		TEST(a_process_without_a_region_is_found_by_its_environment),
		TEST(three_hundred_short_images_are_counted_exactly),
		TEST(only_the_first_process_is_followed_if_asked),
		TEST(a_file_that_is_no_region_is_said_once_and_left_alone),
		TEST(an_abandoned_beginning_of_a_region_is_removed),
		TEST(counters_go_to_the_process_that_counted),
		TEST(tables_are_sent_with_holes_filled_later),
		TEST(a_variable_is_asked_for_and_its_answer_read),
		TEST(a_value_for_all_waits_for_the_first_process),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
