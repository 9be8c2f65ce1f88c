/* SPDX-License-Identifier: BSD-2-Clause */
/* One step of a walk: the rule of a pc, and out of its frame by it. */
#include "allocator/stack_rule.h"

enum {
	RED_ZONE_BYTES = 128, /* below sp, where an interrupted function's words still are */
};

/* NOLINTNEXTLINE(readability-non-const-parameter): an atomic operation writes there */
static void keep_rule(uint64_t *line, unsigned way, uint64_t word)
{
	unsigned place = way;

	for (unsigned i = 0; i < LINE_WORDS; i++) {
		if (!__atomic_load_n(&line[(way + i) % LINE_WORDS], __ATOMIC_RELAXED)) {
			place = (way + i) % LINE_WORDS;
			break;
		}
	}
	__atomic_store_n(&line[place], word, __ATOMIC_RELAXED);
}

/* The rule of a pc that is not at its usual place of the table. */
static __attribute__((noinline)) uint32_t find_rule(struct kms_stack *stack, uint64_t pc)
{
	uint64_t mixed = pc * MIX;
	uint64_t key = mixed << TAG_SHIFT | stack->rule_generation;
	uint64_t *line = &stack->rules[(mixed >> LINE_SHIFT & LINE_MASK) * LINE_WORDS];
	uint32_t rule;

	for (unsigned i = 0; i < LINE_WORDS; i++) {
		uint64_t rest = __atomic_load_n(&line[i], __ATOMIC_RELAXED) ^ key;

		if (rest >> KMS_RULE_BITS == 0)
			return (uint32_t)rest;
	}
	COUNT(stack, rule_misses, 1);
	rule = kms_unwind_rule(stack->stacks->unwind, pc);
	keep_rule(line, mixed >> WAY_SHIFT & (LINE_WORDS - 1), key | rule);
	return rule;
}

/* Reads a word of the stack above the frame we are in. */
static bool read_word(const struct kms_stack_walk *walk, const struct kms_stack_cursor *at,
		      uint64_t address, uint64_t *value)
{
	struct kms_stack *stack = walk->stack;

	if (address % sizeof(*value))
		return false;
	if (address - stack->low < stack->size) {
		if (!walk->apart && address + RED_ZONE_BYTES < at->sp)
			return false;
		*value = word_at(address);
		return true;
	}
	return walk->apart && kms_unwind_read(stack->stacks->unwind, address, value);
}

/* Moves to the caller's frame, given the CFA of this one. */
static enum kms_stack_outcome leave(const struct kms_stack_walk *walk, struct kms_stack_cursor *at,
				    uint64_t cfa)
{
	uint64_t slot = cfa - sizeof(slot);
	uint64_t pc;

	if (slot < at->sp || slot <= at->slot || !read_word(walk, at, slot, &pc))
		return OUT_CUT;
	if (pc == 0)
		return OUT_END;
	at->slot = slot;
	at->sp = cfa;
	at->pc = pc;
	at->value = pc;
	at->flags = 0;
	return OUT_NEXT;
}

/* Finds the caller's fp, saved at @place (0: still in its register). */
static void restore_fp(const struct kms_stack_walk *walk, const struct kms_stack_cursor *at,
		       uint64_t place, struct kms_stack_walked *frame, uint64_t *fp)
{
	frame->save = place;
	if (place && !read_word(walk, at, place, fp)) {
		frame->save = 0;
		frame->flags |= LOSES_FP;
		*fp = 0;
	}
}

static enum kms_stack_outcome leave_known(const struct kms_stack_walk *walk,
					  struct kms_stack_cursor *at,
					  const struct kms_rule_wide *rule,
					  struct kms_stack_walked *frame)
{
	uint64_t cfa = (rule->kind == KMS_RULE_FP ? at->fp : at->sp) + (uint64_t)rule->cfa_bytes;
	uint64_t fp = at->fp;

	if (rule->kind == KMS_RULE_FP)
		frame->flags |= USES_FP;
	if (rule->fp_bytes == 1) {
		frame->flags |= LOSES_FP;
		fp = 0;
	} else if (rule->fp_bytes) {
		restore_fp(walk, at, cfa + (uint64_t)rule->fp_bytes, frame, &fp);
	}
	at->fp = fp;
	return leave(walk, at, cfa);
}

static enum kms_stack_outcome leave_realigned(const struct kms_stack_walk *walk,
					      struct kms_stack_cursor *at, int64_t words,
					      struct kms_stack_walked *frame)
{
	uint64_t fp = at->fp;
	uint64_t cfa;

	frame->flags |= USES_FP;
	frame->via = fp + (uint64_t)words * 8;
	if (!read_word(walk, at, frame->via, &cfa)) {
		frame->via = 0;
		return OUT_CUT;
	}
	frame->via_value = cfa;
	restore_fp(walk, at, fp, frame, &fp);
	at->fp = fp;
	return leave(walk, at, cfa);
}

/* Out of a signal handler, into what it interrupted. */
static enum kms_stack_outcome leave_signal(const struct kms_stack_walk *walk,
					   struct kms_stack_cursor *at,
					   struct kms_stack_walked *frame)
{
	const struct kms_signal_layout *layout = &kms_unwind_signal_layout;
	struct kms_stack_cursor next = {.slot = at->sp + layout->pc_offset, .flags = INTERRUPTED};

	frame->via = at->sp + layout->sp_offset;
	frame->save = at->sp + layout->fp_offset;
	if (!read_word(walk, at, next.slot, &next.value) ||
	    !read_word(walk, at, frame->via, &next.sp) ||
	    !read_word(walk, at, frame->save, &next.fp)) {
		frame->via = 0;
		frame->save = 0;
		return OUT_CUT;
	}
	frame->via_value = next.sp;
	/* On one and the same stack the interrupted frames lie above. */
	if (!walk->apart && next.sp <= next.slot)
		return OUT_CUT;
	next.pc = next.value + 1;
	*at = next;
	if (walk->apart)
		at->slot = next.sp - sizeof(next.sp);
	return OUT_NEXT;
}

/* No table knows this code: believe fp if it can be one. */
static enum kms_stack_outcome leave_chain(const struct kms_stack_walk *walk,
					  struct kms_stack_cursor *at,
					  struct kms_stack_walked *frame)
{
	const struct kms_rule_wide rule = {KMS_RULE_FP, 16, -16};
	enum kms_stack_outcome outcome = OUT_CUT;

	frame->flags |= USES_FP;
	if (at->fp >= at->sp)
		outcome = leave_known(walk, at, &rule, frame);
	if (outcome == OUT_NEXT)
		at->flags |= GUESSED;
	return outcome;
}

enum kms_stack_outcome kms_stack_step(const struct kms_stack_walk *walk,
				      struct kms_stack_cursor *at, struct kms_stack_walked *frame)
{
	uint32_t rule = find_rule(walk->stack, at->pc);
	uint32_t fp_words = rule >> KMS_RULE_FP_SHIFT & KMS_RULE_FP_MASK;
	int64_t cfa_words = rule & KMS_RULE_CFA_MASK;
	enum kms_rule_kind kind = kms_rule_kind(rule);
	const struct kms_rule_wide *found;
	struct kms_rule_wide wide;

	if (kind != KMS_RULE_SP && cfa_words >> (KMS_RULE_CFA_BITS - 1))
		cfa_words -= INT64_C(1) << KMS_RULE_CFA_BITS;
	switch (kind) {
	case KMS_RULE_SP:
	case KMS_RULE_FP:
		wide = (struct kms_rule_wide){kind, cfa_words * 8, -8 * (int64_t)fp_words};
		return leave_known(walk, at, &wide, frame);
	case KMS_RULE_FP_DEREF:
		return leave_realigned(walk, at, cfa_words, frame);
	case KMS_RULE_WIDE:
		found = kms_unwind_wide(walk->stack->stacks->unwind, rule & KMS_RULE_CFA_MASK);
		return found ? leave_known(walk, at, found, frame) : OUT_CUT;
	case KMS_RULE_SIGNAL:
		return leave_signal(walk, at, frame);
	case KMS_RULE_END:
		return cfa_words && (at->flags & GUESSED) ? OUT_BAD : OUT_END;
	case KMS_RULE_BAD:
		if (!(at->flags & (NO_SLOT | INTERRUPTED)))
			return OUT_BAD;
		return leave_chain(walk, at, frame);
	default:
		return leave_chain(walk, at, frame);
	}
}
