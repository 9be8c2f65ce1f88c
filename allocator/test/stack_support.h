/* SPDX-License-Identifier: BSD-2-Clause */
/* A region with the tables that stack capture writes, for tests and benches; and the stacks on it. */
#ifndef KMS_ALLOCATOR_TEST_STACK_SUPPORT_H
#define KMS_ALLOCATOR_TEST_STACK_SUPPORT_H

#include <stdbool.h>
#include <stdint.h>

#include "allocator/port/unwind_posix.h"
#include "allocator/stack.h"

struct stack_support {
	struct kms_region_header *region;
	struct kms_unwind *unwind;
	struct kms_stacks *stacks;
};

/** Lays everything out in fresh memory (never given back). @nodes: room of the node table. */
void stack_support_init(struct stack_support *support, uint32_t nodes);

/** Zeroed pages. */
void *stack_support_pages(uint64_t bytes);

/** A thread's memory, ready for use by the calling thread. */
struct kms_stack *stack_support_thread(const struct stack_support *support);

/** The frames of a node, innermost first; at most @max. Returns their number. */
unsigned stack_support_frames(const struct stack_support *support, uint32_t node, uint64_t *pcs,
			      unsigned max);

/** Is the outermost frame of this node marked cut? */
bool stack_support_is_cut(const struct stack_support *support, uint32_t node);

/** Nodes in use. */
uint64_t stack_support_nodes(const struct stack_support *support);

const char *stack_support_string(const struct stack_support *support, uint32_t index);

#endif
