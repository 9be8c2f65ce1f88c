/* SPDX-License-Identifier: BSD-2-Clause */
/* The local APIC through its registers in memory (Intel SDM volume 3, chapter 10). */
#include "allocator/guest/apic.h"

#include "allocator/guest/clock.h"
#include "allocator/guest/cpu.h"
#include "allocator/guest/memory.h"

enum {
	REGISTERS = (int)0xfee00000,
	APIC_ID = 0x20,
	APIC_EOI = 0xb0,
	APIC_SPURIOUS = 0xf0,
	APIC_COMMAND = 0x300,
	APIC_COMMAND_HIGH = 0x310,
	APIC_TIMER = 0x320,
	APIC_LINT0 = 0x350,
	APIC_LINT1 = 0x360,
	APIC_INITIAL = 0x380,
	APIC_CURRENT = 0x390,
	APIC_DIVIDE = 0x3e0,
	APIC_ENABLE = 0x100,
	APIC_MASKED = 1 << 16,
	APIC_PERIODIC = 1 << 17,
	APIC_DIVIDE_16 = 3,
	APIC_BUSY = 1 << 12,
	APIC_TO_SELF = 1 << 18,
	APIC_TO_OTHERS = 3 << 18,
	APIC_INIT = 0x4500,
	APIC_STARTUP = 0x4600,
	INIT_NS = 200 * 1000,
	PIC_MASK_1 = 0x21,
	PIC_MASK_2 = 0xa1,
};

static volatile uint32_t *reg(unsigned offset)
{
	return (volatile uint32_t *)((uintptr_t)kms_direct((uint32_t)REGISTERS) + offset);
}

uint32_t kms_apic_id(void)
{
	return *reg(APIC_ID) >> 24;
}

void kms_apic_init(void)
{
	kms_out8(PIC_MASK_1, 0xff);
	kms_out8(PIC_MASK_2, 0xff);
	*reg(APIC_LINT0) = APIC_MASKED;
	*reg(APIC_LINT1) = APIC_MASKED;
	*reg(APIC_TIMER) = APIC_MASKED;
	*reg(APIC_SPURIOUS) = APIC_ENABLE | KMS_VECTOR_SPURIOUS;
}

void kms_apic_count_start(void)
{
	*reg(APIC_TIMER) = APIC_MASKED;
	*reg(APIC_DIVIDE) = APIC_DIVIDE_16;
	*reg(APIC_INITIAL) = UINT32_MAX;
}

uint32_t kms_apic_counted(void)
{
	return UINT32_MAX - *reg(APIC_CURRENT);
}

void kms_apic_timer_start(uint64_t frequency)
{
	uint64_t count = frequency / KMS_TICKS_PER_S;

	*reg(APIC_DIVIDE) = APIC_DIVIDE_16;
	*reg(APIC_TIMER) = APIC_PERIODIC | KMS_VECTOR_TIMER;
	*reg(APIC_INITIAL) = count ? (uint32_t)count : 1;
}

void kms_apic_end_of_interrupt(void)
{
	*reg(APIC_EOI) = 0;
}

static void command(uint32_t apic_id, uint32_t what)
{
	uint64_t flags = kms_irq_save();

	while (*reg(APIC_COMMAND) & APIC_BUSY)
		kms_cpu_pause();
	*reg(APIC_COMMAND_HIGH) = apic_id << 24;
	*reg(APIC_COMMAND) = what;
	kms_irq_restore(flags);
}

void kms_apic_send(uint32_t apic_id, unsigned vector)
{
	command(apic_id, vector);
}

void kms_apic_send_self(unsigned vector)
{
	command(0, APIC_TO_SELF | vector);
}

void kms_apic_start_others(void)
{
	uint64_t until_ns;

	command(0, APIC_TO_OTHERS | APIC_INIT);
	until_ns = kms_clock_ns() + INIT_NS;
	while (kms_clock_ns() < until_ns)
		kms_cpu_pause();
	command(0, APIC_TO_OTHERS | APIC_STARTUP | KMS_GUEST_TRAMPOLINE >> 12);
}
