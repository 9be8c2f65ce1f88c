/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guests: a synthetic target writes its region into a file that is the RAM of a machine, and the tracer
 * reads it there through a mirror, as it would a guest's.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test/unit.h"
#include "schema/snapshot.h"
#include "schema/variables.h"
#include "tracer/guest/link.h"
#include "tracer/process.h"
#include "tracer/test/images_run.h"

enum {
	RAM_AT = 3 << 20, /* where the one stretch of RAM begins */
	MACHINES = 100,
	FLIPS = 6,
};

/* A machine whose RAM is a region and nothing else. */
struct machine {
	struct synth s;
	char path[128];
	char said[256];
	struct kms_guest_memory *memory;
};

static void note(void *arg, const char *line)
{
	struct machine *machine = arg;

	snprintf(machine->said, sizeof(machine->said), "%s", line);
}

/* Another boot in the same memory, or the first. */
static void boot(struct machine *machine, uint64_t id, bool first)
{
	struct synth *s = &machine->s;

	if (!first) {
		/* as a kernel is loaded over what was there */
		memset(s->map, 0, s->bytes);
		synth_close(s);
		unlink(machine->path);
	}
	synth_create(s, machine->path,
		     &(struct synth_config){.rings = 2, .slots = 1, .unpublished = true});
	s->head->target_kind = KMS_TARGET_GUEST;
	s->head->pid = 0;
	s->head->image_id[0] = id;
	s->head->self_address = 0x1000;
}

static void start_kernel(struct machine *machine)
{
	synth_slot(&machine->s, 0, 0, KMS_NO_INDEX);
	synth_publish(&machine->s);
}

/* A back end: the machine's RAM is where we see it. */
struct ram {
	struct kms_guest_memory memory;
	uint8_t *map;
};

static int ram_read(struct kms_guest_memory *memory, const struct kms_guest_piece *piece,
		    size_t count, struct kms_err *err)
{
	const struct ram *ram = (const void *)memory;

	(void)err;
	for (size_t i = 0; i < count; i++)
		memcpy(piece[i].to, ram->map + (piece[i].address - RAM_AT), piece[i].bytes);
	return 0;
}

static int ram_write(struct kms_guest_memory *memory, uint64_t address, const void *from,
		     size_t bytes, struct kms_err *err)
{
	const struct ram *ram = (const void *)memory;

	(void)err;
	memcpy(ram->map + (address - RAM_AT), from, bytes);
	return 0;
}

static void ram_close(struct kms_guest_memory *memory)
{
	free(memory);
}

static struct kms_guest_memory *open_ram(struct machine *machine)
{
	static const struct kms_guest_memory_ops ops = {
		.name = "test", .read = ram_read, .write = ram_write, .close = ram_close};
	struct ram *ram = calloc(1, sizeof(*ram));

	assert_non_null(ram);
	ram->memory.ops = &ops;
	ram->memory.range[0] =
		(struct kms_guest_range){.address = RAM_AT, .bytes = machine->s.bytes};
	ram->memory.ranges = 1;
	ram->map = machine->s.map;
	machine->memory = &ram->memory;
	return machine->memory;
}

static void power_on(struct run *run, struct machine *machine)
{
	memset(machine, 0, sizeof(*machine));
	snprintf(machine->path, sizeof(machine->path), "%s.ram", run->dir);
	boot(machine, 1, true);
}

static void attach(struct run *run, struct machine *machine, bool saved)
{
	const struct kms_guest_link_config config = {.memory = open_ram(machine),
						     .program = "/boot/kernel",
						     .command = "machine -kernel /boot/kernel",
						     .emulator_fd = -1,
						     .is_saved = saved,
						     .say = note,
						     .say_arg = machine};

	assert_int_equal(kms_guest_link_create(&config, &run->guest, NULL), 0);
	run_start(run, 0, false);
}

static void power_off(struct run *run, struct machine *machine)
{
	kms_images_destroy(run->images);
	run->images = NULL;
	kms_guest_link_destroy(run->guest);
	kms_guest_memory_close(machine->memory);
	synth_close(&machine->s);
	unlink(machine->path);
}

static void poll_until(struct run *run, bool (*holds)(const struct run *run))
{
	uint64_t end = kms_mono_ns() + RUN_DEADLINE_NS;

	while (!holds(run)) {
		run_poll(run);
		if (kms_mono_ns() > end)
			fail_msg("it did not come to that");
	}
}

static bool has_one(const struct run *run)
{
	return run->collect.target[1].is_known;
}

static bool has_two(const struct run *run)
{
	return run->collect.target[2].is_known;
}

/* Until our heart has moved in the guest. */
static void poll_beats(struct run *run, struct machine *machine)
{
	const struct kms_tracer_page *page = synth_at(&machine->s, KMS_SEC_TRACER, 0);
	uint64_t beat = page->heartbeat.v;

	while (page->heartbeat.v == beat)
		run_poll(run);
}

static void a_guest_is_read_like_a_process(void **state)
{
	struct run *run = *state;
	const struct collect_target *target = &run->collect.target[1];
	struct machine machine;
	struct synth_ring ring;

	power_on(run, &machine);
	attach(run, &machine, false);
	run_poll(run);
	assert_int_equal(run_poll(run).opened, 0); /* no kernel yet: it waits */
	start_kernel(&machine);
	synth_cache(&machine.s, "kmem-64", 64);
	synth_module(&machine.s, "kernel", 0x1000, 0x2000);
	synth_ring_claim(&ring, &machine.s, 1, 0);
	run_put_allocs(&machine.s, &ring, 777);
	run_poll_until_events(run, 777);
	assert_int_equal(target->by_kind[KMS_EVENT_ALLOC], 777);
	assert_int_equal(target->info.kind, KMS_TARGET_GUEST);
	assert_int_equal(target->info.pid, 0);
	assert_int_equal(target->info.exit_status, -1);
	assert_string_equal(target->info.name, "kernel");
	assert_string_equal(target->info.command, "machine -kernel /boot/kernel");
	assert_int_equal(run->collect.image[1]->n_caches, 1);
	assert_int_equal(run->collect.image[1]->n_modules, 1);
	power_off(run, &machine);
}

static void a_full_ring_goes_on_when_it_was_read(void **state)
{
	struct run *run = *state;
	struct machine machine;
	pid_t pid;

	power_on(run, &machine);
	start_kernel(&machine);
	pid = fork();
	if (pid == 0) {
		struct synth_ring ring;

		synth_ring_claim(&ring, &machine.s, 0, 0);
		run_put_allocs(&machine.s, &ring, 200000);
		synth_ring_close(&ring);
		_exit(0);
	}
	run->child[0] = pid;
	attach(run, &machine, false);
	run_poll_until_events(run, 200000);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	run->child[0] = 0;
	assert_int_equal(run->collect.target[1].by_kind[KMS_EVENT_ALLOC], 200000);
	power_off(run, &machine);
}

static void a_request_is_seen_by_the_guest_and_its_answer_by_us(void **state)
{
	struct run *run = *state;
	struct machine machine;
	const struct kms_request *request;
	const struct kms_tracer_page *page;
	struct kms_images_variable variable;
	struct kms_slot *slot;

	power_on(run, &machine);
	start_kernel(&machine);
	attach(run, &machine, false);
	poll_until(run, has_one);
	page = synth_at(&machine.s, KMS_SEC_TRACER, 0);
	assert_true(page->owner.v && page->owner.v == ~page->owner.not_v);
	assert_int_equal(page->pid, getpid());
	while (!page->heartbeat.v) /* its claim has to stand for a moment */
		run_poll(run);
	assert_int_equal(kms_images_request(run->images, 1, KMS_VAR_GUARD_DEPTH, 30000, NULL), 0);
	request = synth_at(&machine.s, KMS_SEC_REQUEST, 0);
	assert_int_equal(request->item[KMS_VAR_GUARD_DEPTH].v, 30000);
	assert_int_equal(request->item[KMS_VAR_GUARD_DEPTH].not_v, ~UINT64_C(30000));
	assert_int_not_equal(request->attention, 0);
	assert_int_equal(kms_images_variable(run->images, 1, KMS_VAR_GUARD_DEPTH, &variable, NULL),
			 0);
	assert_true(variable.is_pending);
	slot = synth_at(&machine.s, KMS_SEC_SLOT, 0);
	slot->ack[KMS_VAR_GUARD_DEPTH] = (struct kms_ack){30208, KMS_ACK_ADJUSTED, 1};
	slot->acked_seq = request->seq.v;
	do {
		run_poll(run);
		assert_int_equal(
			kms_images_variable(run->images, 1, KMS_VAR_GUARD_DEPTH, &variable, NULL),
			0);
	} while (variable.is_pending);
	assert_int_equal(variable.effective, 30208);
	power_off(run, &machine);
}

static void of_two_that_come_at_once_the_last_has_it(void **state)
{
	struct run *run = *state;
	struct machine machine;
	struct kms_tracer_page *page;

	power_on(run, &machine);
	start_kernel(&machine);
	attach(run, &machine, false);
	page = synth_at(&machine.s, KMS_SEC_TRACER, 0);
	while (!page->owner.v)
		run_poll(run);
	/* the other one, which had found it free, too */
	page->owner = (struct kms_pair){.v = 5, .not_v = ~UINT64_C(5)};
	while (!kms_guest_link_is_gone(run->guest))
		run_poll(run);
	assert_int_equal(page->owner.v, 5);
	assert_int_equal(page->heartbeat.v, 0); /* nothing was written but the claim */
	assert_int_equal(kms_images_request(run->images, 1, KMS_VAR_GUARD_DEPTH, 5, NULL), -ESRCH);
	power_off(run, &machine);
}

static void a_reset_is_a_new_target(void **state)
{
	struct run *run = *state;
	struct machine machine;
	struct synth_ring ring;

	power_on(run, &machine);
	start_kernel(&machine);
	synth_ring_claim(&ring, &machine.s, 0, 0);
	run_put_allocs(&machine.s, &ring, 10);
	attach(run, &machine, false);
	run_poll_until_events(run, 10);
	machine.s.head->image_id[0] = 2;
	memset(machine.s.map + machine.s.section[KMS_SEC_RING]->offset, 0xa5, 4096);
	memset(synth_at(&machine.s, KMS_SEC_RING_DESC, 0), 0, sizeof(struct kms_ring_desc));
	poll_until(run, has_two);
	assert_int_equal(run->collect.target[1].info.state, KMS_STATE_EXITED);
	assert_int_equal(run->collect.target[2].info.state, KMS_STATE_RUNNING);
	assert_string_equal(machine.said, "the guest's kernel is there again: a new target");
	assert_int_equal(run->n_said, 0); /* what a reset leaves behind is no damage */
	power_off(run, &machine);
}

static void an_earlier_state_of_the_same_boot_is_a_new_target(void **state)
{
	struct run *run = *state;
	struct machine machine;
	struct synth_ring ring;
	uint8_t *before;

	power_on(run, &machine);
	start_kernel(&machine);
	synth_ring_claim(&ring, &machine.s, 0, 0);
	run_put_allocs(&machine.s, &ring, 10);
	before = malloc(machine.s.bytes);
	assert_non_null(before);
	memcpy(before, machine.s.map, machine.s.bytes);
	attach(run, &machine, false);
	run_put_allocs(&machine.s, &ring, 5000);
	run_poll_until_events(run, 5010);
	memcpy(machine.s.map, before, machine.s.bytes);
	poll_until(run, has_two);
	assert_int_equal(run->collect.target[1].info.state, KMS_STATE_EXITED);
	free(before);
	power_off(run, &machine);
}

static void a_snapshot_of_an_idle_guest_is_known_by_our_heart(void **state)
{
	struct run *run = *state;
	struct machine machine;
	struct synth_ring ring;
	struct kms_images_variable variable;
	uint8_t *before;

	power_on(run, &machine);
	start_kernel(&machine);
	synth_ring_claim(&ring, &machine.s, 0, 0);
	run_put_allocs(&machine.s, &ring, 10);
	attach(run, &machine, false);
	run_poll_until_events(run, 10);
	before = malloc(machine.s.bytes);
	assert_non_null(before);
	memcpy(before, machine.s.map, machine.s.bytes);
	/* nothing happens in it but that it is asked for something */
	assert_int_equal(kms_images_request(run->images, 1, KMS_VAR_GUARD_DEPTH, 30000, NULL), 0);
	poll_beats(run, &machine);
	memcpy(machine.s.map, before, machine.s.bytes);
	poll_until(run, has_two);
	assert_int_equal(run->collect.target[1].info.state, KMS_STATE_EXITED);
	assert_int_equal(run->collect.target[2].info.state, KMS_STATE_RUNNING);
	assert_int_equal(kms_images_variable(run->images, 2, KMS_VAR_GUARD_DEPTH, &variable, NULL),
			 0);
	assert_false(variable.is_pending);
	assert_int_equal(variable.effective, 0);
	assert_int_equal(run->collect.target[1].by_kind[KMS_EVENT_ALLOC], 10);
	free(before);
	power_off(run, &machine);
}

/* Taken when another tracer had the guest, which has long gone. */
/* Until our claim has stood for a while and our heart beats in the guest. */
static void poll_until_claimed(struct run *run, const struct kms_tracer_page *page)
{
	uint64_t end = kms_mono_ns() + RUN_DEADLINE_NS;

	while (!page->heartbeat.v) {
		run_poll(run);
		if (kms_mono_ns() > end)
			fail_msg("the guest was not claimed");
	}
}

static void a_snapshot_with_another_owner_is_not_a_second_tracer(void **state)
{
	struct run *run = *state;
	struct machine machine;
	struct kms_tracer_page *page;

	power_on(run, &machine);
	start_kernel(&machine);
	attach(run, &machine, false);
	poll_until(run, has_one);
	page = synth_at(&machine.s, KMS_SEC_TRACER, 0);
	poll_until_claimed(run, page);
	page->owner = (struct kms_pair){77, ~UINT64_C(77)};
	page->heartbeat = (struct kms_pair){5, ~UINT64_C(5)};
	poll_until(run, has_two);
	assert_int_equal(run->collect.target[1].info.state, KMS_STATE_EXITED);
	assert_int_not_equal(page->owner.v, 77);
	power_off(run, &machine);
}

static pid_t start_heart(struct kms_tracer_page *page)
{
	pid_t pid = fork();

	if (pid != 0)
		return pid;
	for (uint64_t beat = 1;; beat++) {
		page->heartbeat = (struct kms_pair){beat, ~beat};
		usleep(5000);
	}
}

static void another_tracer_that_takes_the_guest_ends_ours(void **state)
{
	struct run *run = *state;
	struct machine machine;
	struct kms_tracer_page *page;

	power_on(run, &machine);
	start_kernel(&machine);
	attach(run, &machine, false);
	poll_until(run, has_one);
	page = synth_at(&machine.s, KMS_SEC_TRACER, 0);
	page->owner = (struct kms_pair){77, ~UINT64_C(77)};
	run->child[0] = start_heart(page);
	while (!kms_guest_link_is_gone(run->guest))
		run_poll(run);
	assert_int_equal(run->collect.target[1].info.state, KMS_STATE_DETACHED);
	assert_string_equal(machine.said, "another tracer has taken the guest over");
	assert_int_equal(page->owner.v, 77);
	power_off(run, &machine);
}

static void a_live_owner_is_known_by_its_heart(void **state)
{
	struct run *run = *state;
	struct machine machine;
	struct kms_tracer_page *page;

	power_on(run, &machine);
	start_kernel(&machine);
	page = synth_at(&machine.s, KMS_SEC_TRACER, 0);
	page->owner = (struct kms_pair){5, ~UINT64_C(5)};
	attach(run, &machine, false);
	assert_int_equal(kms_guest_link_search(run->guest, NULL), 1);
	assert_int_equal(kms_guest_link_is_owned(run->guest, NULL), 0);
	run->child[0] = start_heart(page);
	assert_int_equal(kms_guest_link_is_owned(run->guest, NULL), 1);
	power_off(run, &machine);
}

static void letting_go_gives_the_guest_back(void **state)
{
	struct run *run = *state;
	struct machine machine;
	const struct kms_pair *owner;

	power_on(run, &machine);
	start_kernel(&machine);
	attach(run, &machine, false);
	poll_until(run, has_one);
	assert_int_equal(kms_images_leave(run->images, 0, NULL), 0);
	while (!kms_guest_link_is_gone(run->guest))
		run_poll(run);
	owner = synth_at(&machine.s, KMS_SEC_TRACER, 0);
	assert_int_equal(owner->v, 0);
	assert_int_equal(run->collect.target[1].info.state, KMS_STATE_DETACHED);
	power_off(run, &machine);
}

static void a_saved_guest_is_read_and_over(void **state)
{
	struct run *run = *state;
	struct machine machine;
	struct synth_ring ring;
	uint8_t *before;

	power_on(run, &machine);
	start_kernel(&machine);
	synth_ring_claim(&ring, &machine.s, 0, 0);
	run_put_allocs(&machine.s, &ring, 1234);
	before = malloc(machine.s.bytes);
	assert_non_null(before);
	memcpy(before, machine.s.map, machine.s.bytes);
	attach(run, &machine, true);
	while (!kms_guest_link_is_gone(run->guest))
		run_poll(run);
	assert_int_equal(run->collect.events, 1234);
	assert_int_equal(run->collect.target[1].info.state, KMS_STATE_EXITED);
	assert_memory_equal(before, machine.s.map, machine.s.bytes);
	free(before);
	power_off(run, &machine);
}

/* Where much hangs on a bit, more often than elsewhere. */
static void flip(struct machine *machine, const uint64_t *offset, unsigned *seed)
{
	static const struct {
		unsigned kind, bytes;
	} place[] = {
		{0,                 4096 },
		{KMS_SEC_TRACER,    8192 },
		{KMS_SEC_RING_DESC, 256  },
		{KMS_SEC_RING,      65536},
		{KMS_SEC_SLOT,      4096 },
		{KMS_SEC_NODE,      1024 },
	};

	unsigned at = (unsigned)rand_r(seed) % (sizeof(place) / sizeof(place[0]));
	uint64_t byte = offset[place[at].kind] + (unsigned)rand_r(seed) % place[at].bytes;

	machine->s.map[byte % machine->s.bytes] ^= (uint8_t)(1u << (rand_r(seed) % 8));
}

/* Every kind of damage ends the image, or nothing; never the tracer. */
static void flipped_bits_do_no_harm(void **state)
{
	struct run *run = *state;
	struct machine machine;
	struct synth_ring ring;
	uint64_t offset[SYNTH_KINDS] = {0};
	uint8_t *good;
	unsigned seed = 1;

	run->collect.is_hostile = true;
	power_on(run, &machine);
	start_kernel(&machine);
	synth_ring_claim(&ring, &machine.s, 0, 0);
	run_put_allocs(&machine.s, &ring, 2000);
	good = malloc(machine.s.bytes);
	assert_non_null(good);
	memcpy(good, machine.s.map, machine.s.bytes);
	for (unsigned kind = 1; kind < SYNTH_KINDS; kind++)
		offset[kind] = machine.s.section[kind]->offset;
	for (int i = 0; i < MACHINES; i++) {
		memcpy(machine.s.map, good, machine.s.bytes);
		machine.s.head->image_id[0] = (uint64_t)i + 2;
		attach(run, &machine, i % 2);
		for (int flips = 0; flips < FLIPS; flips++) {
			flip(&machine, offset, &seed);
			(void)run_poll(run);
		}
		kms_images_destroy(run->images);
		run->images = NULL;
		kms_guest_link_destroy(run->guest);
		kms_guest_memory_close(machine.memory);
		machine.memory = NULL;
		collect_deinit(&run->collect);
		collect_init(&run->collect);
		run->collect.is_hostile = true;
	}
	run->guest = NULL;
	free(good);
	power_off(run, &machine);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, run_set_up, run_tear_down)
	const struct CMUnitTest tests[] = {
		TEST(a_guest_is_read_like_a_process),
		TEST(a_full_ring_goes_on_when_it_was_read),
		TEST(a_request_is_seen_by_the_guest_and_its_answer_by_us),
		TEST(of_two_that_come_at_once_the_last_has_it),
		TEST(a_reset_is_a_new_target),
		TEST(an_earlier_state_of_the_same_boot_is_a_new_target),
		TEST(a_snapshot_of_an_idle_guest_is_known_by_our_heart),
		TEST(a_snapshot_with_another_owner_is_not_a_second_tracer),
		TEST(another_tracer_that_takes_the_guest_ends_ours),
		TEST(a_live_owner_is_known_by_its_heart),
		TEST(letting_go_gives_the_guest_back),
		TEST(a_saved_guest_is_read_and_over),
		TEST(flipped_bits_do_no_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
