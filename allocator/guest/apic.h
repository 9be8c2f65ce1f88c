/* SPDX-License-Identifier: BSD-2-Clause */
/* The local APIC: timer, interrupts between CPUs, and how the others are started. */
#ifndef KMS_ALLOCATOR_GUEST_APIC_H
#define KMS_ALLOCATOR_GUEST_APIC_H

#include <stdint.h>

enum kms_apic_rates {
	KMS_TICKS_PER_S = 250, /* a stamp at least every 4 ms (DESIGN 6) */
};

/** Switches this CPU's APIC on; legacy interrupt controllers are masked. */
void kms_apic_init(void);

/** The id that others address this CPU by. */
uint32_t kms_apic_id(void);

/** Begins the periodic timer interrupt. @frequency: of the counter, in Hz (kms_clock_start). */
void kms_apic_timer_start(uint64_t frequency);

/** For the calibration: begins to count down from all ones; how much it has counted. */
void kms_apic_count_start(void);
uint32_t kms_apic_counted(void);

void kms_apic_end_of_interrupt(void);

/** An interrupt on the CPU with this APIC id, or on our own. */
void kms_apic_send(uint32_t apic_id, unsigned vector);
void kms_apic_send_self(unsigned vector);

/** Starts all other CPUs at the trampoline, as far as KMS_GUEST_MAX_CPUS allows. */
void kms_apic_start_others(void);

#endif
