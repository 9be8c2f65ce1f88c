/* SPDX-License-Identifier: BSD-2-Clause */
/* A write into a kernel's memory that somebody asked for by address: compared, written, read back. */
#ifndef KMS_TRACER_GUEST_POKE_H
#define KMS_TRACER_GUEST_POKE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "tracer/guest/space.h"

/**
 * Writes where the memory still holds what is expected.
 *
 * Memory that the kernel itself has write-protected (text, constants) is refused: it may be shared, and
 * the kernel relies on it.
 *
 * Shape:  n 1, 2, 4 or 8, and the address aligned to it
 * Errors: -EINVAL; -EACCES: write-protected; -EAGAIN: it holds something else; -EIO: it holds something
 *         else afterwards; as kms_guest_read_virtual() and kms_guest_write_virtual()
 */
int kms_guest_poke(struct kms_guest_space *space, uint64_t address, const void *expected,
		   const void *value, size_t n, struct kms_err *err);

#endif
