/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The gdb stub of a guest that was opened: the one it was opened by, the one on the emulator's command
 * line, or one that the emulator opens because QMP asks it to. Private to boot.c.
 */
#ifndef KMS_TRACER_GUEST_BOOT_STUB_H
#define KMS_TRACER_GUEST_BOOT_STUB_H

#include <stdbool.h>

#include "base/err.h"
#include "tracer/guest/guest.h"

/** A connection for a moment. All zero: none. */
struct kms_boot_stub {
	struct kms_gdb *gdb;
	struct kms_guest *guest;
	bool is_borrowed; /* the guest's own: it stays */
	bool is_made;     /* by QMP: it is closed afterwards */
	char folder[64];  /* of its socket then */
};

/**
 * Connects; the guest stands from here on.
 *
 * Errors: -ENOTSUP: the emulator has neither a stub nor QMP (err: what it was to be started with); as
 *         kms_gdb_open(), kms_qmp_monitor()
 */
int kms_boot_stub_open(struct kms_guest *guest, struct kms_boot_stub *stub, struct kms_err *err);

/** Without break points of ours, and the guest goes on if it ran or was promised to. */
void kms_boot_stub_close(struct kms_boot_stub *stub);

#endif
