/* SPDX-License-Identifier: BSD-2-Clause */
/* Who wrote what into a Linux guest, kept in memory because there is no trace that could have it. */
#ifndef KMS_TRACER_GUEST_LINUX_AUDIT_H
#define KMS_TRACER_GUEST_LINUX_AUDIT_H

#include <stddef.h>
#include <stdint.h>

#include "schema/snapshot.h"

enum kms_linux_audit_bounds {
	KMS_LINUX_AUDIT_ROWS = 4096, /* the newest are kept */
};

struct kms_linux_audit_row;

/** All zero is empty. Locks: the owner's. */
struct kms_linux_audit {
	struct kms_linux_audit_row *row; /* KMS_LINUX_AUDIT_ROWS, from the first write on */
	uint64_t written;
};

void kms_linux_audit_deinit(struct kms_linux_audit *audit);

/** Notes a write that was tried. Shape: strings are copied, cut to their room */
void kms_linux_audit_write(struct kms_linux_audit *audit, const char *who,
			   const struct kms_memory_write *write, const char *result);

/** Newest first, until emit returns non-zero. Returns 0. */
int kms_linux_audit_each(const struct kms_linux_audit *audit,
			 int (*emit)(void *arg, const struct kms_view_audit *row), void *arg);

#endif
