/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Back end 1: userfaultfd in SIGBUS mode. The reservation is registered for missing pages: one that
 * is not there gives SIGBUS instead of a fresh zero page. Opening a page is UFFDIO_COPY of zeros
 * (no page fault afterwards), closing it MADV_DONTNEED. No map entries.
 *
 * The registration lives as long as the descriptor, and belongs to one address space: a forked child
 * must register again. The program does not know the descriptor; preload/fds.c keeps it from closing
 * it by sweeps. If it is gone all the same (raw system calls), the next use makes a new one.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "allocator/port.h"
#include "allocator/port/guard_posix.h"
#include "allocator/preload/signals.h"
#include "schema/region.h"

#ifndef UFFD_USER_MODE_ONLY
#define UFFD_USER_MODE_ONLY 1
#endif

enum {
	COPY_BYTES = 64 << 10, /* above: the shared zero page, which costs faults but no memory */
	FD_BELOW = 4096,       /* a table of descriptors that reaches to the limit may be large */
	FD_ROOM = 24,
	FD_LEAST = 32, /* fewer descriptors: none of them is for us */
};

/* One per process, like the descriptor table. */
static struct {
	int fd; /* atomic; -1 none */
	uint32_t lock;
	uintptr_t start, end; /* registered */
} uffd = {.fd = -1};

/* Never written: the kernel copies from its zero page. */
static const char zeros[COPY_BYTES] __attribute__((aligned(4096)));

int kms_guard_fd(void)
{
	return __atomic_load_n(&uffd.fd, __ATOMIC_ACQUIRE);
}

/* A number that programs do not stumble over. */
static int move_high(int fd)
{
	struct rlimit limit;
	rlim_t high;
	int moved;

	if (getrlimit(RLIMIT_NOFILE, &limit) || limit.rlim_cur < FD_LEAST)
		return -EMFILE;
	high = limit.rlim_cur < FD_BELOW ? limit.rlim_cur : FD_BELOW;
	moved = fcntl(fd, F_DUPFD_CLOEXEC, (int)(high - FD_ROOM));
	return moved < 0 ? -errno : moved;
}

static int fd_create(void)
{
	struct uffdio_api api = {.api = UFFD_API, .features = UFFD_FEATURE_SIGBUS};
	int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC | UFFD_USER_MODE_ONLY);
	int moved;

	/* Before 5.11 the flag does not exist; the kernel may still let us. */
	if (fd < 0 && errno == EINVAL)
		fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
	if (fd < 0)
		return -errno;
	if (ioctl(fd, UFFDIO_API, &api) || !(api.features & UFFD_FEATURE_SIGBUS))
		moved = -ENOTSUP;
	else
		moved = move_high(fd);
	syscall(SYS_close, fd);
	return moved;
}

static int fd_register(int fd, uintptr_t start, size_t bytes)
{
	struct uffdio_register reg = {
		.range = {start, bytes},
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};

	return ioctl(fd, UFFDIO_REGISTER, &reg) ? -errno : 0;
}

/* A new descriptor for all that was registered. */
static int renew(void)
{
	int fd = fd_create(), result;

	if (fd < 0)
		return fd;
	result = uffd.end > uffd.start ? fd_register(fd, uffd.start, uffd.end - uffd.start) : 0;
	if (result < 0) {
		syscall(SYS_close, fd);
		return result;
	}
	__atomic_store_n(&uffd.fd, fd, __ATOMIC_RELEASE);
	return 0;
}

static int uffd_start(void)
{
	int saved_errno = errno;
	int result = renew();

	errno = saved_errno;
	return result < 0 ? result : kms_signals_start();
}

static int uffd_extend(void *start, size_t bytes)
{
	int saved_errno = errno;
	int result = kms_guard_map_in(start, bytes);

	if (result < 0)
		return result;
	result = fd_register(kms_guard_fd(), (uintptr_t)start, bytes);
	if (result < 0) {
		(void)mprotect(start, bytes, PROT_NONE);
	} else {
		if (!uffd.start)
			uffd.start = (uintptr_t)start;
		uffd.end = (uintptr_t)start + bytes;
	}
	errno = saved_errno;
	return result;
}

/* The descriptor that failed was closed behind our back, or is somebody else's file now. */
static int recover(int failed)
{
	int result = 0;

	kms_port_lock(&uffd.lock);
	if (kms_guard_fd() == failed)
		result = renew();
	kms_port_unlock(&uffd.lock);
	return result;
}

/* Fills up to @bytes from @start. Returns the bytes filled or a negative error. */
static int64_t fill(int fd, uintptr_t start, size_t bytes)
{
	struct uffdio_copy copy = {.dst = start, .src = (uintptr_t)zeros, .len = bytes};
	struct uffdio_zeropage zero = {
		.range = {start, bytes}
        };
	int64_t done;

	if (bytes <= COPY_BYTES) {
		if (ioctl(fd, UFFDIO_COPY, &copy) == 0)
			return (int64_t)bytes;
		done = copy.copy;
	} else {
		if (ioctl(fd, UFFDIO_ZEROPAGE, &zero) == 0)
			return (int64_t)bytes;
		done = zero.zeropage;
	}
	/* EAGAIN: interrupted after so many bytes. */
	return errno == EAGAIN ? (done > 0 ? done : 0) : -errno;
}

static bool fd_is_gone(int64_t error)
{
	return error == -EBADF || error == -ENOTTY || error == -EINVAL || error == -EPERM;
}

static int open_pages(uintptr_t start, size_t bytes)
{
	bool recovered = false, closed = false;

	while (bytes) {
		int fd = kms_guard_fd();
		int64_t done = fill(fd, start, bytes);

		if (done == -EEXIST) {
			done = KMS_PAGE_BYTES; /* this page is there */
		} else if (fd_is_gone(done) && !recovered) {
			int result = recover(fd);

			if (result < 0)
				return result;
			recovered = true;
			continue;
		} else if (done < 0) {
			return (int)done;
		} else {
			closed |= done > 0;
		}
		start += (uintptr_t)done;
		bytes -= (size_t)done;
	}
	return closed ? KMS_GUARD_WAS_CLOSED : 0;
}

static int uffd_close(void *start, size_t bytes)
{
	return kms_guard_advise(start, bytes, MADV_DONTNEED);
}

static int uffd_open(void *start, size_t bytes)
{
	int saved_errno = errno;
	int result;

	kms_signals_thread();
	result = open_pages((uintptr_t)start, bytes);
	if (result < 0)
		(void)uffd_close(start, bytes);
	errno = saved_errno;
	return result;
}

static int uffd_after_fork(void *start, size_t bytes)
{
	int saved_errno = errno;
	int old = kms_guard_fd(), result;

	(void)start, (void)bytes;
	kms_signals_after_fork();
	uffd.lock = 0;
	__atomic_store_n(&uffd.fd, -1, __ATOMIC_RELEASE);
	/* The parent's: what is done to it is done to the parent's memory. */
	if (old >= 0)
		syscall(SYS_close, old);
	result = renew();
	errno = saved_errno;
	return result;
}

void kms_guard_fd_vacate(int fd)
{
	int saved_errno = errno;
	int moved;

	kms_port_lock(&uffd.lock);
	if (fd >= 0 && kms_guard_fd() == fd) {
		moved = fcntl(fd, F_DUPFD_CLOEXEC, fd + 1);
		if (moved < 0)
			moved = move_high(fd);
		/* Else the number is lost with the registration; recover finds out. */
		if (moved >= 0) {
			__atomic_store_n(&uffd.fd, moved, __ATOMIC_RELEASE);
			syscall(SYS_close, fd);
		}
	}
	kms_port_unlock(&uffd.lock);
	errno = saved_errno;
}

const struct kms_guard_ops kms_guard_uffd_ops = {
	.id = KMS_GUARD_UFFD,
	.missing_traps = true,
	.step_bytes = 64 << 20,
	.start = uffd_start,
	.extend = uffd_extend,
	.open = uffd_open,
	.close = uffd_close,
	.after_fork = uffd_after_fork,
	.maps = kms_guard_count_maps,
};
