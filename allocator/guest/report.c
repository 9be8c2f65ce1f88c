/* SPDX-License-Identifier: BSD-2-Clause */
/* A finding on the console, and what is left to do after a panic. */
#include "allocator/guest/clock.h"
#include "allocator/guest/console.h"
#include "allocator/guest/front.h"
#include "allocator/guest/main.h"
#include "allocator/guest/options.h"
#include "allocator/guest/symbols.h"
#include "allocator/heap.h"
#include "allocator/port.h"
#include "allocator/region.h"
#include "allocator/stop.h"

enum {
	MAX_FRAMES = 32,
	LOCKS_NS = 500 * 1000 * 1000,
	SLICE_NS = 10 * 1000 * 1000,
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
	const struct kms_fault *first = kms_section_base(heap, KMS_SEC_FAULT);
	uint64_t number = (uint64_t)(fault - first);

	kms_cpu_this()->last_fault =
		number < heap->section[KMS_SEC_FAULT].entries ? (uint32_t)number + 1 : 0;
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

static bool is_told_to_go_on(const struct kms_heap *heap)
{
	return __atomic_load_n(&heap->go_on, __ATOMIC_RELAXED) || kms_console_read() == 'c';
}

/*
 * Everybody stands, and a host may look at everything until it says "continue", be it one that comes
 * only now. Without a lock in anybody's hands: as kms_stop_stand() does it.
 */
static void serve(struct kms_heap *heap, struct kms_cpu *cpu)
{
	struct kms_local *t = cpu->nested->busy ? cpu->nested : cpu->local;
	const uint32_t *beat = (const uint32_t *)&heap->tracer->heartbeat.v;
	bool locked = kms_heap_lock_all(heap, kms_clock_ns() + LOCKS_NS);

	kms_cpus.stays_held = true;
	(void)kms_cpu_hold_others();
	if (locked)
		kms_heap_unlock_all(heap);
	__atomic_store_n(&heap->go_on, 0, __ATOMIC_RELAXED);
	while (!is_told_to_go_on(heap)) {
		uint32_t seen = __atomic_load_n(beat, __ATOMIC_RELAXED);

		if (!kms_stop_stand(t, KMS_STOP_FAULT, cpu->last_fault))
			kms_port_wait(beat, seen, SLICE_NS);
	}
}

_Noreturn void kms_port_panic(const char *text)
{
	struct kms_cpu *cpu = kms_cpu_this();

	kms_console_printf("panic: %s\n", text);
	if (!kms_options_has(kms_guest_options(), "panic=off")) {
		kms_console_write("db> waiting for a host, or for 'c' to switch off\n");
		serve(kms_guest_heap(), cpu);
	}
	kms_guest_power_off(KMS_GUEST_EXIT_PANIC);
}
