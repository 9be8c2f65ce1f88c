/* SPDX-License-Identifier: BSD-2-Clause */
/* Names and addresses of a kernel as a view gives them (schema/snapshot.h), from a table of symbols. */
#ifndef KMS_TRACER_GUEST_KERNEL_NAMES_H
#define KMS_TRACER_GUEST_KERNEL_NAMES_H

#include <stdint.h>

#include "base/err.h"
#include "schema/snapshot.h"
#include "tracer/guest/kallsyms.h"

enum kms_kernel_names_bounds {
	KMS_KERNEL_NAMES_FAR = 1 << 20, /* bytes behind a symbol, from where on it names nothing */
};

/** Shape: as kms_view_ops.symbol, the nearest name included. */
int kms_kernel_names_find(const struct kms_symbols *symbols, const char *name,
			  struct kms_view_symbol *out, struct kms_err *err);

/** Shape: as kms_view_ops.symbol_at. */
int kms_kernel_names_at(const struct kms_symbols *symbols, uint64_t address,
			struct kms_view_symbol *out, struct kms_err *err);

#endif
