/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `kmemscope attach` to a guest in which there is an unmodified Linux: its view behind the API, until
 * the emulator ends or the caller is asked to let it go. No trace is written. Private to guest/run.c.
 */
#ifndef KMS_TRACER_GUEST_LINUX_FRONT_H
#define KMS_TRACER_GUEST_LINUX_FRONT_H

#include "tracer/attach_front.h"
#include "tracer/guest/linux_view.h"
#include "tracer/guest/opened.h"

/**
 * Looks for a Linux kernel and starts its view. Symbols are kept in the user's cache folder.
 *
 * Errors: as kms_linux_view_start()
 */
int kms_linux_front_find(const struct kms_attach_front *front, struct kms_guest_opened *opened,
			 struct kms_linux_view **view, struct kms_err *err);

/**
 * Serves the view and stays. Shape: front has its program, command and pid, and no session yet.
 *
 * Owner:  stops the view
 * Errors: as kms_attach_front_session(), serve_start(), kms_session_publish()
 */
int kms_linux_front_run(struct kms_attach_front *front, struct kms_guest_opened *opened,
			struct kms_linux_view *view, struct kms_err *err);

#endif
