/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/guest/cpu.h"

#include "allocator/guest/apic.h"
#include "allocator/guest/clock.h"
#include "allocator/guest/memory.h"
#include "allocator/guest/trap.h"

enum {
	HOLD_NS = 100 * 1000 * 1000,
	MSR_GS_BASE = (int)0xc0000101,
	TSS_AVAILABLE = 0x89,
	IST_BYTES = 8192,
};

/** A task state segment: only its stacks count in 64-bit mode. */
struct __attribute__((packed)) tss {
	uint32_t reserved_0;
	uint64_t stack[3];
	uint64_t reserved_1;
	uint64_t interrupt_stack[7];
	uint64_t reserved_2;
	uint16_t reserved_3, io_map;
};

struct kms_cpus kms_cpus;

extern uint64_t kms_guest_gdt[4 + 2 * KMS_GUEST_MAX_CPUS];

static struct tss tss[KMS_GUEST_MAX_CPUS];
static uint8_t interrupt_stack[KMS_GUEST_MAX_CPUS][IST_BYTES] __attribute__((aligned(16)));

/* A stack of its own for what finds no stack: a double fault. */
static void load_tss(uint32_t index)
{
	uint64_t base = (uintptr_t)&tss[index];
	uint64_t limit = sizeof(tss[0]) - 1;
	uint64_t *entry = &kms_guest_gdt[KMS_GUEST_TSS / 8 + 2 * index];
	uint16_t selector = (uint16_t)(KMS_GUEST_TSS + 16 * index);

	tss[index].interrupt_stack[0] = (uintptr_t)interrupt_stack[index] + IST_BYTES;
	tss[index].io_map = sizeof(tss[0]);
	entry[0] = limit | (base & 0xffffff) << 16 | (uint64_t)TSS_AVAILABLE << 40 |
		   (base >> 24 & 0xff) << 56;
	entry[1] = base >> 32;
	__asm__ volatile("ltr %0" : : "r"(selector));
}

void kms_cpu_init(uint32_t index)
{
	struct kms_cpu *cpu = &kms_cpus.cpu[index];

	cpu->self = cpu;
	cpu->index = index;
	kms_cpu_write_msr((uint32_t)MSR_GS_BASE, (uintptr_t)cpu);
	load_tss(index);
	kms_trap_load();
}

/* Pairs with kms_cpu_flush_others: either it sees that we are not idle, or we see its number. */
static void flush_if_asked(struct kms_cpu *cpu)
{
	uint64_t flush = __atomic_load_n(&kms_cpus.flush, __ATOMIC_SEQ_CST);

	if (flush == __atomic_load_n(&cpu->flushed, __ATOMIC_RELAXED))
		return;
	kms_cpu_flush();
	__atomic_store_n(&cpu->flushed, flush, __ATOMIC_SEQ_CST);
}

void kms_cpu_halt_quietly(void)
{
	struct kms_cpu *cpu = kms_cpu_this();
	bool quiet = cpu->quiet;
	uint32_t postponed;

	cpu->quiet = true;
	kms_cpu_halt();
	cpu->quiet = quiet;
	postponed = quiet ? 0 : cpu->postponed;
	cpu->postponed &= ~postponed;
	for (; postponed; postponed &= postponed - 1)
		kms_apic_send_self((unsigned)__builtin_ctz(postponed) + KMS_VECTOR_TIMER);
}

static void stand_if_asked(struct kms_cpu *cpu)
{
	uint64_t hold;

	while ((hold = __atomic_load_n(&kms_cpus.hold, __ATOMIC_ACQUIRE)) &&
	       kms_cpus.holder != cpu->index) {
		flush_if_asked(cpu);
		__atomic_store_n(&cpu->held, hold, __ATOMIC_RELEASE);
		kms_cpu_halt_quietly();
		cpu->last_tick_ns = 0; /* a stop is no gap between ticks */
	}
}

void kms_cpu_wake(void)
{
	struct kms_cpu *cpu = kms_cpu_this();

	__atomic_store_n(&cpu->idle, 0, __ATOMIC_SEQ_CST);
	flush_if_asked(cpu);
}

void kms_cpu_poll(void)
{
	struct kms_cpu *cpu = kms_cpu_this();

	flush_if_asked(cpu);
	stand_if_asked(cpu);
}

static void poke_others(const struct kms_cpu *self)
{
	for (uint32_t i = 0; i < kms_cpus.count; i++) {
		struct kms_cpu *cpu = &kms_cpus.cpu[i];

		if (cpu != self && __atomic_load_n(&cpu->online, __ATOMIC_ACQUIRE) &&
		    !__atomic_load_n(&cpu->idle, __ATOMIC_SEQ_CST))
			kms_apic_send(cpu->apic_id, KMS_VECTOR_POLL);
	}
}

void kms_cpu_flush_others(void)
{
	uint64_t flags = kms_irq_save();
	struct kms_cpu *self = kms_cpu_this();
	uint64_t number;

	if (kms_cpus.count < 2) {
		kms_irq_restore(flags);
		return;
	}
	number = __atomic_add_fetch(&kms_cpus.flush, 1, __ATOMIC_SEQ_CST);
	poke_others(self);
	for (uint32_t i = 0; i < kms_cpus.count; i++) {
		struct kms_cpu *cpu = &kms_cpus.cpu[i];

		while (cpu != self && __atomic_load_n(&cpu->online, __ATOMIC_ACQUIRE) &&
		       !__atomic_load_n(&cpu->idle, __ATOMIC_SEQ_CST) &&
		       __atomic_load_n(&cpu->flushed, __ATOMIC_SEQ_CST) < number) {
			/* two that flush at once wait for each other */
			flush_if_asked(self);
			kms_cpu_pause();
		}
	}
	kms_irq_restore(flags);
}

static bool all_held(const struct kms_cpu *self, uint64_t number)
{
	for (uint32_t i = 0; i < kms_cpus.count; i++) {
		const struct kms_cpu *cpu = &kms_cpus.cpu[i];

		if (cpu != self && __atomic_load_n(&cpu->held, __ATOMIC_ACQUIRE) != number)
			return false;
	}
	return true;
}

bool kms_cpu_hold_others(void)
{
	uint64_t flags = kms_irq_save();
	struct kms_cpu *self = kms_cpu_this();
	uint64_t until_ns = kms_clock_ns() + HOLD_NS;
	bool held;

	kms_cpus.holder = self->index;
	__atomic_store_n(&kms_cpus.hold, ++kms_cpus.hold_count, __ATOMIC_SEQ_CST);
	for (uint32_t i = 0; i < kms_cpus.count; i++) {
		if (i != self->index)
			kms_apic_send(kms_cpus.cpu[i].apic_id, KMS_VECTOR_POLL);
	}
	do {
		flush_if_asked(self);
		kms_cpu_pause();
		held = all_held(self, kms_cpus.hold_count);
	} while (!held && kms_clock_ns() < until_ns);
	kms_irq_restore(flags);
	return held;
}

void kms_cpu_release_others(void)
{
	uint64_t flags = kms_irq_save();

	if (kms_cpus.stays_held) {
		kms_irq_restore(flags);
		return;
	}
	kms_cpu_this()->last_tick_ns = 0;
	__atomic_store_n(&kms_cpus.hold, 0, __ATOMIC_RELEASE);
	poke_others(kms_cpu_this());
	kms_irq_restore(flags);
}

void kms_cpu_interrupt(unsigned vector, void (*function)(void *argument), void *argument)
{
	uint64_t flags = kms_irq_save();
	struct kms_cpu *cpu = kms_cpu_this();
	struct kms_cpu_work *work = vector == KMS_VECTOR_DEVICE ? &cpu->device : &cpu->soft;
	uint64_t number;

	work->function = function;
	work->argument = argument;
	number = __atomic_add_fetch(&work->asked, 1, __ATOMIC_RELEASE);
	kms_apic_send_self(vector);
	kms_irq_on();
	while (__atomic_load_n(&work->done, __ATOMIC_ACQUIRE) < number)
		kms_cpu_pause();
	kms_irq_restore(flags);
}
