/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The port of allocator/unwind.h for a Linux process with glibc 2.35 or later on x86-64: rules from
 * the modules' .eh_frame, found by _dl_find_object, which takes no lock.
 */
#ifndef KMS_ALLOCATOR_PORT_UNWIND_POSIX_H
#define KMS_ALLOCATOR_PORT_UNWIND_POSIX_H

#include "allocator/port/modules_posix.h"
#include "allocator/unwind.h"

enum kms_unwind_limits {
	KMS_WIDE_RULES = 1024,
};

struct kms_unwind {
	bool fixup_ready;    /* a fault handler calls kms_unwind_fixup */
	bool probe_works;    /* the kernel tells us whether an address can be read */
	uint32_t wide_count; /* atomic */
	struct kms_rule_wide wide[KMS_WIDE_RULES];
	struct kms_modules modules;
};

/** Some 200 KiB; mostly untouched. @unwind is zeroed memory. */
void kms_unwind_init(struct kms_unwind *unwind, struct kms_region_header *region);

/**
 * To be called first in the library's handler of SIGSEGV and SIGBUS: true if the fault was a read
 * that we expected might fail; @context is then changed so that returning resumes it.
 *
 * Shape:  @context: the ucontext_t of the handler
 */
bool kms_unwind_fixup(void *context);

#endif
