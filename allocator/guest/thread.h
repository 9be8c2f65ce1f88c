/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Threads: each belongs to one CPU and gives it up only where it waits. What interrupts them are
 * interrupts.
 */
#ifndef KMS_ALLOCATOR_GUEST_THREAD_H
#define KMS_ALLOCATOR_GUEST_THREAD_H

#include <stdbool.h>
#include <stdint.h>

#include "allocator/guest/cpu.h"

struct kms_stack;

enum kms_thread_limits {
	KMS_GUEST_MAX_THREADS = 32,
};

/** A thread. Used by its CPU only, but for the fields of a new one. */
struct kms_thread_context {
	uint64_t sp; /* while it does not run */
	uint32_t tid;
	uint32_t cpu;
	uint32_t state;        /* atomic: 0 no thread, 1 may run, 2 ended */
	uint32_t thread_index; /* KMS_SEC_THREAD */
	char name[16];
	uintptr_t stack_end;
	struct kms_stack *memory; /* of stack capture, NULL until the allocator runs */
	/* what the CPU's local says of it, while it does not run */
	uint32_t level, locks_held, suspended;
	void (*function)(void *argument);
	void *argument;
	/* what it waits for: *word to become something else, or the time */
	const uint32_t *word;
	uint32_t expected;
	uint64_t until_ns;
};

struct kms_threads {
	uint32_t lock;
	uint32_t count;
	struct kms_thread_context thread[KMS_GUEST_MAX_THREADS];
};

/** The one set of threads. */
extern struct kms_threads kms_threads;

/** Makes the code that runs on this CPU its first thread, which runs when no other can. */
void kms_thread_adopt(const char *name, uintptr_t stack_end);

/** Starts a thread on CPU @cpu, modulo the number of CPUs. NULL without memory or place. */
struct kms_thread_context *kms_thread_start(uint32_t cpu, const char *name,
					    void (*function)(void *argument), void *argument);

/** Waits while *word == expected, at most until @until_ns (of kms_clock_ns); others run. */
void kms_thread_wait(const uint32_t *word, uint32_t expected, uint64_t until_ns);

/** Has CPUs look whether one of their threads may run now. */
void kms_thread_wake(void);

/** Runs threads for ever. For the CPU's first thread. */
_Noreturn void kms_thread_idle(void);

/** Entry of a new thread; entry.S. */
_Noreturn void kms_thread_main(void);

#endif
