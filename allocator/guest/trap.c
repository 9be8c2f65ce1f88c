/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/guest/trap.h"

#include "allocator/guest/apic.h"
#include "allocator/guest/clock.h"
#include "allocator/guest/console.h"
#include "allocator/guest/front.h"
#include "allocator/guest/guard.h"
#include "allocator/guest/paging.h"
#include "allocator/guest/symbols.h"
#include "allocator/guest/thread.h"

enum {
	VECTORS = 256,
	ENTRY_BYTES = 16, /* of entry.S */
	GATE_INTERRUPT = 0x8e,
	VECTOR_BREAKPOINT = 3,
	VECTOR_DOUBLE_FAULT = 8,
	VECTOR_PAGE_FAULT = 14,
	FIRST_INTERRUPT = 32,
	STACK_LINES = 16,
};

struct gate {
	uint16_t offset_low;
	uint16_t selector;
	uint8_t stack; /* of the task state segment, 0: the current one */
	uint8_t type;
	uint16_t offset_middle;
	uint32_t offset_high;
	uint32_t reserved;
};

static struct gate gate[VECTORS];

extern const uint8_t kms_trap_entries[VECTORS][ENTRY_BYTES];

void kms_trap_init(void)
{
	for (unsigned i = 0; i < VECTORS; i++) {
		uint64_t entry = (uintptr_t)kms_trap_entries[i];

		gate[i] = (struct gate){
			.offset_low = (uint16_t)entry,
			.selector = KMS_GUEST_CODE,
			.stack = i == VECTOR_DOUBLE_FAULT,
			.type = GATE_INTERRUPT,
			.offset_middle = (uint16_t)(entry >> 16),
			.offset_high = (uint32_t)(entry >> 32),
		};
	}
}

void kms_trap_load(void)
{
	const struct __attribute__((packed)) {
		uint16_t limit;
		uint64_t base;
	} table = {sizeof(gate) - 1, (uintptr_t)gate};

	__asm__ volatile("lidt %0" : : "m"(table));
}

static uint64_t fault_address(void)
{
	uint64_t address;

	__asm__ volatile("movq %%cr2, %0" : "=r"(address));
	return address;
}

/* By frame pointers, without the allocator's help. */
static void print_stack(const struct kms_trap_frame *frame)
{
	uint64_t pc = frame->rip, fp = frame->rbp;

	for (int i = 0; i < STACK_LINES && pc; i++) {
		kms_symbols_print_frame(pc);
		if (fp % 8 || !kms_paging_readable(fp) || !kms_paging_readable(fp + 8))
			break;
		pc = ((const uint64_t *)fp)[1];
		fp = ((const uint64_t *)fp)[0];
	}
}

/* A mistake of the guest itself, or one of its workload that no check explains. */
static _Noreturn void unexpected(const struct kms_trap_frame *frame)
{
	kms_console_printf("trap %llu, error %llx, at %llx, address %llx, stack %llx\n",
			   (unsigned long long)frame->vector, (unsigned long long)frame->error,
			   (unsigned long long)frame->rip, (unsigned long long)fault_address(),
			   (unsigned long long)frame->rsp);
	print_stack(frame);
	kms_guest_die("unexpected trap");
}

static void page_fault(struct kms_trap_frame *frame)
{
	uintptr_t address = fault_address();

	if (kms_area_touch(address) || kms_guard_trapped(address, frame))
		return;
	unexpected(frame);
}

/* A CPU that stood begins anew (cpu.c). */
static void note_gap(struct kms_cpu *cpu)
{
	uint64_t now = kms_clock_ns();

	if (cpu->last_tick_ns &&
	    now - cpu->last_tick_ns > __atomic_load_n(&cpu->worst_gap_ns, __ATOMIC_RELAXED))
		__atomic_store_n(&cpu->worst_gap_ns, now - cpu->last_tick_ns, __ATOMIC_RELAXED);
	cpu->last_tick_ns = now;
}

static void work(struct kms_cpu_work *w)
{
	if (w->done == w->asked)
		return;
	w->function(w->argument);
	__atomic_store_n(&w->done, w->asked, __ATOMIC_RELEASE);
}

/* The rest of an interrupt, with other ones let in. */
static void soft(struct kms_cpu_work *w)
{
	kms_irq_on();
	work(w);
	kms_irq_off();
}

static void interrupt(struct kms_cpu *cpu, uint64_t vector)
{
	kms_apic_end_of_interrupt();
	switch (vector) {
	case KMS_VECTOR_TIMER:
		note_gap(cpu);
		kms_front_tick(cpu);
		break;
	case KMS_VECTOR_DEVICE:
		work(&cpu->device);
		break;
	case KMS_VECTOR_SOFT:
		soft(&cpu->soft);
		break;
	case KMS_VECTOR_POLL:
		kms_cpu_poll();
		break;
	default:
		break;
	}
}

/* While this CPU waits within the allocator: no work that could come to it, too. */
static void quiet_interrupt(struct kms_cpu *cpu, uint64_t vector)
{
	kms_apic_end_of_interrupt();
	if (vector == KMS_VECTOR_TIMER)
		note_gap(cpu);
	else if (vector == KMS_VECTOR_DEVICE || vector == KMS_VECTOR_SOFT)
		cpu->postponed |= 1u << (vector - KMS_VECTOR_TIMER);
}

void kms_trap(struct kms_trap_frame *frame)
{
	struct kms_cpu *cpu = kms_cpu_this();

	if (__atomic_load_n(&cpu->idle, __ATOMIC_RELAXED))
		kms_cpu_wake();
	if (frame->vector == VECTOR_PAGE_FAULT)
		page_fault(frame);
	else if (frame->vector == VECTOR_BREAKPOINT)
		kms_front_break(KMS_STOP_REQUEST);
	else if (frame->vector < FIRST_INTERRUPT)
		unexpected(frame);
	else if (frame->vector == KMS_VECTOR_SPURIOUS)
		return;
	else if (cpu->quiet)
		quiet_interrupt(cpu, frame->vector);
	else
		interrupt(cpu, frame->vector);
}
