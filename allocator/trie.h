/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The stack trie: one node for each (parent, pc), so that a stack is the number of its innermost
 * node. Nodes stand in the shared region and are never changed; the index over them is private to
 * a process. Lock-free: threads, signal handlers and forked children may add at any time. Two that
 * add the same node at the same moment may leave one unused.
 */
#ifndef KMS_ALLOCATOR_TRIE_H
#define KMS_ALLOCATOR_TRIE_H

#include <stdbool.h>
#include <stdint.h>

#include "allocator/append.h"
#include "allocator/unwind.h"

enum kms_trie_root {
	KMS_TRIE_ROOT = 0, /* parent of the outermost frame of a whole stack */
	/* parent of the outermost known frame when others are missing; in the table it is 0 with
	 * KMS_NODE_CUT */
	KMS_TRIE_CUT = (int)0x80000000,
};

/**
 * The index is two tables of words: node number and a few bits of its key's hash; 0 is free. In
 * @near each 8 parents in a row share a cache line: parents and children made one after the other
 * are found one after the other, and a small trie touches little memory. What finds that line full
 * goes to @far, an ordinary hash table.
 */
struct kms_trie {
	struct kms_append nodes;
	struct kms_unwind *unwind;
	uint32_t *near;
	uint32_t *far;
	uint32_t far_mask;
};

/** Bytes of memory that the index of a table of @nodes needs. */
uint64_t kms_trie_index_bytes(uint64_t nodes);

/**
 * Starts with the region's node table and an empty index.
 *
 * Shape:  @memory: kms_trie_index_bytes() of the table's entries, zeroed, aligned to 64
 * Owner:  memory and region stay with the caller and must live as long as the trie
 */
void kms_trie_init(struct kms_trie *trie, struct kms_region_header *region,
		   struct kms_unwind *unwind, void *memory);

/**
 * The node of @pc under @parent (a node, or one of kms_trie_root), made if it is new.
 *
 * Errors: table full: @parent itself (0 for a root), counted in lost_tables
 */
uint32_t kms_trie_child(struct kms_trie *trie, uint32_t parent, uint64_t pc);

#endif
