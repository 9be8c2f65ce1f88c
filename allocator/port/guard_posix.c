/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The guard in a process: the list of back ends, the limits of the process, and the two back ends
 * that are a few lines each. userfaultfd is in guard_uffd.c.
 *
 * Everything here runs inside of malloc: system calls only, no cancellation points, errno kept.
 */
#include "allocator/port/guard_posix.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "allocator/port.h"
#include "allocator/preload/signals.h"
#include "schema/region.h"

#ifndef MADV_GUARD_INSTALL
#define MADV_GUARD_INSTALL 102 /* Linux 6.13 */
#define MADV_GUARD_REMOVE  103
#endif

#define RESERVE_BYTES ((size_t)256 << 30)

enum {
	RESERVE_PART = 8, /* of a limited address space */
	ADVISE_TRIES = 100,
	MAPS_PER_BLOCK = 2, /* an open run of pages splits a closed one */
	MAPS_MARGIN = 8,    /* part of vm.max_map_count that is the program's alone */
	MAPS_LOOK = 1024,   /* entries of ours between looks at the program's */
	READ_BYTES = 4096,
};

const struct kms_guard_ops *kms_port_guard_backend(unsigned index)
{
	/* By measured speed; guard.md has the figures. */
	static const struct kms_guard_ops *const backends[] = {
		&kms_guard_uffd_ops,
		&kms_guard_marker_ops,
		&kms_guard_mprotect_ops,
	};

	return index < sizeof(backends) / sizeof(backends[0]) ? backends[index] : NULL;
}

int kms_port_catch_traps(void)
{
	int result = kms_signals_start();

	kms_signals_thread();
	return result;
}

size_t kms_port_guard_reserve_bytes(void)
{
	int saved_errno = errno;
	struct rlimit limit;
	size_t bytes = RESERVE_BYTES;

	if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
	    limit.rlim_cur / RESERVE_PART < bytes)
		bytes = limit.rlim_cur / RESERVE_PART;
	errno = saved_errno;
	return bytes;
}

static int advise_again(void *start, size_t bytes, int advice)
{
	for (unsigned i = 0; i < ADVISE_TRIES; i++) {
		if (madvise(start, bytes, advice) == 0)
			return 0;
		if (errno != EAGAIN && errno != EINTR)
			break;
	}
	return -errno;
}

int kms_guard_advise(void *start, size_t bytes, int advice)
{
	int saved_errno = errno;
	int result = advise_again(start, bytes, advice);

	/* The program has locked all its memory; that of freed blocks is not worth it. */
	if (result == -EINVAL && munlock(start, bytes) == 0)
		result = advise_again(start, bytes, advice);
	errno = saved_errno;
	return result;
}

int kms_guard_map_in(void *start, size_t bytes)
{
	int saved_errno = errno;
	int result = 0;

	/* Before it becomes writable: with mlockall(MCL_FUTURE) it would be filled. */
	(void)munlock(start, bytes);
	if (mprotect(start, bytes, PROT_READ | PROT_WRITE))
		result = -errno;
	else
		(void)madvise(start, bytes, MADV_NOHUGEPAGE);
	errno = saved_errno;
	return result;
}

/* Line feeds in a file of /proc; its first number if that is asked for. */
static uint64_t proc_read(const char *path, uint64_t *number)
{
	int fd = (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC);
	char buffer[READ_BYTES];
	uint64_t lines = 0;
	long n;

	if (fd < 0)
		return 0;
	while ((n = syscall(SYS_read, fd, buffer, sizeof(buffer))) > 0) {
		for (long i = 0; i < n; i++) {
			if (number && buffer[i] >= '0' && buffer[i] <= '9')
				*number = *number * 10 + (uint64_t)(buffer[i] - '0');
			lines += buffer[i] == '\n';
		}
	}
	syscall(SYS_close, fd);
	return lines;
}

void kms_guard_count_maps(uint64_t *used, uint64_t *max)
{
	int saved_errno = errno;

	*max = 0;
	(void)proc_read("/proc/sys/vm/max_map_count", max);
	*used = proc_read("/proc/self/maps", NULL);
	errno = saved_errno;
}

/* Back end 2: markers in the page tables (MADV_GUARD_INSTALL). No map entries; inherited by fork. */

static int marker_start(void)
{
	int saved_errno = errno;
	void *page = mmap(NULL, KMS_PAGE_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			  -1, 0);
	int result = -ENOMEM;

	if (page != MAP_FAILED) {
		(void)munlock(page, KMS_PAGE_BYTES);
		result = madvise(page, KMS_PAGE_BYTES, MADV_GUARD_INSTALL) ? -errno : 0;
		munmap(page, KMS_PAGE_BYTES);
	}
	errno = saved_errno;
	return result ? result : kms_signals_start();
}

static int marker_extend(void *start, size_t bytes)
{
	int result = kms_guard_map_in(start, bytes);

	if (result < 0)
		return result;
	return kms_guard_advise(start, bytes, MADV_GUARD_INSTALL);
}

static int marker_open(void *start, size_t bytes)
{
	kms_signals_thread();
	return kms_guard_advise(start, bytes, MADV_GUARD_REMOVE);
}

static int marker_close(void *start, size_t bytes)
{
	return kms_guard_advise(start, bytes, MADV_GUARD_INSTALL);
}

static int marker_after_fork(void *start, size_t bytes)
{
	(void)start, (void)bytes;
	kms_signals_after_fork();
	return 0;
}

const struct kms_guard_ops kms_guard_marker_ops = {
	.id = KMS_GUARD_MARKER,
	.step_bytes = 2 << 20, /* each marker is work, at first and at each fork */
	.start = marker_start,
	.extend = marker_extend,
	.open = marker_open,
	.close = marker_close,
	.after_fork = marker_after_fork,
	.maps = kms_guard_count_maps,
};

/*
 * Back end 3: mprotect. Each open block costs map entries, of which a process has few; so they are
 * a budget that leaves the program its part.
 */

static struct {
	uint64_t max;
	uint64_t others;    /* entries of the program at the last look */
	uint64_t own;       /* atomic */
	uint64_t look_next; /* value of own at which to look again */
} maps;

static void maps_look(void)
{
	uint64_t used, own = __atomic_load_n(&maps.own, __ATOMIC_RELAXED);

	kms_guard_count_maps(&used, &maps.max);
	maps.others = used > own ? used - own : 0;
	__atomic_store_n(&maps.look_next, own + MAPS_LOOK, __ATOMIC_RELAXED);
}

static bool maps_take(void)
{
	uint64_t own = __atomic_add_fetch(&maps.own, MAPS_PER_BLOCK, __ATOMIC_RELAXED);

	if (own >= __atomic_load_n(&maps.look_next, __ATOMIC_RELAXED))
		maps_look();
	if (own + maps.others + maps.max / MAPS_MARGIN <= maps.max)
		return true;
	__atomic_sub_fetch(&maps.own, MAPS_PER_BLOCK, __ATOMIC_RELAXED);
	return false;
}

static void maps_give(void)
{
	uint64_t own = __atomic_load_n(&maps.own, __ATOMIC_RELAXED);

	while (own >= MAPS_PER_BLOCK &&
	       !__atomic_compare_exchange_n(&maps.own, &own, own - MAPS_PER_BLOCK, true,
					    __ATOMIC_RELAXED, __ATOMIC_RELAXED))
		;
}

static int mprotect_start(void)
{
	maps_look();
	return kms_signals_start();
}

static int protect(void *start, size_t bytes, int protection)
{
	int saved_errno = errno;
	int result = mprotect(start, bytes, protection) ? -errno : 0;

	errno = saved_errno;
	/* Also the answer of RLIMIT_DATA and of a system that promises no more than it has. */
	if (result == -ENOMEM &&
	    maps.others + __atomic_load_n(&maps.own, __ATOMIC_RELAXED) > maps.max / 2)
		result = KMS_GUARD_NO_MAPS;
	return result;
}

/*
 * The kernel joins neighbours only if their pages have one history: so the whole part gets it, by a
 * write, while it is in one piece. Else each closed slot would stay a map entry for ever.
 */
static int mprotect_extend(void *start, size_t bytes)
{
	int result = kms_guard_map_in(start, bytes);

	if (result < 0)
		return result;
	*(volatile char *)start = 0;
	(void)kms_guard_advise(start, KMS_PAGE_BYTES, MADV_DONTNEED);
	return protect(start, bytes, PROT_NONE);
}

static int mprotect_open(void *start, size_t bytes)
{
	int result;

	kms_signals_thread();
	if (!maps_take())
		return KMS_GUARD_NO_MAPS;
	result = protect(start, bytes, PROT_READ | PROT_WRITE);
	if (result < 0)
		maps_give();
	return result;
}

static int mprotect_close(void *start, size_t bytes)
{
	int result = kms_guard_advise(start, bytes, MADV_DONTNEED);

	if (result < 0)
		return result;
	maps_give();
	return protect(start, bytes, PROT_NONE);
}

static void mprotect_maps(uint64_t *used, uint64_t *max)
{
	/* Counting tens of thousands of entries takes milliseconds: what the budget knows will do. */
	*used = maps.others + __atomic_load_n(&maps.own, __ATOMIC_RELAXED);
	*max = maps.max;
}

const struct kms_guard_ops kms_guard_mprotect_ops = {
	.id = KMS_GUARD_MPROTECT,
	.step_bytes = 64 << 20,
	.start = mprotect_start,
	.extend = mprotect_extend,
	.open = mprotect_open,
	.close = mprotect_close,
	.after_fork = marker_after_fork,
	.maps = mprotect_maps,
};
