/* SPDX-License-Identifier: BSD-2-Clause */
/* Boot, rounds of work, shutdown. */
#include "allocator/demo/kernel.h"

#include <stdarg.h>
#include <stdio.h>

#include "allocator/demo/host.h"
#include "allocator/kmem.h"

enum {
	LINE_BYTES = 256,
};

static const struct kms_driver_class *const driver_classes[KMS_DRIVERS] = {
	&kms_disk_class, &kms_net_class, &kms_usb_class, &kms_tty_class, &kms_fs_class,
};

/* What a developer who hunts a use-after-free in the tty driver would set: guard only the blocks of
 * a line's size. A finding is reported and the kernel goes on. */
static const struct {
	const char *name;
	uint64_t value;
} boot_variables[] = {
	{"kmem_panic",         0  },
	{"kmem_guard_minsize", 200},
	{"kmem_guard_maxsize", 256},
	{"kmem_guard_depth",   512},
};

void kms_kernel_print(struct kms_kernel *kernel, const char *format, ...)
{
	char line[LINE_BYTES];
	va_list arguments;
	int length;

	if (!kernel->options.verbose)
		return;
	length = snprintf(line, sizeof(line), "[%8llu] ", (unsigned long long)kernel->tick);
	va_start(arguments, format);
	/* NOLINTNEXTLINE(clang-analyzer-valist.Uninitialized): it is, one line above */
	(void)vsnprintf(line + length, sizeof(line) - (size_t)length, format, arguments);
	va_end(arguments);
	kms_host_console(kernel, line);
}

static void set_boot_variables(struct kms_kernel *kernel)
{
	for (size_t i = 0; i < sizeof(boot_variables) / sizeof(boot_variables[0]); i++) {
		int rc = kmem_variable_set(boot_variables[i].name, boot_variables[i].value);

		if (rc)
			kms_kernel_print(kernel, "%s: not set (%d)", boot_variables[i].name, rc);
	}
	kms_host_variables();
}

static void boot(struct kms_kernel *kernel)
{
	set_boot_variables(kernel);
	kms_rng_init(&kernel->rng, kernel->options.seed, KMS_DRIVERS);
	for (unsigned i = 0; i < KMS_DRIVERS; i++) {
		struct kms_driver *driver = &kernel->driver[i];

		driver->class = driver_classes[i];
		driver->kernel = kernel;
		kms_rng_init(&driver->rng, kernel->options.seed, i);
		driver->class->attach(driver);
		kms_kernel_print(kernel, "%s: attached", driver->class->name);
	}
}

/* Another seed gives each driver another amount of work, up to an eighth more. */
static void plan_round(struct kms_kernel *kernel)
{
	kms_bugs_plan(kernel);
	for (int i = 0; i < KMS_DRIVERS; i++) {
		struct kms_driver *driver = &kernel->driver[i];

		driver->ops_done = 0;
		driver->ops_left =
			kernel->options.ops + kms_rng_below(&kernel->rng, kernel->options.ops / 8);
	}
}

static void run_round(struct kms_kernel *kernel, unsigned round)
{
	kms_reserve_fill(kernel);
	plan_round(kernel);
	kms_kernel_print(kernel, "round %u begins", round);
	kms_sched_round(kernel);
	kms_reserve_release(kernel, kms_bugs_blocks_left(kernel));
	kms_kernel_print(kernel, "round %u ends after %llu operations", round,
			 (unsigned long long)kernel->ops_done);
}

static void shut_down(struct kms_kernel *kernel)
{
	kms_cpu_drain(kernel);
	kms_reserve_release(kernel, KMS_RESERVE_BLOCKS - kms_bugs_blocks_left_most(kernel));
	for (int i = 0; i < KMS_DRIVERS; i++) {
		kernel->driver[i].class->detach(&kernel->driver[i]);
		kms_kernel_print(kernel, "%s: detached", kernel->driver[i].class->name);
	}
}

int kms_kernel_run(struct kms_kernel *kernel)
{
	unsigned round = 0;
	int rc;

	boot(kernel);
	rc = kms_host_start(kernel);
	if (!rc) {
		do
			run_round(kernel, ++round);
		while (kernel->options.forever);
		if (kernel->options.wait)
			kms_host_await_end();
	}
	kms_host_stop(kernel);
	shut_down(kernel);
	return rc;
}
