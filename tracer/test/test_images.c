/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Images: regions appear, are read and go; processes fork, execute, end and are killed; damage stays
 * where it is. Targets are child processes with the synthetic producer, or this process itself.
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
#include "schema/snapshot.h"
#include "tracer/batch_build.h"
#include "tracer/images.h"
#include "tracer/process.h"
#include "tracer/test/collect.h"
#include "tracer/test/rng.h"
#include "tracer/test/synth.h"

enum {
	DEADLINE_NS = 1000000000,
	ROUNDS = 150,
};

/* A run's folder with a tracer's eyes on it. */
struct run {
	char dir[64];
	struct kms_images *images;
	struct kms_batch *batch;
	struct collect collect;
	char said[512];
	int n_said;
};

static void say(void *arg, const char *line)
{
	struct run *run = arg;

	snprintf(run->said, sizeof(run->said), "%s", line);
	run->n_said++;
}

static void start(struct run *run, pid_t first_pid, bool first_only)
{
	struct kms_err err = KMS_ERR_INIT;
	struct kms_images_config config = {.dir = run->dir,
					   .first_pid = first_pid,
					   .first_only = first_only,
					   .say = say,
					   .say_arg = run};

	run->images = kms_images_create(&config, &err);
	if (!run->images)
		fail_msg("%s", err.text);
}

static int set_up(void **state)
{
	struct run *run = calloc(1, sizeof(*run));

	if (!run)
		return -1;
	collect_init(&run->collect);
	run->batch = kms_batch_create();
	snprintf(run->dir, sizeof(run->dir), "/dev/shm/kms-test-images-XXXXXX");
	*state = run;
	return mkdtemp(run->dir) ? 0 : -1;
}

static int tear_down(void **state)
{
	struct run *run = *state;
	int result;

	kms_images_destroy(run->images);
	kms_batch_put(run->batch);
	collect_deinit(&run->collect);
	result = rmdir(run->dir); /* fails if a region was left behind */
	free(run);
	return result;
}

static const char *file(const struct run *run, const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", run->dir, name);
	return path;
}

static struct kms_images_state poll_once(struct run *run)
{
	struct kms_images_ask ask = {.now_ns = kms_mono_ns(), .batch_bytes = 1 << 20};
	struct kms_images_state now;
	struct kms_images_news news;

	do {
		kms_batch_reset(run->batch);
		assert_int_equal(kms_images_poll(run->images, &ask, run->batch, &news), 0);
		collect_batch(&run->collect, run->batch);
	} while (news.more);
	kms_images_wait(run->images, 1000000);
	kms_images_state(run->images, &now);
	return now;
}

/* Polls until every image so far is over, and at least n there were. */
static void poll_until_over(struct run *run, uint32_t n)
{
	uint64_t end = kms_mono_ns() + 20ull * DEADLINE_NS;
	struct kms_images_state now;

	do {
		now = poll_once(run);
		if (kms_mono_ns() > end)
			fail_msg("%u of %u images, %u still open", now.opened, n, now.open);
	} while (now.opened < n || now.open || now.unfinished);
}

static void poll_until_events(struct run *run, uint64_t n)
{
	uint64_t end = kms_mono_ns() + 20ull * DEADLINE_NS;

	while (run->collect.events < n) {
		poll_once(run);
		if (kms_mono_ns() > end)
			fail_msg("%llu of %llu events", (unsigned long long)run->collect.events,
				 (unsigned long long)n);
	}
}

/* Puts n allocations of different stacks, with a new node now and then. */
static void put_allocs(struct synth *s, struct synth_ring *ring, uint64_t n)
{
	uint32_t node = 0;

	for (uint64_t i = 0; i < n; i++) {
		struct enc_event e = {.kind = KMS_EVENT_ALLOC,
				      .address = 0x10000 + i * 16,
				      .size = 16 + i % 7,
				      .checks = 3};

		if (i % 50 == 0)
			node = synth_node(s, node, 0x400000 + i);
		e.stack = node;
		synth_ring_put(ring, &e);
	}
}

/* A whole little process: region, slot, ring, n events. */
static void be_target(const char *path, uint32_t ring_nr, uint64_t n)
{
	struct synth s;
	struct synth_ring ring;

	synth_create(&s, path, &(struct synth_config){0});
	synth_slot(&s, 0, (uint32_t)getpid(), KMS_NO_INDEX);
	synth_ring_claim(&ring, &s, ring_nr, 0);
	put_allocs(&s, &ring, n);
	synth_ring_close(&ring);
	synth_close(&s);
}

static pid_t spawn_target(const char *path, uint64_t n)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	be_target(path, 0, n);
	_exit(0);
}

static void a_process_is_read_to_its_end_and_its_region_removed(void **state)
{
	struct run *run = *state;
	const struct collect_target *target = &run->collect.target[1];
	pid_t pid;

	start(run, 0, false);
	pid = spawn_target(file(run, "img-1"), 20000);
	poll_until_over(run, 1);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	kms_images_exited(run->images, pid, 0x300);
	poll_once(run);
	assert_int_equal(run->collect.events, 20000);
	assert_int_equal(target->by_kind[KMS_EVENT_ALLOC], 20000);
	assert_int_equal(target->info.pid, pid);
	assert_int_equal(target->info.state, KMS_STATE_EXITED);
	assert_int_equal(target->info.exit_status, 0x300);
	assert_string_equal(target->info.name, "synth");
	assert_string_equal(target->info.command, "synth --test");
	assert_true(target->info.end_wall_ns >= target->info.start_wall_ns);
	assert_int_equal(access(file(run, "img-1"), F_OK), -1);
	assert_int_equal(run->n_said, 0);
}

static void a_killed_process_leaves_nothing_unread(void **state)
{
	struct run *run = *state;
	int gate[2];
	char byte;
	pid_t pid;

	assert_int_equal(pipe(gate), 0);
	start(run, 0, false);
	pid = fork();
	if (pid == 0) {
		struct synth s;
		struct synth_ring ring;

		synth_create(&s, file(run, "img-1"), &(struct synth_config){0});
		synth_slot(&s, 0, (uint32_t)getpid(), KMS_NO_INDEX);
		synth_ring_claim(&ring, &s, 0, 0);
		put_allocs(&s, &ring, 777);
		(void)!write(gate[1], "x", 1);
		kill(getpid(), SIGKILL);
	}
	assert_int_equal(read(gate[0], &byte, 1), 1);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	poll_until_over(run, 1);
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
	put_allocs(s, &ring, n);
	_exit(0);
}

static void forked_children_are_targets_with_parents(void **state)
{
	struct run *run = *state;
	pid_t pid;

	start(run, 0, false);
	pid = fork();
	if (pid == 0) {
		struct synth s;
		struct synth_ring ring;

		synth_create(&s, file(run, "img-1"),
			     &(struct synth_config){.slots = 40, .rings = 40});
		synth_slot(&s, 0, (uint32_t)getpid(), KMS_NO_INDEX);
		synth_ring_claim(&ring, &s, 0, 0);
		put_allocs(&s, &ring, 100);
		for (uint32_t i = 1; i < 40; i++) {
			if (fork() == 0)
				be_child(&s, i, 100 + i);
		}
		while (wait(NULL) > 0)
			;
		_exit(0);
	}
	poll_until_over(run, 1);
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

static void a_child_that_ends_is_over_while_its_parent_lives(void **state)
{
	struct run *run = *state;
	uint64_t end = kms_mono_ns() + 20ull * DEADLINE_NS;
	struct synth s;
	pid_t pid;

	start(run, 0, false);
	synth_create(&s, file(run, "img-1"), &(struct synth_config){0});
	synth_slot(&s, 0, (uint32_t)getpid(), KMS_NO_INDEX);
	pid = fork();
	if (pid == 0)
		be_child(&s, 1, 50);
	poll_until_events(run, 51);
	while (run->collect.target[2].info.state != KMS_STATE_EXITED && kms_mono_ns() < end)
		poll_once(run);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(run->collect.target[2].info.state, KMS_STATE_EXITED);
	assert_int_equal(run->collect.target[1].info.state, KMS_STATE_RUNNING);
	synth_close(&s);
	poll_until_over(run, 1);
	assert_int_equal(run->collect.target[1].info.state, KMS_STATE_EXITED);
}

static void a_slot_used_again_is_another_target(void **state)
{
	struct run *run = *state;
	struct synth s;

	start(run, 0, false);
	synth_create(&s, file(run, "img-1"), &(struct synth_config){0});
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
			poll_once(run);
	}
	synth_close(&s);
	poll_until_over(run, 1);
	for (uint32_t n = 1; n <= 5; n++) {
		assert_int_equal(run->collect.target[n + 1].by_kind[KMS_EVENT_ALLOC], 100 * n);
		assert_int_equal(run->collect.target[n + 1].info.state, KMS_STATE_EXITED);
	}
}

static void a_process_that_executes_another_program_is_two_targets(void **state)
{
	struct run *run = *state;
	pid_t pid;

	start(run, 0, false);
	pid = fork();
	if (pid == 0) {
		/* what exec does: the old mapping goes, the pid stays */
		be_target(file(run, "img-1"), 0, 300);
		be_target(file(run, "img-2"), 0, 400);
		_exit(0);
	}
	poll_until_over(run, 2);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(run->collect.target[1].by_kind[KMS_EVENT_ALLOC], 300);
	assert_int_equal(run->collect.target[2].by_kind[KMS_EVENT_ALLOC], 400);
	assert_int_equal(run->collect.target[2].info.parent, 1);
	assert_int_equal(run->collect.target[2].info.pid, pid);
}

static void three_hundred_short_images_are_counted_exactly(void **state)
{
	struct run *run = *state;
	pid_t pid;

	start(run, 0, false);
	pid = fork();
	if (pid == 0) {
		for (int i = 0; i < 300; i++) {
			char name[32];

			snprintf(name, sizeof(name), "img-%d", i);
			if (i >= 2)
				wait(NULL);
			spawn_target(file(run, name), 200);
		}
		while (wait(NULL) > 0)
			;
		_exit(0);
	}
	poll_until_over(run, 300);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(run->collect.events, 300 * 200);
}

static void only_the_first_process_is_followed_if_asked(void **state)
{
	struct run *run = *state;
	struct synth s;
	struct synth_ring ring;
	pid_t pid;

	start(run, getpid(), true);
	synth_create(&s, file(run, "img-1"), &(struct synth_config){0});
	synth_slot(&s, 0, (uint32_t)getpid(), KMS_NO_INDEX);
	synth_ring_claim(&ring, &s, 0, 0);
	put_allocs(&s, &ring, 10);
	pid = fork();
	if (pid == 0)
		be_child(&s, 1, 1000);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	pid = spawn_target(file(run, "img-2"), 2000);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	synth_close(&s);
	poll_until_over(run, 2);
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
	fd = open(file(run, "img-junk"), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	assert_int_equal(write(fd, junk, sizeof(junk)), sizeof(junk));
	close(fd);
	close(open(file(run, "other"), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
	start(run, 0, false);
	for (int i = 0; i < 20; i++)
		poll_once(run);
	assert_int_equal(run->n_said, 1);
	assert_non_null(strstr(run->said, "img-junk"));
	assert_int_equal(unlink(file(run, "img-junk")), 0);
	assert_int_equal(unlink(file(run, "other")), 0);
}

static void an_abandoned_beginning_of_a_region_is_removed(void **state)
{
	struct run *run = *state;
	struct kms_images_ask ask = {.now_ns = kms_mono_ns(), .batch_bytes = 1 << 20};
	struct kms_images_state now;
	struct kms_images_news news;
	struct synth s;

	start(run, 0, false);
	synth_create(&s, file(run, "img-1"), &(struct synth_config){.unpublished = true});
	assert_int_equal(kms_images_poll(run->images, &ask, run->batch, &news), 0);
	ask.now_ns += 60ull * DEADLINE_NS; /* long ago, but somebody has it open */
	assert_int_equal(kms_images_poll(run->images, &ask, run->batch, &news), 0);
	kms_images_state(run->images, &now);
	assert_int_equal(now.unfinished, 1);
	synth_close(&s);
	assert_int_equal(kms_images_poll(run->images, &ask, run->batch, &news), 0);
	kms_images_state(run->images, &now);
	assert_int_equal(now.unfinished, 0);
	assert_int_equal(access(file(run, "img-1"), F_OK), -1);
}

static void counters_go_to_the_process_that_counted(void **state)
{
	struct run *run = *state;
	struct kms_counter *row;
	struct synth_ring ring;
	struct synth s;
	pid_t pid;

	start(run, 0, false);
	synth_create(&s, file(run, "img-1"), &(struct synth_config){0});
	synth_cache(&s, "malloc-16", 16);
	synth_slot(&s, 0, (uint32_t)getpid(), KMS_NO_INDEX);
	synth_ring_claim(&ring, &s, 0, 0);
	row = synth_at(&s, KMS_SEC_COUNTER, 0);
	row->allocs = 70;
	row->frees = 60;
	put_allocs(&s, &ring, 1);
	synth_ring_close(&ring);
	poll_until_events(run, 1);
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
		put_allocs(&s, &ring, 1);
		_exit(0);
	}
	poll_until_events(run, 2);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	synth_close(&s);
	poll_until_over(run, 1);
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

	start(run, 0, false);
	synth_create(&s, file(run, "img-1"), &(struct synth_config){0});
	synth_slot(&s, 0, (uint32_t)getpid(), KMS_NO_INDEX);
	synth_module(&s, "/usr/lib/libsynth.so", 0x1000, 0x2000);
	synth_thread(&s, 0, (uint32_t)getpid(), "main");
	hole = synth_reserve(&s, KMS_SEC_NODE, 1);
	synth_node(&s, 0, 0x5000);
	for (int i = 0; i < 20; i++)
		poll_once(run);
	assert_int_equal(run->collect.image[1]->n_modules, 1);
	assert_int_equal(run->collect.image[1]->n_strings, 1);
	assert_false(run->collect.image[1]->node[hole]);
	assert_true(run->collect.image[1]->node[hole + 1]);
	late = synth_at(&s, KMS_SEC_NODE, hole);
	__atomic_store_n(&late->epoch_ready, KMS_NODE_READY, __ATOMIC_RELEASE);
	fault = synth_fault(&s, KMS_FAULT_OVERFLOW, 0x1000, hole);
	for (int i = 0; i < 20; i++)
		poll_once(run);
	assert_true(run->collect.image[1]->node[hole]);
	assert_int_equal(run->collect.image[1]->n_faults, fault + 1);
	synth_close(&s);
	poll_until_over(run, 1);
}

static void a_variable_is_asked_for_and_its_answer_read(void **state)
{
	struct run *run = *state;
	struct kms_images_variable v;
	struct kms_err err = KMS_ERR_INIT;
	struct kms_slot *slot;
	struct synth s;

	start(run, 0, false);
	assert_int_equal(kms_images_request(run->images, 0, 0, 512, &err), -ESRCH);
	assert_int_equal(kms_images_variable(run->images, 7, 0, &v, &err), -ESRCH);
	synth_create(&s, file(run, "img-1"), &(struct synth_config){0});
	synth_slot(&s, 0, (uint32_t)getpid(), KMS_NO_INDEX);
	poll_once(run);
	poll_once(run);
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
	poll_until_over(run, 1);
}

/* A target in this process that is filled, scribbled over and filled again; one beside it that is not. */
struct pair {
	struct synth hurt, whole;
	struct synth_ring hurt_ring, whole_ring;
};

static void open_pair(struct run *run, struct pair *pair)
{
	synth_create(&pair->hurt, file(run, "img-hurt"), &(struct synth_config){.nodes = 256});
	synth_create(&pair->whole, file(run, "img-whole"), &(struct synth_config){.nodes = 256});
	synth_slot(&pair->hurt, 0, (uint32_t)getpid(), KMS_NO_INDEX);
	synth_slot(&pair->whole, 0, (uint32_t)getpid(), KMS_NO_INDEX);
	synth_ring_claim(&pair->hurt_ring, &pair->hurt, 0, 0);
	synth_ring_claim(&pair->whole_ring, &pair->whole, 0, 0);
}

static void scribble(struct synth *s, struct rng *rng)
{
	/* any section, small ones as often as large ones; the tail of large ones is never looked at */
	unsigned kind = (unsigned)rng_below(rng, SYNTH_KINDS);
	uint64_t start = kind ? s->section[kind]->offset : 0;
	uint64_t bytes = kind ? s->section[kind]->entries * s->section[kind]->entry_bytes
			      : sizeof(struct kms_region_header);
	uint64_t reach = rng_below(rng, 2) ? 4096 : 256;
	uint64_t at = start + rng_below(rng, bytes < reach ? bytes : reach);

	if (kind == KMS_SEC_RING)
		at += sizeof(struct kms_block); /* numbers begin at 1 */
	for (uint64_t n = 1 + rng_below(rng, 16); n && at < s->bytes; n--)
		s->map[at++] = (uint8_t)rng_next(rng);
}

static const struct collect_target *target_of(const struct run *run, uint32_t image)
{
	for (uint32_t id = 1; id < COLLECT_TARGETS; id++) {
		if (run->collect.target[id].is_known && run->collect.target[id].info.image == image)
			return &run->collect.target[id];
	}
	fail_msg("no target of image %u", image);
	return NULL;
}

static void scribbled_images_end_corrupt_or_exact_and_leave_others_alone(void **state)
{
	struct run *run = *state;
	uint64_t seed = rng_seed();
	int corrupt = 0;

	for (uint32_t round = 0; round < ROUNDS; round++) {
		const struct collect_target *hurt, *whole;
		struct rng rng;
		struct pair pair;

		collect_deinit(&run->collect);
		collect_init(&run->collect);
		run->collect.is_hostile = true;
		kms_images_destroy(run->images);
		start(run, 0, false);
		rng_init(&rng, seed + round);
		open_pair(run, &pair);
		pair.hurt_ring.drop =
			true; /* this process also reads: it must not wait for itself */
		put_allocs(&pair.hurt, &pair.hurt_ring, 300);
		put_allocs(&pair.whole, &pair.whole_ring, 300);
		poll_until_events(run, 600);
		put_allocs(&pair.hurt, &pair.hurt_ring, 300);
		put_allocs(&pair.whole, &pair.whole_ring, 300);
		scribble(&pair.hurt, &rng);
		for (int i = 0; i < 3; i++)
			poll_once(run);
		synth_ring_close(&pair.hurt_ring);
		synth_close(&pair.hurt);
		synth_close(&pair.whole);
		poll_until_over(run, 2);
		whole = target_of(run, 2);
		hurt = target_of(run, 1);
		if (strcmp(whole->info.name, "synth"))
			fail_msg("names mixed up");
		assert_int_equal(run->collect.target[whole->info.id].by_kind[KMS_EVENT_ALLOC], 600);
		assert_int_equal(whole->info.state, KMS_STATE_EXITED);
		if (hurt->info.state == KMS_STATE_CORRUPT)
			corrupt++;
		else if (run->collect.events != 1200)
			fail_msg("round %u: %llu events and not corrupt", round,
				 (unsigned long long)run->collect.events);
	}
	printf("%d of %d corrupt\n", corrupt, ROUNDS);
	assert_true(corrupt > 0); /* one in twelve is expected */
}

static void a_corrupt_image_never_makes_its_program_wait(void **state)
{
	struct run *run = *state;
	uint64_t end = kms_mono_ns() + 20ull * DEADLINE_NS;
	int status;
	pid_t pid;

	start(run, 0, false);
	pid = fork();
	if (pid == 0) {
		struct synth s;
		struct synth_ring ring;

		synth_create(&s, file(run, "img-1"), &(struct synth_config){0});
		synth_slot(&s, 0, (uint32_t)getpid(), KMS_NO_INDEX);
		synth_ring_claim(&ring, &s, 0, 0);
		put_allocs(&s, &ring, 100);
		enc_put_bytes(&ring.enc, (const uint8_t[]){3, 3, 3}, 3);
		put_allocs(&s, &ring, 200000); /* 50 times round the ring, waiting for room */
		_exit(0);
	}
	while (waitpid(pid, &status, WNOHANG) == 0 && kms_mono_ns() < end)
		poll_once(run);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	poll_until_over(run, 1);
	assert_int_equal(run->collect.target[1].info.state, KMS_STATE_CORRUPT);
	assert_int_equal(run->n_said, 1);
	assert_non_null(strstr(run->said, "malformed record"));
}

static void a_region_cut_short_is_corrupt(void **state)
{
	struct run *run = *state;
	struct synth_ring ring;
	struct synth s;

	start(run, 0, false);
	synth_create(&s, file(run, "img-1"), &(struct synth_config){0});
	synth_slot(&s, 0, (uint32_t)getpid(), KMS_NO_INDEX);
	synth_ring_claim(&ring, &s, 0, 0);
	put_allocs(&s, &ring, 100);
	poll_until_events(run, 100);
	assert_int_equal(truncate(s.path, 8192), 0);
	for (int i = 0; i < 20; i++)
		poll_once(run);
	synth_close(&s);
	poll_until_over(run, 1);
	assert_int_equal(run->collect.target[1].info.state, KMS_STATE_CORRUPT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_process_is_read_to_its_end_and_its_region_removed),
		TEST(a_killed_process_leaves_nothing_unread),
		TEST(forked_children_are_targets_with_parents),
		TEST(a_child_that_ends_is_over_while_its_parent_lives),
		TEST(a_slot_used_again_is_another_target),
		TEST(a_process_that_executes_another_program_is_two_targets),
		TEST(three_hundred_short_images_are_counted_exactly),
		TEST(only_the_first_process_is_followed_if_asked),
		TEST(a_file_that_is_no_region_is_said_once_and_left_alone),
		TEST(an_abandoned_beginning_of_a_region_is_removed),
		TEST(counters_go_to_the_process_that_counted),
		TEST(tables_are_sent_with_holes_filled_later),
		TEST(a_variable_is_asked_for_and_its_answer_read),
		TEST(scribbled_images_end_corrupt_or_exact_and_leave_others_alone),
		TEST(a_corrupt_image_never_makes_its_program_wait),
		TEST(a_region_cut_short_is_corrupt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
