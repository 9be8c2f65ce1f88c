/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/guest/workload.h"

#include "allocator/guest/clock.h"
#include "allocator/guest/console.h"
#include "allocator/guest/front.h"
#include "allocator/guest/options.h"
#include "allocator/guest/thread.h"
#include "allocator/kmem.h"

enum {
	FLOOD_BLOCKS = 64,
	FLOOD_TURN = 4096,
};

/* Allocates and frees as fast as it goes: for measurements. */
static void flood(void *argument)
{
	static const uint16_t sizes[] = {24, 40, 96, 200, 512, 1000, 64, 3000};
	void *block[FLOOD_BLOCKS] = {0};
	uint32_t never = 0;

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

static const char *the_options;

static void begin(void *argument)
{
	(void)argument;
	if (kms_options_has(the_options, "-d"))
		kms_front_break(KMS_STOP_START);
	for (uint32_t i = 0; i < kms_cpus.count; i++)
		(void)kms_thread_start(i, "flood", flood, NULL);
}

void kms_workload_start(const char *options)
{
	the_options = options;
	if (!kms_thread_start(0, "main", begin, NULL))
		kms_guest_die("no memory for the first thread");
}
