/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The emulated kernel of the demo in the guest: its threads are spread over the CPUs, its interrupts
 * are interrupts that a CPU sends itself. One thread has a turn at a time, so the calls are those of
 * the process with the same seed.
 */
#include "allocator/guest/demo_host.h"

#include <errno.h>

#include "allocator/demo/host.h"
#include "allocator/guest/clock.h"
#include "allocator/guest/console.h"
#include "allocator/guest/cpu.h"
#include "allocator/guest/front.h"
#include "allocator/guest/main.h"
#include "allocator/guest/options.h"
#include "allocator/guest/thread.h"
#include "allocator/kmem.h"

enum {
	TURN_NOBODYS = 0, /* the scheduler's */
	TURN_OVER = UINT32_MAX,
};

/* Whose turn it is: number of a driver plus 1, or one of the above. */
static void give(struct kms_host *host, uint32_t turn)
{
	__atomic_store_n(&host->turn, turn, __ATOMIC_RELEASE);
	kms_thread_wake();
}

static void await_turn(struct kms_host *host, uint32_t turn)
{
	uint32_t seen;

	while ((seen = __atomic_load_n(&host->turn, __ATOMIC_ACQUIRE)) != turn && seen != TURN_OVER)
		kms_thread_wait(&host->turn, seen, UINT64_MAX);
}

static uint32_t turn_of(const struct kms_driver *driver)
{
	return (uint32_t)(driver - driver->kernel->driver) + 1;
}

static void driver_thread(void *argument)
{
	struct kms_driver *driver = argument;
	struct kms_host *host = driver->kernel->host;

	for (;;) {
		await_turn(host, turn_of(driver));
		if (host->turn == TURN_OVER)
			break;
		kms_sched_turn(driver);
		give(host, TURN_NOBODYS);
	}
}

void kms_host_turn(struct kms_driver *driver)
{
	struct kms_host *host = driver->kernel->host;

	give(host, turn_of(driver));
	await_turn(host, TURN_NOBODYS);
}

int kms_host_start(struct kms_kernel *kernel)
{
	for (uint32_t i = 0; i < KMS_DRIVERS; i++) {
		if (!kms_thread_start(i, kernel->driver[i].class->name, driver_thread,
				      &kernel->driver[i]))
			return -ENOMEM;
	}
	return 0;
}

void kms_host_stop(struct kms_kernel *kernel)
{
	give(kernel->host, TURN_OVER);
}

uint64_t kms_host_now_ns(void)
{
	return kms_clock_ns();
}

void kms_host_rest(uint64_t until_ns)
{
	static const uint32_t never;

	while (kms_clock_ns() < until_ns)
		kms_thread_wait(&never, 0, until_ns);
}

void kms_host_console(struct kms_kernel *kernel, const char *line)
{
	(void)kernel;
	kms_console_printf("%s\n", line);
}

void kms_host_journal(struct kms_kernel *kernel, const char *line)
{
	(void)kernel;
	if (kms_options_has(kms_guest_options(), "journal"))
		kms_console_printf("journal: %s\n", line);
}

void kms_host_variables(void)
{
	struct kms_local *t = kms_front_enter();

	if (!t)
		return;
	kms_options_set_variables(t->heap, kms_guest_options());
	kms_front_take_boot_depth(t->heap);
	kms_front_leave(t);
}

void kms_host_await_end(void)
{
	kms_host_rest(UINT64_MAX);
}

void kms_host_interrupt(unsigned level, void (*function)(void *argument), void *argument)
{
	kms_cpu_interrupt(level == KMEM_CONTEXT_HARDINT ? KMS_VECTOR_DEVICE : KMS_VECTOR_SOFT,
			  function, argument);
}
