/* SPDX-License-Identifier: BSD-2-Clause */
/* Does a memo still hold? The one question of the usual way of a capture. */
#ifndef KMS_ALLOCATOR_STACK_MEMO_H
#define KMS_ALLOCATOR_STACK_MEMO_H

#include "allocator/stack_impl.h"

/*
 * A program comes the same way again and again: which memo will answer is guessed from the last
 * answer and the key. A wrong guess costs a look at that memo.
 */
static inline uint16_t *guess(struct kms_stack *stack, uint64_t slot, uint64_t pc)
{
	return &stack->way[(pc ^ pc >> 9 ^ slot >> 4 ^ stack->history) & (KMS_STACK_WAYS - 1)];
}

static inline void remember_answer(struct kms_stack *stack, uint32_t node)
{
	stack->history = node * MIX >> CHILD_SHIFT;
}

/* Not 0 above WORD_SHIFT if that word is not there any more. */
static inline uint64_t changes(uint64_t slot, uint64_t word)
{
	uint64_t address = slot + (uint64_t)(int64_t)(int16_t)word * sizeof(word);

	return word_at(address) << WORD_SHIFT ^ word;
}

static inline bool same_key(const struct kms_stack_memo *memo, uint64_t slot, uint64_t pc)
{
	return memo->slot == slot && memo->pc == pc;
}

/* Are all words from entry @last outwards as they were? */
static inline bool outer_words_hold(const struct kms_stack *stack, uint32_t last, uint64_t wrong)
{
	const struct kms_stack_entry *first = &stack->entry[KMS_STACK_FIRST];
	uint64_t also = 0;

	for (const struct kms_stack_entry *entry = &stack->entry[last]; entry >= first;
	     entry -= 4) {
		wrong |= word_at(entry[0].address) ^ entry[0].value;
		also |= word_at(entry[-1].address) ^ entry[-1].value;
		wrong |= word_at(entry[-2].address) ^ entry[-2].value;
		also |= word_at(entry[-3].address) ^ entry[-3].value;
	}
	return !(wrong | also);
}

static inline bool base_holds(const struct kms_stack *stack, const struct kms_stack_memo *memo)
{
	return memo->base < stack->count && stack->meta[memo->base].identity == memo->base_identity;
}

/* Is everything that the memo's answer depends on still there? */
static inline bool holds(const struct kms_stack *stack, const struct kms_stack_memo *memo,
			 uint64_t slot, uint64_t pc)
{
	uint64_t wrong = 0, also = 0;

	if (!same_key(memo, slot, pc) || !base_holds(stack, memo))
		return false;
#pragma GCC unroll 2
	for (unsigned i = 0; i < KMS_STACK_MEMO_WORDS; i += 2) {
		wrong |= changes(slot, memo->word[i]);
		also |= changes(slot, memo->word[i + 1]);
	}
	return outer_words_hold(stack, memo->base, (wrong | also) >> WORD_SHIFT);
}

#endif
