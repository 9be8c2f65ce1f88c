/* SPDX-License-Identifier: BSD-2-Clause */
/* How a guest is named on the command line and in requests. */
#ifndef KMS_TRACER_GUEST_TARGET_H
#define KMS_TRACER_GUEST_TARGET_H

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

enum kms_guest_target_kind {
	KMS_GUEST_TARGET_PID = 1, /* qemu:pid:N */
	KMS_GUEST_TARGET_QMP = 2, /* qemu:SOCKET, a path or HOST:PORT */
	KMS_GUEST_TARGET_RAM = 3, /* ram:FILE[+OFFSET] */
	KMS_GUEST_TARGET_GDB = 4, /* gdb:SOCKET, a path or HOST:PORT */
};

/** A guest as it was asked for. */
struct kms_guest_target {
	enum kms_guest_target_kind kind;
	pid_t pid;
	uint64_t offset;     /* of the RAM in the file */
	char path[PATH_MAX]; /* of the file or socket, or HOST:PORT */
};

/** Whether a text means a guest at all, well-formed or not: it begins with "qemu:", "ram:" or "gdb:". */
bool kms_guest_target_is(const char *text);

/**
 * Reads a target.
 *
 * A path that contains a plus sign and a number at its end, and that is one, is written with +0
 * behind it.
 *
 * Errors: -EINVAL: no such target; -ERANGE: a number too large; -ENAMETOOLONG
 */
int kms_guest_target_parse(const char *text, struct kms_guest_target *target, struct kms_err *err);

/**
 * Splits "HOST:PORT", "[V6]:PORT" or ":PORT" (this machine). A text with a slash is a path.
 *
 * Returns whether it is one. Shape: host has host_bytes, *port 1 to 65535
 */
bool kms_guest_address_split(const char *text, char *host, size_t host_bytes, unsigned *port);

#endif
