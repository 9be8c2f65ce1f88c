/* SPDX-License-Identifier: BSD-2-Clause */
/* The rule table of stack capture, where a walk finds most of its rules. */
#ifndef KMS_ALLOCATOR_STACK_RULE_H
#define KMS_ALLOCATOR_STACK_RULE_H

#include "allocator/stack_impl.h"

/*
 * A word of the rule table: 36 bits of the pc's mixed form, 4 of the generation, 24 of rule. The
 * other 12 bits of the mixed form are the number of the line, of 8 words, in which the word stands
 * (48 bits tell any pc apart, and mixing by an odd factor loses none).
 */
enum {
	LINE_SHIFT = 36,
	LINE_WORDS = 8,
	LINE_MASK = KMS_RULE_PLACES / LINE_WORDS - 1,
	WAY_SHIFT = 33,
	TAG_SHIFT = 28,
	GENERATION_SHIFT = KMS_RULE_BITS,
	GENERATION_MASK = 15,
};

/** A word that is a rule of kind SP if it is below 1 << KMS_RULE_KIND_SHIFT, else needs kms_stack_step. */
static inline uint64_t quick_rule(const struct kms_stack *stack, uint64_t pc)
{
	uint64_t mixed = pc * MIX;
	uint64_t key = mixed << TAG_SHIFT | stack->rule_generation;
	uint64_t place = (mixed >> LINE_SHIFT & LINE_MASK) * LINE_WORDS +
			 (mixed >> WAY_SHIFT & (LINE_WORDS - 1));

	return __atomic_load_n(&stack->rules[place], __ATOMIC_RELAXED) ^ key;
}

#endif
