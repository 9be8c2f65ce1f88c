/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Functions that close descriptors, so that programs that sweep up all of them (daemons, launchers)
 * do not take the guard's with them: to them that number is not open.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "allocator/port/guard_posix.h"

#define EXPORT __attribute__((visibility("default")))

/* The names of libc's parameters are reserved ones.
 * NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */

/** libc's close with its cancellation point, under the name that nobody interposes. */
int kms_libc_close(int fd) __asm__("__close");

static bool is_ours(int fd)
{
	return fd >= 0 && fd == kms_guard_fd();
}

static int bad_fd(void)
{
	errno = EBADF;
	return -1;
}

EXPORT int close(int fd)
{
	return is_ours(fd) ? bad_fd() : kms_libc_close(fd);
}

EXPORT int dup2(int old, int fresh)
{
	if (is_ours(old))
		return bad_fd();
	if (is_ours(fresh))
		kms_guard_fd_vacate(fresh);
	return (int)syscall(SYS_dup2, old, fresh);
}

EXPORT int dup3(int old, int fresh, int flags)
{
	if (is_ours(old))
		return bad_fd();
	if (is_ours(fresh))
		kms_guard_fd_vacate(fresh);
	return (int)syscall(SYS_dup3, old, fresh, flags);
}

static int range(unsigned first, unsigned last, int flags)
{
	return (int)syscall(SYS_close_range, first, last, flags);
}

EXPORT int close_range(unsigned first, unsigned last, int flags)
{
	int ours = kms_guard_fd();
	unsigned number = (unsigned)ours;
	int result = 0;

	/* Ours is closed by exec anyway. */
	if (ours < 0 || number < first || number > last ||
	    ((unsigned)flags & CLOSE_RANGE_CLOEXEC) != 0)
		return range(first, last, flags);
	if (first < number)
		result = range(first, number - 1, flags);
	if (result == 0 && number < last)
		result = range(number + 1, last, flags);
	return result;
}

EXPORT void closefrom(int first)
{
	static void (*next)(int);

	if (first < 0)
		first = 0;
	if (close_range((unsigned)first, UINT_MAX, 0) == 0)
		return;
	/* A kernel without close_range. */
	if (!next)
		next = (void (*)(int))(uintptr_t)dlsym(RTLD_NEXT, "closefrom");
	if (next)
		next(first);
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
