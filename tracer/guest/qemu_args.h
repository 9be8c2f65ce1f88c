/* SPDX-License-Identifier: BSD-2-Clause */
/* Shared by the readers of QEMU's command line. */
#ifndef KMS_TRACER_GUEST_QEMU_ARGS_H
#define KMS_TRACER_GUEST_QEMU_ARGS_H

#include <stddef.h>

#include "tracer/guest/qemu.h"

/** Copies a text, cut to its room, always terminated. */
void kms_qemu_copy(char *to, size_t bytes, const char *from);

/** Writes down one KEY=VALUE of an -object. */
void kms_qemu_take_object(struct kms_qemu_back_end *object, const char *key, const char *value);

#endif
