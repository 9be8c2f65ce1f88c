/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guests behind the gdb stub of a real QEMU. Whether one goes on is looked at through its process's
 * memory, which a stub has no part in.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test/unit.h"
#include "tracer/guest/connect.h"
#include "tracer/guest/gdb_guard.h"
#include "tracer/guest/gdb_packet.h"
#include "tracer/guest/guest.h"
#include "tracer/guest/test/emulator.h"
#include "tracer/process.h"

#define MIB (UINT64_C(1) << 20)

enum {
	LONG_MS = 60000,
	AGAIN = 0x7c0e, /* where the guest's loop begins */
};

/* An emulator, and the other way to look at it. */
struct world {
	struct emulator emulator;
	struct kms_guest *beside;
};

static int try_open(const char *name, struct kms_guest **guest, struct kms_err *err)
{
	struct kms_guest_target target;

	assert_int_equal(kms_guest_target_parse(name, &target, NULL), 0);
	return kms_guest_open(&target, KMS_GUEST_NO_QMP, guest, err);
}

static struct kms_guest *open_name(const char *name)
{
	uint64_t end = kms_mono_ns() + LONG_MS * UINT64_C(1000000);
	struct kms_err err = KMS_ERR_INIT;
	struct kms_guest *guest;

	while (try_open(name, &guest, &err) != 0) {
		if (kms_mono_ns() > end)
			fail_msg("%s: %s", name, err.text);
		(void)usleep(5000);
	}
	return guest;
}

static void world_make(struct world *world, const char *words)
{
	char name[32];

	emulator_prepare(&world->emulator);
	emulator_start(&world->emulator, words);
	(void)snprintf(name, sizeof(name), "qemu:pid:%d", (int)world->emulator.pid);
	world->beside = open_name(name);
	emulator_wait_guest(world->beside->memory);
}

static void world_drop(struct world *world)
{
	kms_guest_close(world->beside);
	emulator_drop(&world->emulator);
}

static struct kms_guest *world_open(const struct world *world)
{
	char name[128];

	(void)snprintf(name, sizeof(name), "gdb:%s", world->emulator.gdb);
	emulator_wait_for(world->emulator.gdb);
	return open_name(name);
}

static void expect_progress(const struct world *world)
{
	uint64_t end = kms_mono_ns() + LONG_MS * UINT64_C(1000000);
	uint32_t before = emulator_count(world->beside->memory);

	while (emulator_count(world->beside->memory) == before) {
		assert_true(kms_mono_ns() < end);
		(void)usleep(1000);
	}
}

/* It counts millions a second: a moment is enough to see that it does not. */
static void expect_standstill(const struct world *world)
{
	uint32_t before = emulator_count(world->beside->memory);

	(void)usleep(20000);
	assert_int_equal(emulator_count(world->beside->memory), before);
}

static void a_guest_behind_a_stub_is_read_and_goes_on(void **state)
{
	static uint8_t big[100000], same[100000];
	struct world world;
	struct kms_guest *guest;
	uint32_t value = 0x5151, got;

	(void)state;
	world_make(&world, "NICE -m 64M -gdb unix:GDB,server=on,wait=off");
	guest = world_open(&world);
	assert_string_equal(guest->memory->ops->name, "gdb");
	assert_true(guest->memory->pauses);
	assert_int_equal(kms_guest_memory_bytes(guest->memory), 64 * MIB);
	assert_int_equal(guest->emulator.pid, world.emulator.pid);
	expect_progress(&world);
	assert_int_equal(kms_guest_write(guest->memory, EMULATOR_IN, &value, 4, NULL), 0);
	do
		assert_int_equal(kms_guest_read(guest->memory, EMULATOR_OUT, &got, 4, NULL), 0);
	while (got != value);
	assert_true(guest->memory->paused_ns > 0);
	assert_true(guest->memory->longest_pause_ns <= guest->memory->paused_ns);
	/* many packets; the BIOS does not change any more */
	assert_int_equal(kms_guest_read(guest->memory, 0xe0000, big, sizeof(big), NULL), 0);
	assert_int_equal(kms_guest_read(world.beside->memory, 0xe0000, same, sizeof(same), NULL),
			 0);
	assert_memory_equal(big, same, sizeof(big));
	assert_int_equal(kms_guest_write(guest->memory, 0x200000, big, sizeof(big), NULL), 0);
	assert_int_equal(kms_guest_read(world.beside->memory, 0x200000, same, sizeof(same), NULL),
			 0);
	assert_memory_equal(big, same, sizeof(big));
	expect_progress(&world);
	kms_guest_close(guest);
	expect_progress(&world);
	world_drop(&world);
}

static void while_it_is_held_it_stands(void **state)
{
	struct world world;
	struct kms_guest *guest;

	(void)state;
	world_make(&world, "NICE -m 64M -gdb unix:GDB,server=on,wait=off");
	guest = world_open(&world);
	assert_int_equal(kms_guest_memory_hold(guest->memory, NULL), 0);
	assert_int_equal(kms_guest_memory_hold(guest->memory, NULL), 0);
	assert_int_equal(emulator_count(guest->memory), emulator_count(world.beside->memory));
	assert_int_equal(kms_guest_memory_let_go(guest->memory, NULL), 0);
	expect_standstill(&world);
	assert_int_equal(kms_guest_memory_let_go(guest->memory, NULL), 0);
	expect_progress(&world);
	assert_int_equal(kms_guest_stop(guest, NULL), 0);
	assert_int_equal(kms_guest_stop(guest, NULL), 0);
	(void)emulator_count(guest->memory); /* a read does not let it go */
	expect_standstill(&world);
	assert_int_equal(kms_guest_continue(guest, NULL), 0);
	expect_progress(&world);
	kms_guest_close(guest);
	world_drop(&world);
}

static void a_break_point_stops_it_and_is_gone_afterwards(void **state)
{
	struct world world;
	struct kms_guest *guest;
	struct kms_guest_event event;
	uint64_t at = 0;

	(void)state;
	world_make(&world, "NICE -m 64M -gdb unix:GDB,server=on,wait=off");
	guest = world_open(&world);
	assert_int_equal(kms_guest_stop(guest, NULL), 0);
	assert_int_equal(kms_gdb_set_break(guest->gdb, AGAIN, true, NULL), 0);
	assert_int_equal(kms_guest_continue(guest, NULL), 0);
	assert_int_equal(kms_guest_next_event(guest, LONG_MS, &event), 1);
	assert_int_equal(event.kind, KMS_GUEST_PAUSED);
	assert_int_equal(kms_gdb_register(guest->gdb, KMS_GDB_RIP, &at, NULL), 0);
	assert_int_equal(at, AGAIN);
	(void)emulator_count(guest->memory); /* a read does not let it go */
	expect_standstill(&world);
	kms_guest_close(guest);
	expect_progress(&world);
	world_drop(&world);
}

/* The guest at this moment, held or not, then the process that has it is killed. */
static void kill_whoever_has_it(struct world *world, bool is_held)
{
	int pipes[2];
	char done;
	pid_t pid;

	assert_int_equal(pipe(pipes), 0);
	pid = fork();
	if (pid == 0) {
		struct kms_guest *guest = world_open(world);

		if (is_held && kms_guest_stop(guest, NULL))
			_exit(1);
		if (kms_gdb_set_break(guest->gdb, AGAIN, is_held, NULL) && is_held)
			_exit(1);
		if (write(pipes[1], "x", 1) == 1)
			(void)pause();
		_exit(1);
	}
	assert_int_equal(read(pipes[0], &done, 1), 1);
	if (is_held)
		expect_standstill(world);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	expect_progress(world);
	assert_int_equal(close(pipes[0]), 0);
	assert_int_equal(close(pipes[1]), 0);
}

static void when_we_are_killed_it_goes_on(void **state)
{
	struct world world;
	struct kms_guest *guest;

	(void)state;
	world_make(&world, "NICE -m 64M -gdb unix:GDB,server=on,wait=off");
	kill_whoever_has_it(&world, true);
	kill_whoever_has_it(&world, false);
	expect_progress(&world);
	/* the stub is free again, and in its usual state: virtual addresses, no break point */
	guest = world_open(&world);
	assert_int_equal(emulator_count(guest->memory) > 0, 1);
	expect_progress(&world);
	kms_guest_close(guest);
	world_drop(&world);
}

/* Somebody who says a few packets, and is gone before an answer. */
static void die_after(struct world *world, const char *const *texts)
{
	char packet[KMS_GDB_PACKET_BYTES];
	pid_t pid = fork();
	int status;

	if (pid == 0) {
		uint64_t end = kms_mono_ns() + LONG_MS * UINT64_C(1000000);
		int fd = kms_guest_connect(world->emulator.gdb, end, NULL);

		if (fd < 0 || kms_gdb_guard_start(fd, NULL) < 0)
			_exit(1);
		for (; *texts; texts++)
			if (kms_guest_send(fd, packet, kms_gdb_packet_make(*texts, packet), end) <
			    0)
				_exit(1);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	/* the stub is free again, so all that was said was read */
	kms_guest_close(world_open(world));
	expect_progress(world);
}

static void when_we_are_killed_in_the_middle_it_goes_on(void **state)
{
	static const char *const says[][4] = {
		{"m0,800",             "m800,800", "m1000,800"}, /* answers longer than any buffer */
		{"D;1"        },
		{"Qqemu.PhyMemMode:1",                "D;1", "D;1#b"}, /* the last is half a packet */
		{"m0,8"},
	};
	struct world world;

	(void)state;
	world_make(&world, "NICE -m 64M -gdb unix:GDB,server=on,wait=off");
	for (size_t i = 0; i < sizeof(says) / sizeof(says[0]); i++)
		die_after(&world, says[i]);
	world_drop(&world);
}

static void a_guest_that_stood_is_left_standing(void **state)
{
	struct world world;
	struct kms_guest *guest;
	struct kms_qmp *qmp;

	(void)state;
	world_make(&world, "NICE -m 64M -gdb unix:GDB,server=on,wait=off "
			   "-qmp unix:QMP,server=on,wait=off");
	/* somebody else stopped it */
	assert_int_equal(kms_qmp_open(world.emulator.qmp, LONG_MS, &qmp, NULL), 0);
	assert_int_equal(kms_qmp_command(qmp, "stop", NULL), 0);
	kms_qmp_close(qmp);
	expect_standstill(&world);
	guest = world_open(&world);
	assert_true(guest->is_paused);
	assert_true(emulator_count(guest->memory) > 0);
	kms_guest_close(guest);
	expect_standstill(&world);
	guest = world_open(&world);
	assert_int_equal(kms_guest_continue(guest, NULL), 0);
	expect_progress(&world);
	kms_guest_close(guest);
	expect_progress(&world);
	world_drop(&world);
}

static void when_the_emulator_ends_that_is_told(void **state)
{
	struct world world;
	struct kms_guest *guest;
	struct kms_guest_event event;
	uint32_t word;

	(void)state;
	world_make(&world, "NICE -m 64M -gdb unix:GDB,server=on,wait=off");
	guest = world_open(&world);
	emulator_kill(&world.emulator);
	assert_int_equal(kms_guest_next_event(guest, LONG_MS, &event), 1);
	assert_int_equal(event.kind, KMS_GUEST_ENDED);
	assert_int_equal(kms_guest_read(guest->memory, 0, &word, sizeof(word), NULL), -EFAULT);
	assert_int_equal(kms_guest_next_event(guest, 0, &event), 0);
	kms_guest_close(guest);
	world_drop(&world);
}

static void a_stub_by_its_port_is_the_same(void **state)
{
	struct world world;
	struct kms_guest *guest;
	char words[96], name[32];
	unsigned port = 20000 + (unsigned)getpid() % 20000;

	(void)state;
	(void)snprintf(words, sizeof(words), "NICE -m 64M -gdb tcp:127.0.0.1:%u", port);
	(void)snprintf(name, sizeof(name), "gdb:localhost:%u", port);
	world_make(&world, words);
	guest = open_name(name);
	assert_int_equal(guest->emulator.pid, 0);
	assert_true(emulator_count(guest->memory) > 0);
	expect_progress(&world);
	kms_guest_close(guest);
	expect_progress(&world);
	world_drop(&world);
}

static void what_is_no_stub_is_refused(void **state)
{
	struct world world;
	struct kms_guest *guest;
	char name[128];

	(void)state;
	assert_int_equal(try_open("gdb:/nonexistent", &guest, NULL), -ENOENT);
	world_make(&world, "NICE -m 64M -qmp unix:QMP,server=on,wait=off");
	(void)snprintf(name, sizeof(name), "gdb:%s", world.emulator.qmp);
	assert_true(try_open(name, &guest, NULL) < 0);
	expect_progress(&world);
	world_drop(&world);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guest_behind_a_stub_is_read_and_goes_on),
		cmocka_unit_test(while_it_is_held_it_stands),
		cmocka_unit_test(a_break_point_stops_it_and_is_gone_afterwards),
		cmocka_unit_test(when_we_are_killed_it_goes_on),
		cmocka_unit_test(when_we_are_killed_in_the_middle_it_goes_on),
		cmocka_unit_test(a_guest_that_stood_is_left_standing),
		cmocka_unit_test(when_the_emulator_ends_that_is_told),
		cmocka_unit_test(a_stub_by_its_port_is_the_same),
		cmocka_unit_test(what_is_no_stub_is_refused),
	};

	if (!emulator_is_there()) {
		(void)fputs("skipped: no qemu-system-x86_64\n", stderr);
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
