/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What stack capture asks of the place it runs in: how to step out of a frame, which module a pc
 * belongs to, which memory may be read. A process answers from the unwind tables of its modules
 * (port/unwind_posix.c), a guest kernel from frame pointers (guest/unwind_fp.c).
 *
 * All functions may be called from a signal handler; none blocks, none allocates.
 *
 * A "pc" here is always a return address: pc - 1 lies in the instruction that is being executed.
 * Where the exact pc is known (a signal interrupted it), pc + 1 stands for it.
 */
#ifndef KMS_ALLOCATOR_UNWIND_H
#define KMS_ALLOCATOR_UNWIND_H

#include <stdbool.h>
#include <stdint.h>

/** How a frame is left. In all of them the return address lies at CFA - 8, if not said. */
enum kms_rule_kind {
	KMS_RULE_SP = 0,       /* CFA = sp + 8 * cfa */
	KMS_RULE_FP = 1,       /* CFA = fp + 8 * cfa (signed) */
	KMS_RULE_FP_DEREF = 2, /* CFA = *(fp + 8 * cfa), caller's fp at *fp: a realigned stack */
	KMS_RULE_END = 3,    /* the outermost frame; cfa 1: as nothing can have called from here */
	KMS_RULE_SIGNAL = 4, /* return address of a signal handler: the context lies at sp */
	KMS_RULE_CHAIN = 5,  /* nothing known, but it is code: try the frame pointer */
	KMS_RULE_WIDE = 6,   /* too large for 24 bits: cfa and fp are an index, kms_unwind_wide */
	KMS_RULE_BAD = 7,    /* no return address at all: the frame before was the last good one */
};

/**
 * A rule in 24 bits: cfa in bits 0 to 12, fp in bits 13 to 20, kind in bits 21 to 23. With fp = 0
 * the caller's fp is the register as it is, else it was saved at CFA - 8 * fp, which is not below sp.
 */
enum kms_rule_layout {
	KMS_RULE_CFA_BITS = 13,
	KMS_RULE_CFA_MASK = (1 << KMS_RULE_CFA_BITS) - 1,
	KMS_RULE_FP_SHIFT = KMS_RULE_CFA_BITS,
	KMS_RULE_FP_BITS = 8,
	KMS_RULE_FP_MASK = (1 << KMS_RULE_FP_BITS) - 1,
	KMS_RULE_KIND_SHIFT = KMS_RULE_FP_SHIFT + KMS_RULE_FP_BITS,
	KMS_RULE_BITS = KMS_RULE_KIND_SHIFT + 3,
};

static inline uint32_t kms_rule_make(enum kms_rule_kind kind, int32_t cfa, uint32_t fp)
{
	return (uint32_t)kind << KMS_RULE_KIND_SHIFT | fp << KMS_RULE_FP_SHIFT |
	       ((uint32_t)cfa & KMS_RULE_CFA_MASK);
}

static inline enum kms_rule_kind kms_rule_kind(uint32_t rule)
{
	return (enum kms_rule_kind)(rule >> KMS_RULE_KIND_SHIFT & 7);
}

/** A rule whose numbers do not fit: bytes, not words. */
struct kms_rule_wide {
	enum kms_rule_kind kind; /* SP or FP */
	int64_t cfa_bytes;       /* CFA = sp or fp + this */
	int64_t fp_bytes;        /* caller's fp at CFA + this; 0: unchanged; 1: lost */
};

/** State of the port; one in a process. */
struct kms_unwind;

/**
 * The rule of a pc, worked out anew (some 0.3 to 1 us in a process; stack.c keeps the answers).
 *
 * Errors: what cannot be understood is KMS_RULE_CHAIN or KMS_RULE_BAD
 */
uint32_t kms_unwind_rule(struct kms_unwind *unwind, uint64_t pc);

/** The wide rule of an index; NULL for an index that was never handed out. */
const struct kms_rule_wide *kms_unwind_wide(const struct kms_unwind *unwind, uint32_t index);

/**
 * The map epoch of a pc's module; registers the module at first sight. 0: in no module.
 *
 * Each registration is an epoch of its own, so (pc, epoch) names the module for ever.
 */
uint32_t kms_unwind_epoch(struct kms_unwind *unwind, uint64_t pc);

/** False if the module of this epoch may be gone: ask kms_unwind_epoch again. */
bool kms_unwind_epoch_holds(const struct kms_unwind *unwind, uint32_t epoch);

/** Modules may have gone (dlclose): no epoch holds until it was asked for again. */
void kms_unwind_forget(struct kms_unwind *unwind);

/** Reads 8 bytes at any address; false if they cannot be read. */
bool kms_unwind_read(struct kms_unwind *unwind, uint64_t address, uint64_t *value);

/** Can all pages of [start, end) be read, now? */
bool kms_unwind_readable(struct kms_unwind *unwind, uint64_t start, uint64_t end);

/** End of this thread's own stack, given that @sp is on it; 0 unknown. */
uint64_t kms_unwind_stack_end(struct kms_unwind *unwind, uint64_t sp);

/** Where a signal frame keeps what it interrupted, from the sp of KMS_RULE_SIGNAL. */
struct kms_signal_layout {
	uint32_t pc_offset;
	uint32_t sp_offset;
	uint32_t fp_offset;
};

extern const struct kms_signal_layout kms_unwind_signal_layout;

#endif
