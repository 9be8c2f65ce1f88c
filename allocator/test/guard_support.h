/* SPDX-License-Identifier: BSD-2-Clause */
/* The guard of this process, for tests. */
#ifndef KMS_ALLOCATOR_TEST_GUARD_SUPPORT_H
#define KMS_ALLOCATOR_TEST_GUARD_SUPPORT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "allocator/guard.h"
#include "allocator/kmem.h"
#include "allocator/port/process.h"
#include "allocator/region.h"

#define GUARD_PAGE_BYTES ((size_t)4096)

static inline const struct kms_guard_stat *guard_figures(void)
{
	return &kms_process_heap()->slot->guard;
}

static inline void guard_set(const char *name, uint64_t value)
{
	int result = kmem_variable_set(name, value);

	if (result) {
		fprintf(stderr, "cannot set %s to %llu: %d\n", name, (unsigned long long)value,
			result);
		abort();
	}
}

static inline bool guard_owns(const volatile void *p)
{
	return kms_guard_owns(kms_process_heap(), (uintptr_t)p);
}

/* Accesses that the compiler neither drops nor moves. */
static inline unsigned char guard_read(const volatile void *p)
{
	return *(const volatile unsigned char *)p;
}

static inline void guard_write(volatile void *p, unsigned char value)
{
	*(volatile unsigned char *)p = value;
}

/** Starts the guard with this back end; false if this system does not have it. */
static inline bool guard_begin(uint64_t backend, uint64_t depth)
{
	guard_set("kmem_guard_backend", backend);
	guard_set("kmem_guard_depth", depth);
	return guard_figures()->backend == backend;
}

/** Findings of this process so far. */
static inline uint64_t guard_faults(void)
{
	const struct kms_heap *heap = kms_process_heap();

	for (unsigned i = 0; i < heap->region->sections; i++) {
		if (heap->region->section[i].kind == KMS_SEC_FAULT)
			return heap->region->section[i].used;
	}
	return 0;
}

/** The latest finding; NULL if there is none. */
static inline const struct kms_fault *guard_last_fault(void)
{
	const struct kms_fault *faults = kms_section_base(kms_process_heap(), KMS_SEC_FAULT);

	return guard_faults() ? &faults[guard_faults() - 1] : NULL;
}

/** Frees one block after the other until the FIFO holds none of the earlier ones. */
static inline void guard_flush(uint64_t depth)
{
	for (uint64_t i = 0; i < depth; i++)
		kmem_free(kmem_alloc(24, KM_SLEEP), 24);
}

#endif
