/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Where a QEMU process has its guest's RAM: see qemu.h.
 *
 * QEMU maps the RAM as one piece of exactly its size. Another block may have the same size by
 * chance: the memory of a VGA has 16 MiB. What tells them apart is the BIOS, which lies at the end
 * of the first MiB of RAM since the machine was switched on: a far jump, 16 bytes before that end.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tracer/attach_look.h"
#include "tracer/guest/qemu.h"

enum {
	CANDIDATES = 16,
	RESET_VECTOR = 0xffff0,
	FAR_JUMP = 0xea,
};

struct search {
	const struct kms_qemu *qemu;
	uint64_t found[CANDIDATES]; /* where mappings begin that could be the RAM */
	unsigned count;
};

static bool consider(void *arg, const struct kms_mapping *mapping)
{
	struct search *search = arg;

	if (mapping->end - mapping->start != search->qemu->options.ram_bytes ||
	    strncmp(mapping->access, "rw-", 3) != 0)
		return false;
	search->found[search->count++] = mapping->start;
	return search->count == CANDIDATES;
}

static bool has_bios(pid_t pid, uint64_t start)
{
	uint8_t jump = 0;

	return kms_memory_copy(pid, start + RESET_VECTOR, &jump, 1) == 1 && jump == FAR_JUMP;
}

/* Of several, those that have a BIOS. */
static void sift(struct search *search)
{
	unsigned kept = 0;

	for (unsigned i = 0; i < search->count && search->count > 1; i++) {
		if (has_bios(search->qemu->pid, search->found[i]))
			search->found[kept++] = search->found[i];
	}
	if (kept)
		search->count = kept;
}

/* A file that is mapped. */
struct file {
	uint64_t inode; /* 0 none */
	dev_t device;
};

static bool is_file(const struct stat *st, const struct file *file, bool by_device)
{
	return S_ISREG(st->st_mode) && st->st_ino == file->inode &&
	       (!by_device || st->st_dev == file->device);
}

/* A descriptor of the process that is this file, opened anew; -1: none that we may open. */
static int open_one(pid_t pid, const struct file *file, bool by_device, int flags)
{
	char path[64];
	KMS_AUTO_CLOSEDIR DIR *dir = NULL;
	const struct dirent *item;

	(void)snprintf(path, sizeof(path), "/proc/%d/fd", (int)pid); /* fits */
	dir = opendir(path);
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): a stream of our own */
	while (dir && (item = readdir(dir)) != NULL) {
		KMS_AUTO_CLOSE int fd = -1;
		struct stat st;

		/* stat first: opening a FIFO or a device is not without effect */
		if (fstatat(dirfd(dir), item->d_name, &st, 0) != 0 ||
		    !is_file(&st, file, by_device))
			continue;
		fd = openat(dirfd(dir), item->d_name, flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
		if (fd >= 0 && fstat(fd, &st) == 0 && is_file(&st, file, by_device))
			return kms_take_fd(&fd);
	}
	return -1;
}

/*
 * The same inode number may be a disk of the guest on another file system, and this one is written to; so
 * a descriptor on the right device comes first. Where a mapping's device is not that of stat(2) there is
 * none.
 */
static int open_fd(pid_t pid, const struct file *file, int flags)
{
	int fd = open_one(pid, file, true, flags);

	return fd >= 0 ? fd : open_one(pid, file, false, flags);
}

/* Places of a layout in the process, as offsets in one file that is mapped shared. */
struct to_file {
	struct kms_guest_layout from; /* addresses in the process */
	struct kms_guest_layout to;   /* offsets in the file */
	size_t converted;
	struct file file; /* of all segments */
	bool is_none;     /* one is in no file, or in another one */
};

static bool convert(void *arg, const struct kms_mapping *mapping)
{
	struct to_file *to = arg;

	for (size_t i = 0; i < to->from.segments; i++) {
		const struct kms_guest_segment *segment = &to->from.segment[i];

		if (segment->place < mapping->start || segment->place >= mapping->end ||
		    segment->bytes > mapping->end - segment->place)
			continue;
		to->is_none = mapping->access[3] != 's' || mapping->inode == 0 ||
			      (to->file.inode && (to->file.inode != mapping->inode ||
						  to->file.device != mapping->device));
		if (to->is_none)
			return true;
		to->file = (struct file){.inode = mapping->inode, .device = mapping->device};
		to->to.segment[i].place = segment->place - mapping->start + mapping->offset;
		to->converted++;
	}
	return false;
}

static int check_options(const struct kms_qemu *qemu, struct kms_err *err)
{
	const struct kms_qemu_options *options = &qemu->options;

	if (options->numa_nodes > 1)
		return kms_err_set(err, -ENOTSUP,
				   "the guest of process %d has its memory in %u pieces (-numa): "
				   "where they lie takes QMP to ask (-qmp unix:...)",
				   (int)qemu->pid, options->numa_nodes);
	return 0;
}

static int none_or_many(const struct search *search, struct kms_err *err)
{
	uint64_t mib = search->qemu->options.ram_bytes >> 20;

	if (search->count == 0)
		return kms_err_set(err, -ENOENT,
				   "process %d has no %" PRIu64 " MiB of guest memory where its "
				   "command line says so; with a QMP socket it could be asked",
				   (int)search->qemu->pid, mib);
	return kms_err_set(
		err, -ENOTUNIQ,
		"process %d has %u mappings of %" PRIu64 " MiB, and any of them could be "
		"the guest's memory: wait until its BIOS has run, or give it a QMP socket "
		"to be asked by",
		(int)search->qemu->pid, search->count, mib);
}

/* The layout that the command line and the mappings tell. */
static int find_unasked(const struct kms_qemu *qemu, struct kms_guest_layout *layout,
			struct kms_err *err)
{
	struct search search = {.qemu = qemu};
	const struct kms_qemu_options *options = &qemu->options;
	const char *machine = *options->machine ? options->machine : "pc";
	int result = check_options(qemu, err);

	if (result == 0)
		result = kms_guest_layout_make(layout, kms_guest_machine_find(machine),
					       options->ram_bytes, options->max_below, err);
	if (result)
		return result;
	result = kms_mappings_each(qemu->pid, consider, &search);
	if (result == -EACCES || result == -EPERM)
		return kms_qemu_forbidden(qemu, err);
	if (result)
		return kms_err_sys(err, result, "mappings of the emulator", NULL);
	sift(&search);
	if (search.count != 1)
		return none_or_many(&search, err);
	return kms_guest_layout_shift(layout, search.found[0], err);
}

int kms_qemu_find_ram(const struct kms_qemu *qemu, const struct kms_guest_layout *layout, int flags,
		      struct kms_qemu_ram *ram, struct kms_err *err)
{
	struct to_file to = {.converted = 0};
	int result = 0;

	memset(ram, 0, sizeof(*ram));
	ram->fd = -1;
	if (layout)
		ram->layout = *layout;
	else
		result = find_unasked(qemu, &ram->layout, err);
	if (result)
		return result;
	to.from = ram->layout;
	to.to = ram->layout;
	/* a private mapping of a file is the guest's own copy: only the process has it */
	result = kms_mappings_each(qemu->pid, convert, &to);
	if (result == -EACCES || result == -EPERM)
		return kms_qemu_forbidden(qemu, err);
	if (result == 0 && !to.is_none && to.converted == to.from.segments)
		ram->fd = open_fd(qemu->pid, &to.file, flags);
	if (ram->fd >= 0)
		ram->layout = to.to;
	return 0;
}
