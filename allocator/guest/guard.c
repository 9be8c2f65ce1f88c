/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/guest/guard.h"

#include "allocator/guard.h"
#include "allocator/guard_port.h"
#include "allocator/guest/console.h"
#include "allocator/guest/front.h"
#include "allocator/guest/memory.h"
#include "allocator/guest/paging.h"
#include "allocator/port.h"
#include "allocator/umem.h"

enum {
	FAULT_WRITE = 2, /* bit of the page fault's error code */
	STEP_BYTES = 2 << 20,
	NO_MEMORY = -12,
};

#define RESERVE_BYTES ((size_t)8 << 30)

static int start(void)
{
	return 0;
}

/* Reserved pages are closed. */
static int extend(void *from, size_t bytes)
{
	(void)from;
	(void)bytes;
	return 0;
}

/* A page that is closed has no memory, so none that other CPUs could still know of. */
static int open_pages(void *from, size_t bytes)
{
	return kms_area_open(from, bytes, false) ? KMS_GUARD_WAS_CLOSED : NO_MEMORY;
}

static int close_pages(void *from, size_t bytes)
{
	(void)kms_area_close(from, bytes);
	return 0;
}

static int after_fork(void *from, size_t bytes)
{
	(void)from;
	(void)bytes;
	return NO_MEMORY; /* a guest does not fork */
}

static void maps(uint64_t *used, uint64_t *max)
{
	*used = *max = 0;
}

static const struct kms_guard_ops page_table_ops = {
	.id = KMS_GUARD_PAGE_TABLE,
	.step_bytes = STEP_BYTES,
	.start = start,
	.extend = extend,
	.open = open_pages,
	.close = close_pages,
	.after_fork = after_fork,
	.maps = maps,
};

const struct kms_guard_ops *kms_port_guard_backend(unsigned index)
{
	return index ? NULL : &page_table_ops;
}

size_t kms_port_guard_reserve_bytes(void)
{
	return RESERVE_BYTES;
}

int kms_port_catch_traps(void)
{
	return 0;
}

/* Between enter and leave. */
static bool report(struct kms_local *t, uintptr_t address, const struct kms_trap_frame *trap)
{
	const struct kms_frame frame = {.pc = trap->rip, .sp = trap->rsp, .fp = trap->rbp};
	bool write = trap->error & FAULT_WRITE;
	uint32_t stack = 0;

	if (kms_variable(t->heap, KMS_VAR_TRACE) == 2)
		stack = kms_stack_capture_exact(t->stack, &frame);
	return kms_guard_owns(t->heap, address) ? kms_guard_trap(t, address, write, stack)
						: kms_umem_trap(t, address, write, stack);
}

bool kms_guard_trapped(uintptr_t address, const struct kms_trap_frame *frame)
{
	struct kms_heap *heap = kms_guest_heap();
	struct kms_cpu *cpu = kms_cpu_this();
	struct kms_local *t;
	bool resume;

	if (!heap->ready || (!kms_guard_owns(heap, address) && !kms_umem_owns(heap, address)))
		return false;
	if (cpu->trapping) {
		heap->slot->lost_faults++;
		return false;
	}
	cpu->trapping = true;
	t = kms_front_enter();
	resume = t && report(t, address, frame);
	if (t)
		kms_front_leave(t);
	cpu->trapping = false;
	return resume;
}
