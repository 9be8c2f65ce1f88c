/* SPDX-License-Identifier: BSD-2-Clause */
/* A fault in a process that nobody traces is told on stderr. */
#include <dlfcn.h>
#include <stdbool.h>

#include "allocator/fault.h"
#include "allocator/port.h"
#include "allocator/port/process.h"
#include "allocator/region.h"
#include "allocator/text.h"

enum {
	MAX_FRAMES = 32,
};

static const char *const kind_names[KMS_FAULT_KINDS] = {KMS_FAULT_NAMES};

static void print_frame(uint64_t pc)
{
	struct kms_text line = {0};
	Dl_info info;

	kms_text_add(&line, "    ");
	kms_text_pointer(&line, (uintptr_t)pc);
	if (dladdr((void *)(uintptr_t)(pc - 1), &info) && info.dli_fname) {
		kms_text_add(&line, " ");
		kms_text_add(&line, info.dli_sname ? info.dli_sname : info.dli_fname);
		kms_text_add(&line, "+0x");
		kms_text_number(&line,
				pc - (uintptr_t)(info.dli_sname ? info.dli_saddr : info.dli_fbase),
				16, 1);
	}
	kms_text_add(&line, "\n");
	kms_port_print(line.buffer);
}

static void print_stack(const struct kms_heap *heap, const char *title, uint32_t id)
{
	const struct kms_node *nodes = kms_section_base(heap, KMS_SEC_NODE);

	if (!id)
		return;
	kms_port_print(title);
	for (int i = 0; i < MAX_FRAMES && id && id < heap->section[KMS_SEC_NODE].entries; i++) {
		print_frame(nodes[id].pc);
		if (nodes[id].parent >= id)
			break;
		id = nodes[id].parent;
	}
}

void kms_port_fault(struct kms_heap *heap, const struct kms_fault *fault)
{
	struct kms_text line = {0};

	if (heap->shared)
		return;
	kms_text_add(&line, KMS_LIBRARY_NAME ": ");
	kms_text_add(&line, kind_names[fault->kind]);
	kms_text_add(&line, ": ");
	kms_text_add(&line, fault->text);
	if (fault->block) {
		kms_text_add(&line, "\n  block ");
		kms_text_pointer(&line, (uintptr_t)fault->block);
		kms_text_add(&line, " of ");
		kms_text_number(&line, fault->block_bytes, 10, 1);
		kms_text_add(&line, " bytes");
	}
	kms_text_add(&line, "\n");
	kms_port_print(line.buffer);
	print_stack(heap, "  at\n", fault->stack);
	print_stack(heap, "  allocated by\n", fault->alloc_stack);
	print_stack(heap, "  freed by\n", fault->free_stack);
	if (fault->policy == KMS_POLICY_PANIC)
		kms_port_print(
			"  the program ends here: kmem_panic is 2; with KMEM_OPTIONS=panic=0 "
			"it is told and goes on\n");
}
