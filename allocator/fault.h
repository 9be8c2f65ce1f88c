/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Faults: one struct, one function that finds out what a pointer really is, one policy.
 */
#ifndef KMS_ALLOCATOR_FAULT_H
#define KMS_ALLOCATOR_FAULT_H

#include "allocator/impl.h"

struct kms_frame;

/** What happens at a finding: kms_fault.policy. */
enum kms_policy {
	KMS_POLICY_REPORT = 0,
	KMS_POLICY_STOP = 1,
	KMS_POLICY_PANIC = 2,
};

/** What somebody noticed; the rest is found out. */
struct kms_finding {
	uint32_t kind;   /* enum kms_fault_kind, as far as known */
	uint32_t access; /* enum kms_fault_access */
	uintptr_t address;
	uintptr_t block;         /* the block at fault, if it is not the one at @address; else 0 */
	uint64_t argument_bytes; /* size given by the caller */
	uint64_t expected, found;
	uint32_t stack; /* of the access; 0: captured from @frame */
	const struct kms_frame *frame;
	uint32_t argument_cache;     /* KMS_NO_INDEX */
	const struct kms_gone *gone; /* the block at fault, if it is no block any more; else NULL */
	const char *text;            /* the original's message, or NULL */
};

/** Where a pointer points. */
struct kms_place {
	struct kms_span *span; /* NULL: not in the heap */
	struct kms_side *side; /* NULL: between blocks */
	uintptr_t block;       /* start of the block that holds it, 0 none */
	uint64_t block_bytes;  /* requested size; without checks the size of the slot */
	bool live;
	uint32_t index;
};

/** Finds the block that holds @p, or the one that ends just before it. */
void kms_place_find(const struct kms_heap *heap, uintptr_t p, struct kms_place *place);

/**
 * Publishes a finding: completes it from the side tables, writes it into the fault table and the
 * ring, and acts by policy. Returns if the policy lets the program go on: its index in
 * KMS_SEC_FAULT, KMS_NO_INDEX if the table is full.
 *
 * Locks: no allocator lock held; between kms_enter and kms_leave
 */
uint32_t kms_fault_raise(struct kms_local *t, const struct kms_finding *finding);

/** The same for a broken pattern byte at finding->address: expected, found and text are filled in. */
void kms_fault_zone(struct kms_local *t, struct kms_finding *finding);

/** The same for a broken byte of poison: kind, text and what follows from the address. @finding has
 * address, expected, found, access and stack or frame. */
void kms_fault_poison(struct kms_local *t, struct kms_finding *finding);

/** The block about to be reused must still carry the poison; raises modified_after_free if not.
 * @node: stack of the allocation that found it. */
void kms_fault_check_poison(struct kms_local *t, uint8_t *p, struct kms_side *side, uint32_t node);

/**
 * Looks at the pattern bytes around a live block; raises overflow or underflow for what is broken
 * and mends it. Returns the number of findings.
 *
 * With KMS_ACCESS_CHECK others may free or resize the block meanwhile, who come here for a broken one,
 * too: it is mended only as long as it is what the side entry said.
 * Locks: takes mend_lock
 */
unsigned kms_fault_check_zones(struct kms_local *t, const struct kms_span *span, uint8_t *p,
			       struct kms_side *side, const struct kms_frame *frame,
			       uint32_t access);

/** A finding about a pointer that somebody gave to a free function, kind still open. */
void kms_fault_bad_free(struct kms_local *t, uintptr_t p, uint64_t argument_bytes,
			const struct kms_frame *frame);

/**
 * A live block of cache @owner was given to @caller ("kmem_free", ...), which cannot take it back.
 * @caller_cache: index of the cache the caller meant, or KMS_NO_INDEX
 */
/* NOLINTNEXTLINE(readability-function-size): both caches, and the call */
void kms_fault_wrong_cache(struct kms_local *t, uintptr_t p, const char *owner, const char *caller,
			   uint32_t caller_cache, const struct kms_frame *frame);

#endif
