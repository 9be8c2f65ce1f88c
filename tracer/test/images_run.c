/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * See images_run.h.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test/unit.h"
#include "tracer/batch_build.h"
#include "tracer/process.h"
#include "tracer/test/images_run.h"

static void say(void *arg, const char *line)
{
	struct run *run = arg;

	snprintf(run->said, sizeof(run->said), "%s", line);
	run->n_said++;
}

void run_start(struct run *run, pid_t first_pid, bool first_only)
{
	struct kms_err err = KMS_ERR_INIT;
	struct kms_images_config config = {.dir = run->dir,
					   .first_pid = first_pid,
					   .first_only = first_only,
					   .guest = run->guest,
					   .say = say,
					   .say_arg = run};

	run->images = kms_images_create(&config, &err);
	if (!run->images)
		fail_msg("%s", err.text);
}

int run_set_up(void **state)
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

void run_end_child(struct run *run, pid_t pid)
{
	(void)kill(pid, SIGKILL); /* ours, so it is there */
	(void)waitpid(pid, NULL, 0);
	for (int i = 0; i < RUN_CHILDREN; i++)
		if (run->child[i] == pid)
			run->child[i] = 0;
}

int run_tear_down(void **state)
{
	struct run *run = *state;
	int result;

	for (int i = 0; i < RUN_CHILDREN; i++)
		if (run->child[i])
			run_end_child(run, run->child[i]);
	kms_images_destroy(run->images);
	kms_batch_put(run->batch);
	collect_deinit(&run->collect);
	result = rmdir(run->dir); /* fails if a region was left behind */
	free(run);
	return result;
}

const char *run_file(const struct run *run, const char *name)
{
	static char path[128];

	snprintf(path, sizeof(path), "%s/%s", run->dir, name);
	return path;
}

struct kms_images_state run_poll(struct run *run)
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

void run_poll_until_over(struct run *run, uint32_t n)
{
	uint64_t end = kms_mono_ns() + RUN_DEADLINE_NS;
	struct kms_images_state now;

	do {
		now = run_poll(run);
		if (kms_mono_ns() > end)
			fail_msg("%u of %u images, %u still open", now.opened, n, now.open);
	} while (now.opened < n || now.open || now.unfinished);
}

void run_poll_until_events(struct run *run, uint64_t n)
{
	uint64_t end = kms_mono_ns() + RUN_DEADLINE_NS;

	while (run->collect.events < n) {
		run_poll(run);
		if (kms_mono_ns() > end)
			fail_msg("%llu of %llu events", (unsigned long long)run->collect.events,
				 (unsigned long long)n);
	}
}

void run_put_allocs(struct synth *s, struct synth_ring *ring, uint64_t n)
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

void run_be_target(const char *path, uint32_t ring_nr, uint64_t n)
{
	struct synth s;
	struct synth_ring ring;

	synth_create(&s, path, &(struct synth_config){0});
	synth_slot(&s, 0, (uint32_t)getpid(), KMS_NO_INDEX);
	synth_ring_claim(&ring, &s, ring_nr, 0);
	run_put_allocs(&s, &ring, n);
	synth_ring_close(&ring);
	synth_close(&s);
}

pid_t run_spawn_target(const char *path, uint64_t n)
{
	pid_t pid = fork();

	if (pid)
		return pid;
	run_be_target(path, 0, n);
	_exit(0);
}
