/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Images whose memory is scribbled over or taken away: they end as corrupt or with exact counts, no
 * program waits for them, and others are not touched.
 */
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test/unit.h"
#include "schema/snapshot.h"
#include "tracer/process.h"
#include "tracer/test/images_run.h"
#include "tracer/test/rng.h"

enum {
	ROUNDS = 150,
};

/* A target in this process that is filled, scribbled over and filled again; one beside it that is not. */
struct pair {
	struct synth hurt, whole;
	struct synth_ring hurt_ring, whole_ring;
};

static void open_pair(struct run *run, struct pair *pair)
{
	synth_create(&pair->hurt, run_file(run, "img-hurt"), &(struct synth_config){.nodes = 256});
	synth_create(&pair->whole, run_file(run, "img-whole"),
		     &(struct synth_config){.nodes = 256});
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
		run_start(run, 0, false);
		rng_init(&rng, seed + round);
		open_pair(run, &pair);
		pair.hurt_ring.drop =
			true; /* this process also reads: it must not wait for itself */
		run_put_allocs(&pair.hurt, &pair.hurt_ring, 300);
		run_put_allocs(&pair.whole, &pair.whole_ring, 300);
		run_poll_until_events(run, 600);
		run_put_allocs(&pair.hurt, &pair.hurt_ring, 300);
		run_put_allocs(&pair.whole, &pair.whole_ring, 300);
		scribble(&pair.hurt, &rng);
		for (int i = 0; i < 3; i++)
			run_poll(run);
		synth_ring_close(&pair.hurt_ring);
		synth_close(&pair.hurt);
		synth_close(&pair.whole);
		run_poll_until_over(run, 2);
		whole = target_of(run, 2);
		hurt = target_of(run, 1);
		if (strcmp(whole->info.name, "synth") != 0)
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
	uint64_t end = kms_mono_ns() + RUN_DEADLINE_NS;
	int gate[2];
	int status;
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
		run_put_allocs(&s, &ring, 100);
		enc_put_bytes(&ring.enc, (const uint8_t[]){3, 3, 3}, 3);
		ring.drop = true;
		run_put_allocs(&s, &ring, 200000); /* full */
		ring.drop = false;
		ring.desc->head_block = 1; /* who believed that would not let it go on */
		(void)!write(gate[1], "x", 1);
		run_put_allocs(&s, &ring, 200000); /* 50 times round the ring, waiting for room */
		_exit(0);
	}
	run->child[0] = pid;
	assert_int_equal(read(gate[0], &byte, 1), 1);
	while (waitpid(pid, &status, WNOHANG) == 0 && kms_mono_ns() < end)
		run_poll(run);
	assert_true(kms_mono_ns() < end);
	run->child[0] = 0;
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	run_poll_until_over(run, 1);
	assert_int_equal(run->collect.target[1].info.state, KMS_STATE_CORRUPT);
	assert_int_equal(run->n_said, 1);
	assert_non_null(strstr(run->said, "malformed record"));
	close(gate[0]);
	close(gate[1]);
}

/* Else its further events would be those of a process that never was. */
static void a_slot_that_changes_hands_under_a_living_process_is_corrupt(void **state)
{
	struct run *run = *state;
	uint64_t end = kms_mono_ns() + RUN_DEADLINE_NS;
	struct kms_slot *slot;
	struct synth s;
	pid_t pid;

	run_start(run, 0, false);
	synth_create(&s, run_file(run, "img-1"), &(struct synth_config){0});
	pid = fork();
	if (pid == 0)
		for (;;)
			pause();
	run->child[0] = pid;
	synth_slot(&s, 0, (uint32_t)pid, KMS_NO_INDEX);
	while (run->collect.target[1].info.state != KMS_STATE_RUNNING)
		run_poll(run);
	slot = synth_at(&s, KMS_SEC_SLOT, 0);
	slot->pid = (uint32_t)getpid();
	slot->claims += 7;
	while (run->collect.target[1].info.state == KMS_STATE_RUNNING && kms_mono_ns() < end)
		run_poll(run);
	run_end_child(run, pid);
	synth_close(&s);
	run_poll_until_over(run, 1);
	assert_int_equal(run->collect.target[1].info.state, KMS_STATE_CORRUPT);
	assert_non_null(strstr(run->said, "claimed again"));
	assert_false(run->collect.target[2].is_known);
}

static void a_region_cut_short_is_corrupt(void **state)
{
	struct run *run = *state;
	struct synth_ring ring;
	struct synth s;

	run_start(run, 0, false);
	synth_create(&s, run_file(run, "img-1"), &(struct synth_config){0});
	synth_slot(&s, 0, (uint32_t)getpid(), KMS_NO_INDEX);
	synth_ring_claim(&ring, &s, 0, 0);
	run_put_allocs(&s, &ring, 100);
	run_poll_until_events(run, 100);
	assert_int_equal(truncate(s.path, 8192), 0);
	for (int i = 0; i < 20; i++)
		run_poll(run);
	synth_close(&s);
	run_poll_until_over(run, 1);
	assert_int_equal(run->collect.target[1].info.state, KMS_STATE_CORRUPT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, run_set_up, run_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(scribbled_images_end_corrupt_or_exact_and_leave_others_alone),
		TEST(a_corrupt_image_never_makes_its_program_wait),
		TEST(a_slot_that_changes_hands_under_a_living_process_is_corrupt),
		TEST(a_region_cut_short_is_corrupt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
