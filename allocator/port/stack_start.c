/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/port.h"
#include "allocator/port/fronts.h"
#include "allocator/port/unwind_posix.h"
#include "allocator/stack.h"

struct kms_stacks *kms_stack_make(const struct kms_heap *heap, struct kms_region_header *region)
{
	uint64_t nodes = heap->section[KMS_SEC_NODE].entries;
	struct kms_unwind *unwind = kms_port_meta(sizeof(*unwind));
	struct kms_stacks *stacks = kms_port_meta(sizeof(*stacks));
	void *memory = kms_port_meta(kms_stacks_memory_bytes(nodes));

	if (!unwind || !stacks || !memory)
		return NULL;
	kms_unwind_init(unwind, region);
	kms_stacks_init(stacks, region, unwind, memory);
	return stacks;
}

bool kms_stack_start(struct kms_heap *heap)
{
	heap->stacks = kms_stack_make(heap, heap->region);
	if (heap->stacks)
		heap->stacks->unwind->modules.slot = heap->slot_index;
	return heap->stacks;
}

void kms_stack_modules_gone(struct kms_heap *heap)
{
	if (heap->stacks)
		kms_stacks_new_epoch(heap->stacks);
}
