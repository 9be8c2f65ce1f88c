/* SPDX-License-Identifier: BSD-2-Clause */
/* Who wrote what into a guest whose kernel is not ours, kept in memory because there is no trace that could have it. */
#ifndef KMS_TRACER_GUEST_WRITE_AUDIT_H
#define KMS_TRACER_GUEST_WRITE_AUDIT_H

#include <stddef.h>
#include <stdint.h>

#include "schema/snapshot.h"

enum kms_write_audit_bounds {
	KMS_WRITE_AUDIT_ROWS = 4096, /* the newest are kept */
};

struct kms_write_audit_row;

/** All zero is empty. Locks: the owner's. */
struct kms_write_audit {
	struct kms_write_audit_row *row; /* KMS_WRITE_AUDIT_ROWS, from the first write on */
	uint64_t written;
};

void kms_write_audit_deinit(struct kms_write_audit *audit);

/** Notes a write that was tried. Shape: strings are copied, cut to their room */
void kms_write_audit_add(struct kms_write_audit *audit, const char *who,
			 const struct kms_memory_write *write, const char *result);

/** Newest first, until emit returns non-zero. Returns 0. */
int kms_write_audit_each(const struct kms_write_audit *audit,
			 int (*emit)(void *arg, const struct kms_view_audit *row), void *arg);

#endif
