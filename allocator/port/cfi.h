/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Call frame instructions of x86-64: the row of a pc, reduced to what a walk over return addresses
 * needs: where the CFA, the return address and the caller's rbp are.
 *
 * Pure and bounded like eh_frame.h.
 */
#ifndef KMS_ALLOCATOR_PORT_CFI_H
#define KMS_ALLOCATOR_PORT_CFI_H

#include <stdbool.h>
#include <stdint.h>

#include "allocator/port/eh_frame.h"

/** What a value is made of; the offset is added to it. */
enum kms_cfi_base {
	KMS_CFI_UNKNOWN = 0,
	KMS_CFI_NUMBER,
	KMS_CFI_SP,
	KMS_CFI_FP,
	KMS_CFI_SP_DEREF, /* *(sp + deref_offset) */
	KMS_CFI_FP_DEREF, /* *(fp + deref_offset) */
	KMS_CFI_CFA,
};

struct kms_cfi_value {
	enum kms_cfi_base base;
	int64_t offset;
	int64_t deref_offset;
};

enum kms_cfi_saved {
	KMS_CFI_SAME = 0,  /* still in its register */
	KMS_CFI_UNDEFINED, /* gone; for the return address: the outermost frame */
	KMS_CFI_AT,        /* in memory at @place */
	KMS_CFI_ELSEWHERE, /* in another register, or a value we cannot work out */
};

struct kms_cfi_register {
	enum kms_cfi_saved saved;
	struct kms_cfi_value place;
};

struct kms_cfi_row {
	struct kms_cfi_value cfa;
	struct kms_cfi_register fp;
	struct kms_cfi_register ra;
};

/**
 * The row in force at @address, which lies in the entry's code.
 *
 * Errors: false if the program breaks the rules or needs more than we keep
 * Source: DWARF 5, 6.4; x86-64 psABI, 3.7
 */
bool kms_cfi_row(const struct kms_fde *fde, uint64_t address, struct kms_cfi_row *row);

#endif
