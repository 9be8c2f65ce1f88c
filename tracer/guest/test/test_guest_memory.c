/* SPDX-License-Identifier: BSD-2-Clause */
/* Guest memory in a file and in a process: what is read, what is refused, what goes away meanwhile. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/test/unit.h"
#include "tracer/guest/back_ends.h"
#include "tracer/guest/test/ram.h"
#include "tracer/process.h"

enum {
	RAM_BYTES = 2 << 20,
	MANY = 700, /* pieces, more than one call of the process's back end takes */
};

/* A process whose memory at @bytes is the guest's; it does nothing. */
struct emulator {
	pid_t pid;
	int pidfd;
	uint8_t *bytes; /* ours, before the fork: the address is the same in both */
};

static void emulator_start(struct emulator *emulator)
{
	emulator->bytes =
		mmap(NULL, RAM_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(emulator->bytes != MAP_FAILED);
	for (size_t i = 0; i < RAM_BYTES; i++)
		emulator->bytes[i] = (uint8_t)(i * 7 + i / 4096);
	emulator->pid = fork();
	assert_true(emulator->pid >= 0);
	if (emulator->pid == 0) {
		for (;;)
			(void)pause(); /* until it is killed */
	}
	emulator->pidfd = kms_process_watch(emulator->pid, 0);
	assert_true(emulator->pidfd >= 0);
}

/* Ends it; it is still there as a zombie until emulator_drop(). */
static void emulator_kill(struct emulator *emulator)
{
	siginfo_t info;

	assert_int_equal(kill(emulator->pid, SIGKILL), 0);
	assert_int_equal(waitid(P_PID, (id_t)emulator->pid, &info, WEXITED | WNOWAIT), 0);
}

static void emulator_drop(struct emulator *emulator)
{
	assert_int_equal(waitpid(emulator->pid, NULL, 0), emulator->pid);
	assert_int_equal(close(emulator->pidfd), 0);
	assert_int_equal(munmap(emulator->bytes, RAM_BYTES), 0);
}

static void emulator_open(const struct emulator *emulator, struct kms_guest_memory **memory)
{
	struct kms_guest_layout layout = {.segments = 2};

	layout.segment[0].bytes = TEST_RAM_HOLE;
	layout.segment[0].place = (uintptr_t)emulator->bytes;
	layout.segment[1].address = TEST_RAM_HIGH;
	layout.segment[1].bytes = RAM_BYTES - TEST_RAM_HOLE;
	layout.segment[1].place = (uintptr_t)emulator->bytes + TEST_RAM_HOLE;
	assert_int_equal(kms_guest_memory_open_process(emulator->pid, emulator->pidfd, &layout,
						       memory, NULL),
			 0);
}

static void what_the_guest_writes_is_read_on_both_sides_of_the_hole(void **state)
{
	struct test_ram ram;
	uint64_t value = 0;

	(void)state;
	test_ram_make_parted(&ram, RAM_BYTES);
	assert_int_equal(kms_guest_memory_bytes(ram.memory), RAM_BYTES);
	memcpy(ram.bytes + 0x1238, "\x11\x22\x33\x44\x55\x66\x77\x08", sizeof(value));
	assert_int_equal(kms_guest_read(ram.memory, 0x1238, &value, sizeof(value), NULL), 0);
	assert_int_equal(value, UINT64_C(0x0877665544332211));
	ram.bytes[TEST_RAM_HOLE + 5] = 0x5a;
	assert_int_equal(kms_guest_read(ram.memory, TEST_RAM_HIGH + 5, &value, 1, NULL), 0);
	assert_int_equal(value & 0xff, 0x5a);
	test_ram_drop(&ram);
}

static void what_is_no_memory_is_refused(void **state)
{
	static const struct {
		uint64_t address;
		size_t bytes;
	} bad[] = {
		{TEST_RAM_HOLE,                             1                            },
		{TEST_RAM_HOLE - 1,                         2                            },
		{TEST_RAM_HIGH - 1,                         2                            },
		{TEST_RAM_HIGH + RAM_BYTES - TEST_RAM_HOLE, 1                            },
		{TEST_RAM_HIGH,                             RAM_BYTES - TEST_RAM_HOLE + 1},
		{UINT64_MAX,				1                            },
		{UINT64_MAX - 3,                            8                            },
		{0,					 SIZE_MAX                     },
		{1,					 SIZE_MAX                     },
	};
	struct test_ram ram;
	uint8_t byte = 7;

	(void)state;
	test_ram_make_parted(&ram, RAM_BYTES);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct kms_err err = KMS_ERR_INIT;

		assert_int_equal(
			kms_guest_read(ram.memory, bad[i].address, &byte, bad[i].bytes, &err),
			-ERANGE);
		assert_int_equal(err.code, -ERANGE);
		assert_int_equal(
			kms_guest_write(ram.memory, bad[i].address, &byte, bad[i].bytes, NULL),
			-ERANGE);
	}
	assert_int_equal(byte, 7);
	test_ram_drop(&ram);
}

static void one_bad_piece_of_many_reads_nothing(void **state)
{
	uint8_t got[3] = {1, 1, 1};
	struct kms_guest_piece pieces[] = {
		{0x10,          &got[0], 1},
                {TEST_RAM_HOLE, &got[1], 1},
                {0x20,          &got[2], 1}
        };
	struct test_ram ram;

	(void)state;
	test_ram_make_parted(&ram, RAM_BYTES);
	assert_int_equal(kms_guest_read_pieces(ram.memory, pieces, 3, NULL), -ERANGE);
	assert_memory_equal(got, "\1\1\1", 3);
	pieces[1].bytes = 0; /* of no bytes: nothing is read there, wherever it is in RAM */
	pieces[1].address = 0x30;
	assert_int_equal(kms_guest_read_pieces(ram.memory, pieces, 3, NULL), 0);
	assert_memory_equal(got, "\0\1\0", 3);
	test_ram_drop(&ram);
}

static void a_write_is_seen_by_the_guest(void **state)
{
	struct test_ram ram;

	(void)state;
	test_ram_make_parted(&ram, RAM_BYTES);
	assert_int_equal(kms_guest_write(ram.memory, 0xffe, "abcd", 4, NULL), 0);
	assert_int_equal(kms_guest_write(ram.memory, TEST_RAM_HIGH, "efgh", 4, NULL), 0);
	assert_memory_equal(ram.bytes + 0xffe, "abcd", 4);
	assert_memory_equal(ram.bytes + TEST_RAM_HOLE, "efgh", 4);
	test_ram_drop(&ram);
}

static void a_file_cut_short_is_an_error_and_stays_short(void **state)
{
	struct test_ram ram;
	struct stat st;
	uint8_t page[4096];

	(void)state;
	test_ram_make(&ram, RAM_BYTES);
	assert_int_equal(kms_guest_write(ram.memory, 0x5000, "a", 1, NULL), 0);
	assert_int_equal(ftruncate(ram.fd, 0x4000), 0);
	assert_int_equal(kms_guest_read(ram.memory, 0x5000, page, sizeof(page), NULL), -EFAULT);
	assert_int_equal(kms_guest_read(ram.memory, 0x3800, page, sizeof(page), NULL), -EFAULT);
	assert_int_equal(kms_guest_write(ram.memory, 0x5000, "b", 1, NULL), -EFAULT);
	assert_int_equal(fstat(ram.fd, &st), 0);
	assert_int_equal(st.st_size, 0x4000);
	assert_int_equal(kms_guest_read(ram.memory, 0x3000, page, sizeof(page), NULL), 0);
	test_ram_drop(&ram);
}

static void a_saved_file_is_read_only_and_may_begin_at_an_offset(void **state)
{
	struct kms_guest_layout layout = {.segments = 1};
	struct kms_guest_memory *memory;
	int fd = memfd_create("saved", MFD_CLOEXEC);
	char got[4];

	(void)state;
	layout.segment[0].bytes = 0x4000;
	layout.segment[0].place = 0x1000;
	assert_int_equal(ftruncate(fd, 0x4fff), 0);
	assert_int_equal(kms_guest_memory_open_saved(fd, &layout, &memory, NULL), -ERANGE);
	assert_int_equal(ftruncate(fd, 0x5000), 0);
	assert_int_equal(pwrite(fd, "saved", 5, 0x1ffe), 5);
	assert_int_equal(kms_guest_memory_open_saved(fd, &layout, &memory, NULL), 0);
	assert_int_equal(kms_guest_read(memory, 0x0ffe, got, sizeof(got), NULL), 0);
	assert_memory_equal(got, "save", 4);
	assert_int_equal(kms_guest_write(memory, 0, "x", 1, NULL), -EROFS);
	kms_guest_memory_close(memory);
}

static void what_is_no_file_is_refused(void **state)
{
	struct kms_guest_layout layout = {.segments = 1};
	struct kms_guest_memory *memory;
	int pipes[2];

	(void)state;
	layout.segment[0].bytes = 0x1000;
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(kms_guest_memory_open_file(pipes[0], &layout, &memory, NULL), -EINVAL);
	assert_int_equal(close(pipes[0]), 0);
	assert_int_equal(close(pipes[1]), 0);
}

static void the_memory_of_a_process_is_read_in_many_pieces(void **state)
{
	static uint8_t got[MANY][48];
	static struct kms_guest_piece pieces[MANY];
	struct emulator emulator;
	struct kms_guest_memory *memory;

	(void)state;
	emulator_start(&emulator);
	emulator_open(&emulator, &memory);
	for (size_t i = 0; i < MANY; i++) {
		pieces[i].address = i % 2 ? TEST_RAM_HIGH + i * 1400 : i * 1400;
		pieces[i].to = got[i];
		pieces[i].bytes = 1 + i % 48;
	}
	assert_int_equal(kms_guest_read_pieces(memory, pieces, MANY, NULL), 0);
	for (size_t i = 0; i < MANY; i++) {
		const uint8_t *want =
			emulator.bytes + i * 1400 + (i % 2 ? (size_t)TEST_RAM_HOLE : 0);

		assert_memory_equal(got[i], want, pieces[i].bytes);
		assert_int_equal(got[i][pieces[i].bytes % 48] & (pieces[i].bytes == 48 ? 0 : ~0),
				 0);
	}
	kms_guest_memory_close(memory);
	emulator_kill(&emulator);
	emulator_drop(&emulator);
}

static void a_write_to_a_process_is_read_back_and_is_not_ours(void **state)
{
	struct emulator emulator;
	struct kms_guest_memory *memory;
	char got[6];

	(void)state;
	emulator_start(&emulator);
	emulator_open(&emulator, &memory);
	assert_int_equal(kms_guest_write(memory, TEST_RAM_HIGH + 4094, "guest", 6, NULL), 0);
	assert_int_equal(kms_guest_read(memory, TEST_RAM_HIGH + 4094, got, 6, NULL), 0);
	assert_memory_equal(got, "guest", 6);
	assert_memory_not_equal(emulator.bytes + TEST_RAM_HOLE + 4094, "guest", 6);
	kms_guest_memory_close(memory);
	emulator_kill(&emulator);
	emulator_drop(&emulator);
}

static void a_process_that_ended_is_an_error(void **state)
{
	struct emulator emulator;
	struct kms_guest_memory *memory;
	struct kms_err err = KMS_ERR_INIT;
	uint64_t value;

	(void)state;
	emulator_start(&emulator);
	emulator_open(&emulator, &memory);
	assert_int_equal(kms_guest_read(memory, 0, &value, sizeof(value), NULL), 0);
	emulator_kill(&emulator);
	assert_int_equal(kms_guest_read(memory, 0, &value, sizeof(value), &err), -EFAULT);
	assert_int_equal(err.code, -EFAULT);
	assert_int_equal(kms_guest_write(memory, 0, &value, sizeof(value), NULL), -EFAULT);
	emulator_drop(&emulator); /* from now on the pid may be another's */
	assert_int_equal(kms_guest_read(memory, 0, &value, sizeof(value), NULL), -EFAULT);
	assert_int_equal(kms_guest_write(memory, 0, &value, sizeof(value), NULL), -EFAULT);
	kms_guest_memory_close(memory);
}

/* Two blocks that follow each other in the guest, and lie the other way round behind it. */
static void memory_in_two_blocks_is_one_stretch(void **state)
{
	struct kms_guest_layout layout = {.segments = 2};
	struct kms_guest_memory *file, *process;
	struct emulator emulator;
	int fd = memfd_create("blocks", MFD_CLOEXEC);
	char got[8];

	(void)state;
	emulator_start(&emulator);
	layout.segment[0].bytes = 0x2000;
	layout.segment[0].place = 0x4000;
	layout.segment[1].address = 0x2000;
	layout.segment[1].bytes = 0x1000;
	assert_int_equal(ftruncate(fd, 0x6000), 0);
	assert_int_equal(kms_guest_memory_open_file(fd, &layout, &file, NULL), 0);
	assert_int_equal(kms_guest_layout_shift(&layout, (uintptr_t)emulator.bytes, NULL), 0);
	assert_int_equal(kms_guest_memory_open_process(emulator.pid, emulator.pidfd, &layout,
						       &process, NULL),
			 0);
	assert_int_equal(file->ranges, 1);
	assert_int_equal(process->ranges, 1);
	assert_int_equal(process->range[0].bytes, 0x3000);
	assert_int_equal(kms_guest_write(file, 0x1ffc, "one-two", 8, NULL), 0);
	assert_int_equal(kms_guest_read(file, 0x1ffc, got, 8, NULL), 0);
	assert_string_equal(got, "one-two");
	assert_int_equal(pread(fd, got, 4, 0), 4);
	assert_memory_equal(got, "two", 4);
	assert_int_equal(pread(fd, got, 4, 0x5ffc), 4);
	assert_memory_equal(got, "one-", 4);
	assert_int_equal(kms_guest_write(process, 0x1ffc, "one-two", 8, NULL), 0);
	assert_int_equal(kms_guest_read(process, 0x1ffc, got, 8, NULL), 0);
	assert_string_equal(got, "one-two");
	kms_guest_memory_close(file);
	kms_guest_memory_close(process);
	emulator_kill(&emulator);
	emulator_drop(&emulator);
}

static void memory_that_is_not_where_it_was_is_an_error(void **state)
{
	struct kms_guest_layout layout = {.segments = 1};
	struct emulator emulator;
	struct kms_guest_memory *memory;
	uint64_t value;

	(void)state;
	emulator_start(&emulator);
	layout.segment[0].bytes = 8192;
	layout.segment[0].place = 4096; /* nothing is mapped there (vm.mmap_min_addr) */
	assert_int_equal(
		kms_guest_memory_open_process(emulator.pid, emulator.pidfd, &layout, &memory, NULL),
		0);
	assert_int_equal(kms_guest_read(memory, 0, &value, sizeof(value), NULL), -EFAULT);
	assert_true(kms_guest_write(memory, 0, &value, sizeof(value), NULL) < 0);
	kms_guest_memory_close(memory);
	layout.segment[0].place = UINT64_C(1) << 63;
	assert_int_equal(
		kms_guest_memory_open_process(emulator.pid, emulator.pidfd, &layout, &memory, NULL),
		-EINVAL);
	emulator_kill(&emulator);
	emulator_drop(&emulator);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_the_guest_writes_is_read_on_both_sides_of_the_hole),
		cmocka_unit_test(what_is_no_memory_is_refused),
		cmocka_unit_test(one_bad_piece_of_many_reads_nothing),
		cmocka_unit_test(a_write_is_seen_by_the_guest),
		cmocka_unit_test(a_file_cut_short_is_an_error_and_stays_short),
		cmocka_unit_test(a_saved_file_is_read_only_and_may_begin_at_an_offset),
		cmocka_unit_test(what_is_no_file_is_refused),
		cmocka_unit_test(the_memory_of_a_process_is_read_in_many_pieces),
		cmocka_unit_test(a_write_to_a_process_is_read_back_and_is_not_ours),
		cmocka_unit_test(a_process_that_ended_is_an_error),
		cmocka_unit_test(memory_in_two_blocks_is_one_stretch),
		cmocka_unit_test(memory_that_is_not_where_it_was_is_an_error),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
