/* SPDX-License-Identifier: BSD-2-Clause */
/* What the parts of stack capture share. The essay is stack.md. */
#ifndef KMS_ALLOCATOR_STACK_IMPL_H
#define KMS_ALLOCATOR_STACK_IMPL_H

#include "allocator/stack.h"

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#ifdef KMS_STACK_STATS
#define COUNT(stack, what, n) ((stack)->stats.what += (n))
#else
#define COUNT(stack, what, n) ((void)0)
#endif

/** An odd factor: mixing by it loses no bit. */
#define MIX UINT64_C(0x9e3779b97f4a7c15)

enum {
	CHILD_SHIFT = 40,
	WORD_SHIFT = 16, /* in a memo's word */
};

/* Flags of a walked frame. */
enum {
	USES_FP = 1,     /* leaving it needs the fp of its arrival */
	LOSES_FP = 2,    /* its caller's fp cannot be told */
	NO_SLOT = 4,     /* its pc is no return address in memory */
	INTERRUPTED = 8, /* its sp came from elsewhere too */
	GUESSED = 16,    /* found by fp, without knowing that fp is one */
};

/* Where a walk is: in the frame of @pc, having come by @slot. */
struct kms_stack_cursor {
	uint64_t pc;
	uint64_t sp;
	uint64_t fp;
	uint64_t slot;
	uint64_t value;
	uint32_t flags;
};

/* A walk under way. */
struct kms_stack_walk {
	struct kms_stack *stack;
	bool apart; /* on memory that nobody promised us */
};

enum kms_stack_outcome {
	OUT_NEXT, /* in the caller's frame now */
	OUT_END,  /* that was the outermost one */
	OUT_CUT,  /* the rest cannot be told */
	OUT_BAD,  /* nor is this one a frame */
};

static inline uint64_t word_at(uint64_t address)
{
	return *(const uint64_t *)(uintptr_t)address;
}

/* stack_step.c: from a frame to its caller's. */

/** Leaves the frame by any rule. */
enum kms_stack_outcome kms_stack_step(const struct kms_stack_walk *walk,
				      struct kms_stack_cursor *at, struct kms_stack_walked *frame);

/* stack_walk.c: captures that no memo answers. */

/** Nothing remembered, nothing promised: a stack that is not the thread's own, or interrupted. */
uint32_t kms_stack_walk_apart(struct kms_stack *stack, struct kms_stack_cursor at);

/** On the thread's own stack: walks as far as what is remembered, and remembers the rest. */
uint32_t kms_stack_walk_own(struct kms_stack *stack, const struct kms_stack_cursor *start);

/** What the outermost remembered frame hangs on: the root, or the place where a stack was cut. */
void kms_stack_set_root(struct kms_stack *stack, uint32_t root);

/* stack_memo.c: whole stacks, by where they begin. */

/**
 * A capture on the thread's own stack that the guessed memo does not answer; @busy is set, and reset. By
 * another memo, or by a walk, which then leaves one.
 */
uint32_t kms_stack_capture_new(struct kms_stack *stack, uint64_t pc, uint64_t sp, uint64_t fp);

#endif
