/* SPDX-License-Identifier: BSD-2-Clause */
/* The trie alone, over a fake of unwind.h in which each 64 KiB of code are a module. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "allocator/port.h"
#include "allocator/trie.h"

enum {
	NODES = 100000,
	THREADS = 4,
	STACKS = 3000,
	DEPTH = 12,
};

/* --- fakes --- */

struct kms_unwind {
	uint32_t generation;
	uint32_t seen[64];
};

uint32_t kms_unwind_epoch(struct kms_unwind *unwind, uint64_t pc)
{
	uint32_t module = pc >> 16 & 31;
	uint32_t epoch = 1 + module + (pc >> 32 ? 32 : 0);

	if (module == 0)
		return 0;
	unwind->seen[epoch - 1] = unwind->generation;
	return epoch;
}

bool kms_unwind_epoch_holds(const struct kms_unwind *unwind, uint32_t epoch)
{
	return unwind->seen[epoch - 1] == unwind->generation;
}

static bool populate_fails;

int kms_port_populate(void *start, size_t bytes)
{
	(void)start;
	(void)bytes;
	return populate_fails ? -1 : 0;
}

/* --- fixture --- */

struct fixture {
	struct kms_region_header *region;
	struct kms_unwind unwind;
	struct kms_trie trie;
};

static void *pages(size_t bytes, int sharing)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, sharing | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(memory, MAP_FAILED);
	return memory;
}

static void set_up(struct fixture *f, uint32_t nodes)
{
	*f = (struct fixture){.unwind.generation = 1};
	f->region = pages(4096 + nodes * sizeof(struct kms_node), MAP_SHARED);
	f->region->sections = 1;
	f->region->section[0] = (struct kms_section){
		.kind = KMS_SEC_NODE,
		.entry_bytes = sizeof(struct kms_node),
		.offset = 4096,
		.entries = nodes,
		.used = 1,
	};
	kms_trie_init(&f->trie, f->region, &f->unwind,
		      pages(kms_trie_index_bytes(nodes), MAP_PRIVATE));
}

static const struct kms_node *node_at(const struct fixture *f, uint32_t node)
{
	const void *nodes = (const uint8_t *)f->region + 4096;

	return (const struct kms_node *)nodes + node;
}

static uint64_t used(const struct fixture *f)
{
	return f->region->section[0].used;
}

/* --- tests --- */

static void a_node_says_pc_parent_and_epoch(void **state)
{
	struct fixture f;
	uint32_t outer, inner;

	(void)state;
	set_up(&f, NODES);
	outer = kms_trie_child(&f.trie, KMS_TRIE_ROOT, 0x51234);
	inner = kms_trie_child(&f.trie, outer, 0x75678);
	assert_int_equal(node_at(&f, outer)->parent, 0);
	assert_int_equal(node_at(&f, outer)->pc, 0x51234);
	assert_int_equal(node_at(&f, outer)->epoch_ready, 6 << 2 | KMS_NODE_READY);
	assert_int_equal(node_at(&f, inner)->parent, outer);
	assert_int_equal(node_at(&f, inner)->epoch_ready, 8 << 2 | KMS_NODE_READY);
	assert_true(outer < inner);
}

static void the_same_child_is_the_same_node(void **state)
{
	struct fixture f;
	uint32_t node;

	(void)state;
	set_up(&f, NODES);
	node = kms_trie_child(&f.trie, KMS_TRIE_ROOT, 0x51234);
	assert_int_equal(kms_trie_child(&f.trie, KMS_TRIE_ROOT, 0x51234), node);
	assert_int_not_equal(kms_trie_child(&f.trie, KMS_TRIE_ROOT, 0x51235), node);
	assert_int_not_equal(kms_trie_child(&f.trie, node, 0x51234), node);
	assert_int_equal(used(&f), 4);
}

static void a_cut_stack_has_nodes_of_its_own(void **state)
{
	struct fixture f;
	uint32_t whole, cut;

	(void)state;
	set_up(&f, NODES);
	whole = kms_trie_child(&f.trie, KMS_TRIE_ROOT, 0x51234);
	cut = kms_trie_child(&f.trie, (uint32_t)KMS_TRIE_CUT, 0x51234);
	assert_int_not_equal(whole, cut);
	assert_int_equal(node_at(&f, cut)->parent, 0);
	assert_int_equal(node_at(&f, cut)->epoch_ready, 6 << 2 | KMS_NODE_READY | KMS_NODE_CUT);
}

static void code_of_no_module_has_epoch_0_and_is_found_again(void **state)
{
	struct fixture f;
	uint32_t node;

	(void)state;
	set_up(&f, NODES);
	node = kms_trie_child(&f.trie, KMS_TRIE_ROOT, 0x1234);
	assert_int_equal(node_at(&f, node)->epoch_ready, KMS_NODE_READY);
	assert_int_equal(kms_trie_child(&f.trie, KMS_TRIE_ROOT, 0x1234), node);
}

static void a_module_seen_again_keeps_its_nodes(void **state)
{
	struct fixture f;
	uint32_t node;

	(void)state;
	set_up(&f, NODES);
	node = kms_trie_child(&f.trie, KMS_TRIE_ROOT, 0x51234);
	f.unwind.generation++; /* something went; this module did not */
	assert_int_equal(kms_trie_child(&f.trie, KMS_TRIE_ROOT, 0x51234), node);
	assert_int_equal(f.unwind.seen[5], 2); /* it was asked for */
}

/* More children than a line has room for, at parents that share it. */
static void many_children_are_all_kept(void **state)
{
	struct fixture f;
	uint32_t first[8], node[8][500];

	(void)state;
	set_up(&f, NODES);
	for (uint32_t p = 0; p < 8; p++)
		first[p] = kms_trie_child(&f.trie, KMS_TRIE_ROOT, 0x50000 + p);
	for (uint32_t i = 0; i < 500; i++) {
		for (uint32_t p = 0; p < 8; p++)
			node[p][i] = kms_trie_child(&f.trie, first[p], 0x60000 + i);
	}
	assert_int_equal(used(&f), 1 + 8 + 8 * 500);
	for (uint32_t i = 0; i < 500; i++) {
		for (uint32_t p = 0; p < 8; p++)
			assert_int_equal(kms_trie_child(&f.trie, first[p], 0x60000 + i),
					 node[p][i]);
	}
	assert_int_equal(used(&f), 1 + 8 + 8 * 500);
}

static void a_full_table_answers_with_the_parent_and_counts(void **state)
{
	struct fixture f;
	uint32_t node = KMS_TRIE_ROOT;

	(void)state;
	set_up(&f, 4);
	for (uint32_t i = 0; i < 3; i++)
		node = kms_trie_child(&f.trie, node, 0x50000 + i);
	assert_int_equal(node, 3);
	assert_int_equal(kms_trie_child(&f.trie, node, 0x60000), node);
	assert_int_equal(kms_trie_child(&f.trie, KMS_TRIE_ROOT, 0x60000), 0);
	assert_int_equal(kms_trie_child(&f.trie, (uint32_t)KMS_TRIE_CUT, 0x60000), 0);
	assert_int_equal(f.region->lost_tables, 3);
	assert_int_equal(used(&f), 4);
}

static void a_full_file_system_is_a_full_table(void **state)
{
	struct fixture f;

	(void)state;
	set_up(&f, NODES);
	populate_fails = true;
	assert_int_equal(kms_trie_child(&f.trie, KMS_TRIE_ROOT, 0x50000), 0);
	populate_fails = false;
	assert_int_not_equal(kms_trie_child(&f.trie, KMS_TRIE_ROOT, 0x50000), 0);
	assert_int_equal(f.region->lost_tables, 1);
}

/* --- threads and processes --- */

static uint32_t add_stack(struct kms_trie *trie, unsigned stack)
{
	uint32_t node = KMS_TRIE_ROOT;

	for (unsigned i = 0; i < DEPTH; i++) {
		node = kms_trie_child(trie, node, 0x50000 + (stack & 7) * 16 + i);
		stack /= i % 2 ? 2 : 1;
	}
	return node;
}

static void check_stack(const struct fixture *f, uint32_t node, unsigned stack)
{
	uint64_t pcs[DEPTH];

	for (unsigned i = 0; i < DEPTH; i++) {
		pcs[i] = 0x50000 + (stack & 7) * 16 + i;
		stack /= i % 2 ? 2 : 1;
	}
	for (unsigned i = DEPTH; i-- > 0; node = node_at(f, node)->parent) {
		assert_int_not_equal(node, 0);
		assert_int_equal(node_at(f, node)->pc, pcs[i]);
		assert_true(node_at(f, node)->parent < node);
	}
	assert_int_equal(node, 0);
}

static uint32_t results[THREADS][STACKS];

struct worker {
	struct fixture *fixture;
	uint32_t *result;
	unsigned step;
};

static void *work(void *arg)
{
	struct worker *worker = arg;

	for (unsigned i = 0; i < STACKS; i++) {
		unsigned stack = i * worker->step % STACKS;

		worker->result[stack] = add_stack(&worker->fixture->trie, stack);
	}
	return NULL;
}

static void threads_may_add_the_same_stacks(void **state)
{
	static const unsigned steps[THREADS] = {1, 1, 7, 11};
	struct worker worker[THREADS];
	pthread_t thread[THREADS];
	struct fixture f;
	uint64_t before;

	(void)state;
	set_up(&f, NODES);
	for (unsigned i = 0; i < THREADS; i++) {
		worker[i] = (struct worker){&f, results[i], steps[i]};
		assert_int_equal(pthread_create(&thread[i], NULL, work, &worker[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		assert_int_equal(pthread_join(thread[i], NULL), 0);
	for (unsigned i = 0; i < THREADS; i++) {
		for (unsigned stack = 0; stack < STACKS; stack++)
			check_stack(&f, results[i][stack], stack);
	}
	before = used(&f);
	(void)work(&worker[0]);
	assert_int_equal(used(&f), before); /* all are found now */
}

static void a_forked_child_adds_to_the_same_table(void **state)
{
	struct fixture f;
	uint32_t mine;
	int status;
	pid_t child;

	(void)state;
	set_up(&f, NODES);
	for (unsigned stack = 0; stack < 100; stack++)
		add_stack(&f.trie, stack);
	child = fork();
	assert_true(child >= 0);
	for (unsigned stack = 100; stack < 1000; stack++) {
		mine = add_stack(&f.trie, stack);
		check_stack(&f, mine, stack);
	}
	if (child == 0)
		_exit(0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	for (uint32_t node = 1; node < used(&f); node++)
		assert_true(node_at(&f, node)->epoch_ready & KMS_NODE_READY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_node_says_pc_parent_and_epoch),
		cmocka_unit_test(the_same_child_is_the_same_node),
		cmocka_unit_test(a_cut_stack_has_nodes_of_its_own),
		cmocka_unit_test(code_of_no_module_has_epoch_0_and_is_found_again),
		cmocka_unit_test(a_module_seen_again_keeps_its_nodes),
		cmocka_unit_test(many_children_are_all_kept),
		cmocka_unit_test(a_full_table_answers_with_the_parent_and_counts),
		cmocka_unit_test(a_full_file_system_is_a_full_table),
		cmocka_unit_test(threads_may_add_the_same_stacks),
		cmocka_unit_test(a_forked_child_adds_to_the_same_table),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
