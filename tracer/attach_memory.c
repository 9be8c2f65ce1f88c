/* SPDX-License-Identifier: BSD-2-Clause */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/uio.h>

#include "tracer/attach_look.h"

static const char deleted[] = " (deleted)";

/* "start-end access offset device inode   path"; false if it is none. */
static bool parse(char *line, struct kms_mapping *out)
{
	size_t length = strcspn(line, "\n");
	unsigned major, minor;
	int at = 0;

	line[length] = '\0';
	/* NOLINTNEXTLINE(cert-err34-c): numbers of the kernel; a line that is none is left out */
	if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %4s %" SCNx64 " %x:%x %" SCNu64 " %n",
		   &out->start, &out->end, out->access, &out->offset, &major, &minor, &out->inode,
		   &at) < 7)
		return false;
	out->device = makedev(major, minor);
	out->path = at && (size_t)at <= length ? line + at : line + length;
	length = strlen(out->path);
	out->is_deleted = length >= sizeof(deleted) &&
			  strcmp(out->path + length - sizeof(deleted) + 1, deleted) == 0;
	if (out->is_deleted)
		line[(size_t)(out->path - line) + length - sizeof(deleted) + 1] = '\0';
	return out->start < out->end;
}

int kms_mappings_each(pid_t pid, bool (*fn)(void *arg, const struct kms_mapping *mapping),
		      void *arg)
{
	struct kms_mapping mapping;
	char path[64], *line = NULL;
	size_t room = 0;
	FILE *file;
	int result;

	(void)snprintf(path, sizeof(path), "/proc/%d/maps", (int)pid); /* fits */
	file = fopen(path, "re");
	if (!file)
		return errno == ENOENT ? -ESRCH : -errno;
	errno = 0;
	while (getline(&line, &room, file) > 0) {
		if (parse(line, &mapping) && fn(arg, &mapping))
			break;
	}
	result = ferror(file) ? -(errno ? errno : EIO) : 0;
	free(line);
	(void)fclose(file); /* only read from */
	return result;
}

ssize_t kms_memory_copy(pid_t pid, uint64_t address, void *to, size_t n)
{
	struct iovec local = {.iov_base = to, .iov_len = n};
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): of another process */
	struct iovec remote = {.iov_base = (void *)(uintptr_t)address, .iov_len = n};
	ssize_t got = process_vm_readv(pid, &local, 1, &remote, 1, 0);

	return got < 0 ? -errno : got;
}

int kms_memory_write(pid_t pid, uint64_t address, const void *from, size_t n)
{
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): only read */
	struct iovec local = {.iov_base = (void *)(uintptr_t)from, .iov_len = n};
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): of another process */
	struct iovec remote = {.iov_base = (void *)(uintptr_t)address, .iov_len = n};
	ssize_t put = process_vm_writev(pid, &local, 1, &remote, 1, 0);

	if (put < 0)
		return -errno;
	return (size_t)put == n ? 0 : -EFAULT;
}
