/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/guest/thread.h"

#include <stddef.h>
#include <string.h>

#include "allocator/guest/apic.h"
#include "allocator/guest/clock.h"
#include "allocator/guest/console.h"
#include "allocator/guest/front.h"
#include "allocator/guest/memory.h"
#include "allocator/guest/paging.h"
#include "allocator/guest/spin.h"

enum {
	THREAD_NONE = 0,
	THREAD_RUNS = 1,
	THREAD_ENDED = 2,
	SAVED_REGISTERS = 6,
};

struct kms_threads kms_threads;

void kms_thread_switch(uint64_t *from_sp, uint64_t to_sp);
void kms_thread_begin(void);

/* A place in the table; it does not run yet. */
static struct kms_thread_context *make(uint32_t cpu, const char *name)
{
	uint64_t flags = kms_spin_lock(&kms_threads.lock);
	struct kms_thread_context *thread = NULL;

	if (kms_threads.count < KMS_GUEST_MAX_THREADS) {
		thread = &kms_threads.thread[kms_threads.count++];
		thread->tid = kms_threads.count;
		thread->cpu = cpu;
		memcpy(thread->name, name, strnlen(name, sizeof(thread->name) - 1));
	}
	kms_spin_unlock(&kms_threads.lock, flags);
	return thread;
}

void kms_thread_adopt(const char *name, uintptr_t stack_end)
{
	struct kms_cpu *cpu = kms_cpu_this();
	struct kms_thread_context *thread = make(cpu->index, name);

	if (thread)
		thread->stack_end = stack_end;
	else
		kms_guest_die("no place for a thread");
	cpu->thread = thread;
	cpu->idle_thread = thread;
}

struct kms_thread_context *kms_thread_start(uint32_t cpu, const char *name,
					    void (*function)(void *argument), void *argument)
{
	struct kms_thread_context *thread = make(cpu % kms_cpus.count, name);
	uint8_t *stack = kms_area_reserve(KMS_GUEST_STACK_BYTES, KMS_GUEST_PAGE);
	uint64_t *top;

	if (!thread || !stack || !kms_area_open(stack, KMS_GUEST_STACK_BYTES, false))
		return NULL;
	thread->stack_end = (uintptr_t)stack + KMS_GUEST_STACK_BYTES;
	thread->function = function;
	thread->argument = argument;
	if (!kms_front_thread(thread))
		return NULL;
	top = (uint64_t *)thread->stack_end;
	*--top = 0; /* where its first function would return to */
	*--top = (uintptr_t)kms_thread_begin;
	top -= SAVED_REGISTERS;
	thread->sp = (uintptr_t)top;
	__atomic_store_n(&thread->state, THREAD_RUNS, __ATOMIC_RELEASE);
	kms_thread_wake();
	return thread;
}

static bool can_run(const struct kms_thread_context *thread)
{
	if (__atomic_load_n(&thread->state, __ATOMIC_ACQUIRE) != THREAD_RUNS)
		return false;
	return !thread->word ||
	       __atomic_load_n(thread->word, __ATOMIC_ACQUIRE) != thread->expected ||
	       kms_clock_ns() >= thread->until_ns;
}

/* The next thread of this CPU after the one that runs; NULL if none can. */
static struct kms_thread_context *choose(const struct kms_cpu *cpu)
{
	uint32_t count = __atomic_load_n(&kms_threads.count, __ATOMIC_ACQUIRE);
	uint32_t from = cpu->thread->tid; /* its index is one less */

	for (uint32_t i = 0; i < count; i++) {
		struct kms_thread_context *thread = &kms_threads.thread[(from + i) % count];

		if (thread->cpu == cpu->index && thread != cpu->idle_thread && can_run(thread))
			return thread;
	}
	return NULL;
}

/* Interrupts are off. */
static void switch_to(struct kms_cpu *cpu, struct kms_thread_context *next)
{
	struct kms_thread_context *self = cpu->thread;
	uint64_t front_flags = cpu->front_flags[0];

	if (next == self)
		return;
	cpu->thread = next;
	kms_front_switched(cpu, self);
	kms_thread_switch(&self->sp, next->sp);
	cpu->front_flags[0] = front_flags; /* we are back, on the same CPU */
}

void kms_thread_wait(const uint32_t *word, uint32_t expected, uint64_t until_ns)
{
	uint64_t flags = kms_irq_save();
	struct kms_cpu *cpu = kms_cpu_this();
	struct kms_thread_context *self = cpu->thread, *next;

	self->expected = expected;
	self->until_ns = until_ns;
	self->word = word;
	next = choose(cpu);
	switch_to(cpu, next ? next : cpu->idle_thread);
	self->word = NULL;
	kms_irq_restore(flags);
}

void kms_thread_wake(void)
{
	uint64_t flags = kms_irq_save();
	const struct kms_cpu *self = kms_cpu_this();

	__atomic_thread_fence(__ATOMIC_SEQ_CST); /* the word first, then the look at who is idle */
	for (uint32_t i = 0; i < kms_cpus.count; i++) {
		struct kms_cpu *cpu = &kms_cpus.cpu[i];

		if (cpu != self && __atomic_load_n(&cpu->idle, __ATOMIC_SEQ_CST))
			kms_apic_send(cpu->apic_id, KMS_VECTOR_WAKE);
	}
	kms_irq_restore(flags);
}

_Noreturn void kms_thread_idle(void)
{
	struct kms_cpu *cpu = kms_cpu_this();

	kms_irq_off();
	for (;;) {
		struct kms_thread_context *next;

		/* before the look: who lets a thread run after it sends an interrupt then */
		__atomic_store_n(&cpu->idle, 1, __ATOMIC_SEQ_CST);
		next = choose(cpu);
		if (!next)
			kms_cpu_halt();
		kms_cpu_wake();
		if (next)
			switch_to(cpu, next);
	}
}

_Noreturn void kms_thread_main(void)
{
	struct kms_cpu *cpu = kms_cpu_this();
	struct kms_thread_context *self = cpu->thread;

	kms_irq_on();
	self->function(self->argument);
	kms_irq_off();
	__atomic_store_n(&self->state, THREAD_ENDED, __ATOMIC_RELEASE);
	for (;;)
		switch_to(cpu, cpu->idle_thread);
}
