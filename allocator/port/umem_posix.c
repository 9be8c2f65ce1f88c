/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Memory of ddi_umem in a process: sealed memfds, which nobody can make shorter.
 *
 * A buffer has one of its own, so that who maps it sees no other; but descriptors are the program's.
 * So there are no more than a quarter of its limit; further buffers are pieces of common files. Their
 * places in a file are never used again, so a mapping that outlives its buffer, or that a forked child
 * has, never shows another one. What is freed goes from the file (a hole), unless somebody may still
 * look at it: it was exported, or a child has a copy of the mapping.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "allocator/port.h"
#include "schema/region.h"

enum {
	FD_MIN = 200, /* out of the way of programs that count on small numbers */
	OWN_PART = 4, /* of the descriptors that the process may have */
};

#define COMMON_BYTES ((uint64_t)1 << 40) /* holes cost nothing */

/*
 * The program may have closed our number and use it for something else: then it is not ours to
 * close or to hand out.
 */
static bool is_ours(const struct kms_shared_file *file)
{
	struct stat now;

	return file->is_open && fstat(file->fd, &now) == 0 && now.st_dev == file->device &&
	       now.st_ino == file->inode;
}

static int close_fd(int fd)
{
	return (int)syscall(SYS_close, fd);
}

static uint64_t limit_of(__rlimit_resource_t resource)
{
	struct rlimit limit;

	return getrlimit(resource, &limit) ? 0 : limit.rlim_cur;
}

/* A number out of the way, if there is one. */
static int move_up(int fd)
{
	uint64_t limit = limit_of(RLIMIT_NOFILE);
	int high = fcntl(fd, F_DUPFD_CLOEXEC, limit / 2 < FD_MIN ? (int)(limit / 2) : FD_MIN);

	if (high < 0)
		return fd;
	close_fd(fd);
	return high;
}

/* A file of @bytes zeroed bytes. Beyond RLIMIT_FSIZE the attempt would be a deadly signal. */
static int file_open(struct kms_shared_file *file, uint64_t bytes)
{
	struct stat now;
	int fd, error;

	if (bytes > limit_of(RLIMIT_FSIZE))
		return -EFBIG;
	fd = memfd_create("ddi_umem", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	if (fd < 0)
		return -errno;
	fd = move_up(fd);
	if (ftruncate(fd, (off_t)bytes) ||
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) || fstat(fd, &now)) {
		error = errno;
		close_fd(fd);
		return -error;
	}
	*file = (struct kms_shared_file){.fd = fd,
					 .is_open = true,
					 .device = now.st_dev,
					 .inode = now.st_ino,
					 .max_bytes = bytes};
	return 0;
}

static void file_close(struct kms_shared_file *file)
{
	if (is_ours(file))
		close_fd(file->fd);
	file->is_open = false;
}

/* Lays a mapping over what is there; NULL: private zeroed memory, as the arena's was made. */
static int map_over(void *start, size_t bytes, const struct kms_shared_file *file, uint64_t offset)
{
	int flags = file ? MAP_SHARED : MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE;
	void *p = mmap(start, bytes, PROT_READ | PROT_WRITE, flags | MAP_FIXED,
		       file ? file->fd : -1, (off_t)offset);

	return p == MAP_FAILED ? -errno : 0;
}

static int share_own(struct kms_shared_files *files, void *start, size_t bytes,
		     struct kms_shared *shared)
{
	int result = file_open(&shared->own, bytes);

	if (result < 0)
		return result;
	result = map_over(start, bytes, &shared->own, 0);
	if (result < 0) {
		file_close(&shared->own);
		return result;
	}
	files->n_own++;
	shared->file = &shared->own;
	shared->offset = 0;
	return 0;
}

/* A common file with so much room; a new one, if need be. */
static struct kms_shared_file *common_with(struct kms_shared_files *files, size_t bytes)
{
	struct kms_shared_file *free = NULL;
	uint64_t limit = limit_of(RLIMIT_FSIZE);

	for (unsigned i = 0; i < KMS_SHARED_FILES; i++) {
		struct kms_shared_file *file = &files->common[i];

		if (file->is_open && !file->is_ended &&
		    bytes <= file->max_bytes - file->used_bytes && is_ours(file))
			return file;
		if (file->is_open && !file->live)
			file_close(file);
		if (!file->is_open)
			free = file;
	}
	if (limit > COMMON_BYTES)
		limit = COMMON_BYTES;
	limit &= ~(uint64_t)(KMS_PAGE_BYTES - 1);
	return free && bytes <= limit && file_open(free, limit) == 0 ? free : NULL;
}

static int share_common(struct kms_shared_files *files, void *start, size_t bytes,
			struct kms_shared *shared)
{
	struct kms_shared_file *file = common_with(files, bytes);
	int result;

	if (!file)
		return -EMFILE;
	result = map_over(start, bytes, file, file->used_bytes);
	if (result < 0)
		return result;
	shared->file = file;
	shared->offset = file->used_bytes;
	file->used_bytes += bytes;
	file->live++;
	return 0;
}

int kms_port_share(struct kms_shared_files *files, void *start, size_t bytes,
		   struct kms_shared *shared)
{
	int kept_errno = errno, result = -EMFILE;

	*shared = (struct kms_shared){0};
	if (files->n_own < limit_of(RLIMIT_NOFILE) / OWN_PART)
		result = share_own(files, start, bytes, shared);
	if (result < 0)
		result = share_common(files, start, bytes, shared);
	errno = kept_errno;
	return result;
}

static void leave_common(const struct kms_shared *shared, size_t bytes)
{
	struct kms_shared_file *file = shared->file;

	file->live--;
	if (!shared->is_exported && !file->is_ended && is_ours(file))
		(void)fallocate(file->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
				(off_t)shared->offset, (off_t)bytes);
	if (!file->live && file->is_ended)
		file_close(file);
}

void kms_port_unshare(struct kms_shared_files *files, void *start, size_t bytes,
		      struct kms_shared *shared)
{
	int kept_errno = errno;

	if (map_over(start, bytes, NULL, 0) < 0)
		(void)mprotect(start, bytes, PROT_READ | PROT_WRITE);
	if (shared->file == &shared->own) {
		file_close(&shared->own);
		files->n_own--;
	} else if (shared->file) {
		leave_common(shared, bytes);
	}
	shared->file = NULL;
	errno = kept_errno;
}

int kms_port_shared_fd(struct kms_shared *shared, bool writable)
{
	char path[64];
	int fd;

	if (!shared->file || !is_ours(shared->file))
		return -ENODEV;
	/* Opened anew and not duplicated: with rights of its own. */
	(void)snprintf(path, sizeof(path), "/proc/self/fd/%d", shared->file->fd);
	fd = open(path, (writable ? O_RDWR : O_RDONLY) | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	shared->is_exported = true;
	return fd;
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
