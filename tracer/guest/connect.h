/* SPDX-License-Identifier: BSD-2-Clause */
/* Sockets of an emulator, by path or HOST:PORT. */
#ifndef KMS_TRACER_GUEST_CONNECT_H
#define KMS_TRACER_GUEST_CONNECT_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/**
 * Connects a stream; the descriptor does not block.
 *
 * A host is a number or a name of this machine: names are not looked up elsewhere.
 *
 * Returns the descriptor.
 * Errors: -ENAMETOOLONG; -EINVAL: no address; -ETIMEDOUT; what connect(2) says
 */
int kms_guest_connect(const char *address, uint64_t deadline_ns, struct kms_err *err);

/** Sends all of it. Errors: -ETIMEDOUT; -EPIPE; -EIO */
int kms_guest_send(int fd, const void *bytes, size_t n, uint64_t deadline_ns);

/** Waits for bytes and takes some. Returns how many. Errors: -ETIMEDOUT; -EPIPE: closed; -EIO */
ssize_t kms_guest_receive(int fd, void *bytes, size_t n, uint64_t deadline_ns);

#endif
