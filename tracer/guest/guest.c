/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Opening a guest: see guest.h.
 *
 * Whatever a target names, it comes down to an emulator's process, if there is one, and to its RAM:
 * a shared file if it has one, for that outlives it, and else its memory. Only the control channel
 * knows for sure where RAM lies; without it the command line and the mappings have to agree.
 */
#include "tracer/guest/guest.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "tracer/guest/back_ends.h"
#include "tracer/guest/qemu_args.h"
#include "tracer/process.h"

enum {
	/* of a socket that nobody asked for by name: another client may have it, and attaching goes on */
	ASIDE_TIMEOUT_MS = 500,
};

/* What could not be had, for the person who attached. */
static void note(struct kms_guest *guest, const struct kms_err *err)
{
	kms_qemu_copy(guest->note, sizeof(guest->note), err->text);
}

static bool is_path(const char *address)
{
	char host[KMS_QEMU_ADDRESS_BYTES];
	unsigned port;

	return !kms_guest_address_split(address, host, sizeof(host), &port);
}

/* The QMP socket of the command line, if it listens there and is this emulator's. */
static void try_qmp(struct kms_guest *guest)
{
	const struct kms_qemu *qemu = &guest->emulator;
	struct kms_err err = KMS_ERR_INIT;
	char path[PATH_MAX];
	const char *address = qemu->options.qmp;
	int result = 0;

	if (!*address)
		return;
	if (is_path(address)) {
		result = kms_qemu_path(qemu, address, path, &err);
		address = path;
	}
	if (result == 0)
		result = kms_qmp_open(address, ASIDE_TIMEOUT_MS, &guest->qmp, &err);
	if (result == 0 && kms_qmp_peer(guest->qmp) && kms_qmp_peer(guest->qmp) != qemu->pid) {
		result = kms_err_set(&err, -EPROTO,
				     "%.100s is the socket of process %d, another one", address,
				     (int)kms_qmp_peer(guest->qmp));
		kms_qmp_close(guest->qmp);
		guest->qmp = NULL;
	}
	if (result) {
		kms_err_context(&err, "without the control channel");
		note(guest, &err);
	}
}

/* RAM as QEMU says or else as its process shows. */
static int find_ram(struct kms_guest *guest, unsigned flags, struct kms_qemu_ram *ram,
		    struct kms_err *err)
{
	int access = flags & KMS_GUEST_NO_WRITE ? O_RDONLY : O_RDWR;
	struct kms_guest_layout layout;
	struct kms_err why = KMS_ERR_INIT;

	if (guest->qmp && kms_qmp_layout(guest->qmp, &layout, &why) == 0)
		return kms_qemu_find_ram(&guest->emulator, &layout, access, ram, err);
	if (why.code)
		note(guest, &why);
	return kms_qemu_find_ram(&guest->emulator, NULL, access, ram, err);
}

static int open_memory(struct kms_guest *guest, unsigned flags, struct kms_err *err)
{
	struct kms_qemu_ram ram;
	int result = find_ram(guest, flags, &ram, err);

	if (result)
		return result;
	if (ram.fd < 0)
		result = kms_guest_memory_open_process(guest->emulator.pid, guest->pidfd,
						       &ram.layout, &guest->memory, err);
	else if (flags & KMS_GUEST_NO_WRITE)
		result = kms_guest_memory_open_saved(ram.fd, &ram.layout, &guest->memory, err);
	else
		result = kms_guest_memory_open_file(ram.fd, &ram.layout, &guest->memory, err);
	if (result && ram.fd >= 0)
		(void)close(ram.fd); /* nothing was written */
	if (result == -EPERM || result == -EACCES)
		return kms_qemu_forbidden(&guest->emulator, err);
	return result;
}

/* The first word is the least that has to work: a process that shows nothing is refused here. */
static int check_memory(struct kms_guest *guest, struct kms_err *err)
{
	uint64_t word;
	int result = kms_guest_read(guest->memory, guest->memory->range[0].address, &word,
				    sizeof(word), err);

	if (result == -EPERM)
		return kms_qemu_forbidden(&guest->emulator, err);
	return result;
}

static void find_kernel(struct kms_guest *guest)
{
	if (kms_qemu_path(&guest->emulator, guest->emulator.options.kernel, guest->kernel, NULL))
		guest->kernel[0] = '\0';
}

/* Its number cannot become another's between watching and looking. */
static int watch_emulator(struct kms_guest *guest, pid_t pid, struct kms_err *err)
{
	int result;

	guest->pidfd = kms_process_watch(pid, 0);
	if (guest->pidfd == -EINVAL) /* of a thread that is not its process's first */
		return kms_err_set(err, -EINVAL, "%d is a thread, and no process", (int)pid);
	if (guest->pidfd == -ESRCH)
		return kms_err_set(err, -ESRCH, "there is no process %d", (int)pid);
	if (guest->pidfd < 0)
		return kms_err_sys(err, guest->pidfd, "watching the emulator", NULL);
	result = kms_qemu_look(pid, &guest->emulator, err);
	if (result == 0 && kms_process_has_ended(guest->pidfd))
		return kms_err_set(err, -ESRCH, "process %d has ended", (int)pid);
	return result;
}

/*
 * Watches and looks at the emulator. Of what is none nothing is kept, as its end is not the guest's: who
 * made a socket may be a wrapper. Of one that may not be looked at (-EPERM) the end is seen all the same.
 */
static int open_emulator(struct kms_guest *guest, pid_t pid, struct kms_err *err)
{
	int result = watch_emulator(guest, pid, err);

	if (result != -EINVAL && result != -ESRCH)
		return result;
	if (guest->pidfd >= 0)
		(void)close(guest->pidfd); /* nothing to lose */
	guest->pidfd = -1;
	memset(&guest->emulator, 0, sizeof(guest->emulator));
	return result;
}

/* All that follows once the emulator is known. */
static int open_rest(struct kms_guest *guest, unsigned flags, struct kms_err *err)
{
	char status[KMS_QMP_WORD_BYTES];
	bool is_running;
	int result = open_memory(guest, flags, err);

	if (result == 0)
		result = check_memory(guest, err);
	if (result)
		return result;
	find_kernel(guest);
	if (guest->qmp && kms_qmp_status(guest->qmp, status, &is_running, NULL) == 0) {
		guest->is_paused = !is_running;
		guest->is_coming = strcmp(status, "inmigrate") == 0;
	}
	return 0;
}

static int open_pid(struct kms_guest *guest, unsigned flags, struct kms_err *err)
{
	int result = open_emulator(guest, guest->target.pid, err);

	if (result)
		return result;
	if (!(flags & KMS_GUEST_NO_QMP))
		try_qmp(guest);
	return open_rest(guest, flags, err);
}

/* Looking for the QEMU that listens at an address, or that has a file as its RAM. */
struct owner {
	char address[PATH_MAX]; /* as on its command line, or resolved */
	struct stat file;
	pid_t pid; /* 0: none */
	struct kms_guest_layout layout;
};

static bool listens(void *arg, const struct kms_qemu *qemu, int result, const struct kms_err *err)
{
	struct owner *owner = arg;
	char path[PATH_MAX];
	const char *address = qemu->options.qmp;

	(void)result;
	(void)err;
	if (is_path(address) && kms_qemu_path(qemu, address, path, NULL) == 0)
		address = path;
	if (strcmp(address, owner->address) != 0)
		return false;
	owner->pid = qemu->pid;
	return true;
}

static int find_listener(const char *address, pid_t *pid, struct kms_err *err)
{
	struct owner owner = {.pid = 0};
	int result;

	if (!is_path(address) || !realpath(address, owner.address))
		(void)snprintf(owner.address, sizeof(owner.address), "%s", address); /* fits */
	result = kms_qemu_each(listens, &owner, err);
	*pid = owner.pid;
	if (result == 0 && *pid == 0)
		return kms_err_set(err, -ESRCH,
				   "the QEMU behind %.100s does not run on this machine, so its "
				   "memory cannot be read",
				   address);
	return result;
}

static int open_qmp(struct kms_guest *guest, unsigned flags, struct kms_err *err)
{
	pid_t pid;
	int result = kms_qmp_open(guest->target.path, KMS_QMP_TIMEOUT_MS, &guest->qmp, err);

	if (result)
		return result;
	pid = kms_qmp_peer(guest->qmp);
	/* a socket may have been made by somebody else, who started QEMU with it */
	if (pid == 0 || kms_qemu_look(pid, &guest->emulator, NULL) == -EINVAL)
		result = find_listener(guest->target.path, &pid, err);
	if (result == 0)
		result = open_emulator(guest, pid, err);
	return result ? result : open_rest(guest, flags, err);
}

static bool has_file(void *arg, const struct kms_qemu *qemu, int result, const struct kms_err *err)
{
	struct owner *owner = arg;
	struct kms_qemu_ram ram;
	struct stat st;
	bool is_it;

	(void)err;
	if (result || kms_qemu_find_ram(qemu, NULL, O_RDONLY, &ram, NULL) || ram.fd < 0)
		return false;
	is_it = fstat(ram.fd, &st) == 0 && st.st_ino == owner->file.st_ino &&
		st.st_dev == owner->file.st_dev;
	(void)close(ram.fd); /* nothing was written */
	if (is_it) {
		owner->pid = qemu->pid;
		owner->layout = ram.layout;
	}
	return is_it;
}

/* RAM from the offset to the end, of a machine that nobody knows any more. */
static int saved_layout(const struct kms_guest_target *target, const struct stat *st,
			struct kms_guest_layout *layout, struct kms_err *err)
{
	uint64_t bytes = (uint64_t)st->st_size;
	int result;

	if (!S_ISREG(st->st_mode))
		return kms_err_set(err, -EINVAL, "guest memory must be a regular file");
	if (target->offset >= bytes || target->offset % 4096)
		return kms_err_set(err, -EINVAL,
				   "no guest memory begins at byte %" PRIu64 " of that file",
				   target->offset);
	bytes = (bytes - target->offset) & ~UINT64_C(4095);
	result = kms_guest_layout_make(layout, KMS_GUEST_MACHINE_UNKNOWN, bytes, 0, err);
	return result ? result : kms_guest_layout_shift(layout, target->offset, err);
}

/* The same file, whatever its path names by now. */
static int reopen_to_write(int *fd, const char *path, struct kms_err *err)
{
	char same[32];
	int writable;

	(void)snprintf(same, sizeof(same), "/proc/self/fd/%d", *fd); /* fits */
	writable = open(same, O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (writable < 0)
		return kms_err_sys(err, -errno, "guest memory file", path);
	(void)close(*fd); /* only read from */
	*fd = writable;
	return 0;
}

static int open_file(struct kms_guest *guest, unsigned flags, struct kms_err *err)
{
	struct owner owner = {.pid = 0};
	bool is_live, is_written;
	KMS_AUTO_CLOSE int fd = -1;
	int result;

	fd = open(guest->target.path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0 || fstat(fd, &owner.file) != 0)
		return kms_err_sys(err, -errno, "guest memory file", guest->target.path);
	if (S_ISREG(owner.file.st_mode))
		(void)kms_qemu_each(has_file, &owner,
				    NULL); /* without an owner it is a saved one */
	is_live = owner.pid && open_emulator(guest, owner.pid, NULL) == 0;
	result = is_live ? 0 : saved_layout(&guest->target, &owner.file, &owner.layout, err);
	is_written = is_live && !(flags & KMS_GUEST_NO_WRITE);
	if (result == 0 && is_written)
		result = reopen_to_write(&fd, guest->target.path, err);
	if (result == 0)
		result = is_written ? kms_guest_memory_open_file(fd, &owner.layout, &guest->memory,
								 err)
				    : kms_guest_memory_open_saved(fd, &owner.layout, &guest->memory,
								  err);
	if (result)
		return result;
	(void)kms_take_fd(&fd); /* the memory's from now on */
	find_kernel(guest);
	return 0;
}

/* Who listens on a stub is known on this machine only; all else comes through the stub. */
static int open_gdb(struct kms_guest *guest, unsigned flags, struct kms_err *err)
{
	struct kms_guest_layout layout;
	pid_t pid;
	int result = kms_gdb_open(guest->target.path, &guest->gdb, err);

	(void)flags;
	if (result == 0)
		result = kms_gdb_layout(guest->gdb, &layout, err);
	if (result == 0)
		result = kms_guest_memory_open_gdb(guest->gdb, &layout, &guest->memory, err);
	if (result)
		return result;
	pid = kms_gdb_peer(guest->gdb);
	if (pid && open_emulator(guest, pid, NULL) == 0)
		find_kernel(guest);
	guest->is_paused = kms_gdb_was_stopped(guest->gdb);
	return guest->is_paused ? 0 : kms_gdb_go(guest->gdb, err);
}

int kms_guest_open(const struct kms_guest_target *target, unsigned flags, struct kms_guest **guest,
		   struct kms_err *err)
{
	static int (*const openers[])(struct kms_guest * guest, unsigned flags,
				      struct kms_err *err) = {
		[KMS_GUEST_TARGET_PID] = open_pid,
		[KMS_GUEST_TARGET_QMP] = open_qmp,
		[KMS_GUEST_TARGET_RAM] = open_file,
		[KMS_GUEST_TARGET_GDB] = open_gdb,
	};
	struct kms_guest *made = calloc(1, sizeof(*made));
	int result;

	if (!made)
		return kms_err_set(err, -ENOMEM, "no memory for a guest");
	made->target = *target;
	made->pidfd = -1;
	result = openers[target->kind](made, flags, err);
	if (result) {
		kms_guest_close(made);
		return result;
	}
	*guest = made;
	return 0;
}

void kms_guest_close(struct kms_guest *guest)
{
	if (!guest)
		return;
	kms_guest_memory_close(guest->memory);
	kms_gdb_close(guest->gdb);
	kms_qmp_close(guest->qmp);
	if (guest->pidfd >= 0)
		(void)close(guest->pidfd); /* nothing to lose */
	free(guest);
}
