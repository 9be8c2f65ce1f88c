/* SPDX-License-Identifier: BSD-2-Clause */
/* The guard across fork, vfork and exec, under sweeps of descriptors, and at the limits of a process. */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "allocator/port/guard_posix.h"
#include "allocator/test/guard_cases.h"
#include "allocator/test/guard_support.h"
#include "tests/support/kt.h"

enum {
	FORKS = 30,
	MANY_BLOCKS = 40000,
	HIGH_FD = 900,
	SOME_MAPS = 600, /* most of them made by use_maps */
};

extern char **environ;

/* Waits for a child that must end well. */
static void expect_good_end(pid_t pid)
{
	int status;

	KT_CHECK(pid > 0, "%s", strerror(errno));
	KT_CHECK(waitpid(pid, &status, 0) == pid, "%s", strerror(errno));
	KT_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0, "wait status %#x",
		 (unsigned)status);
}

static void limit(__rlimit_resource_t what, rlim_t value)
{
	const struct rlimit both = {value, value};

	KT_CHECK(setrlimit(what, &both) == 0, "%s", strerror(errno));
}

/* In a forked child of a process with these blocks and so many in its FIFO. */
static _Noreturn void inheriting_child(unsigned char *freed, unsigned char *live, uint64_t used,
				       int fd)
{
	pid_t pid;

	KT_CHECK(guard_figures()->used == used, "the FIFO is not inherited");
	KT_CHECK(kms_guard_fd() == fd && (fd < 0 || fcntl(fd + 1, F_GETFD) == -1),
		 "the parent's descriptor is still open");
	KT_CHECK(live[99] == 7, "live block");
	guard_write(freed + 1, 1);
	KT_CHECK(guard_last_fault() && guard_last_fault()->address == (uintptr_t)freed + 1,
		 "the parent's freed block is open in the child");
	kmem_free(live, 100);
	(void)guard_read(live);
	KT_CHECK(guard_last_fault()->address == (uintptr_t)live, "its own free");
	guard_case_expect_caught();
	pid = fork();
	if (pid == 0)
		guard_case_expect_caught();
	else
		expect_good_end(pid);
	exit(0);
}

static int a_child_is_guarded_too(void *arg)
{
	unsigned char *freed, *live;
	uint64_t used;
	pid_t pid;
	int fd;

	(void)arg;
	guard_case_begin();
	fd = kms_guard_fd();
	freed = kmem_alloc(100, KM_SLEEP);
	live = kmem_alloc(100, KM_SLEEP);
	memset(live, 7, 100);
	kmem_free(freed, 100);
	used = guard_figures()->used;
	pid = fork();
	if (pid == 0)
		inheriting_child(freed, live, used, fd);
	expect_good_end(pid);
	KT_CHECK(guard_faults() == 0 && guard_figures()->used == used && live[0] == 7,
		 "the child changed its parent");
	(void)guard_read(freed);
	KT_CHECK(guard_faults() == 1, "the parent's block is open after the fork");
	guard_case_expect_caught();
	return 0;
}

static volatile bool stop_churn;

static void *churn(void *arg)
{
	(void)arg;
	while (!stop_churn) {
		unsigned char *p = kmem_alloc(300, KM_SLEEP);

		memset(p, 1, 300);
		kmem_free(p, 300);
	}
	return NULL;
}

static int threads_may_run_while_it_forks(void *arg)
{
	pthread_t thread[2];

	(void)arg;
	guard_case_begin();
	for (int i = 0; i < 2; i++)
		KT_CHECK(pthread_create(&thread[i], NULL, churn, NULL) == 0, "thread");
	for (int i = 0; i < FORKS; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			guard_case_expect_caught();
			guard_flush(GUARD_CASE_DEPTH);
			_exit(0);
		}
		expect_good_end(pid);
	}
	stop_churn = true;
	for (int i = 0; i < 2; i++)
		pthread_join(thread[i], NULL);
	KT_CHECK(guard_faults() == 0, "%d findings", (int)guard_faults());
	return 0;
}

/* A fork that runs no handlers: the child finds out at its first call. */
static int a_raw_fork_is_found_out(void *arg)
{
	unsigned char *p;
	pid_t pid;

	(void)arg;
	guard_case_begin();
	p = kmem_alloc(100, KM_SLEEP);
	kmem_free(p, 100);
	pid = (pid_t)syscall(SYS_fork);
	if (pid == 0) {
		guard_case_expect_caught();
		(void)guard_read(p);
		KT_CHECK(guard_last_fault()->address == (uintptr_t)p, "not closed again");
		_exit(0);
	}
	expect_good_end(pid);
	guard_case_expect_caught();
	return 0;
}

/* In a forked child that cannot have a descriptor of its own: it has no guard, and says so. */
static _Noreturn void plain_child(unsigned char *live)
{
	bool off = guard_backend == KMS_GUARD_UFFD;
	void *p = kmem_alloc(100, KM_SLEEP);

	KT_CHECK(guard_owns(p) == !off, "guarded");
	KT_CHECK(guard_figures()->depth == (off ? 0 : GUARD_CASE_DEPTH), "depth");
	KT_CHECK(!off || guard_figures()->limited_by == KMS_LIMITED_MEMORY, "not said");
	KT_CHECK(live[99] == 7, "live block");
	kmem_free(live, 100);
	kmem_free(p, 100);
	guard_flush(GUARD_CASE_DEPTH);
	KT_CHECK(guard_faults() == 0, "%d findings", (int)guard_faults());
	exit(0);
}

static int a_child_that_cannot_start_again_is_plain(void *arg)
{
	unsigned char *live;
	pid_t pid;

	(void)arg;
	guard_case_begin();
	live = kmem_alloc(100, KM_SLEEP);
	memset(live, 7, 100);
	limit(RLIMIT_NOFILE, 16);
	pid = fork();
	if (pid == 0)
		plain_child(live);
	expect_good_end(pid);
	guard_case_expect_caught();
	return 0;
}

static int other_programs_can_be_started(void *arg)
{
	char *const words[] = {"true", NULL};
	pid_t pid;

	(void)arg;
	guard_case_begin();
	KT_CHECK(posix_spawn(&pid, "/bin/true", NULL, NULL, words, environ) == 0, "spawn");
	expect_good_end(pid);
	pid = vfork();
	if (pid == 0) {
		execv("/bin/true", words);
		_exit(1);
	}
	expect_good_end(pid);
	KT_CHECK(system("true") == 0, "system");
	guard_case_expect_caught();
	return 0;
}

static int sweeps_of_descriptors_spare_ours(void *arg)
{
	int ours;

	(void)arg;
	guard_case_begin();
	ours = kms_guard_fd();
	for (int fd = 3; fd < 5000; fd++)
		(void)close(fd);
	guard_case_expect_caught();
	KT_CHECK(close_range(3, UINT_MAX, 0) == 0, "%s", strerror(errno));
	guard_case_expect_caught();
	closefrom(3);
	guard_case_expect_caught();
	KT_CHECK(kms_guard_fd() == ours, "it was moved");
	return 0;
}

static int our_descriptor_is_none_of_the_programs(void *arg)
{
	int ours;

	(void)arg;
	guard_case_begin();
	ours = kms_guard_fd();
	if (ours < 0)
		return 0; /* this back end needs none */
	KT_CHECK(ours >= HIGH_FD, "a low number: %d", ours);
	KT_CHECK(fcntl(ours, F_GETFD) == FD_CLOEXEC, "not closed by exec");
	KT_CHECK(close(ours) == -1 && errno == EBADF, "close");
	KT_CHECK(dup2(ours, 5) == -1 && errno == EBADF, "dup2");
	KT_CHECK(close_range((unsigned)ours, (unsigned)ours, 0) == 0, "close_range");
	guard_case_expect_caught();
	return 0;
}

static int its_number_is_given_up_to_the_program(void *arg)
{
	int ours, other = open("/dev/null", O_RDONLY);

	(void)arg;
	guard_case_begin();
	ours = kms_guard_fd();
	if (ours < 0)
		return 0; /* this back end needs none */
	KT_CHECK(dup2(other, ours) == ours, "%s", strerror(errno));
	KT_CHECK(kms_guard_fd() != ours && kms_guard_fd() >= 0, "not moved");
	guard_case_expect_caught();
	ours = kms_guard_fd();
	KT_CHECK(dup3(other, ours, O_CLOEXEC) == ours, "%s", strerror(errno));
	KT_CHECK(kms_guard_fd() != ours && kms_guard_fd() >= 0, "not moved");
	guard_case_expect_caught();
	return 0;
}

/* Raw system calls go past us: the guard starts again, whatever the number has become. */
static int a_descriptor_lost_is_replaced(void *arg)
{
	unsigned char *p;
	int ours;

	(void)arg;
	guard_case_begin();
	p = kmem_alloc(100, KM_SLEEP);
	kmem_free(p, 100);
	syscall(SYS_close_range, 3, UINT_MAX, 0);
	guard_case_expect_caught();
	(void)guard_read(p);
	KT_CHECK(guard_last_fault()->address == (uintptr_t)p, "not closed again");
	ours = kms_guard_fd();
	if (ours >= 0) {
		KT_CHECK(syscall(SYS_dup2, STDERR_FILENO, ours) == ours, "%s", strerror(errno));
		guard_case_expect_caught();
		KT_CHECK(fcntl(ours, F_GETFD) >= 0, "the program's descriptor was closed");
	}
	return 0;
}

static int few_descriptors_leave_another_back_end(void *arg)
{
	(void)arg;
	limit(RLIMIT_NOFILE, 16);
	guard_set("kmem_panic", 0);
	guard_set("kmem_guard_backend", guard_backend);
	guard_set("kmem_guard_depth", GUARD_CASE_DEPTH);
	KT_CHECK(guard_figures()->backend != KMS_GUARD_UFFD, "userfaultfd all the same");
	KT_CHECK(kms_guard_fd() == -1, "a descriptor");
	guard_case_expect_caught();
	return 0;
}

/* Memory runs short: guarded or not, blocks are there as long as there is memory at all. */
static int little_address_space_is_survived(void *arg)
{
	void *block[64];

	(void)arg;
	limit(RLIMIT_AS, (rlim_t)1 << 30);
	guard_case_begin();
	guard_case_expect_caught();
	for (int i = 0; i < 64; i++) {
		block[i] = kmem_alloc(1 << 20, KM_NOSLEEP);
		KT_CHECK(block[i], "block %d", i);
		memset(block[i], 1, 1 << 20);
	}
	for (int i = 0; i < 64; i++)
		kmem_free(block[i], 1 << 20);
	KT_CHECK(kms_process_heap()->region->guard_bytes <= (uint64_t)1 << 27, "too much reserved");
	guard_case_expect_caught();
	return 0;
}

static int a_limit_of_data_is_told(void *arg)
{
	unsigned guarded = 0, got = 0;
	void *p;

	(void)arg;
	guard_case_begin();
	guard_case_expect_caught();
	limit(RLIMIT_DATA, (rlim_t)600 << 20);
	for (int i = 0; i < 2000; i++) {
		p = kmem_alloc(1 << 20, KM_NOSLEEP);
		got += p != NULL;
		guarded += p && guard_owns(p);
	}
	KT_CHECK(guarded > 10 && guarded < 2000, "%u guarded", guarded);
	KT_CHECK(guard_figures()->unguarded > 0, "nothing counted");
	KT_CHECK(guard_figures()->limited_by == KMS_LIMITED_MEMORY, "limited by %u",
		 guard_figures()->limited_by);
	(void)got;
	return 0;
}

static int locked_memory_is_guarded(void *arg)
{
	unsigned char *p;

	(void)arg;
	if (geteuid() != 0)
		return 0; /* with RLIMIT_MEMLOCK there is no memory for any heap after this */
	KT_CHECK(mlockall(MCL_CURRENT | MCL_FUTURE) == 0, "%s", strerror(errno));
	guard_case_begin();
	guard_case_expect_caught();
	p = kmem_alloc(100, KM_SLEEP);
	KT_CHECK(mlockall(MCL_CURRENT | MCL_FUTURE) == 0, "%s", strerror(errno));
	kmem_free(p, 100);
	(void)guard_read(p);
	KT_CHECK(guard_last_fault()->address == (uintptr_t)p, "open after its free");
	guard_case_expect_caught();
	guard_flush(2 * GUARD_CASE_DEPTH);
	KT_CHECK(guard_figures()->unguarded == 0, "unguarded");
	return 0;
}

static void hold_many(void **block)
{
	for (int i = 0; i < MANY_BLOCKS; i++) {
		block[i] = kmem_alloc(GUARD_CASE_BYTES, KM_SLEEP);
		KT_CHECK(block[i], "block %d", i);
		memset(block[i], 1, GUARD_CASE_BYTES);
	}
}

/* What a program may want of its map entries. */
static void use_maps(void)
{
	const int bytes = 1 << 20;
	char *map = mmap(NULL, bytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	KT_CHECK(map != MAP_FAILED, "%s", strerror(errno));
	for (int i = 0; i < bytes; i += 2 * (int)GUARD_PAGE_BYTES)
		KT_CHECK(mprotect(map + i, GUARD_PAGE_BYTES, PROT_NONE) == 0, "%s",
			 strerror(errno));
}

static int map_entries_are_a_budget(void *arg)
{
	static void *block[MANY_BLOCKS];
	const struct kms_guard_stat *f;
	uint64_t before, after, max;

	(void)arg;
	guard_case_begin();
	f = guard_figures();
	kms_guard_count_maps(&before, &max);
	hold_many(block);
	if (guard_backend == KMS_GUARD_MPROTECT && f->maps_max < 2 * MANY_BLOCKS) {
		KT_CHECK(f->unguarded > 0 && f->live > MANY_BLOCKS / 10, "%d live", (int)f->live);
		KT_CHECK(f->limited_by == KMS_LIMITED_MAPS, "limited by %u", f->limited_by);
	} else {
		KT_CHECK(f->unguarded == 0 && f->live == MANY_BLOCKS, "%d live", (int)f->live);
	}
	use_maps();
	for (int i = 0; i < MANY_BLOCKS; i++)
		kmem_free(block[i], GUARD_CASE_BYTES);
	guard_case_expect_caught();
	kms_guard_count_maps(&after, &max);
	KT_CHECK(after < before + SOME_MAPS, "%d map entries for closed slots",
		 (int)(after - before));
	return 0;
}

static const struct guard_case cases[] = {
	{"a child is guarded too",                   a_child_is_guarded_too,                   0},
	{"threads may run while it forks",           threads_may_run_while_it_forks,           0},
	{"a raw fork is found out",                  a_raw_fork_is_found_out,                  0},
	{"a child that cannot start again is plain", a_child_that_cannot_start_again_is_plain, 0},
	{"other programs can be started",            other_programs_can_be_started,            0},
	{"sweeps of descriptors spare ours",         sweeps_of_descriptors_spare_ours,         0},
	{"our descriptor is none of the program's",  our_descriptor_is_none_of_the_programs,   0},
	{"its number is given up to the program",    its_number_is_given_up_to_the_program,    0},
	{"a descriptor lost is replaced",            a_descriptor_lost_is_replaced,            0},
	{"few descriptors leave another back end",   few_descriptors_leave_another_back_end,   0},
	{"little address space is survived",         little_address_space_is_survived,         0},
	{"a limit of data is told",                  a_limit_of_data_is_told,                  0},
	{"locked memory is guarded",                 locked_memory_is_guarded,                 0},
	{"map entries are a budget",                 map_entries_are_a_budget,                 0},
};

int main(int argc, char **argv)
{
	return guard_cases_run(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
