/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The scheduler: hands the one CPU to the drivers' threads in turns of KMS_QUANTUM_OPS operations.
 *
 * The order of turns comes from the seed. Real time only decides how long the scheduler rests
 * between turns, so that a round takes about as long as was asked for; it never changes what is done.
 */
#include "allocator/demo/host.h"
#include "allocator/demo/kernel.h"

enum {
	NS_PER_S = 1000000000,
	REST_NS = 2000000, /* shorter rests are not worth a system call */
};

void kms_sched_turn(struct kms_driver *driver)
{
	for (int i = 0; i < KMS_QUANTUM_OPS && driver->ops_left; i++) {
		driver->ops_left--;
		driver->ops_done++;
		driver->kernel->ops_done++;
		driver->class->work(driver);
		kms_cpu_after_operation(driver->kernel);
	}
}

/* A driver that still has operations, chosen by the seed; NULL when all are done. */
static struct kms_driver *next_driver(struct kms_kernel *kernel)
{
	uint64_t start = kms_rng_below(&kernel->rng, KMS_DRIVERS);

	for (uint64_t i = 0; i < KMS_DRIVERS; i++) {
		struct kms_driver *driver = &kernel->driver[(start + i) % KMS_DRIVERS];

		if (driver->ops_left)
			return driver;
	}
	return NULL;
}

/* Sleeps while the round is ahead of its time. */
static void rest_until(uint64_t due_ns)
{
	if (due_ns >= kms_host_now_ns() + REST_NS)
		kms_host_rest(due_ns);
}

void kms_sched_round(struct kms_kernel *kernel)
{
	uint64_t begin_ns = kms_host_now_ns();
	uint64_t length_ns = kernel->options.seconds * NS_PER_S;
	uint64_t total = 0;
	uint64_t first = kernel->ops_done;
	struct kms_driver *driver;

	for (int i = 0; i < KMS_DRIVERS; i++)
		total += kernel->driver[i].ops_left;
	while ((driver = next_driver(kernel))) {
		kms_host_turn(driver);
		if (length_ns)
			rest_until(begin_ns + length_ns / total * (kernel->ops_done - first));
	}
}
