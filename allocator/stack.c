/* SPDX-License-Identifier: BSD-2-Clause */
/* Stack capture: a thread's memory of its stack, and the ways of a capture. */
#include "allocator/stack.h"

#include "allocator/stack_memo.h"
#include "allocator/stack_rule.h"

enum {
	PAGE_SHIFT = 12,
	PROOF_PAGES = 2048, /* so far below the known stack may a frame be that belongs to it */
};

uint64_t kms_stacks_memory_bytes(uint64_t nodes)
{
	return KMS_RULE_PLACES * sizeof(uint64_t) + kms_trie_index_bytes(nodes);
}

void kms_stacks_init(struct kms_stacks *stacks, struct kms_region_header *region,
		     struct kms_unwind *unwind, void *memory)
{
	stacks->rules = memory;
	stacks->unwind = unwind;
	stacks->generation = 1;
	kms_trie_init(&stacks->trie, region, unwind, stacks->rules + KMS_RULE_PLACES);
}

void kms_stacks_new_epoch(struct kms_stacks *stacks)
{
	kms_unwind_forget(stacks->unwind);
	for (unsigned i = 0; i < KMS_RULE_PLACES; i++)
		__atomic_store_n(&stacks->rules[i], 0, __ATOMIC_RELAXED);
	/* pairs with kms_stack_capture: whoever sees it finds no rule from before */
	__atomic_add_fetch(&stacks->generation, 1, __ATOMIC_RELEASE);
}

/* Forgets what hangs on modules or on the stack's memory. */
static void forget(struct kms_stack *stack)
{
	/* pairs with kms_stacks_new_epoch */
	stack->generation = __atomic_load_n(&stack->stacks->generation, __ATOMIC_ACQUIRE);
	stack->rule_generation = (uint64_t)(stack->generation & GENERATION_MASK)
				 << GENERATION_SHIFT;
	stack->count = KMS_STACK_FIRST;
	stack->too_deep = false;
	kms_stack_set_root(stack, KMS_TRIE_ROOT);
	for (unsigned i = 0; i < KMS_STACK_MEMOS; i++)
		stack->memo[i].slot = 0;
	for (unsigned i = 0; i < KMS_STACK_CHILDREN; i++)
		stack->child[i].pc = 0;
}

void kms_stack_init(struct kms_stack *stack, struct kms_stacks *stacks)
{
	stack->busy = 0;
	stack->rules = stacks->rules;
	stack->stacks = stacks;
	stack->zero = 0;
	for (unsigned i = 0; i < KMS_STACK_FIRST; i++)
		stack->entry[i] = (struct kms_stack_entry){(uintptr_t)&stack->zero, 0};
	for (unsigned i = 0; i < KMS_STACK_FOREIGN; i++)
		stack->foreign[i] = 0;
	stack->end = 0;
	stack->low = 0;
	stack->size = 0;
	forget(stack);
}

/*
 * Is the slot on the thread's own stack? What lies between a word of it and its end does, if it
 * can be read at all; so the known part grows downwards by asking for the pages below it.
 */
static bool own_stack(struct kms_stack *stack, uint64_t slot)
{
	uint64_t page = slot >> PAGE_SHIFT;
	uint64_t *foreign = &stack->foreign[page & (KMS_STACK_FOREIGN - 1)];
	uint64_t start = page << PAGE_SHIFT;

	if (stack->end == 0) {
		stack->end = kms_unwind_stack_end(stack->stacks->unwind, slot);
		stack->low = stack->end & ~((UINT64_C(1) << PAGE_SHIFT) - 1);
		stack->size = stack->end - stack->low;
	}
	if (slot >= stack->low)
		return slot < stack->end;
	if (*foreign == page)
		return false;
	if (stack->low - start > (uint64_t)PROOF_PAGES << PAGE_SHIFT ||
	    !kms_unwind_readable(stack->stacks->unwind, start, stack->low)) {
		*foreign = page;
		return false;
	}
	stack->low = start;
	stack->size = stack->end - start;
	return true;
}

/*
 * A capture that finds another one under way has interrupted it, and must not touch what it works
 * on; unless that one was left by a jump: then we are above it on the same stack.
 */
static bool interrupts(struct kms_stack *stack, uint64_t slot)
{
	if (stack->busy == 0)
		return false;
	if (slot - stack->low >= stack->size || slot < stack->busy)
		return true;
	forget(stack);
	return false;
}

static uint32_t capture_slow(struct kms_stack *stack, const struct kms_stack_cursor *start)
{
	uint64_t place = start->sp - sizeof(place);
	uint32_t node;

	if (interrupts(stack, place))
		return kms_stack_walk_apart(stack, *start);
	stack->busy = place;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (stack->generation != __atomic_load_n(&stack->stacks->generation, __ATOMIC_RELAXED))
		forget(stack);
	node = own_stack(stack, place) ? kms_stack_walk_own(stack, start)
				       : kms_stack_walk_apart(stack, *start);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	stack->busy = 0;
	return node;
}

/* Apart from the functions below, so that the usual way needs no stack frame. */
static __attribute__((noinline)) uint32_t capture_unusual(struct kms_stack *stack, uint64_t pc,
							  uint64_t sp, uint64_t fp)
{
	const struct kms_stack_cursor at = {pc, sp, fp, sp - sizeof(pc), pc, 0};

	return capture_slow(stack, &at);
}

uint32_t kms_stack_capture_at(struct kms_stack *stack, uint64_t pc, uint64_t sp, uint64_t fp)
{
	uint64_t slot = sp - sizeof(slot);
	const struct kms_stack_memo *memo = &stack->memo[*guess(stack, slot, pc)];
	uint32_t node;

	COUNT(stack, captures, 1);
	if (UNLIKELY(slot - stack->low >= stack->size || stack->busy != 0 ||
		     stack->generation !=
			     __atomic_load_n(&stack->stacks->generation, __ATOMIC_RELAXED)))
		return capture_unusual(stack, pc, sp, fp);
	stack->busy = slot;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (UNLIKELY(!holds(stack, memo, slot, pc)))
		return kms_stack_capture_new(stack, pc, sp, fp);
	COUNT(stack, memo_hits, 1);
	node = memo->node;
	remember_answer(stack, node);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	stack->busy = 0;
	return node;
}

uint32_t kms_stack_capture_exact(struct kms_stack *stack, const struct kms_frame *start)
{
	/* No word of memory holds this pc: an odd slot is met by no other. */
	const struct kms_stack_cursor at = {start->pc + 1, start->sp, start->fp,
					    start->sp - 1, 0,         NO_SLOT};

	return capture_slow(stack, &at);
}
