/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/test/stack_support.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "allocator/port.h"

enum {
	MODULES = 1 << 10,
	STRING_UNITS = 1 << 14,
	SECTIONS = 3,
};

/* The part of the port that capture asks for. */
int kms_port_populate(void *start, size_t bytes)
{
	(void)start;
	(void)bytes;
	return 0;
}

uint32_t kms_port_tid(void)
{
	return (uint32_t)syscall(SYS_gettid);
}

bool kms_port_alive(uint32_t tid)
{
	return syscall(SYS_tgkill, getpid(), (int)tid, 0) == 0;
}

void *stack_support_pages(uint64_t bytes)
{
	void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (pages == MAP_FAILED)
		abort();
	return pages;
}

static uint64_t add_section(struct kms_region_header *region, uint32_t kind, uint32_t entry_bytes,
			    uint64_t entries, uint64_t offset)
{
	region->section[region->sections++] = (struct kms_section){
		.kind = kind,
		.entry_bytes = entry_bytes,
		.offset = offset,
		.entries = entries,
		.used = kind == KMS_SEC_NODE || kind == KMS_SEC_STRING,
	};
	return offset + (entries * entry_bytes + 4095) / 4096 * 4096;
}

void stack_support_init(struct stack_support *support, uint32_t nodes)
{
	uint64_t bytes = 4096 + (uint64_t)nodes * sizeof(struct kms_node) +
			 MODULES * sizeof(struct kms_module) + STRING_UNITS * 8 + SECTIONS * 4096;
	uint64_t offset = 4096;

	support->region = stack_support_pages(bytes);
	offset = add_section(support->region, KMS_SEC_NODE, sizeof(struct kms_node), nodes, offset);
	offset = add_section(support->region, KMS_SEC_MODULE, sizeof(struct kms_module), MODULES,
			     offset);
	add_section(support->region, KMS_SEC_STRING, 8, STRING_UNITS, offset);
	support->unwind = stack_support_pages(sizeof(*support->unwind));
	kms_unwind_init(support->unwind, support->region);
	support->stacks = stack_support_pages(sizeof(*support->stacks));
	kms_stacks_init(support->stacks, support->region, support->unwind,
			stack_support_pages(kms_stacks_memory_bytes(nodes)));
}

struct kms_stack *stack_support_thread(const struct stack_support *support)
{
	struct kms_stack *stack = stack_support_pages(sizeof(*stack));

	kms_stack_init(stack, support->stacks);
	return stack;
}

static const struct kms_node *node_at(const struct stack_support *support, uint32_t node)
{
	return kms_append_entry(&support->stacks->trie.nodes, node);
}

unsigned stack_support_frames(const struct stack_support *support, uint32_t node, uint64_t *pcs,
			      unsigned max)
{
	unsigned count = 0;

	for (; node && count < max; node = node_at(support, node)->parent)
		pcs[count++] = node_at(support, node)->pc;
	return count;
}

bool stack_support_is_cut(const struct stack_support *support, uint32_t node)
{
	while (node && node_at(support, node)->parent)
		node = node_at(support, node)->parent;
	return node_at(support, node)->epoch_ready & KMS_NODE_CUT;
}

uint64_t stack_support_nodes(const struct stack_support *support)
{
	return *support->stacks->trie.nodes.used;
}

const char *stack_support_string(const struct stack_support *support, uint32_t index)
{
	return (const char *)((struct kms_string_head *)kms_append_entry(
				      &support->unwind->modules.strings, index) +
			      1);
}
