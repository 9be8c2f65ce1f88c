/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * `kmemscope attach` to a guest in which there is an unmodified Linux: its view behind the API and its
 * kmem events in a trace, until the emulator ends or the caller is asked to let it go. Private to
 * guest/run.c.
 */
#ifndef KMS_TRACER_GUEST_LINUX_FRONT_H
#define KMS_TRACER_GUEST_LINUX_FRONT_H

#include "tracer/attach_front.h"
#include "tracer/guest/entry.h"

/**
 * Serves the view and stays. Shape: front has its program, command and pid, and no session yet.
 *
 * Owner:  stops the view: entry has none then
 * Errors: as kms_attach_front_output(), kms_attach_front_session(), kms_attach_front_start()
 */
int kms_linux_front_run(struct kms_attach_front *front, struct kms_guest_entry *entry,
			struct kms_err *err);

#endif
