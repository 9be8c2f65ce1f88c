/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The heap of the guest and the locals of its CPUs: what the calls of kmem.h need to get from
 * "somebody called" to a local. The allocator runs with interrupts off, on one CPU's local.
 */
#ifndef KMS_ALLOCATOR_GUEST_FRONT_H
#define KMS_ALLOCATOR_GUEST_FRONT_H

#include <stdbool.h>

#include "allocator/alloc.h"
#include "allocator/guest/cpu.h"

struct kms_thread_context;

/** The heap, started or not. */
struct kms_heap *kms_guest_heap(void);

/**
 * Depth of the guard that the heap begins with, 0: as the command line says. Named and read as in
 * NetBSD: once, by kmem_init(). A host that stops the machine there may write it.
 */
extern uint32_t kmem_guard_depth;

/**
 * Makes heap, region and the locals of all CPUs, and publishes the region.
 *
 * Shape:  @options: the command line; words that name a variable set it
 * Locks:  on CPU 0, after the others are online
 */
void kmem_init(const char *options);

/**
 * Sets what a debugger put into kmem_guard_depth while the machine stood at kmem_init(): it wins over
 * the command line. Whoever sets variables from elsewhere afterwards calls it once more.
 */
void kms_front_take_boot_depth(struct kms_heap *heap);

/** Gives the CPU that we run on its part of the heap; kmem_init does it for its own. */
void kms_front_cpu_start(void);

/** Goes into the allocator; NULL where there is no way in. Then kms_front_leave() leads out. */
struct kms_local *kms_front_enter(void);
void kms_front_leave(struct kms_local *t);

/** Memory of stack capture and an entry in the region for a new thread; false without memory. */
bool kms_front_thread(struct kms_thread_context *thread);

/** This CPU runs another thread now than @from. Interrupts are off. */
void kms_front_switched(struct kms_cpu *cpu, struct kms_thread_context *from);

/** The timer interrupt, on each CPU: takes up requests. */
void kms_front_tick(struct kms_cpu *cpu);

/**
 * Stands until the tracer, or a 'c' on the serial line, lets us go on. Where nobody has come yet, until
 * somebody does.
 *
 * Shape: @state: enum kms_stop_reason
 */
void kms_front_break(uint32_t state);

/** While this CPU stands: has anybody typed something? */
void kms_front_listen(void);

/** The caller of the function this stands in; that function must keep a frame pointer. */
#define KMS_CALLER_FRAME(frame_) (*(frame_) = kms_frame_caller(__builtin_frame_address(0)))

#endif
