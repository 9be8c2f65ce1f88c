/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * ddi_umem_alloc(9F): each rule of its page and of the reference's conformance list, against the
 * memory itself and the fault structures.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "allocator/alloc.h"
#include "allocator/kmem.h"
#include "allocator/port/process.h"
#include "allocator/region.h"
#include "allocator/test/fault_log.h"
#include "allocator/umem.h"
#include "base/test/unit.h"

#define PAGE ((size_t)4096)

enum {
	MANY = 300,
};

static const int all_flags[] = {
	DDI_UMEM_SLEEP,
	DDI_UMEM_NOSLEEP,
	DDI_UMEM_SLEEP | DDI_UMEM_PAGEABLE,
	DDI_UMEM_NOSLEEP | DDI_UMEM_PAGEABLE,
};

enum {
	N_FLAGS = sizeof(all_flags) / sizeof(all_flags[0]),
};

static uint64_t short_bytes(void)
{
	return kms_process_heap()->slot->locked_short_bytes;
}

static void say(char *where, const char *text)
{
	memcpy(where, text, strlen(text) + 1);
}

static void all_bytes_are_zero(const unsigned char *p, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++)
		assert_int_equal(p[i], 0);
}

static void sizes_are_rounded_up_to_pages_and_zeroed(void **state)
{
	static const size_t rows[][2] = {
		{1,       PAGE    },
                {PAGE,    PAGE    },
                {4097,    2 * PAGE},
                {8192,    2 * PAGE},
                {1 << 20, 1 << 20 }
        };

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		for (int f = 0; f < N_FLAGS; f++) {
			ddi_umem_cookie_t cookie = NULL;
			unsigned char *p = ddi_umem_alloc(rows[i][0], all_flags[f], &cookie);

			assert_non_null(p);
			assert_non_null(cookie);
			assert_int_equal((uintptr_t)p % PAGE, 0);
			assert_int_equal(((struct kms_umem *)cookie)->bytes, rows[i][1]);
			all_bytes_are_zero(p, rows[i][1]);
			/* all of it may be used */
			memset(p, 0xa5, rows[i][1]);
			ddi_umem_free(cookie);
		}
	}
	fault_log_expect_none();
}

static void memory_is_zero_again_after_it_was_dirty(void **state)
{
	ddi_umem_cookie_t cookie;

	(void)state;
	for (int i = 0; i < 20; i++) {
		unsigned char *p = ddi_umem_alloc(PAGE, all_flags[i % N_FLAGS], &cookie);

		all_bytes_are_zero(p, PAGE);
		memset(p, 0xff, PAGE);
		ddi_umem_free(cookie);
	}
	fault_log_expect_none();
}

static void size_0_and_sizes_that_cannot_be_give_null_and_no_cookie(void **state)
{
	static const size_t sizes[] = {0, SIZE_MAX, SIZE_MAX - PAGE + 2, SIZE_MAX / 2,
				       (size_t)1 << 46};

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		for (int f = 0; f < N_FLAGS; f++) {
			ddi_umem_cookie_t cookie = &cookie;

			assert_null(ddi_umem_alloc(sizes[i], all_flags[f], &cookie));
			assert_null(cookie);
		}
	}
	fault_log_expect_none();
}

static void free_of_null_is_nothing(void **state)
{
	(void)state;
	ddi_umem_free(NULL);
	fault_log_expect_none();
}

static void a_cookie_freed_twice_is_named_with_its_own_stacks(void **state)
{
	ddi_umem_cookie_t cookie, others[5];
	void *p = ddi_umem_alloc(3 * PAGE, DDI_UMEM_SLEEP, &cookie);

	(void)state;
	ddi_umem_free(cookie);
	/* Others may have its pages by now. */
	for (int i = 0; i < 5; i++)
		assert_non_null(ddi_umem_alloc(3 * PAGE, DDI_UMEM_SLEEP, &others[i]));
	ddi_umem_free(cookie);
	assert_int_equal(fault_log_at(0)->block_bytes, 3 * PAGE);
	assert_int_equal(fault_log_at(0)->address, (uintptr_t)cookie);
	fault_log_expect(KMS_FAULT_DOUBLE_FREE, p);
	for (int i = 0; i < 5; i++)
		ddi_umem_free(others[i]);
	fault_log_expect_none();
}

static void what_is_no_cookie_is_not_freed(void **state)
{
	ddi_umem_cookie_t cookie;
	char *p = ddi_umem_alloc(PAGE, DDI_UMEM_SLEEP, &cookie);
	int on_stack = 0;

	(void)state;
	ddi_umem_free(p);
	assert_non_null(strstr(fault_log_at(0)->text, "not its cookie"));
	fault_log_expect(KMS_FAULT_INVALID_FREE, p);
	ddi_umem_free(&on_stack);
	fault_log_expect(KMS_FAULT_INVALID_FREE, NULL);
	ddi_umem_free((char *)cookie + 8);
	fault_log_expect(KMS_FAULT_INVALID_FREE, NULL);
	kmem_free(p, PAGE);
	assert_non_null(strstr(fault_log_at(0)->text, "ddi_umem"));
	fault_log_expect(KMS_FAULT_WRONG_CACHE, p);
	p[0] = 1;
	ddi_umem_free(cookie);
	fault_log_expect_none();
}

static void unknown_flags_and_no_place_for_the_cookie_are_faults(void **state)
{
	ddi_umem_cookie_t cookie;

	(void)state;
	assert_non_null(ddi_umem_alloc(PAGE, 0x40, &cookie));
	fault_log_expect(KMS_FAULT_BAD_FLAGS, NULL);
	ddi_umem_free(cookie);
	assert_null(ddi_umem_alloc(PAGE, DDI_UMEM_SLEEP, NULL));
	fault_log_expect(KMS_FAULT_BAD_FLAGS, NULL);
}

static void writes_around_a_buffer_are_seen_at_its_free_and_by_verify(void **state)
{
	ddi_umem_cookie_t cookie;
	volatile unsigned char *p = ddi_umem_alloc(5000, DDI_UMEM_SLEEP, &cookie);

	(void)state;
	p[2 * PAGE - 1] = 1;
	assert_int_equal(kmem_verify(), 0);
	p[2 * PAGE] ^= 0xff;
	assert_int_equal(kmem_verify(), 1);
	assert_int_equal(fault_log_at(0)->address, (uintptr_t)p + 2 * PAGE);
	fault_log_expect(KMS_FAULT_OVERFLOW, (const void *)p);
	p[-1] ^= 0xff;
	ddi_umem_free(cookie);
	fault_log_expect(KMS_FAULT_UNDERFLOW, (const void *)p);
}

static void contexts_and_locks_are_checked(void **state)
{
	static const int levels[] = {KMEM_CONTEXT_SOFTINT, KMEM_CONTEXT_CALLOUT,
				     KMEM_CONTEXT_HARDINT};
	static const int lock;
	ddi_umem_cookie_t cookie;

	(void)state;
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		int before = kmem_context_enter(levels[i]);

		assert_non_null(ddi_umem_alloc(PAGE, DDI_UMEM_NOSLEEP, &cookie));
		ddi_umem_free(cookie);
		fault_log_expect_none();
		assert_non_null(ddi_umem_alloc(PAGE, DDI_UMEM_SLEEP, &cookie));
		assert_int_equal(fault_log_at(0)->level, levels[i]);
		fault_log_expect(KMS_FAULT_WRONG_CONTEXT, NULL);
		ddi_umem_free(cookie);
		kmem_context_leave(before);
	}
	kmem_lock_hold(&lock);
	assert_non_null(ddi_umem_alloc(PAGE, DDI_UMEM_SLEEP, &cookie));
	fault_log_expect(KMS_FAULT_SLEEP_WITH_LOCK, NULL);
	ddi_umem_free(cookie);
	kmem_lock_drop(&lock);
	kmem_suspend_enter();
	assert_non_null(ddi_umem_alloc(PAGE, DDI_UMEM_NOSLEEP, &cookie));
	assert_non_null(strstr(fault_log_at(0)->text, "suspend"));
	fault_log_expect(KMS_FAULT_WRONG_CONTEXT, NULL);
	kmem_suspend_leave();
	ddi_umem_free(cookie);
	assert_non_null(ddi_umem_alloc(PAGE, DDI_UMEM_SLEEP, &cookie));
	ddi_umem_free(cookie);
	fault_log_expect_none();
}

/* Locked kilobytes of the mapping that begins at @p, from /proc/self/smaps; -1: there is none. */
static long locked_kib(const void *p)
{
	FILE *file = fopen("/proc/self/smaps", "re");
	char line[512], *end;
	bool here = false;
	long kib = -1;

	assert_non_null(file);
	while (kib < 0 && fgets(line, sizeof(line), file)) {
		unsigned long start = strtoul(line, &end, 16);

		if (end > line && *end == '-')
			here = start == (unsigned long)p;
		else if (here && strncmp(line, "Locked:", 7) == 0)
			kib = strtol(line + 7, NULL, 10);
	}
	(void)fclose(file);
	return kib;
}

static void locked_memory_is_locked_and_pageable_is_not(void **state)
{
	ddi_umem_cookie_t locked, pageable;
	void *p = ddi_umem_alloc(4 * PAGE, DDI_UMEM_SLEEP, &locked);
	void *q = ddi_umem_alloc(4 * PAGE, DDI_UMEM_SLEEP | DDI_UMEM_PAGEABLE, &pageable);

	(void)state;
	assert_int_equal(short_bytes(), 0);
	assert_int_equal(locked_kib(p), 16);
	assert_int_equal(locked_kib(q), 0);
	ddi_umem_free(locked);
	ddi_umem_free(pageable);
}

/* In a process without rights: the limit holds for it. What it locked short, as a status. */
static int lock_under_a_limit(void)
{
	const struct rlimit limit = {3 * PAGE, 3 * PAGE};
	ddi_umem_cookie_t cookie[2];

	if (setrlimit(RLIMIT_MEMLOCK, &limit) || (geteuid() == 0 && setuid(65534)))
		return 1;
	if (!ddi_umem_alloc(8 * PAGE, DDI_UMEM_SLEEP, &cookie[0]) || short_bytes() != 5 * PAGE)
		return 2;
	if (!ddi_umem_alloc(2 * PAGE, DDI_UMEM_NOSLEEP, &cookie[1]) || short_bytes() != 7 * PAGE)
		return 3;
	ddi_umem_free(cookie[0]);
	if (short_bytes() != 2 * PAGE)
		return 4;
	ddi_umem_free(cookie[1]);
	return short_bytes() || fault_log_count() ? 5 : 0;
}

static void what_the_limit_does_not_let_lock_is_counted(void **state)
{
	int status;
	pid_t pid = fork();

	(void)state;
	if (pid == 0)
		_exit(lock_under_a_limit());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

/* A child has the buffers of its parent, and locks of its own. */
static int use_after_fork(ddi_umem_cookie_t cookie, char *p)
{
	ddi_umem_cookie_t mine;

	/* a page of two processes counts for each in part */
	if (strcmp(p, "parent") != 0 || locked_kib(p) <= 0)
		return 1;
	say(p, "child");
	ddi_umem_free(cookie);
	if (!ddi_umem_alloc(PAGE, DDI_UMEM_SLEEP, &mine))
		return 2;
	ddi_umem_free(mine);
	return fault_log_count() ? 3 : 0;
}

static void a_forked_child_shares_the_memory_and_frees_its_own_mapping(void **state)
{
	ddi_umem_cookie_t cookie;
	char *p = ddi_umem_alloc(PAGE, DDI_UMEM_SLEEP, &cookie);
	int status;
	pid_t pid;

	(void)state;
	say(p, "parent");
	pid = fork();
	if (pid == 0)
		_exit(use_after_fork(cookie, p));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	assert_string_equal(p, "child");
	ddi_umem_free(cookie);
	fault_log_expect_none();
}

static void fail_nth_lets_a_nosleep_call_fail_without_a_cookie(void **state)
{
	ddi_umem_cookie_t cookie = &cookie;

	(void)state;
	kms_process_heap()->nosleep_count = 0;
	assert_int_equal(kmem_variable_set("fail_nth", 1), 0);
	assert_null(ddi_umem_alloc(PAGE, DDI_UMEM_NOSLEEP, &cookie));
	assert_null(cookie);
	assert_int_equal(kmem_variable_set("fail_nth", 0), 0);
}

/** A call that may have to wait. */
struct waiting {
	pthread_t thread;
	ddi_umem_cookie_t cookie;
	void *p;
};

static void *alloc_sleeping(void *argument)
{
	struct waiting *waiting = argument;

	waiting->p = ddi_umem_alloc(64 * PAGE, DDI_UMEM_SLEEP, &waiting->cookie);
	return NULL;
}

static void an_exhausted_arena_fails_all_but_locked_memory_that_may_sleep(void **state)
{
	struct kms_heap *heap = kms_process_heap();
	struct waiting waiting = {0};
	ddi_umem_cookie_t held, cookie;
	const struct kms_cache *cache;
	uint64_t failed;

	(void)state;
	assert_non_null(ddi_umem_alloc(64 * PAGE, DDI_UMEM_SLEEP, &held));
	cache = heap->cache[((struct kms_umem *)held)->span->cache];
	failed = cache->stat->failed;
	assert_int_equal(kmem_variable_set("arena_limit", heap->arena.used_pages * PAGE + PAGE), 0);
	for (int f = 1; f < N_FLAGS; f++) {
		cookie = &cookie;
		assert_null(ddi_umem_alloc(64 * PAGE, all_flags[f], &cookie));
		assert_null(cookie);
	}
	assert_int_equal(cache->stat->failed, failed + 1);
	assert_int_equal(pthread_create(&waiting.thread, NULL, alloc_sleeping, &waiting), 0);
	while (!__atomic_load_n(&heap->arena_waiters, __ATOMIC_ACQUIRE))
		sched_yield();
	ddi_umem_free(held);
	pthread_join(waiting.thread, NULL);
	assert_non_null(waiting.p);
	assert_non_null(waiting.cookie);
	assert_int_equal(kmem_variable_set("arena_limit", 0), 0);
	ddi_umem_free(waiting.cookie);
	fault_log_expect_none();
}

static void send_fd(int to, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = {0};
	struct iovec iov = {&byte, 1};
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	struct cmsghdr *head = CMSG_FIRSTHDR(&message);

	head->cmsg_level = SOL_SOCKET;
	head->cmsg_type = SCM_RIGHTS;
	head->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(head), &fd, sizeof(fd));
	assert_int_equal(sendmsg(to, &message, 0), 1);
}

static int receive_fd(int from)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	struct iovec iov = {&byte, 1};
	struct msghdr message = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	int fd = -1;

	if (recvmsg(from, &message, 0) == 1 && CMSG_FIRSTHDR(&message))
		memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof(fd));
	return fd;
}

/* The second process: it was there before the buffer, and knows it by descriptor alone. */
static int other_process(int from)
{
	int fd = receive_fd(from);
	char *p = mmap(NULL, 2 * PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	char byte;

	if (p == MAP_FAILED || strcmp(p, "from the driver") != 0 || p[2 * PAGE - 1] != 7)
		return 1;
	say(p + PAGE, "from the application");
	if (write(from, "w", 1) != 1 || read(from, &byte, 1) != 1)
		return 2;
	if (strcmp(p, "later") != 0)
		return 3;
	/* The driver has freed it: the mapping keeps its memory. */
	if (write(from, "r", 1) != 1 || read(from, &byte, 1) != 1)
		return 4;
	return strcmp(p, "later") != 0 || ftruncate(fd, 0) == 0 ? 5 : 0;
}

static void a_second_process_maps_an_exported_buffer_and_sees_the_writes(void **state)
{
	struct ddi_umem_map map;
	ddi_umem_cookie_t cookie;
	int pair[2], status;
	char byte;
	pid_t pid;
	char *p;

	(void)state;
	assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
	pid = fork();
	if (pid == 0)
		_exit(other_process(pair[1]));
	p = ddi_umem_alloc(4097, DDI_UMEM_SLEEP, &cookie);
	say(p, "from the driver");
	p[2 * PAGE - 1] = 7;
	assert_int_equal(ddi_umem_export(cookie, PROT_READ | PROT_WRITE, &map), 0);
	assert_int_equal(map.bytes, 2 * PAGE);
	assert_int_equal(map.offset, 0);
	send_fd(pair[0], map.fd);
	close(map.fd);
	assert_int_equal(read(pair[0], &byte, 1), 1);
	assert_string_equal(p + PAGE, "from the application");
	say(p, "later");
	assert_int_equal(write(pair[0], "l", 1), 1);
	assert_int_equal(read(pair[0], &byte, 1), 1);
	ddi_umem_free(cookie);
	assert_int_equal(write(pair[0], "f", 1), 1);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	close(pair[0]);
	close(pair[1]);
	fault_log_expect_none();
}

static void an_export_for_reading_cannot_be_mapped_for_writing(void **state)
{
	struct ddi_umem_map map;
	ddi_umem_cookie_t cookie;
	void *p = ddi_umem_alloc(PAGE, DDI_UMEM_SLEEP, &cookie), *q;

	(void)state;
	memset(p, 9, PAGE);
	assert_int_equal(ddi_umem_export(cookie, PROT_READ, &map), 0);
	assert_ptr_equal(mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, map.fd, 0),
			 MAP_FAILED);
	q = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, map.fd, 0);
	assert_true(q != MAP_FAILED);
	assert_memory_equal(p, q, PAGE);
	munmap(q, PAGE);
	close(map.fd);
	assert_int_equal(ddi_umem_export(cookie, PROT_WRITE, &map), -EINVAL);
	assert_int_equal(ddi_umem_export(NULL, PROT_READ, &map), -EINVAL);
	fault_log_expect_none();
	ddi_umem_free(cookie);
	assert_int_equal(ddi_umem_export(cookie, PROT_READ, &map), -EINVAL);
	fault_log_expect(KMS_FAULT_USE_AFTER_FREE, p);
}

/* A program that sweeps up all descriptors takes ours with them: no other file is taken for it. */
static void a_descriptor_closed_by_the_program_is_not_taken_for_another(void **state)
{
	struct ddi_umem_map map;
	ddi_umem_cookie_t cookie;
	char *p = ddi_umem_alloc(PAGE, DDI_UMEM_SLEEP, &cookie);
	int number = ((struct kms_umem *)cookie)->shared.own.fd, fd;

	(void)state;
	fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	assert_int_equal(dup2(fd, number), number); /* closes it first */
	assert_int_equal(ddi_umem_export(cookie, PROT_READ, &map), -ENODEV);
	p[0] = 1;
	ddi_umem_free(cookie);
	assert_int_equal(fcntl(number, F_GETFD), 0); /* still open */
	close(number);
	close(fd);
	fault_log_expect_none();
}

static void without_descriptors_there_is_memory_but_no_export(void **state)
{
	struct rlimit before, limit;
	struct ddi_umem_map map;
	ddi_umem_cookie_t cookie;
	unsigned char *p;

	(void)state;
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	limit = before;
	limit.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
	p = ddi_umem_alloc(PAGE, DDI_UMEM_SLEEP, &cookie);
	assert_non_null(p);
	all_bytes_are_zero(p, PAGE);
	memset(p, 1, PAGE);
	assert_int_equal(ddi_umem_export(cookie, PROT_READ, &map), -ENODEV);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	ddi_umem_free(cookie);
	fault_log_expect_none();
}

static void buffers_are_rows_of_the_caches_and_counted(void **state)
{
	static const char *const names[] = {"ddi_umem", "ddi_umem_pageable"};
	const struct kms_cache_entry *entries = kms_section_base(kms_process_heap(), KMS_SEC_CACHE);
	struct kms_local *t = kms_tls;

	(void)state;
	for (int pageable = 0; pageable < 2; pageable++) {
		int flags = pageable ? DDI_UMEM_PAGEABLE : 0;
		ddi_umem_cookie_t cookie;
		struct kms_counter before;
		uint32_t cache;

		(void)ddi_umem_alloc(1, flags, &cookie);
		cache = ((struct kms_umem *)cookie)->span->cache;
		assert_string_equal(entries[cache].name, names[pageable]);
		before = t->counter[cache];
		ddi_umem_free(cookie);
		(void)ddi_umem_alloc(5000, flags, &cookie);
		assert_int_equal(t->counter[cache].allocs, before.allocs + 1);
		assert_int_equal(t->counter[cache].alloc_bytes, before.alloc_bytes + 2 * PAGE);
		ddi_umem_free(cookie);
		assert_int_equal(t->counter[cache].frees, before.frees + 2);
	}
}

static void many_buffers_come_and_go(void **state)
{
	ddi_umem_cookie_t cookie[MANY];
	unsigned char *p[MANY];

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < MANY; i++) {
			p[i] = ddi_umem_alloc((size_t)(1 + i % 7) * 1000, all_flags[i % N_FLAGS],
					      &cookie[i]);
			p[i][0] = (unsigned char)i;
		}
		for (int i = 0; i < MANY; i++) {
			assert_int_equal(p[i][0], (unsigned char)i);
			ddi_umem_free(cookie[i]);
		}
	}
	fault_log_expect_none();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_rounded_up_to_pages_and_zeroed),
		cmocka_unit_test(memory_is_zero_again_after_it_was_dirty),
		cmocka_unit_test(size_0_and_sizes_that_cannot_be_give_null_and_no_cookie),
		cmocka_unit_test(free_of_null_is_nothing),
		cmocka_unit_test(a_cookie_freed_twice_is_named_with_its_own_stacks),
		cmocka_unit_test(what_is_no_cookie_is_not_freed),
		cmocka_unit_test(unknown_flags_and_no_place_for_the_cookie_are_faults),
		cmocka_unit_test(writes_around_a_buffer_are_seen_at_its_free_and_by_verify),
		cmocka_unit_test(contexts_and_locks_are_checked),
		cmocka_unit_test(locked_memory_is_locked_and_pageable_is_not),
		cmocka_unit_test(what_the_limit_does_not_let_lock_is_counted),
		cmocka_unit_test(a_forked_child_shares_the_memory_and_frees_its_own_mapping),
		cmocka_unit_test(fail_nth_lets_a_nosleep_call_fail_without_a_cookie),
		cmocka_unit_test(an_exhausted_arena_fails_all_but_locked_memory_that_may_sleep),
		cmocka_unit_test(a_second_process_maps_an_exported_buffer_and_sees_the_writes),
		cmocka_unit_test(an_export_for_reading_cannot_be_mapped_for_writing),
		cmocka_unit_test(a_descriptor_closed_by_the_program_is_not_taken_for_another),
		cmocka_unit_test(without_descriptors_there_is_memory_but_no_export),
		cmocka_unit_test(buffers_are_rows_of_the_caches_and_counted),
		cmocka_unit_test(many_buffers_come_and_go),
	};

	return cmocka_run_group_tests(tests, fault_log_setup, NULL);
}
