/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Captures that no memo answers: walks over the frames that are not remembered yet, and what is
 * remembered of them.
 */
#include "allocator/stack_rule.h"

enum {
	FRAME_WORDS = 3, /* at most so many entries make a frame */
};

void kms_stack_set_root(struct kms_stack *stack, uint32_t root)
{
	stack->meta[KMS_STACK_FIRST - 1] = (struct kms_stack_meta){
		.identity = (uint64_t)root << 32,
		.fp = KMS_MEET,
		.node = root,
	};
}

static __attribute__((noinline)) uint32_t
find_child(struct kms_stack *stack, struct kms_stack_child *place, uint32_t parent, uint64_t pc)
{
	uint32_t node = kms_trie_child(&stack->stacks->trie, parent, pc);

	COUNT(stack, child_misses, 1);
	*place = (struct kms_stack_child){pc, parent, node};
	return node;
}

static inline uint32_t child_of(struct kms_stack *stack, uint32_t parent, uint64_t pc)
{
	uint64_t hash = (pc * MIX) >> CHILD_SHIFT ^ parent;
	struct kms_stack_child *place = &stack->child[hash & (KMS_STACK_CHILDREN - 1)];

	if (LIKELY(place->pc == pc && place->parent == parent))
		return place->node;
	return find_child(stack, place, parent, pc);
}

uint32_t kms_stack_walk_apart(struct kms_stack *stack, struct kms_stack_cursor at)
{
	const struct kms_stack_walk walk = {stack, true};
	uint64_t pcs[KMS_STACK_APART];
	unsigned count = 0;
	uint32_t node = (uint32_t)KMS_TRIE_CUT;
	enum kms_stack_outcome outcome;

	COUNT(stack, apart, 1);
	do {
		struct kms_stack_walked frame = {0};

		pcs[count++] = at.pc;
		outcome = kms_stack_step(&walk, &at, &frame);
	} while (outcome == OUT_NEXT && count < KMS_STACK_APART);
	if (outcome == OUT_END)
		node = KMS_TRIE_ROOT;
	else if (outcome == OUT_BAD && count > 1)
		count--;
	while (count > 0)
		node = kms_trie_child(&stack->stacks->trie, node, pcs[--count]);
	return node;
}

/* Drops what is remembered from the outermost word on that has changed. */
static uint32_t verify(struct kms_stack *stack, uint32_t count)
{
	const struct kms_stack_entry *entry = stack->entry;
	uint32_t i = KMS_STACK_FIRST;

	COUNT(stack, verified, count - KMS_STACK_FIRST);
	while (i < count && word_at(entry[i].address) == entry[i].value)
		i++;
	return i;
}

static inline bool meets(const struct kms_stack *stack, uint32_t count,
			 const struct kms_stack_cursor *at)
{
	uint64_t fp = stack->meta[count - 1].fp;

	return fp == KMS_MEET || (fp == at->fp && fp != KMS_MEET_NEVER);
}

/*
 * Walks from @at until it comes to a remembered frame, to the outermost frame or to a loss, over
 * *walked frames at most. Leaves the frames in stack->walked, innermost first, and their number in
 * *walked; *count is what remains of the remembered ones. OUT_NEXT: it came to a remembered one, or
 * to the limit.
 */
static enum kms_stack_outcome walk_own(struct kms_stack *stack, struct kms_stack_cursor *at,
				       uint32_t *count, uint32_t *walked)
{
	uint32_t limit = *walked;
	const struct kms_stack_walk walk = {stack, false};
	const struct kms_stack_entry *entry = stack->entry;
	uint64_t end = stack->end;
	uint32_t left = *count, n = 0;
	enum kms_stack_outcome outcome = OUT_NEXT;

	while (n < limit) {
		struct kms_stack_walked *frame = &stack->walked[n];
		uint64_t rule, slot;

		while (left > KMS_STACK_FIRST && entry[left - 1].address < at->slot)
			left--;
		if (left > KMS_STACK_FIRST && entry[left - 1].address == at->slot) {
			if (meets(stack, left, at))
				break;
			left--;
		}
		n++;
		frame->slot = at->slot;
		frame->value = at->value;
		frame->pc = at->pc;
		frame->fp = at->fp;
		frame->save = 0;
		frame->via = 0;
		frame->flags = at->flags;
		rule = quick_rule(stack, at->pc);
		slot = at->sp + (rule & KMS_RULE_CFA_MASK) * 8 - sizeof(slot);
		if (LIKELY(rule >> KMS_RULE_KIND_SHIFT == 0 && slot > at->slot && slot < end)) {
			if (rule >> KMS_RULE_FP_SHIFT) {
				frame->save = slot + 8 - (rule >> KMS_RULE_FP_SHIFT) * 8;
				at->fp = word_at(frame->save);
			}
			at->slot = slot;
			at->sp = slot + sizeof(slot);
			at->pc = word_at(slot);
			at->value = at->pc;
			at->flags = 0;
			continue;
		}
		outcome = kms_stack_step(&walk, at, frame);
		if (outcome != OUT_NEXT)
			break;
	}
	*count = left;
	*walked = n;
	return outcome;
}

/* Remembering, from the outermost frame inwards. */
struct recorder {
	struct kms_stack *stack;
	uint32_t count;
	uint32_t node; /* of the last frame */
	bool needs_fp; /* what is known of it depends on the fp of its arrival, which was @fp */
	uint64_t fp;
};

/*
 * The identity is node << 32 | low half of address / 8: unique as long as a stack has less than
 * 32 GiB. Where the fp counts too it is mixed in, one to one for the same node and address.
 */
static inline void record_word(struct recorder *to, uint64_t address, uint64_t value, uint64_t fp)
{
	struct kms_stack *stack = to->stack;
	uint64_t identity = (uint64_t)to->node << 32 | (uint32_t)(address / sizeof(value));

	stack->entry[to->count] = (struct kms_stack_entry){address, value};
	stack->meta[to->count] = (struct kms_stack_meta){
		.identity = identity ^ fp * MIX,
		.fp = fp,
		.node = to->node,
	};
	to->count++;
}

/*
 * Remembers a frame that depends on more than the words at its slot and its caller's: on fp, or on
 * what a signal handler interrupted. Words read on the step out of it go between the two.
 */
static __attribute__((noinline)) void record_careful(struct recorder *to,
						     const struct kms_stack_walked *frame)
{
	uint64_t fp = KMS_MEET;

	if (frame->via)
		record_word(to, frame->via, frame->via_value, KMS_MEET_NEVER);
	if (frame->save && to->needs_fp)
		record_word(to, frame->save, to->fp, KMS_MEET_NEVER);
	to->needs_fp = frame->flags & USES_FP ||
		       (to->needs_fp && !frame->save && !(frame->flags & LOSES_FP));
	to->fp = frame->fp;
	to->node = child_of(to->stack, to->node, frame->pc);
	if (frame->flags & NO_SLOT)
		return;
	if (to->needs_fp)
		fp = frame->fp > KMS_MEET_NEVER ? frame->fp : KMS_MEET_NEVER;
	if (frame->flags & INTERRUPTED)
		fp = KMS_MEET_NEVER;
	record_word(to, frame->slot, frame->value, fp);
}

/*
 * Appends the walked frames to the @count remembered ones. Returns the stack's node, or
 * KMS_NO_INDEX if there is no room to remember all; then nothing is remembered.
 */
static uint32_t record(struct kms_stack *stack, uint32_t count, uint32_t walked)
{
	const struct kms_stack_meta *outer = &stack->meta[count - 1];
	struct recorder to = {stack, count, outer->node, outer->fp != KMS_MEET, outer->fp};

	while (walked > 0) {
		const struct kms_stack_walked *frame = &stack->walked[--walked];

		if (UNLIKELY(to.count > KMS_STACK_ENTRIES - FRAME_WORDS)) {
			stack->count = KMS_STACK_FIRST;
			return KMS_NO_INDEX;
		}
		if (UNLIKELY(frame->flags || to.needs_fp)) {
			record_careful(&to, frame);
			continue;
		}
		to.node = child_of(stack, to.node, frame->pc);
		record_word(&to, frame->slot, frame->value, KMS_MEET);
	}
	stack->count = to.count;
	return to.node;
}

/* Cuts the stack to the innermost frames: there is no room to remember all. */
static uint32_t start_over(struct kms_stack *stack, const struct kms_stack_cursor *start)
{
	struct kms_stack_cursor at = *start;
	uint32_t count = KMS_STACK_FIRST;
	uint32_t walked = KMS_STACK_APART;

	(void)walk_own(stack, &at, &count, &walked);
	kms_stack_set_root(stack, (uint32_t)KMS_TRIE_CUT);
	stack->too_deep = true;
	return record(stack, KMS_STACK_FIRST, walked);
}

uint32_t kms_stack_walk_own(struct kms_stack *stack, const struct kms_stack_cursor *start)
{
	const struct kms_stack_entry *entry = stack->entry;
	uint32_t count = stack->count;
	struct kms_stack_cursor at = *start;
	enum kms_stack_outcome outcome;
	uint32_t walked = KMS_STACK_ENTRIES;
	uint32_t node;

	while (count > KMS_STACK_FIRST && entry[count - 1].address < at.slot)
		count--;
	count = verify(stack, count);
	if (UNLIKELY(stack->too_deep) && count < KMS_STACK_FIRST + KMS_STACK_LEAST) {
		stack->too_deep = false;
		count = KMS_STACK_FIRST;
	}
	outcome = walk_own(stack, &at, &count, &walked);
	COUNT(stack, walked, walked);
	if (outcome != OUT_NEXT) {
		count = KMS_STACK_FIRST;
		kms_stack_set_root(stack,
				   outcome == OUT_END ? KMS_TRIE_ROOT : (uint32_t)KMS_TRIE_CUT);
		if (outcome == OUT_BAD && walked > 1)
			walked--;
	}
	node = walked < KMS_STACK_ENTRIES ? record(stack, count, walked) : KMS_NO_INDEX;
	return LIKELY(node != KMS_NO_INDEX) ? node : start_over(stack, start);
}
