/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/test/fault_log.h"

#include "allocator/kmem.h"
#include "allocator/port/process.h"
#include "allocator/region.h"
#include "base/test/unit.h"

static size_t forgotten;

static size_t used(void)
{
	const struct kms_heap *heap = kms_process_heap();

	for (unsigned i = 0; i < heap->region->sections; i++) {
		if (heap->region->section[i].kind == KMS_SEC_FAULT)
			return (size_t)heap->region->section[i].used;
	}
	return 0;
}

void fault_log_start(void)
{
	void *first = kmem_alloc(8, KM_SLEEP);

	assert_int_equal(kmem_variable_set("kmem_panic", 0), 0);
	kmem_free(first, 8);
	forgotten = used();
}

int fault_log_setup(void **state)
{
	(void)state;
	fault_log_start();
	return 0;
}

size_t fault_log_count(void)
{
	return used() - forgotten;
}

const struct kms_fault *fault_log_at(size_t n)
{
	const struct kms_fault *faults = kms_section_base(kms_process_heap(), KMS_SEC_FAULT);

	assert_true(n < fault_log_count());
	assert_int_equal(faults[forgotten + n].ready, 1);
	return &faults[forgotten + n];
}

void fault_log_forget(void)
{
	forgotten = used();
}

void fault_log_expect(unsigned kind, const void *block)
{
	assert_int_equal(fault_log_count(), 1);
	assert_int_equal(fault_log_at(0)->kind, kind);
	assert_ptr_equal((void *)(uintptr_t)fault_log_at(0)->block, block);
	fault_log_forget();
}

void fault_log_expect_none(void)
{
	assert_int_equal(fault_log_count(), 0);
}
