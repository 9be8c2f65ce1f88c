/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/guest/workload.h"

#include <string.h>

#include "allocator/demo/kernel.h"
#include "allocator/guest/clock.h"
#include "allocator/guest/console.h"
#include "allocator/guest/demo_host.h"
#include "allocator/guest/front.h"
#include "allocator/guest/options.h"
#include "allocator/guest/thread.h"
#include "allocator/kmem.h"

enum {
	FLOOD_BLOCKS = 64,
	FLOOD_TURN = 4096,
	DEFAULT_OPS = 20000,
	DEFAULT_SECONDS = 4,
	MIN_OPS = 1000, /* fewer leave no room for the plan of bugs */
	LIST_BYTES = 256,
	VALUE_BYTES = 16,
	NS_PER_US = 1000,
	GAP_SECOND_NS = 1000 * 1000 * 1000,
	LATE_BYTES = 120,
	LATE_FREES = 20000,
	LATE_POLL_NS = 5 * 1000 * 1000,
};

#define ALL_BUGS ((UINT32_C(1) << KMS_BUGS) - 1)

static const char *the_options;

/* A list of bugs of the command line; @otherwise where it is not there, or names one that is not. */
static uint32_t bugs_of(const char *name, uint32_t otherwise)
{
	char list[LIST_BYTES];
	uint32_t bugs = 0;

	if (!kms_options_text(the_options, name, list, sizeof(list)))
		return otherwise;
	if (!kms_bugs_parse(list, &bugs))
		return bugs;
	kms_console_printf("options: %s=%s: unknown bug\n", name, list);
	return otherwise;
}

/* A kernel's own structures are no heap blocks. */
static struct kms_kernel the_kernel;
static struct kms_host the_host;

/* Of all CPUs, since the last time that this was asked. */
static uint64_t take_worst_gap_us(void)
{
	uint64_t worst = 0;

	for (uint32_t i = 0; i < kms_cpus.count; i++) {
		uint64_t gap =
			__atomic_exchange_n(&kms_cpus.cpu[i].worst_gap_ns, 0, __ATOMIC_RELAXED);

		worst = gap > worst ? gap : worst;
	}
	return worst / NS_PER_US;
}

/* The drivers of `kmemscope demo`, round after round or once. */
static void demo(void)
{
	uint64_t ops = kms_options_number(the_options, "ops", DEFAULT_OPS);
	int rc;

	the_kernel.host = &the_host;
	the_kernel.options = (struct kms_demo_options){
		.seed = kms_options_number(the_options, "seed", 1),
		.ops = ops < MIN_OPS ? MIN_OPS : ops,
		.seconds = kms_options_number(the_options, "seconds", DEFAULT_SECONDS),
		.bugs = bugs_of("bugs", ALL_BUGS) & ~bugs_of("off", 0),
		.forever = !kms_options_has(the_options, "once"),
		.verbose = kms_options_has(the_options, "verbose"),
	};
	rc = kms_kernel_run(&the_kernel);
	if (rc)
		kms_guest_die("no memory for the drivers' threads");
	kms_console_printf("done: %llu operations, longest time between two clock ticks %llu us\n",
			   (unsigned long long)the_kernel.ops_done,
			   (unsigned long long)take_worst_gap_us());
	kms_guest_power_off(KMS_GUEST_EXIT_DONE);
}

/* Allocates and frees as fast as it goes: for measurements. */
static void flood(void *argument)
{
	static const uint16_t sizes[] = {24, 40, 96, 200, 512, 1000, 64, 3000};
	static const uint32_t never;
	void *block[FLOOD_BLOCKS] = {0};

	(void)argument;
	for (uint64_t n = 0;; n++) {
		unsigned at = n % FLOOD_BLOCKS;
		size_t bytes = sizes[at % (sizeof(sizes) / sizeof(sizes[0]))];

		if (block[at])
			kmem_free(block[at], bytes);
		block[at] = kmem_alloc(bytes, KM_SLEEP);
		if (n % FLOOD_TURN == 0)
			kms_thread_wait(&never, 0, 0);
	}
}

/*
 * Beside any of them, for measurements: says each second how long the longest time between two clock ticks
 * was. Somebody who has the machine stand makes it longer.
 */
static void gaps(void *argument)
{
	static const uint32_t never;
	uint64_t second = kms_clock_ns();

	(void)argument;
	(void)take_worst_gap_us(); /* of the boot */
	for (;;) {
		second += GAP_SECOND_NS;
		if (second < kms_clock_ns())
			second = kms_clock_ns(); /* it stood: the seconds meanwhile are one */
		kms_thread_wait(&never, 0, second);
		kms_console_printf("gap: %llu us\n", (unsigned long long)take_worst_gap_us());
	}
}

/* For the guard FIFO: a block is freed, others come and go, and then somebody reads it. */
KMS_BUG_FUNCTION void late_use_after_free(uint64_t frees)
{
	volatile char *block = kmem_alloc(LATE_BYTES, KM_SLEEP);

	block[0] = 1;
	kmem_free((void *)block, LATE_BYTES);
	for (uint64_t i = 0; i < frees; i++)
		kmem_free(kmem_alloc(LATE_BYTES, KM_SLEEP), LATE_BYTES);
	(void)block[0];
}

/* Waits until somebody has made the FIFO deep enough, perhaps a host while we run. */
static void late(void)
{
	static const uint32_t never;
	uint64_t frees = kms_options_number(the_options, "frees", LATE_FREES);
	uint64_t depth = 0;

	kms_console_printf("late: waiting for kmem_guard_depth to be more than %llu\n",
			   (unsigned long long)frees);
	while (kmem_variable_get("kmem_guard_depth", &depth) == 0 && depth <= frees)
		kms_thread_wait(&never, 0, kms_clock_ns() + LATE_POLL_NS);
	late_use_after_free(frees);
	kms_console_write("late: done\n");
	if (kms_options_has(the_options, "once"))
		kms_guest_power_off(KMS_GUEST_EXIT_DONE);
}

static void begin(void *argument)
{
	char work[VALUE_BYTES] = "demo";

	(void)argument;
	if (kms_options_has(the_options, "-d"))
		kms_front_break(KMS_STOP_START);
	if (kms_options_has(the_options, "gaps"))
		(void)kms_thread_start(0, "gaps", gaps, NULL);
	(void)kms_options_text(the_options, "work", work, sizeof(work));
	if (strcmp(work, "demo") == 0)
		demo();
	if (strcmp(work, "late") == 0)
		late();
	for (uint32_t i = 0; strcmp(work, "flood") == 0 && i < kms_cpus.count; i++)
		(void)kms_thread_start(i, "flood", flood, NULL);
	/* anything else: idle */
}

void kms_workload_start(const char *options)
{
	the_options = options;
	if (!kms_thread_start(0, "main", begin, NULL))
		kms_guest_die("no memory for the first thread");
}
