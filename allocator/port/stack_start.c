/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/port.h"
#include "allocator/port/fronts.h"
#include "allocator/port/unwind_posix.h"
#include "allocator/stack.h"

bool kms_stack_start(struct kms_heap *heap)
{
	uint64_t nodes = heap->section[KMS_SEC_NODE].entries;
	struct kms_unwind *unwind = kms_port_meta(sizeof(*unwind));
	struct kms_stacks *stacks = kms_port_meta(sizeof(*stacks));
	void *memory = kms_port_meta(kms_stacks_memory_bytes(nodes));

	if (!unwind || !stacks || !memory)
		return false;
	kms_unwind_init(unwind, heap->region);
	unwind->modules.slot = heap->slot_index;
	kms_stacks_init(stacks, heap->region, unwind, memory);
	heap->stacks = stacks;
	return true;
}

void kms_stack_modules_gone(struct kms_heap *heap)
{
	if (heap->stacks)
		kms_stacks_new_epoch(heap->stacks);
}
