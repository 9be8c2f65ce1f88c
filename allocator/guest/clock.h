/* SPDX-License-Identifier: BSD-2-Clause */
/* Time: the time stamp counter, measured against the PIT at boot. */
#ifndef KMS_ALLOCATOR_GUEST_CLOCK_H
#define KMS_ALLOCATOR_GUEST_CLOCK_H

#include <stdint.h>

/**
 * Measures the time stamp counter and the APIC's timer; takes some 20 ms. Returns the frequency of
 * the latter in Hz.
 */
uint64_t kms_clock_start(void);

/** Nanoseconds since kms_clock_start; the same on all CPUs, never backwards on one. */
uint64_t kms_clock_ns(void);

/** Nanoseconds since 1970 by the battery clock, to a second; 0 if it makes no sense. */
uint64_t kms_clock_wall_ns(void);

#endif
