/* SPDX-License-Identifier: BSD-2-Clause */
/* Memos: whole stacks, found by where they begin. */
#include "allocator/stack_memo.h"

enum {
	MEMO_CHAIN = 4,
};

/*
 * A memo's place follows from its key, slot and pc. Stacks with the same key stand in a chain of
 * memos: where one does not fit, the first word that differs and its value lead to the next.
 */
static inline uint32_t first_place(uint64_t slot, uint64_t pc)
{
	return (uint32_t)(pc ^ pc >> 9 ^ slot >> 4) & (KMS_STACK_MEMOS - 1);
}

static inline uint32_t next_place(uint32_t place, uint64_t word)
{
	return (uint32_t)((word ^ place) * MIX >> CHILD_SHIFT) & (KMS_STACK_MEMOS - 1);
}

/*
 * The innermost word of a memo with the right key that is not there any more: something that tells
 * what is there now. 0 if all are as they were.
 */
static uint64_t changed_word(const struct kms_stack_memo *memo, uint64_t slot)
{
	for (unsigned i = 0; i < KMS_STACK_MEMO_WORDS; i++) {
		uint64_t change = changes(slot, memo->word[i]);

		if (change >> WORD_SHIFT)
			return (change ^ memo->word[i]) + i + 1;
	}
	return 0;
}

/* The memo of the same key that holds, NULL if none does. */
static const struct kms_stack_memo *follow_memos(const struct kms_stack *stack, uint64_t slot,
						 uint64_t pc)
{
	uint32_t place = first_place(slot, pc);

	for (unsigned i = 0; i < MEMO_CHAIN; i++) {
		const struct kms_stack_memo *memo = &stack->memo[place];
		uint64_t changed;

		if (!same_key(memo, slot, pc))
			return NULL;
		changed = changed_word(memo, slot);
		if (!changed) {
			bool good =
				base_holds(stack, memo) && outer_words_hold(stack, memo->base, 0);
			return good ? memo : NULL;
		}
		place = next_place(place, changed);
	}
	return NULL;
}

static struct kms_stack_memo *place_memo(struct kms_stack *stack, uint64_t slot, uint64_t pc)
{
	uint32_t place = first_place(slot, pc);
	struct kms_stack_memo *memo = &stack->memo[place];

	for (unsigned i = 1; i < MEMO_CHAIN && same_key(memo, slot, pc); i++) {
		uint64_t changed = changed_word(memo, slot);

		if (!changed)
			break;
		place = next_place(place, changed);
		memo = &stack->memo[place];
	}
	return memo;
}

/* An entry as a memo's word; 0 if it is too far away. */
static uint64_t memo_word(const struct kms_stack_entry *entry, uint64_t slot)
{
	int64_t words = (int64_t)(entry->address - slot) / (int64_t)sizeof(slot);

	if (words > INT16_MAX || words < INT16_MIN)
		return 0;
	return entry->value << WORD_SHIFT | (uint16_t)words;
}

/* Keeps the answer together with all that it depends on, where that fits into a memo. */
static const struct kms_stack_memo *memorize(struct kms_stack *stack,
					     const struct kms_stack_cursor *start, uint32_t node)
{
	struct kms_stack_memo *memo = place_memo(stack, start->slot, start->pc);
	uint32_t last = stack->count - 1; /* the start's own slot */
	const struct kms_stack_entry own[2] = {
		{start->slot,                    start->pc},
		{start->slot - sizeof(uint64_t), start->fp},
	};
	uint32_t n = 0, from = last;

	memo->slot = 0;
	if (last < KMS_STACK_FIRST || stack->entry[last].address != start->slot ||
	    stack->meta[last].fp == KMS_MEET_NEVER)
		return memo;
	if (stack->meta[last].fp != KMS_MEET)
		memo->word[n++] = memo_word(&own[1], start->slot);
	while (n < KMS_STACK_MEMO_WORDS && --from >= KMS_STACK_FIRST)
		memo->word[n++] = memo_word(&stack->entry[from], start->slot);
	while (n < KMS_STACK_MEMO_WORDS)
		memo->word[n++] = memo_word(&own[0], start->slot);
	from = from < KMS_STACK_FIRST ? KMS_STACK_FIRST - 1 : from - 1;
	while (stack->meta[from].fp == KMS_MEET_NEVER) /* ends at @last, which is a frame */
		from++;
	for (n = 0; n < KMS_STACK_MEMO_WORDS; n++) {
		if (!memo->word[n])
			return memo;
	}
	memo->pc = start->pc;
	memo->base_identity = stack->meta[from].identity;
	memo->base = from;
	memo->node = node;
	memo->slot = start->slot;
	return memo;
}

uint32_t kms_stack_capture_new(struct kms_stack *stack, uint64_t pc, uint64_t sp, uint64_t fp)
{
	const struct kms_stack_cursor at = {pc, sp, fp, sp - sizeof(pc), pc, 0};
	const struct kms_stack_memo *memo = follow_memos(stack, at.slot, pc);
	uint32_t node;

	if (memo) {
		COUNT(stack, chain_hits, 1);
		node = memo->node;
	} else {
		node = kms_stack_walk_own(stack, &at);
		memo = memorize(stack, &at, node);
	}
	*guess(stack, at.slot, pc) = (uint16_t)(memo - stack->memo);
	remember_answer(stack, node);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	stack->busy = 0;
	return node;
}
