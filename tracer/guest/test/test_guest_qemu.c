/* SPDX-License-Identifier: BSD-2-Clause */
/* Guests of a real QEMU: found, opened by all names, read, written; and what becomes of them. */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test/unit.h"
#include "tracer/guest/guest.h"
#include "tracer/guest/test/emulator.h"
#include "tracer/process.h"

#define MIB (UINT64_C(1) << 20)
#define GIB (UINT64_C(1) << 30)

enum {
	LONG_MS = 60000,
	NOBODY = 65534,
};

static int try_open(const char *name, struct kms_guest **guest, struct kms_err *err)
{
	struct kms_guest_target target;

	assert_int_equal(kms_guest_target_parse(name, &target, NULL), 0);
	return kms_guest_open(&target, 0, guest, err);
}

/*
 * As soon as it can be: a QEMU that was just started is a fork of ours first, then has no RAM yet or
 * a socket on which it does not listen yet, and then several mappings of that size, of which none has
 * a BIOS yet.
 */
static struct kms_guest *open_name(const char *prefix, const char *rest)
{
	uint64_t end = kms_mono_ns() + LONG_MS * UINT64_C(1000000);
	struct kms_err err = KMS_ERR_INIT;
	struct kms_guest *guest;
	char name[128];

	(void)snprintf(name, sizeof(name), "%s%s", prefix, rest);
	while (try_open(name, &guest, &err) != 0) {
		if (kms_mono_ns() > end)
			fail_msg("%s: %s", name, err.text);
		(void)usleep(5000);
	}
	return guest;
}

static struct kms_guest *open_pid(const struct emulator *emulator)
{
	char number[16];

	(void)snprintf(number, sizeof(number), "%d", (int)emulator->pid);
	return open_name("qemu:pid:", number);
}

static void expect_event(struct kms_guest *guest, enum kms_guest_event_kind kind,
			 const char *reason)
{
	struct kms_guest_event event;

	assert_int_equal(kms_guest_next_event(guest, LONG_MS, &event), 1);
	assert_int_equal(event.kind, kind);
	assert_string_equal(event.reason, reason);
}

static void expect_progress(struct kms_guest_memory *memory)
{
	uint64_t end = kms_mono_ns() + LONG_MS * UINT64_C(1000000);
	uint32_t before = emulator_count(memory);

	while (emulator_count(memory) == before) {
		assert_true(kms_mono_ns() < end);
		(void)usleep(1000);
	}
}

/* The guest answers what is written into its memory. */
static void expect_echo(struct kms_guest_memory *memory, uint32_t value)
{
	uint64_t end = kms_mono_ns() + LONG_MS * UINT64_C(1000000);
	uint32_t got = 0;

	assert_int_equal(kms_guest_write(memory, EMULATOR_IN, &value, sizeof(value), NULL), 0);
	while (got != value) {
		assert_int_equal(kms_guest_read(memory, EMULATOR_OUT, &got, sizeof(got), NULL), 0);
		assert_true(kms_mono_ns() < end);
	}
}

/* Of a list of all guests. */
struct listed {
	pid_t pid;
	int result;
	unsigned count;
	struct kms_qemu qemu;
};

static bool list(void *arg, const struct kms_qemu *qemu, int result, const struct kms_err *err)
{
	struct listed *listed = arg;

	assert_true((result == 0) == (err == NULL));
	if (qemu->pid == listed->pid) {
		listed->count++;
		listed->result = result;
		listed->qemu = *qemu;
	}
	return false;
}

static void a_guest_without_any_option_is_found_read_and_listed(void **state)
{
	static struct listed listed;
	struct emulator emulator;
	struct kms_guest *guest;

	(void)state;
	emulator_prepare(&emulator);
	emulator_start(&emulator, "-m 512M DISK");
	guest = open_pid(&emulator);
	assert_string_equal(guest->memory->ops->name, "process");
	assert_int_equal(kms_guest_memory_bytes(guest->memory), 512 * MIB);
	assert_false(guest->memory->pauses);
	assert_int_equal(guest->emulator.pid, emulator.pid);
	assert_string_equal(guest->note, "");
	emulator_wait_guest(guest->memory);
	expect_progress(guest->memory);
	expect_echo(guest->memory, 0x12345678);
	listed.pid = emulator.pid;
	assert_int_equal(kms_qemu_each(list, &listed, NULL), 0);
	assert_int_equal(listed.count, 1);
	assert_int_equal(listed.result, 0);
	assert_int_equal(listed.qemu.options.ram_bytes, 512 * MIB);
	kms_guest_close(guest);
	emulator_drop(&emulator);
}

/* As large as the memory of its graphics card, so that only the BIOS tells them apart. */
static void a_small_guest_is_not_taken_for_its_graphics_card(void **state)
{
	struct emulator emulator;
	struct kms_guest *guest;

	(void)state;
	emulator_prepare(&emulator);
	emulator_start(&emulator, "-m 16M DISK");
	guest = open_pid(&emulator);
	emulator_wait_guest(guest->memory);
	expect_echo(guest->memory, 0x11223344);
	kms_guest_close(guest);
	emulator_drop(&emulator);
}

static void a_shared_memfd_is_read_as_a_file_and_outlives_its_emulator(void **state)
{
	struct emulator emulator;
	struct kms_guest *guest;
	uint32_t last;

	(void)state;
	emulator_prepare(&emulator);
	emulator_start(&emulator, "NICE -m 64M -machine q35,memory-backend=ram -object "
				  "memory-backend-memfd,id=ram,size=64M,share=on");
	guest = open_pid(&emulator);
	assert_string_equal(guest->memory->ops->name, "ram-file");
	emulator_wait_guest(guest->memory);
	expect_echo(guest->memory, 77);
	emulator_kill(&emulator);
	expect_event(guest, KMS_GUEST_ENDED, "");
	assert_true(guest->is_over);
	last = emulator_count(guest->memory);
	assert_true(last > 0);
	assert_int_equal(emulator_count(guest->memory), last);
	kms_guest_close(guest);
	emulator_drop(&emulator);
}

static void a_private_file_is_read_from_the_process(void **state)
{
	struct emulator emulator;
	struct kms_guest *guest;

	(void)state;
	emulator_prepare(&emulator);
	emulator_start(&emulator, "NICE -m 64M -machine pc,memory-backend=ram -object "
				  "memory-backend-file,id=ram,size=64M,share=off,mem-path=RAM");
	guest = open_pid(&emulator);
	assert_string_equal(guest->memory->ops->name, "process");
	emulator_wait_guest(guest->memory);
	expect_echo(guest->memory, 78);
	kms_guest_close(guest);
	emulator_drop(&emulator);
}

static void a_ram_file_is_live_while_it_runs_and_saved_afterwards(void **state)
{
	struct emulator emulator;
	struct kms_guest *guest;
	uint8_t byte;

	(void)state;
	emulator_prepare(&emulator);
	emulator_start(&emulator, "NICE -m 64M -machine pc,memory-backend=ram -object "
				  "memory-backend-file,id=ram,size=64M,share=on,mem-path=RAM");
	guest = open_pid(&emulator); /* it has mapped the file */
	kms_guest_close(guest);
	guest = open_name("ram:", emulator.ram);
	assert_string_equal(guest->memory->ops->name, "ram-file");
	assert_int_equal(guest->emulator.pid, emulator.pid);
	emulator_wait_guest(guest->memory);
	expect_echo(guest->memory, 79);
	kms_guest_close(guest);
	emulator_kill(&emulator);
	guest = open_name("ram:", emulator.ram);
	assert_string_equal(guest->memory->ops->name, "saved");
	assert_int_equal(guest->emulator.pid, 0);
	assert_int_equal(kms_guest_memory_bytes(guest->memory), 64 * MIB);
	assert_true(emulator_count(guest->memory) > 0);
	assert_int_equal(kms_guest_write(guest->memory, 0, "x", 1, NULL), -EROFS);
	assert_int_equal(truncate(emulator.ram, 4096), 0);
	assert_int_equal(kms_guest_read(guest->memory, EMULATOR_COUNT, &byte, 1, NULL), -EFAULT);
	kms_guest_close(guest);
	emulator_drop(&emulator);
}

static void qemu_says_where_its_memory_lies(void **state)
{
	struct emulator emulator;
	struct kms_guest *by_pid, *by_qmp;

	(void)state;
	emulator_prepare(&emulator);
	emulator_start(&emulator, "NICE -m 3G -machine q35 -qmp unix:QMP,server=on,wait=off");
	emulator_wait_for(emulator.qmp);
	by_qmp = open_name("qemu:", emulator.qmp);
	assert_non_null(by_qmp->qmp);
	assert_int_equal(by_qmp->emulator.pid, emulator.pid);
	assert_int_equal(by_qmp->memory->ranges, 2);
	assert_int_equal(by_qmp->memory->range[0].bytes, 2 * GIB);
	assert_int_equal(by_qmp->memory->range[1].address, 4 * GIB);
	assert_int_equal(by_qmp->memory->range[1].bytes, GIB);
	emulator_wait_guest(by_qmp->memory);
	/* the socket has one client: who comes second goes on without, says so, and sees the same */
	by_pid = open_pid(&emulator);
	assert_null(by_pid->qmp);
	assert_string_not_equal(by_pid->note, "");
	assert_memory_equal(by_pid->memory->range, by_qmp->memory->range,
			    sizeof(by_pid->memory->range));
	expect_echo(by_pid->memory, 80);
	kms_guest_close(by_pid);
	kms_guest_close(by_qmp);
	emulator_drop(&emulator);
}

static void memory_in_nodes_takes_qmp(void **state)
{
	static const char words[] = "NICE -m 64M -machine q35 -object "
				    "memory-backend-ram,id=a,size=32M -object "
				    "memory-backend-ram,id=b,size=32M -numa node,memdev=a -numa "
				    "node,memdev=b -qmp unix:QMP,server=on,wait=off";
	struct kms_guest_target target = {.kind = KMS_GUEST_TARGET_PID};
	struct emulator emulator;
	struct kms_guest *guest;

	(void)state;
	emulator_prepare(&emulator);
	emulator_start(&emulator, words);
	emulator_wait_for(emulator.qmp);
	guest = open_name("qemu:", emulator.qmp);
	assert_int_equal(guest->memory->ranges, 1);
	assert_int_equal(kms_guest_memory_bytes(guest->memory), 64 * MIB);
	emulator_wait_guest(guest->memory);
	kms_guest_close(guest);
	target.pid = emulator.pid;
	assert_int_equal(kms_guest_open(&target, KMS_GUEST_NO_QMP, &guest, NULL), -ENOTSUP);
	emulator_drop(&emulator);
}

static void pause_resume_reset_and_quit_are_told(void **state)
{
	struct emulator emulator;
	struct kms_guest_event event;
	struct kms_guest *guest;
	uint32_t count;

	(void)state;
	emulator_prepare(&emulator);
	emulator_start(&emulator, "NICE -m 64M -qmp unix:QMP,server=on,wait=off");
	emulator_wait_for(emulator.qmp);
	guest = open_name("qemu:", emulator.qmp);
	emulator_wait_guest(guest->memory);
	assert_false(guest->is_paused);
	assert_int_equal(kms_guest_stop(guest, NULL), 0);
	expect_event(guest, KMS_GUEST_PAUSED, "paused");
	assert_true(guest->is_paused);
	count = emulator_count(guest->memory);
	assert_int_equal(kms_guest_next_event(guest, 50, &event), 0);
	assert_int_equal(emulator_count(guest->memory), count);
	assert_int_equal(kms_guest_continue(guest, NULL), 0);
	expect_event(guest, KMS_GUEST_RESUMED, "");
	assert_false(guest->is_paused);
	expect_progress(guest->memory);
	assert_int_equal(kms_qmp_command(guest->qmp, "system_reset", NULL), 0);
	expect_event(guest, KMS_GUEST_RESET, "host-qmp-system-reset");
	emulator_wait_guest(guest->memory);
	/* and the socket closes; what is told is the end */
	assert_int_equal(kms_qmp_command(guest->qmp, "quit", NULL), 0);
	expect_event(guest, KMS_GUEST_ENDED, "host-qmp-quit");
	assert_int_equal(kms_guest_next_event(guest, 0, &event), 0);
	assert_int_equal(emulator_wait_end(&emulator), 0);
	kms_guest_close(guest);
	emulator_drop(&emulator);
}

static void a_killed_emulator_ends_without_a_word(void **state)
{
	struct emulator emulator;
	struct kms_guest *guest;
	uint32_t word;

	(void)state;
	emulator_prepare(&emulator);
	emulator_start(&emulator, "NICE -m 64M -qmp unix:QMP,server=on,wait=off");
	emulator_wait_for(emulator.qmp);
	guest = open_name("qemu:", emulator.qmp);
	emulator_kill(&emulator);
	expect_event(guest, KMS_GUEST_ENDED, "");
	assert_int_equal(kms_guest_read(guest->memory, 0, &word, sizeof(word), NULL), -EFAULT);
	assert_int_equal(kms_guest_write(guest->memory, 0, &word, sizeof(word), NULL), -EFAULT);
	assert_int_equal(kms_guest_stop(guest, NULL), -ENOTSUP);
	kms_guest_close(guest);
	emulator_drop(&emulator);
}

static void a_guest_that_migrates_is_over_here(void **state)
{
	static const char words[] = "NICE -m 64M -machine pc-q35-7.2 -qmp "
				    "unix:QMP,server=on,wait=off";
	struct emulator source, target;
	struct kms_guest *guest, *there;
	char *text, command[128], all[256];

	(void)state;
	emulator_prepare(&source);
	emulator_prepare(&target);
	emulator_start(&source, words);
	(void)snprintf(all, sizeof(all), "%s -incoming unix:GDB", words);
	emulator_start(&target, all);
	emulator_wait_for(source.qmp);
	emulator_wait_for(target.qmp);
	emulator_wait_for(target.gdb); /* any socket's path will do */
	guest = open_name("qemu:", source.qmp);
	there = open_name("qemu:", target.qmp);
	assert_true(there->is_paused);
	emulator_wait_guest(guest->memory);
	(void)snprintf(command, sizeof(command), "migrate -d unix:%s", target.gdb);
	assert_int_equal(kms_qmp_monitor(guest->qmp, command, &text, NULL), 0);
	assert_string_equal(text, "");
	free(text);
	while (!guest->is_over) {
		struct kms_guest_event event;

		assert_int_equal(kms_guest_next_event(guest, LONG_MS, &event), 1);
		assert_true(event.kind == KMS_GUEST_PAUSED || event.kind == KMS_GUEST_MIGRATED);
	}
	expect_event(there, KMS_GUEST_RESUMED, "");
	emulator_wait_guest(there->memory);
	expect_progress(there->memory);
	kms_guest_close(guest);
	kms_guest_close(there);
	emulator_drop(&source);
	emulator_drop(&target);
}

static void what_is_no_guest_is_refused(void **state)
{
	struct kms_guest *guest;
	char name[32];

	(void)state;
	(void)snprintf(name, sizeof(name), "qemu:pid:%d", (int)getpid());
	assert_int_equal(try_open(name, &guest, NULL), -EINVAL);
	assert_int_equal(try_open("qemu:pid:2147483646", &guest, NULL), -ESRCH);
	assert_int_equal(try_open("qemu:/nonexistent", &guest, NULL), -ENOENT);
	assert_int_equal(try_open("ram:/nonexistent", &guest, NULL), -ENOENT);
	assert_int_equal(try_open("ram:/dev/null", &guest, NULL), -EINVAL);
	assert_int_equal(try_open("ram:/etc/passwd+1048576", &guest, NULL), -EINVAL);
}

/* A program of that name, which does nothing. */
static void another_processor_is_refused(void **state)
{
	struct emulator folder;
	struct kms_guest *guest;
	char path[96], copy[160], name[32];
	uint64_t end = kms_mono_ns() + LONG_MS * UINT64_C(1000000);
	int result;
	pid_t pid;

	(void)state;
	emulator_prepare(&folder);
	(void)snprintf(path, sizeof(path), "%s/qemu-system-aarch64", folder.folder);
	(void)snprintf(copy, sizeof(copy), "cp /bin/sleep %s", path);
	assert_int_equal(system(copy), 0);
	pid = fork();
	if (pid == 0) {
		(void)execl(path, path, "1000", (char *)NULL);
		_exit(127);
	}
	(void)snprintf(name, sizeof(name), "qemu:pid:%d", (int)pid);
	do { /* it is a copy of this test first */
		result = try_open(name, &guest, NULL);
		assert_true(kms_mono_ns() < end);
	} while (result == -EINVAL);
	assert_int_equal(result, -EOPNOTSUPP);
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(unlink(path), 0);
	emulator_drop(&folder);
}

/* In a child, as another user: 0 if it is refused and says what it would take. */
static int refused_as_nobody(const char *name)
{
	struct kms_err err = KMS_ERR_INIT;
	struct kms_guest *guest;

	if (setgid(NOBODY) || setuid(NOBODY))
		return 2;
	if (try_open(name, &guest, &err) != -EPERM)
		return 3;
	return strstr(err.text, "CAP_SYS_PTRACE") ? 0 : 4;
}

static void without_permission_it_says_what_it_takes(void **state)
{
	struct emulator emulator;
	char name[32];
	int status = 0;
	pid_t pid;

	(void)state;
	if (geteuid() != 0)
		skip();
	emulator_prepare(&emulator);
	emulator_start(&emulator, "NICE -m 64M");
	kms_guest_close(open_pid(&emulator));
	(void)snprintf(name, sizeof(name), "qemu:pid:%d", (int)emulator.pid);
	pid = fork();
	if (pid == 0)
		_exit(refused_as_nobody(name));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	emulator_drop(&emulator);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_guest_without_any_option_is_found_read_and_listed),
		cmocka_unit_test(a_small_guest_is_not_taken_for_its_graphics_card),
		cmocka_unit_test(a_shared_memfd_is_read_as_a_file_and_outlives_its_emulator),
		cmocka_unit_test(a_private_file_is_read_from_the_process),
		cmocka_unit_test(a_ram_file_is_live_while_it_runs_and_saved_afterwards),
		cmocka_unit_test(qemu_says_where_its_memory_lies),
		cmocka_unit_test(memory_in_nodes_takes_qmp),
		cmocka_unit_test(pause_resume_reset_and_quit_are_told),
		cmocka_unit_test(a_killed_emulator_ends_without_a_word),
		cmocka_unit_test(a_guest_that_migrates_is_over_here),
		cmocka_unit_test(what_is_no_guest_is_refused),
		cmocka_unit_test(another_processor_is_refused),
		cmocka_unit_test(without_permission_it_says_what_it_takes),
	};

	if (!emulator_is_there()) {
		(void)fputs("skipped: no qemu-system-x86_64\n", stderr);
		return 77;
	}
	return cmocka_run_group_tests(tests, NULL, NULL);
}
