/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A CPU of the guest: its registers, its state, and what others may ask of it.
 *
 * The allocator runs with interrupts off. So a CPU that waits for another one, be it for a lock, must
 * answer meanwhile: each such loop calls kms_cpu_poll.
 */
#ifndef KMS_ALLOCATOR_GUEST_CPU_H
#define KMS_ALLOCATOR_GUEST_CPU_H

#include <stdbool.h>
#include <stdint.h>

#include "allocator/guest/layout.h"

enum kms_cpu_flags {
	KMS_FLAGS_INTERRUPTS = 1 << 9,
};

struct kms_local;
struct kms_thread_context;

/** What an interrupt leaves on the stack: entry.S. */
struct kms_trap_frame {
	uint64_t r15, r14, r13, r12, r11, r10, r9, r8;
	uint64_t rdi, rsi, rbp, rbx, rdx, rcx, rax;
	uint64_t vector, error;
	uint64_t rip, cs, rflags, rsp, ss;
};

/** A function that an interrupt is to call. */
struct kms_cpu_work {
	void (*function)(void *argument);
	void *argument;
	uint64_t asked, done; /* how often */
};

/** One CPU. Its own, but where said. */
struct kms_cpu {
	struct kms_cpu *self; /* first: what %gs:0 reads */
	uint32_t index;
	uint32_t apic_id;
	uint32_t online;                   /* atomic: others may count on its answers */
	struct kms_thread_context *thread; /* that runs */
	struct kms_thread_context *idle_thread;
	struct kms_local *local;
	struct kms_local *nested;
	uint64_t front_flags[2]; /* rflags before the allocator was entered: local, nested */
	bool quiet;              /* waits within the allocator: interrupts do next to nothing */
	uint32_t postponed;      /* bit n: vector KMS_VECTOR_TIMER + n came meanwhile */
	bool trapping;           /* reports a trap of a guard page */
	uint32_t idle;           /* atomic: halted; flushes when it wakes */
	uint64_t flushed;        /* atomic: the last flush that it knows of */
	uint64_t held;           /* atomic: the last stop for which it stands */
	struct kms_cpu_work device, soft;
	uint32_t last_fault; /* index + 1 of the last finding of this CPU, 0 none */
	uint64_t last_tick_ns;
	uint64_t worst_gap_ns; /* between two ticks; atomic: whoever reports it sets it to 0 */
};

struct kms_cpus {
	uint32_t count; /* online ones */
	struct kms_cpu cpu[KMS_GUEST_MAX_CPUS];
	uint64_t flush; /* atomic: number of the last flush that was asked for */
	uint64_t hold;  /* atomic: number of the stop that the others are to stand for, 0 none */
	uint64_t hold_count; /* stops so far */
	uint32_t holder;     /* index of the CPU that stops them */
	bool stays_held;     /* after a panic they are never released */
};

/** The one set of CPUs that there is. */
extern struct kms_cpus kms_cpus;

static inline struct kms_cpu *kms_cpu_this(void)
{
	struct kms_cpu *cpu;

	__asm__ volatile("movq %%gs:0, %0" : "=r"(cpu));
	return cpu;
}

/** Interrupts off; what is returned is for kms_irq_restore. */
static inline uint64_t kms_irq_save(void)
{
	uint64_t flags;

	__asm__ volatile("pushfq; popq %0; cli" : "=r"(flags) : : "memory");
	return flags;
}

static inline void kms_irq_restore(uint64_t flags)
{
	if (flags & KMS_FLAGS_INTERRUPTS) /* cheaper than popfq, the more under an emulator */
		__asm__ volatile("sti" : : : "memory");
}

static inline void kms_irq_on(void)
{
	__asm__ volatile("sti" : : : "memory");
}

static inline void kms_irq_off(void)
{
	__asm__ volatile("cli" : : : "memory");
}

/** Waits for an interrupt; none comes between the two. Interrupts are off before and after. */
static inline void kms_cpu_halt(void)
{
	__asm__ volatile("sti; hlt; cli" : : : "memory");
}

static inline void kms_cpu_pause(void)
{
	__asm__ volatile("pause" : : : "memory");
}

static inline void kms_out8(uint16_t port, uint8_t value)
{
	__asm__ volatile("outb %0, %1" : : "a"(value), "d"(port));
}

static inline uint8_t kms_in8(uint16_t port)
{
	uint8_t value;

	__asm__ volatile("inb %1, %0" : "=a"(value) : "d"(port));
	return value;
}

static inline void kms_out16(uint16_t port, uint16_t value)
{
	__asm__ volatile("outw %0, %1" : : "a"(value), "d"(port));
}

static inline uint64_t kms_cpu_tsc(void)
{
	uint32_t low, high;

	__asm__ volatile("rdtsc" : "=a"(low), "=d"(high));
	return (uint64_t)high << 32 | low;
}

static inline void kms_cpu_write_msr(uint32_t msr, uint64_t value)
{
	__asm__ volatile("wrmsr"
			 :
			 : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32))
			 : "memory");
}

/** This CPU forgets all translations that may have changed. */
static inline void kms_cpu_flush(void)
{
	uint64_t root;

	__asm__ volatile("movq %%cr3, %0; movq %0, %%cr3" : "=r"(root) : : "memory");
}

/** Makes the CPU that we run on number @index: %gs, segments, interrupt table. Interrupts are off. */
void kms_cpu_init(uint32_t index);

/** Answers what other CPUs ask of this one: a flush, or to stand still. For loops that wait. */
void kms_cpu_poll(void);

/** This CPU is not idle any more. */
void kms_cpu_wake(void);

/** Has all other CPUs forget translations, and waits until they have. */
void kms_cpu_flush_others(void);

/**
 * Has all other CPUs stand still until kms_cpu_release_others. False if one did not within 100 ms; it
 * will as soon as it can.
 */
bool kms_cpu_hold_others(void);
void kms_cpu_release_others(void);

/**
 * Has @function called in an interrupt with this vector (DEVICE or SOFT) on this CPU; returns when it
 * is over. Interrupts are on.
 */
void kms_cpu_interrupt(unsigned vector, void (*function)(void *argument), void *argument);

/**
 * Halts until an interrupt that does nothing but answer other CPUs; what it would have done besides
 * comes later. For waiting within the allocator. Interrupts are off before and after.
 */
void kms_cpu_halt_quietly(void);

#endif
