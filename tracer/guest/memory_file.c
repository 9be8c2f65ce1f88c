/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest memory in a file: see back_ends.h.
 *
 * The file may be cut short at any moment. Reads are pread(2): 0.3 us a call, and what is gone is a
 * short read. A pwrite(2) would make the file longer again, and hugetlbfs knows none; so writes go
 * to a mapping, but by process_vm_writev(2) to ourselves: where a store would be a deadly SIGBUS,
 * the kernel says EFAULT.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/io.h"
#include "tracer/guest/back_ends.h"

struct file_memory {
	struct kms_guest_memory memory; /* first */
	struct kms_guest_layout layout;
	int fd;
	uint64_t bytes; /* of the file when it was opened */
	void *map;      /* all of it, made by the first write; or NULL */
};

static struct file_memory *file_of(struct kms_guest_memory *memory)
{
	return (struct file_memory *)memory;
}

static int is_cut(struct kms_err *err)
{
	return kms_err_set(err, -EFAULT, "the guest's memory file was cut short");
}

static int read_piece(const struct file_memory *file, const struct kms_guest_piece *piece,
		      struct kms_err *err)
{
	size_t done = 0;

	while (done < piece->bytes) {
		uint64_t room;
		uint64_t place =
			kms_guest_layout_place(&file->layout, piece->address + done, &room);
		size_t part = piece->bytes - done < room ? piece->bytes - done : (size_t)room;
		ssize_t got = kms_pread_full(file->fd, (char *)piece->to + done, part, place);

		if (got < 0)
			return kms_err_sys(err, got == -EFAULT ? -EFAULT : -EIO,
					   "read of guest memory", NULL);
		if ((size_t)got < part)
			return is_cut(err);
		done += part;
	}
	return 0;
}

static int file_read(struct kms_guest_memory *memory, const struct kms_guest_piece *pieces,
		     size_t count, struct kms_err *err)
{
	int result = 0;

	for (size_t i = 0; i < count && result == 0; i++)
		result = read_piece(file_of(memory), &pieces[i], err);
	return result;
}

static int map_once(struct file_memory *file, struct kms_err *err)
{
	void *map;

	if (file->map)
		return 0;
	map = mmap(NULL, file->bytes, PROT_READ | PROT_WRITE, MAP_SHARED, file->fd, 0);
	if (map == MAP_FAILED)
		return kms_err_sys(err, errno == EACCES ? -EROFS : -EIO, "mapping guest memory",
				   NULL);
	file->map = map;
	return 0;
}

static int file_write(struct kms_guest_memory *memory, uint64_t address, const void *from,
		      size_t bytes, struct kms_err *err)
{
	struct file_memory *file = file_of(memory);
	const char *at = from;
	int result = map_once(file, err);

	while (bytes && result == 0) {
		uint64_t room, place = kms_guest_layout_place(&file->layout, address, &room);
		size_t part = bytes < room ? bytes : (size_t)room;
		/* NOLINTNEXTLINE(performance-no-int-to-ptr): only read */
		struct iovec local = {.iov_base = (void *)(uintptr_t)at, .iov_len = part};
		struct iovec remote = {.iov_base = (char *)file->map + place, .iov_len = part};
		ssize_t put = process_vm_writev(getpid(), &local, 1, &remote, 1, 0);

		if (put < 0 && errno != EFAULT)
			result = kms_err_sys(err, -EIO, "write of guest memory", NULL);
		else if (put < 0 || (size_t)put < part)
			result = is_cut(err);
		at += part;
		address += part;
		bytes -= part;
	}
	return result;
}

static void file_close(struct kms_guest_memory *memory)
{
	struct file_memory *file = file_of(memory);

	if (file->map)
		(void)munmap(file->map, file->bytes); /* it is one */
	(void)close(file->fd);                        /* written through a mapping only */
	free(file);
}

static const struct kms_guest_memory_ops file_ops = {
	.name = "ram-file",
	.read = file_read,
	.write = file_write,
	.close = file_close,
};

static const struct kms_guest_memory_ops saved_ops = {
	.name = "saved",
	.read = file_read,
	.close = file_close,
};

void kms_guest_memory_set_ranges(struct kms_guest_memory *memory,
				 const struct kms_guest_layout *layout)
{
	memory->ranges = 0;
	for (size_t i = 0; i < layout->segments; i++) {
		const struct kms_guest_segment *segment = &layout->segment[i];
		struct kms_guest_range *last =
			memory->ranges ? &memory->range[memory->ranges - 1] : NULL;

		if (last && last->address + last->bytes == segment->address) {
			last->bytes += segment->bytes;
			continue;
		}
		last = &memory->range[memory->ranges++];
		last->address = segment->address;
		last->bytes = segment->bytes;
	}
}

/* Bytes of a regular file that has all of the layout. */
static int file_bytes(int fd, const struct kms_guest_layout *layout, uint64_t *bytes,
		      struct kms_err *err)
{
	struct stat st;
	int result = kms_guest_layout_check(layout, err);

	if (result)
		return result;
	if (fstat(fd, &st) != 0)
		return kms_err_sys(err, -errno, "guest memory file", NULL);
	if (!S_ISREG(st.st_mode))
		return kms_err_set(err, -EINVAL, "guest memory must be a regular file");
	*bytes = (uint64_t)st.st_size;
	for (size_t i = 0; i < layout->segments; i++) {
		if (layout->segment[i].place + layout->segment[i].bytes > *bytes)
			return kms_err_set(err, -ERANGE,
					   "the file has %" PRIu64 " bytes, the guest's memory "
					   "would end at %" PRIu64,
					   *bytes,
					   layout->segment[i].place + layout->segment[i].bytes);
	}
	return 0;
}

static int open_with(const struct kms_guest_memory_ops *ops, int fd,
		     const struct kms_guest_layout *layout, struct kms_guest_memory **memory,
		     struct kms_err *err)
{
	struct file_memory *file;
	uint64_t bytes = 0;
	int result = file_bytes(fd, layout, &bytes, err);

	if (result)
		return result;
	file = calloc(1, sizeof(*file));
	if (!file)
		return kms_err_set(err, -ENOMEM, "no memory for a guest");
	file->memory.ops = ops;
	file->layout = *layout;
	file->fd = fd;
	file->bytes = bytes;
	kms_guest_memory_set_ranges(&file->memory, layout);
	*memory = &file->memory;
	return 0;
}

int kms_guest_memory_open_file(int fd, const struct kms_guest_layout *layout,
			       struct kms_guest_memory **memory, struct kms_err *err)
{
	return open_with(&file_ops, fd, layout, memory, err);
}

int kms_guest_memory_open_saved(int fd, const struct kms_guest_layout *layout,
				struct kms_guest_memory **memory, struct kms_err *err)
{
	return open_with(&saved_ops, fd, layout, memory, err);
}
