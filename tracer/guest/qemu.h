/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A QEMU process and what its command line and /proc tell of its guest.
 *
 * Whoever started it chose these words, so they are hints: sizes are compared with the process's
 * mappings, sockets are tried, images are compared with what runs.
 */
#ifndef KMS_TRACER_GUEST_QEMU_H
#define KMS_TRACER_GUEST_QEMU_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "tracer/guest/layout.h"

enum kms_qemu_bounds {
	KMS_QEMU_WORD_BYTES = 64,
	KMS_QEMU_ADDRESS_BYTES = 256, /* of a socket: a path (108) or host:port */
	KMS_QEMU_APPEND_BYTES = 2048, /* as many as Linux takes on x86 */
	KMS_QEMU_COMMAND_BYTES = 1 << 20,
	KMS_QEMU_BACK_ENDS = 8,
};

/** A memory-backend-* object. */
struct kms_qemu_back_end {
	char id[KMS_QEMU_WORD_BYTES];
	char kind[KMS_QEMU_WORD_BYTES]; /* "memory-backend-file", ... */
	char path[PATH_MAX];            /* mem-path, or "" */
	uint64_t bytes;                 /* 0: not said */
};

/** What a command line says. Texts are cut to their room, and "" where nothing was said. */
struct kms_qemu_options {
	char machine[KMS_QEMU_WORD_BYTES]; /* type; "" is the default, a pc */
	char name[KMS_QEMU_WORD_BYTES];
	uint64_t ram_bytes;
	uint64_t max_below;    /* max-ram-below-4g=, 0 none */
	char kernel[PATH_MAX]; /* as written */
	char initrd[PATH_MAX];
	char append[KMS_QEMU_APPEND_BYTES];
	char qmp[KMS_QEMU_ADDRESS_BYTES]; /* path or HOST:PORT of a socket that QEMU listens on */
	int qmp_fd;                       /* or its descriptor there; -1 */
	char gdb[KMS_QEMU_ADDRESS_BYTES];
	char memory_back_end[KMS_QEMU_WORD_BYTES]; /* id, of -machine memory-backend= */
	struct kms_qemu_back_end back_end[KMS_QEMU_BACK_ENDS];
	unsigned back_ends;
	unsigned numa_nodes; /* that have a memory back end of their own */
	unsigned dimms;      /* plugged in memory, which lies elsewhere */
};

/** A QEMU of this machine. */
struct kms_qemu {
	pid_t pid;
	uid_t uid;
	char program[KMS_QEMU_WORD_BYTES]; /* "qemu-system-x86_64" */
	char cwd[PATH_MAX];                /* where relative paths begin, or "" */
	struct kms_qemu_options options;
};

/**
 * Reads a command line as in /proc/PID/cmdline: words that end in NUL, the first one the program.
 *
 * Words that are not known are passed over.
 *
 * Shape:  a NUL stands behind the n bytes, too
 * Errors: -EINVAL: no words, or a size that is none
 */
int kms_qemu_parse(const char *block, size_t n_bytes, struct kms_qemu_options *options,
		   struct kms_err *err);

/** A size as QEMU reads it: a number with a fraction, maybe, and B, K, M, G, T, P; none: MiB if so asked. */
int kms_qemu_parse_size(const char *text, uint64_t default_unit, uint64_t *bytes);

/**
 * What a program's name is: of an x86 QEMU, of another machine's, of something else.
 *
 * Errors: 0: x86; -EOPNOTSUPP: another architecture; -EINVAL: no QEMU
 */
int kms_qemu_program_check(const char *program);

/**
 * Looks at a process.
 *
 * Errors: -ESRCH: there is none; -EINVAL: not a QEMU; -EOPNOTSUPP: of another architecture; -EPERM:
 *         not permitted, the text says what it takes; then as kms_qemu_parse(). All but -ESRCH fill
 *         what is known.
 */
int kms_qemu_look(pid_t pid, struct kms_qemu *qemu, struct kms_err *err);

/**
 * Calls fn for each QEMU of this machine, of other architectures and users, too: result and err are
 * those of kms_qemu_look(), err is NULL for 0. Ends when fn returns true.
 *
 * Errors: -ENOMEM; what opendir(3) says of /proc
 */
int kms_qemu_each(bool (*fn)(void *arg, const struct kms_qemu *qemu, int result,
			     const struct kms_err *err),
		  void *arg, struct kms_err *err);

/**
 * A path of its command line as this process finds it: relative ones begin at its working folder.
 *
 * Errors: -ENOENT: no such file, or the working folder is not known
 */
int kms_qemu_path(const struct kms_qemu *qemu, const char *path, char full[PATH_MAX],
		  struct kms_err *err);

/**
 * "not permitted" with what it would take on this machine: the user, CAP_SYS_PTRACE, Yama.
 *
 * Returns -EPERM.
 */
int kms_qemu_forbidden(const struct kms_qemu *qemu, struct kms_err *err);

/** Where a QEMU has its guest's RAM. */
struct kms_qemu_ram {
	struct kms_guest_layout layout; /* places: in the file, or in the process */
	int fd;                         /* of the file, if it is mapped shared; -1: process */
};

/**
 * Finds the RAM of a guest. With layout: as QEMU said (kms_qmp_layout()). NULL: without asking it,
 * as the one mapping that has the size of its command line.
 *
 * Shape:  flags: O_RDWR or O_RDONLY, how a shared file is opened
 * Owner:  the caller closes ram->fd
 * Errors: -EPERM: as kms_qemu_forbidden(); -ENOENT: no such mapping; -ENOTUNIQ: several; -ENOTSUP:
 *         RAM in pieces: asking takes QMP; as kms_guest_layout_make()
 */
int kms_qemu_find_ram(const struct kms_qemu *qemu, const struct kms_guest_layout *layout, int flags,
		      struct kms_qemu_ram *ram, struct kms_err *err);

#endif
