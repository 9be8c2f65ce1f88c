/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Stack capture: the call stack of an event as the number of a trie node. The essay is stack.md.
 *
 * Exact: the answer is the one that a walk from the innermost frame to the root would give, at a
 * fraction of its cost, because a thread remembers its last stacks and checks by value what is
 * left of them.
 */
#ifndef KMS_ALLOCATOR_STACK_H
#define KMS_ALLOCATOR_STACK_H

#include <stdbool.h>
#include <stdint.h>

#include "allocator/trie.h"
#include "allocator/unwind.h"

enum kms_stack_limits {
	KMS_STACK_APART = 64,      /* frames of a stack that is cut because it is too deep */
	KMS_STACK_LEAST = 32,      /* with fewer left of them it is walked anew */
	KMS_STACK_ENTRIES = 1024,  /* words of memory a thread remembers; some frames take two */
	KMS_STACK_FIRST = 4,       /* index of the outermost; those before it are always right */
	KMS_STACK_MEMOS = 512,     /* whole stacks a thread remembers; power of two */
	KMS_STACK_MEMO_WORDS = 4,  /* words above the base of a memo */
	KMS_STACK_WAYS = 4096,     /* memos by what came before; power of two */
	KMS_STACK_CHILDREN = 1024, /* places of a thread's node cache; power of two */
	KMS_STACK_FOREIGN = 64,    /* pages known to be on another stack; power of two */
	KMS_RULE_PLACES = 1 << 15, /* of the rule table of a process, in lines of 8 */
};

/**
 * Where a walk starts: a return address, the value of sp after that return, and the caller's rbp.
 */
struct kms_frame {
	uint64_t pc;
	uint64_t sp;
	uint64_t fp;
};

/**
 * The caller of the function whose __builtin_frame_address(0) is given. That function must be
 * compiled with -fno-omit-frame-pointer.
 */
static inline struct kms_frame kms_frame_caller(const void *frame_address)
{
	const uint64_t *words = frame_address;

	return (struct kms_frame){words[1], (uint64_t)(uintptr_t)(words + 2), words[0]};
}

/** What all threads of a process share. */
struct kms_stacks {
	uint64_t *rules; /* KMS_RULE_PLACES, see stack_rule.h */
	struct kms_unwind *unwind;
	uint32_t generation; /* of rules and nodes kept anywhere; atomic */
	struct kms_trie trie;
};

/** A word of memory that a remembered stack depends on, and what was there. */
struct kms_stack_entry {
	uint64_t address;
	uint64_t value;
};

/** Values of kms_stack_meta.fp that are no frame pointers. */
enum kms_stack_meeting {
	KMS_MEET = 0,       /* a frame: a walk that comes here knows the rest, whatever its fp */
	KMS_MEET_NEVER = 1, /* not a return address, or not enough to know the rest */
};

/** What a remembered word means. */
struct kms_stack_meta {
	uint64_t identity; /* of all that is remembered up to here; see stack_walk.c */
	uint64_t fp;       /* what a walk must bring that comes here, or enum kms_stack_meeting */
	uint32_t node;
	uint32_t reserved;
};

/**
 * A whole stack: the words above its base, the base being an entry of the remembered stack. One
 * cache line. A word is the value << 16 with the place in the low half: (address - slot) / 8,
 * signed.
 */
struct kms_stack_memo {
	uint64_t slot; /* key: place of the first return address; 0: nothing here */
	uint64_t pc;   /* ... and the address */
	uint64_t base_identity;
	uint32_t node; /* the answer */
	uint32_t base; /* index of an entry */
	uint64_t word[KMS_STACK_MEMO_WORDS];
};

struct kms_stack_child {
	uint64_t pc;
	uint32_t parent;
	uint32_t node;
};

/** A frame on the way from the start to a remembered one. */
struct kms_stack_walked {
	uint64_t slot;  /* address of its return address */
	uint64_t value; /* what is there */
	uint64_t pc;    /* as a return address */
	uint64_t fp;    /* on arrival */
	uint64_t save;  /* where its caller's fp was, 0: in the register */
	uint64_t via;   /* another word the step out of it depends on, 0 none */
	uint64_t via_value;
	uint32_t flags;
	uint32_t reserved;
};

/** How often each way was taken; only in builds with KMS_STACK_STATS. */
struct kms_stack_stats {
	uint64_t captures, memo_hits, chain_hits, verified, walked, apart, rule_misses,
		child_misses;
};

/**
 * A thread's memory of its stack. Some 150 KiB, touched as far as needed. Used by its thread only;
 * a signal handler may use it while the thread is inside of a capture.
 */
struct kms_stack {
	uint64_t busy; /* slot of the capture that is under way, 0 none */
	uint64_t low;  /* own stack, as far as we know it: [low, low + size) */
	uint64_t size;
	uint64_t *rules;
	struct kms_stacks *stacks;
	uint64_t rule_generation; /* part of the rule table's keys */
	uint32_t generation;
	uint32_t count; /* entries in use, KMS_STACK_FIRST and up */
	bool too_deep;  /* the outermost entry is not the outermost frame, for want of room */
	uint64_t end;   /* of the own stack */
	uint64_t zero;  /* what the entries before the first refer to */
	uint64_t foreign[KMS_STACK_FOREIGN];
	uint64_t history; /* mixed from the last answer */
	struct kms_stack_stats stats;
	uint16_t way[KMS_STACK_WAYS]; /* index of a memo */
	struct kms_stack_memo memo[KMS_STACK_MEMOS] __attribute__((aligned(64)));
	struct kms_stack_entry entry[KMS_STACK_ENTRIES];
	struct kms_stack_meta meta[KMS_STACK_ENTRIES];
	struct kms_stack_child child[KMS_STACK_CHILDREN];
	struct kms_stack_walked walked[KMS_STACK_ENTRIES];
};

/** Bytes of zeroed memory (aligned to 64) that kms_stacks_init needs for a table of @nodes. */
uint64_t kms_stacks_memory_bytes(uint64_t nodes);

/** Prepares what threads share. The memory, the region and @unwind must outlive it. */
void kms_stacks_init(struct kms_stacks *stacks, struct kms_region_header *region,
		     struct kms_unwind *unwind, void *memory);

/**
 * Modules may have gone: rules and nodes are asked for anew from now on. To be called after each
 * dlclose. Any thread; others may be capturing.
 */
void kms_stacks_new_epoch(struct kms_stacks *stacks);

/** Prepares the memory of the calling thread, or of a later user of the same memory. */
void kms_stack_init(struct kms_stack *stack, struct kms_stacks *stacks);

/**
 * The stack of an event: its innermost node, 0 if there was no room for any.
 *
 * Shape:  @pc, @sp, @fp: where the walk begins, see struct kms_frame. The word at sp - 8 holds pc
 *         and the one at sp - 16 holds fp, as after a call and push %rbp.
 * Locks:  none; safe in signal handlers
 */
uint32_t kms_stack_capture_at(struct kms_stack *stack, uint64_t pc, uint64_t sp, uint64_t fp);

/** The same, of kms_frame_caller's answer. */
static inline uint32_t kms_stack_capture(struct kms_stack *stack, const struct kms_frame *start)
{
	return kms_stack_capture_at(stack, start->pc, start->sp, start->fp);
}

/**
 * The same from a signal handler's context: @start has the pc, sp and fp of the ucontext. Its node
 * holds pc + 1 (see unwind.h).
 */
uint32_t kms_stack_capture_exact(struct kms_stack *stack, const struct kms_frame *start);

#endif
