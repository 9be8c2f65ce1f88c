/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `kmemscope attach` to a guest whose kernel is not ours: a view of it behind the API, until the emulator
 * ends or the caller is asked to let it go. Private to entry.c, linux_front.c and netbsd_front.c.
 */
#ifndef KMS_TRACER_GUEST_KERNEL_FRONT_H
#define KMS_TRACER_GUEST_KERNEL_FRONT_H

#include <stdbool.h>
#include <stddef.h>

#include "tracer/attach_front.h"
#include "tracer/guest/opened.h"

/**
 * Serves the view and stays; no trace is written. Shape: front has its program, command, pid and view, and no session yet.
 *
 * Owner:  the view is the caller's, nobody uses it afterwards
 * Errors: as kms_attach_front_session(), serve_start(), kms_session_publish()
 */
int kms_kernel_front_run(struct kms_attach_front *front, struct kms_guest_opened *opened,
			 bool (*is_lost)(void *arg), void *arg, struct kms_err *err);

/**
 * Stays until a signal comes, the emulator ends (a RAM file does not) or is_over says so; then the result
 * says whether the guest goes on without us.
 */
void kms_kernel_front_stay(struct kms_attach_front *front, const struct kms_guest_opened *opened,
			   bool (*is_over)(void *arg), void *arg);

/** Where what was found in a kernel is kept; its parent is there then. NULL: nowhere. Shape: room of PATH_MAX */
const char *kms_kernel_front_folder(char *room);

#endif
