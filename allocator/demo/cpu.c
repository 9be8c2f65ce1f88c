/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The CPU between operations: device interrupts, the clock, soft interrupts, callouts.
 *
 * Like on a real CPU they run on the stack of whatever thread was interrupted (and in the guest kernel
 * on a real one). Each level is told to the allocator, so that it can say who may not call it there.
 */
#include "allocator/demo/kernel.h"

#include <assert.h>

#include "allocator/demo/host.h"
#include "allocator/kmem.h"

enum {
	DRAIN_ROUNDS = 4096, /* more than any device's queue is long */
};

void kms_spin_enter(const void *lock)
{
	kmem_lock_hold(lock);
}

void kms_spin_exit(const void *lock)
{
	kmem_lock_drop(lock);
}

static void in_interrupt(void *argument)
{
	struct kms_driver *driver = argument;
	int previous = kmem_context_enter(KMEM_CONTEXT_HARDINT);

	driver->class->interrupt(driver);
	kmem_context_leave(previous);
}

static void device_interrupt(struct kms_driver *driver)
{
	if (driver->class->interrupt && driver->softc)
		kms_host_interrupt(KMEM_CONTEXT_HARDINT, in_interrupt, driver);
}

void kms_cpu_soft_interrupt(struct kms_driver *driver)
{
	driver->soft_pending = true;
}

static void in_soft_interrupt(void *argument)
{
	struct kms_driver *driver = argument;
	int previous = kmem_context_enter(KMEM_CONTEXT_SOFTINT);

	driver->class->soft_interrupt(driver);
	kmem_context_leave(previous);
}

static void run_soft_interrupts(struct kms_kernel *kernel)
{
	for (int i = 0; i < KMS_DRIVERS; i++) {
		struct kms_driver *driver = &kernel->driver[i];

		if (!driver->soft_pending)
			continue;
		driver->soft_pending = false;
		kms_host_interrupt(KMEM_CONTEXT_SOFTINT, in_soft_interrupt, driver);
	}
}

void kms_callout_schedule(struct kms_kernel *kernel, struct kms_callout *callout, uint64_t ticks)
{
	struct kms_callout **at = &kernel->callouts;

	assert(!callout->pending);
	callout->due_tick = kernel->tick + ticks;
	callout->pending = true;
	while (*at && (*at)->due_tick <= callout->due_tick)
		at = &(*at)->next;
	callout->next = *at;
	*at = callout;
}

void kms_callout_stop(struct kms_kernel *kernel, struct kms_callout *callout)
{
	struct kms_callout **at = &kernel->callouts;

	if (!callout->pending)
		return;
	while (*at != callout)
		at = &(*at)->next;
	*at = callout->next;
	callout->pending = false;
}

static void in_callouts(void *argument)
{
	struct kms_kernel *kernel = argument;
	int previous = kmem_context_enter(KMEM_CONTEXT_CALLOUT);

	while (kernel->callouts && kernel->callouts->due_tick <= kernel->tick) {
		struct kms_callout *callout = kernel->callouts;

		kernel->callouts = callout->next;
		callout->pending = false;
		callout->function(kernel, callout->argument);
	}
	kmem_context_leave(previous);
}

static void run_callouts(struct kms_kernel *kernel)
{
	if (kernel->callouts && kernel->callouts->due_tick <= kernel->tick)
		kms_host_interrupt(KMEM_CONTEXT_CALLOUT, in_callouts, kernel);
}

void kms_cpu_after_operation(struct kms_kernel *kernel)
{
	if (kms_rng_below(&kernel->rng, KMS_INTERRUPT_ONE_IN) == 0)
		device_interrupt(&kernel->driver[kms_rng_below(&kernel->rng, KMS_DRIVERS)]);
	run_soft_interrupts(kernel);
	if (kernel->ops_done % KMS_TICK_OPS == 0) {
		kernel->tick++;
		run_callouts(kernel);
	}
}

void kms_cpu_drain(struct kms_kernel *kernel)
{
	for (int i = 0; i < DRAIN_ROUNDS; i++) {
		kernel->tick++;
		for (int d = 0; d < KMS_DRIVERS; d++)
			device_interrupt(&kernel->driver[d]);
		run_soft_interrupts(kernel);
		run_callouts(kernel);
	}
}
