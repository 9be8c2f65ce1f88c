/* SPDX-License-Identifier: BSD-2-Clause */
/* A finding on the console, and what is left to do after a panic. */
#include "allocator/guest/clock.h"
#include "allocator/guest/console.h"
#include "allocator/guest/front.h"
#include "allocator/guest/main.h"
#include "allocator/guest/options.h"
#include "allocator/guest/symbols.h"
#include "allocator/port.h"
#include "allocator/region.h"
#include "allocator/stop.h"

enum {
	MAX_FRAMES = 32,
};

static const char *const kind_names[KMS_FAULT_KINDS] = {KMS_FAULT_NAMES};
static const char *const level_names[KMS_LEVELS] = {"task", "softint", "callout", "hardint"};

static void print_stack(const struct kms_heap *heap, const char *title, uint32_t id)
{
	const struct kms_node *nodes = kms_section_base(heap, KMS_SEC_NODE);

	if (!id)
		return;
	kms_console_write(title);
	for (int i = 0; i < MAX_FRAMES && id && id < heap->section[KMS_SEC_NODE].entries; i++) {
		kms_symbols_print_frame(nodes[id].pc);
		if (nodes[id].parent >= id)
			break;
		id = nodes[id].parent;
	}
}

/* In one line what a kernel would have said in its panic, then the stacks. */
void kms_port_fault(struct kms_heap *heap, const struct kms_fault *fault)
{
	kms_console_printf("kmem: %s: %s (%s)\n", kind_names[fault->kind], fault->text,
			   level_names[fault->level % KMS_LEVELS]);
	if (fault->block)
		kms_console_printf("  block 0x%llx of %llu bytes\n",
				   (unsigned long long)fault->block,
				   (unsigned long long)fault->block_bytes);
	print_stack(heap, "  at\n", fault->stack);
	print_stack(heap, "  allocated by\n", fault->alloc_stack);
	print_stack(heap, "  freed by\n", fault->free_stack);
}

/* A host that comes later may look at everything, until it says "continue". */
static void serve(struct kms_heap *heap)
{
	const struct kms_local *t = kms_cpu_this()->local;
	const struct kms_fault *fault = kms_section_base(heap, KMS_SEC_FAULT);
	uint64_t used = heap->region->section[0].used;

	(void)t;
	(void)fault;
	(void)used;
	kms_front_break(KMS_STOP_START);
}

_Noreturn void kms_port_panic(const char *text)
{
	kms_console_printf("panic: %s\n", text);
	if (!kms_options_has(kms_guest_options(), "panic=off"))
		serve(kms_guest_heap());
	kms_guest_power_off(KMS_GUEST_EXIT_PANIC);
}
