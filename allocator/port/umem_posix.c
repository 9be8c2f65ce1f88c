/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory of ddi_umem in a process: a sealed memfd for each buffer, so that who maps one sees no
 * other, and nobody can make it shorter.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "allocator/port.h"
#include "schema/region.h"

enum {
	FD_MIN = 200, /* out of the way of programs that count on small numbers */
};

/*
 * The program may have closed our number and use it for something else: then it is not ours to
 * close or to hand out.
 */
static bool is_ours(const struct kms_shared *shared)
{
	struct stat now;

	return shared->fd >= 0 && fstat(shared->fd, &now) == 0 && now.st_dev == shared->device &&
	       now.st_ino == shared->inode;
}

static int close_fd(int fd)
{
	return (int)syscall(SYS_close, fd);
}

/* A descriptor of @bytes zeroed bytes, or a negative error. */
static int memory_file(size_t bytes)
{
	int fd = memfd_create("ddi_umem", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int high;

	if (fd < 0)
		return -errno;
	high = fcntl(fd, F_DUPFD_CLOEXEC, FD_MIN);
	if (high >= 0) {
		close_fd(fd);
		fd = high;
	}
	if (ftruncate(fd, (off_t)bytes) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)) {
		int error = errno;

		close_fd(fd);
		return -error;
	}
	return fd;
}

/* Lays a mapping over what is there; fd -1: private zeroed memory, as the arena's was made. */
static int map_over(void *start, size_t bytes, int fd)
{
	int flags = fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE : MAP_SHARED;
	void *p = mmap(start, bytes, PROT_READ | PROT_WRITE, flags | MAP_FIXED, fd, 0);

	return p == MAP_FAILED ? -errno : 0;
}

static int share(void *start, size_t bytes, struct kms_shared *shared)
{
	int fd = memory_file(bytes), result;
	struct stat now;

	if (fd < 0)
		return fd;
	result = fstat(fd, &now) ? -errno : map_over(start, bytes, fd);
	if (result < 0) {
		close_fd(fd);
		return result;
	}
	*shared = (struct kms_shared){fd, now.st_dev, now.st_ino};
	return 0;
}

int kms_port_share(void *start, size_t bytes, struct kms_shared *shared)
{
	int kept_errno = errno;
	int result = share(start, bytes, shared);

	errno = kept_errno;
	return result;
}

void kms_port_unshare(void *start, size_t bytes, struct kms_shared *shared)
{
	int kept_errno = errno;

	if (map_over(start, bytes, -1) < 0)
		(void)mprotect(start, bytes, PROT_READ | PROT_WRITE);
	if (is_ours(shared))
		close_fd(shared->fd);
	shared->fd = -1;
	errno = kept_errno;
}

int kms_port_shared_fd(const struct kms_shared *shared, bool writable)
{
	char path[64];
	int fd;

	if (!is_ours(shared))
		return -ENODEV;
	/* Opened anew and not duplicated: with rights of its own. */
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", shared->fd);
	fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

size_t kms_port_pin(void *start, size_t bytes)
{
	int kept_errno = errno;
	size_t pinned = 0, step = bytes;

	/* As much as RLIMIT_MEMLOCK leaves, found by halving. The bare call: sanitizers keep libc's. */
	while (step >= KMS_PAGE_BYTES && pinned < bytes) {
		if (step > bytes - pinned)
			step = bytes - pinned;
		if (syscall(SYS_mlock, (uint8_t *)start + pinned, step) == 0)
			pinned += step;
		else
			step = step / 2 & ~(size_t)(KMS_PAGE_BYTES - 1);
	}
	errno = kept_errno;
	return pinned;
}

void kms_port_unpin(void *start, size_t bytes)
{
	int kept_errno = errno;

	if (bytes)
		syscall(SYS_munlock, start, bytes);
	errno = kept_errno;
}

static int protect(void *start, size_t bytes, int protection)
{
	int kept_errno = errno;
	int result = mprotect(start, bytes, protection) ? -errno : 0;

	errno = kept_errno;
	return result;
}

int kms_port_close_pages(void *start, size_t bytes)
{
	return protect(start, bytes, PROT_NONE);
}

int kms_port_open_pages(void *start, size_t bytes)
{
	return protect(start, bytes, PROT_READ | PROT_WRITE);
}
