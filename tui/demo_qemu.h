/* SPDX-License-Identifier: BSD-2-Clause */
/* The machine of `demo --qemu`: a QEMU that runs our kernel, and ends when that does. */
#ifndef KMS_TUI_DEMO_QEMU_H
#define KMS_TUI_DEMO_QEMU_H

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

enum {
	KMS_DEMO_QEMU_WORDS_BYTES = 512,
};

/** A machine. All zero but console_fd, which is -1, is none. */
struct kms_demo_qemu {
	char words[KMS_DEMO_QEMU_WORDS_BYTES]; /* the kernel's command line */
	bool verbose;                          /* its console on our standard error */
	char kernel[PATH_MAX];                 /* set by the start */
	pid_t pid;
	int console_fd; /* what it wrote on its console, unless verbose */
};

/**
 * Starts it: 2 CPUs, 256 MiB in a memfd, so that what the kernel did last can be read after its end. It
 * dies with us. The kernel waits at its start until somebody lets it go on.
 *
 * Errors: -ENOENT: no QEMU, or no kernel beside our own program; -EINVAL: words too long
 */
int kms_demo_qemu_start(struct kms_demo_qemu *machine, struct kms_err *err);

/** Ends it, if it has not ended by itself. Returns its wait status. */
int kms_demo_qemu_end(struct kms_demo_qemu *machine);

/** Copies the lines of its console that are journal entries into a file. Errors: of open(2), write(2) */
int kms_demo_qemu_journal(const struct kms_demo_qemu *machine, const char *path,
			  struct kms_err *err);

#endif
