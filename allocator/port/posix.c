/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The port to a Linux process. Only system calls and libc functions that neither allocate nor lock.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "allocator/port.h"

/* Under RLIMIT_AS the rest is for the program's own mappings, the region and the guard. */
static const size_t arena_bytes = (size_t)1 << 37;

enum {
	ARENA_PART = 2,
};

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_READ  22
#define MADV_POPULATE_WRITE 23
#endif

/* A library in front of malloc leaves errno as it found it. */
#define KEEP_ERRNO(statement)                                                                      \
	do {                                                                                       \
		int kept_errno = errno;                                                            \
		statement;                                                                         \
		errno = kept_errno;                                                                \
	} while (0)

static void *map(size_t bytes, int protection)
{
	void *p;

	KEEP_ERRNO(p = mmap(NULL, bytes, protection, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE,
			    -1, 0));
	return p == MAP_FAILED ? NULL : p;
}

void *kms_port_reserve(size_t bytes, size_t align)
{
	size_t slack = align > 4096 ? align : 0;
	uint8_t *p = map(bytes + slack, PROT_NONE);
	size_t skip;

	if (!p || !slack)
		return p;
	skip = (align - ((uintptr_t)p & (align - 1))) & (align - 1);
	KEEP_ERRNO({
		if (skip)
			munmap(p, skip);
		if (slack - skip)
			munmap(p + skip + bytes, slack - skip);
	});
	return p + skip;
}

size_t kms_port_arena_reserve_bytes(void)
{
	struct rlimit limit;
	size_t bytes = arena_bytes;

	KEEP_ERRNO({
		if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur / ARENA_PART < bytes)
			bytes = limit.rlim_cur / ARENA_PART;
	});
	return bytes;
}

void *kms_port_reserve_readable(size_t bytes)
{
	return map(bytes, PROT_READ);
}

int kms_port_open(void *start, size_t bytes)
{
	/* The tables' last page may be shared with the next step. */
	uintptr_t first = (uintptr_t)start & ~(uintptr_t)4095;
	uintptr_t end = ((uintptr_t)start + bytes + 4095) & ~(uintptr_t)4095;
	int result;

	KEEP_ERRNO(result = mprotect((void *)first, end - first, PROT_READ | PROT_WRITE) ? -errno
											 : 0);
	return result;
}

void kms_port_advise_huge(void *start, size_t bytes)
{
	KEEP_ERRNO((void)madvise(start, bytes, MADV_HUGEPAGE));
}

void kms_port_discard(void *start, size_t bytes)
{
	KEEP_ERRNO({
		if (madvise(start, bytes, MADV_DONTNEED))
			memset(start, 0, bytes); /* locked pages (mlockall) stay */
	});
}

void *kms_port_meta(size_t bytes)
{
	return map(bytes, PROT_READ | PROT_WRITE);
}

int kms_port_populate(void *start, size_t bytes)
{
	int result = 0;

	KEEP_ERRNO({
		int failed = madvise(start, bytes, MADV_POPULATE_WRITE);

		/* what only the tracer writes */
		if (failed && errno == EINVAL)
			failed = madvise(start, bytes, MADV_POPULATE_READ);
		/* Kernels before 5.14 know neither: then the first store decides. */
		if (failed && errno != EINVAL)
			result = -errno;
	});
	return result;
}

uint64_t kms_port_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

static long futex(const uint32_t *word, int op, uint32_t value, const struct timespec *timeout)
{
	long result;

	KEEP_ERRNO(result = syscall(SYS_futex, word, op, value, timeout, NULL, 0));
	return result;
}

enum {
	LOCK_FREE = 0,
	LOCK_HELD = 1,
	LOCK_AWAITED = 2,
	LOCK_SPINS = 100,
};

void kms_port_lock(uint32_t *word)
{
	uint32_t expected = LOCK_FREE;

	if (__atomic_compare_exchange_n(word, &expected, LOCK_HELD, false, __ATOMIC_ACQUIRE,
					__ATOMIC_RELAXED))
		return;
	for (int i = 0; i < LOCK_SPINS; i++) {
		expected = LOCK_FREE;
		if (__atomic_load_n(word, __ATOMIC_RELAXED) == LOCK_FREE &&
		    __atomic_compare_exchange_n(word, &expected, LOCK_HELD, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
			return;
		__builtin_ia32_pause();
	}
	while (__atomic_exchange_n(word, LOCK_AWAITED, __ATOMIC_ACQUIRE) != LOCK_FREE)
		futex(word, FUTEX_WAIT_PRIVATE, LOCK_AWAITED, NULL);
}

/* NOLINTNEXTLINE(readability-non-const-parameter): an atomic operation writes there */
bool kms_port_trylock(uint32_t *word)
{
	uint32_t expected = LOCK_FREE;

	return __atomic_compare_exchange_n(word, &expected, LOCK_HELD, false, __ATOMIC_ACQUIRE,
					   __ATOMIC_RELAXED);
}

void kms_port_unlock(uint32_t *word)
{
	if (__atomic_exchange_n(word, LOCK_FREE, __ATOMIC_RELEASE) == LOCK_AWAITED)
		futex(word, FUTEX_WAKE_PRIVATE, 1, NULL);
}

void kms_port_wait(const uint32_t *word, uint32_t expected, uint64_t timeout_ns)
{
	const struct timespec timeout = {(time_t)(timeout_ns / 1000000000u),
					 (long)(timeout_ns % 1000000000u)};

	/* Shared: the tracer wakes from another process. */
	futex(word, FUTEX_WAIT, expected, &timeout);
}

void kms_port_wake(uint32_t *word)
{
	futex(word, FUTEX_WAKE, INT32_MAX, NULL);
}

uint32_t kms_port_tid(void)
{
	return (uint32_t)syscall(SYS_gettid);
}

uint32_t kms_port_pid(void)
{
	return (uint32_t)getpid();
}

/* The kernel's own structure; libc's handlers of these calls may be the program's. */
struct kernel_action {
	void *handler;
	unsigned long flags;
	void *restorer;
	uint64_t mask;
};

/* Whether a signal does what it does in every program: ends it. */
static bool is_default(int sig)
{
	struct kernel_action action = {0};

	return syscall(SYS_rt_sigaction, sig, NULL, &action, sizeof(action.mask)) == 0 &&
	       action.handler == (void *)SIG_DFL;
}

void kms_port_signals_hold(uint64_t *saved)
{
	static const int deadly[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM};
	uint64_t held = ~(UINT64_C(1) << (SIGSEGV - 1) | UINT64_C(1) << (SIGBUS - 1));

	KEEP_ERRNO({
		for (unsigned i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++) {
			if (is_default(deadly[i]))
				held &= ~(UINT64_C(1) << (deadly[i] - 1));
		}
		syscall(SYS_rt_sigprocmask, SIG_BLOCK, &held, saved, sizeof(held));
	});
}

void kms_port_signals_release(const uint64_t *saved)
{
	KEEP_ERRNO(syscall(SYS_rt_sigprocmask, SIG_SETMASK, saved, NULL, sizeof(*saved)));
}

void kms_port_allow_tracer(uint32_t pid)
{
	/* of Yama; a kernel without it says EINVAL */
	KEEP_ERRNO(prctl(PR_SET_PTRACER, (unsigned long)pid, 0, 0, 0));
}

bool kms_port_hold_others(void)
{
	return false; /* threads are held from outside */
}

void kms_port_release_others(void)
{
}

void kms_port_thread_name(char name[16])
{
	KEEP_ERRNO(prctl(PR_GET_NAME, name));
}

bool kms_port_alive(uint32_t tid)
{
	bool alive;

	KEEP_ERRNO(alive = syscall(SYS_kill, tid, 0) == 0 || errno != ESRCH);
	return alive;
}

bool kms_port_process_alive(uint32_t pid)
{
	return kms_port_alive(pid);
}

void kms_port_print(const char *text)
{
	size_t length = strlen(text), done = 0;

	KEEP_ERRNO(while (done < length) {
		ssize_t n = write(STDERR_FILENO, text + done, length - done);

		if (n <= 0 && errno != EINTR)
			break;
		if (n > 0)
			done += (size_t)n;
	});
}

_Noreturn void kms_port_panic(const char *text)
{
	kms_port_print("panic: ");
	kms_port_print(text);
	kms_port_print("\n");
	abort();
}
