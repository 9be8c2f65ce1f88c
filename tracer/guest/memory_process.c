/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Guest memory in the emulator's process: see back_ends.h.
 *
 * Reads are process_vm_readv(2), up to PIECES pieces a call (it takes 1024). It knows a process by its pid only, so
 * its pidfd is looked at afterwards: as long as that process has not ended, the pid was its own.
 * Writes cannot be taken back, so they go through /proc/PID/mem, which stays with the memory of the
 * process that had the pid when it was opened.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tracer/guest/back_ends.h"
#include "tracer/process.h"

enum {
	PIECES = 256, /* of one call; on the stack */
	/* a call copies no more than this (MAX_RW_COUNT of the kernel, 2 GiB less a page) */
	CALL_BYTES = 1 << 30,
};

struct process_memory {
	struct kms_guest_memory memory; /* first */
	struct kms_guest_layout layout; /* places: addresses in the process */
	pid_t pid;
	int pidfd;
	int mem_fd; /* /proc/PID/mem */
};

/* One call of process_vm_readv(). */
struct call {
	struct iovec local[PIECES];
	struct iovec remote[PIECES];
	size_t count;
	size_t bytes;
};

static struct process_memory *process_of(struct kms_guest_memory *memory)
{
	return (struct process_memory *)memory;
}

static int is_gone(struct kms_err *err)
{
	return kms_err_set(err, -EFAULT, "the emulator has ended, and the guest's memory with it");
}

static int make_call(const struct process_memory *process, struct call *call, struct kms_err *err)
{
	ssize_t got = 0;

	if (call->count)
		got = process_vm_readv(process->pid, call->local, call->count, call->remote,
				       call->count, 0);
	if (got < 0 && errno != EFAULT && errno != ESRCH)
		return kms_err_sys(err, errno == EPERM ? -EPERM : -EIO,
				   "read of the emulator's memory", NULL);
	if (kms_process_has_ended(process->pidfd))
		return is_gone(err);
	if (got < 0 || (size_t)got < call->bytes)
		return kms_err_set(err, -EFAULT,
				   "the emulator no longer has the guest's memory where it was");
	call->count = 0;
	call->bytes = 0;
	return 0;
}

/* Adds the beginning of a piece, as much as lies together, and returns how much that is. */
static size_t add(const struct process_memory *process, struct call *call, uint64_t address,
		  void *to, size_t bytes)
{
	uint64_t room, place = kms_guest_layout_place(&process->layout, address, &room);

	if (bytes > room)
		bytes = (size_t)room;
	if (bytes > CALL_BYTES - call->bytes)
		bytes = CALL_BYTES - call->bytes;
	call->local[call->count].iov_base = to;
	call->local[call->count].iov_len = bytes;
	/* NOLINTNEXTLINE(performance-no-int-to-ptr): of another process */
	call->remote[call->count].iov_base = (void *)(uintptr_t)place;
	call->remote[call->count].iov_len = bytes;
	call->count++;
	call->bytes += bytes;
	return bytes;
}

static int process_read(struct kms_guest_memory *memory, const struct kms_guest_piece *pieces,
			size_t count, struct kms_err *err)
{
	const struct process_memory *process = process_of(memory);
	struct call call; /* 8 KiB that need not be cleared */
	int result = 0;

	call.count = 0;
	call.bytes = 0;
	for (size_t i = 0; i < count && result == 0; i++) {
		size_t done = 0;

		while (done < pieces[i].bytes && result == 0) {
			done += add(process, &call, pieces[i].address + done,
				    (char *)pieces[i].to + done, pieces[i].bytes - done);
			if (call.count == PIECES || call.bytes == CALL_BYTES)
				result = make_call(process, &call, err);
		}
	}
	return result ? result : make_call(process, &call, err);
}

static int process_write(struct kms_guest_memory *memory, uint64_t address, const void *from,
			 size_t bytes, struct kms_err *err)
{
	const struct process_memory *process = process_of(memory);
	const char *at = from;

	while (bytes) {
		uint64_t room, place = kms_guest_layout_place(&process->layout, address, &room);
		ssize_t put = pwrite(process->mem_fd, at, bytes < room ? bytes : (size_t)room,
				     (off_t)place);

		if (put < 0 && errno == EINTR)
			continue;
		/* 0: there is no address space any more */
		if (put == 0 || (put < 0 && kms_process_has_ended(process->pidfd)))
			return is_gone(err);
		if (put < 0)
			return kms_err_sys(err, errno == EPERM ? -EROFS : -EIO,
					   "write to the emulator's memory", NULL);
		at += put;
		address += (uint64_t)put;
		bytes -= (size_t)put;
	}
	return 0;
}

static void process_close(struct kms_guest_memory *memory)
{
	struct process_memory *process = process_of(memory);

	(void)close(process->pidfd);  /* nothing to lose */
	(void)close(process->mem_fd); /* not buffered */
	free(process);
}

static const struct kms_guest_memory_ops process_ops = {
	.name = "process",
	.read = process_read,
	.write = process_write,
	.close = process_close,
};

/* Addresses of a 64-bit process, half of all: what is above would be negative as an offset. */
static int check_layout(const struct kms_guest_layout *layout, struct kms_err *err)
{
	int result = kms_guest_layout_check(layout, err);

	for (size_t i = 0; result == 0 && i < layout->segments; i++) {
		if (layout->segment[i].place + layout->segment[i].bytes > INT64_MAX)
			result = kms_err_set(err, -EINVAL, "no address of a process: 0x%llx",
					     (unsigned long long)layout->segment[i].place);
	}
	return result;
}

/* The file is of our process only if that one had the pid all the time until now. */
static int open_mem(pid_t pid, int pidfd, struct kms_err *err)
{
	char path[64];
	KMS_AUTO_CLOSE int fd = -1;

	(void)snprintf(path, sizeof(path), "/proc/%d/mem", (int)pid); /* fits */
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 && errno != ENOENT)
		return kms_err_sys(err, -errno, "memory of the emulator", path);
	if (fd < 0 || kms_process_has_ended(pidfd))
		return kms_err_set(err, -ESRCH, "process %d has ended", (int)pid);
	return kms_take_fd(&fd);
}

int kms_guest_memory_open_process(pid_t pid, int pidfd, const struct kms_guest_layout *layout,
				  struct kms_guest_memory **memory, struct kms_err *err)
{
	struct process_memory *process;
	KMS_AUTO_CLOSE int own_pidfd = -1;
	KMS_AUTO_CLOSE int mem_fd = -1;
	int result = check_layout(layout, err);

	if (result)
		return result;
	own_pidfd = fcntl(pidfd, F_DUPFD_CLOEXEC, 0);
	if (own_pidfd < 0)
		return kms_err_sys(err, -errno, "descriptor of the emulator", NULL);
	mem_fd = open_mem(pid, own_pidfd, err);
	if (mem_fd < 0)
		return mem_fd;
	process = calloc(1, sizeof(*process));
	if (!process)
		return kms_err_set(err, -ENOMEM, "no memory for a guest");
	process->memory.ops = &process_ops;
	process->layout = *layout;
	process->pid = pid;
	process->pidfd = kms_take_fd(&own_pidfd);
	process->mem_fd = kms_take_fd(&mem_fd);
	kms_guest_memory_set_ranges(&process->memory, layout);
	*memory = &process->memory;
	return 0;
}
