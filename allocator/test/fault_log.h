/* SPDX-License-Identifier: BSD-2-Clause */
/* What the heap of this process has found so far; for tests that provoke findings. */
#ifndef KMS_ALLOCATOR_TEST_FAULT_LOG_H
#define KMS_ALLOCATOR_TEST_FAULT_LOG_H

#include <stddef.h>

#include "schema/region.h"

/** Findings go on from here: policy report for every kind. Call once. */
void fault_log_start(void);

/** The same as a group's set-up for cmocka. */
int fault_log_setup(void **state);

/** Number of findings since the last call of fault_log_take_all, without forgetting them. */
size_t fault_log_count(void);

/** The n-th finding since then; asserts that it exists. */
const struct kms_fault *fault_log_at(size_t n);

/** Forgets the findings so far. */
void fault_log_forget(void);

/** Asserts that there is exactly one finding, of this kind about this block, and forgets it. */
void fault_log_expect(unsigned kind, const void *block);

/** Asserts that there is none. */
void fault_log_expect_none(void);

#endif
