/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/stack.h"

#define LIKELY(x)   __builtin_expect(!!(x), 1)
#define UNLIKELY(x) __builtin_expect(!!(x), 0)

#ifdef KMS_STACK_STATS
#define COUNT(stack, what, n) ((stack)->stats.what += (n))
#else
#define COUNT(stack, what, n) ((void)0)
#endif

/*
 * A word of the rule table: 36 bits of the pc's mixed form, 4 of the generation, 24 of rule. The
 * other 12 bits of the mixed form are the number of the line, of 8 words, in which the word stands
 * (48 bits tell any pc apart, and mixing by an odd factor loses none).
 */
#define MIX UINT64_C(0x9e3779b97f4a7c15)

enum {
	LINE_SHIFT = 36,
	LINE_WORDS = 8,
	LINE_MASK = KMS_RULE_PLACES / LINE_WORDS - 1,
	WAY_SHIFT = 33,
	TAG_SHIFT = 28,
	GENERATION_SHIFT = KMS_RULE_BITS,
	GENERATION_MASK = 15,
	CHILD_SHIFT = 40,
	PAGE_SHIFT = 12,
	RED_ZONE_BYTES = 128, /* below sp, where an interrupted function's words still are */
	PROOF_PAGES = 2048,   /* so far below the known stack may a frame be that belongs to it */
	WORD_SHIFT = 16,      /* in a memo's word */
	MEMO_CHAIN = 4,
	FRAME_WORDS = 3, /* at most so many entries make a frame */
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
struct cursor {
	uint64_t pc;
	uint64_t sp;
	uint64_t fp;
	uint64_t slot;
	uint64_t value;
	uint32_t flags;
};

/* A walk under way. */
struct walk {
	struct kms_stack *stack;
	bool apart; /* on memory that nobody promised us */
};

enum outcome {
	OUT_NEXT, /* in the caller's frame now */
	OUT_END,  /* that was the outermost one */
	OUT_CUT,  /* the rest cannot be told */
	OUT_BAD,  /* nor is this one a frame */
};

static uint64_t word_at(uint64_t address)
{
	return *(const uint64_t *)(uintptr_t)address;
}

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

/* What the outermost remembered frame hangs on: the root, or the place where a stack was cut. */
static void set_root(struct kms_stack *stack, uint32_t root)
{
	stack->meta[KMS_STACK_FIRST - 1] = (struct kms_stack_meta){
		.identity = (uint64_t)root << 32,
		.fp = KMS_MEET,
		.node = root,
	};
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
	set_root(stack, KMS_TRIE_ROOT);
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

/* --- rules --- */

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

/* A word that is a rule of kind SP if it is below 1 << KMS_RULE_KIND_SHIFT, else needs find_rule. */
static inline uint64_t quick_rule(const struct kms_stack *stack, uint64_t pc)
{
	uint64_t mixed = pc * MIX;
	uint64_t key = mixed << TAG_SHIFT | stack->rule_generation;
	uint64_t place = (mixed >> LINE_SHIFT & LINE_MASK) * LINE_WORDS +
			 (mixed >> WAY_SHIFT & (LINE_WORDS - 1));

	return __atomic_load_n(&stack->rules[place], __ATOMIC_RELAXED) ^ key;
}

/* --- one step --- */

/* Reads a word of the stack above the frame we are in. */
static bool read_word(const struct walk *walk, const struct cursor *at, uint64_t address,
		      uint64_t *value)
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
static enum outcome leave(const struct walk *walk, struct cursor *at, uint64_t cfa)
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
static void restore_fp(const struct walk *walk, const struct cursor *at, uint64_t place,
		       struct kms_stack_walked *frame, uint64_t *fp)
{
	frame->save = place;
	if (place && !read_word(walk, at, place, fp)) {
		frame->save = 0;
		frame->flags |= LOSES_FP;
		*fp = 0;
	}
}

static enum outcome leave_known(const struct walk *walk, struct cursor *at,
				const struct kms_rule_wide *rule, struct kms_stack_walked *frame)
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

static enum outcome leave_realigned(const struct walk *walk, struct cursor *at, int64_t words,
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
static enum outcome leave_signal(const struct walk *walk, struct cursor *at,
				 struct kms_stack_walked *frame)
{
	const struct kms_signal_layout *layout = &kms_unwind_signal_layout;
	struct cursor next = {.slot = at->sp + layout->pc_offset, .flags = INTERRUPTED};

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
static enum outcome leave_chain(const struct walk *walk, struct cursor *at,
				struct kms_stack_walked *frame)
{
	const struct kms_rule_wide rule = {KMS_RULE_FP, 16, -16};
	enum outcome outcome = OUT_CUT;

	frame->flags |= USES_FP;
	if (at->fp >= at->sp)
		outcome = leave_known(walk, at, &rule, frame);
	if (outcome == OUT_NEXT)
		at->flags |= GUESSED;
	return outcome;
}

/* Leaves the frame by any rule. */
static __attribute__((noinline)) enum outcome step_out(const struct walk *walk, struct cursor *at,
						       struct kms_stack_walked *frame)
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

/* --- nodes --- */

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

/* --- apart: nothing remembered, nothing promised --- */

static __attribute__((noinline)) uint32_t capture_apart(struct kms_stack *stack, struct cursor at)
{
	const struct walk walk = {stack, true};
	uint64_t pcs[KMS_STACK_APART];
	unsigned count = 0;
	uint32_t node = (uint32_t)KMS_TRIE_CUT;
	enum outcome outcome;

	COUNT(stack, apart, 1);
	do {
		struct kms_stack_walked frame = {0};

		pcs[count++] = at.pc;
		outcome = step_out(&walk, &at, &frame);
	} while (outcome == OUT_NEXT && count < KMS_STACK_APART);
	if (outcome == OUT_END)
		node = KMS_TRIE_ROOT;
	else if (outcome == OUT_BAD && count > 1)
		count--;
	while (count > 0)
		node = kms_trie_child(&stack->stacks->trie, node, pcs[--count]);
	return node;
}

/* --- own stack --- */

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

static inline bool meets(const struct kms_stack *stack, uint32_t count, const struct cursor *at)
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
static enum outcome walk_own(struct kms_stack *stack, struct cursor *at, uint32_t *count,
			     uint32_t *walked)
{
	uint32_t limit = *walked;
	const struct walk walk = {stack, false};
	const struct kms_stack_entry *entry = stack->entry;
	uint64_t end = stack->end;
	uint32_t left = *count, n = 0;
	enum outcome outcome = OUT_NEXT;

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
		outcome = step_out(&walk, at, frame);
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

/* --- memos --- */

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
static const struct kms_stack_memo *memorize(struct kms_stack *stack, const struct cursor *start,
					     uint32_t node)
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

/* Cuts the stack to the innermost frames: there is no room to remember all. */
static uint32_t start_over(struct kms_stack *stack, const struct cursor *start)
{
	struct cursor at = *start;
	uint32_t count = KMS_STACK_FIRST;
	uint32_t walked = KMS_STACK_APART;

	(void)walk_own(stack, &at, &count, &walked);
	set_root(stack, (uint32_t)KMS_TRIE_CUT);
	stack->too_deep = true;
	return record(stack, KMS_STACK_FIRST, walked);
}

/* A capture on the thread's own stack that no memo answers. */
static uint32_t capture_own(struct kms_stack *stack, const struct cursor *start)
{
	const struct kms_stack_entry *entry = stack->entry;
	uint32_t count = stack->count;
	struct cursor at = *start;
	enum outcome outcome;
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
		set_root(stack, outcome == OUT_END ? KMS_TRIE_ROOT : (uint32_t)KMS_TRIE_CUT);
		if (outcome == OUT_BAD && walked > 1)
			walked--;
	}
	node = walked < KMS_STACK_ENTRIES ? record(stack, count, walked) : KMS_NO_INDEX;
	return LIKELY(node != KMS_NO_INDEX) ? node : start_over(stack, start);
}

/* --- which stack are we on --- */

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

static uint32_t capture_slow(struct kms_stack *stack, const struct cursor *start)
{
	uint64_t place = start->sp - sizeof(place);
	uint32_t node;

	if (interrupts(stack, place))
		return capture_apart(stack, *start);
	stack->busy = place;
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	if (stack->generation != __atomic_load_n(&stack->stacks->generation, __ATOMIC_RELAXED))
		forget(stack);
	node = own_stack(stack, place) ? capture_own(stack, start) : capture_apart(stack, *start);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	stack->busy = 0;
	return node;
}

/* Apart from the functions below, so that the usual way needs no stack frame. */
static __attribute__((noinline)) uint32_t capture_unusual(struct kms_stack *stack, uint64_t pc,
							  uint64_t sp, uint64_t fp)
{
	const struct cursor at = {pc, sp, fp, sp - sizeof(pc), pc, 0};

	return capture_slow(stack, &at);
}

static __attribute__((noinline)) uint32_t capture_new(struct kms_stack *stack, uint64_t pc,
						      uint64_t sp, uint64_t fp)
{
	const struct cursor at = {pc, sp, fp, sp - sizeof(pc), pc, 0};
	const struct kms_stack_memo *memo = follow_memos(stack, at.slot, pc);
	uint32_t node;

	if (memo) {
		COUNT(stack, chain_hits, 1);
		node = memo->node;
	} else {
		node = capture_own(stack, &at);
		memo = memorize(stack, &at, node);
	}
	*guess(stack, at.slot, pc) = (uint16_t)(memo - stack->memo);
	remember_answer(stack, node);
	__atomic_signal_fence(__ATOMIC_SEQ_CST);
	stack->busy = 0;
	return node;
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
		return capture_new(stack, pc, sp, fp);
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
	const struct cursor at = {start->pc + 1, start->sp, start->fp, start->sp - 1, 0, NO_SLOT};

	return capture_slow(stack, &at);
}
