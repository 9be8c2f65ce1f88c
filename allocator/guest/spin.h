/* SPDX-License-Identifier: BSD-2-Clause */
/* Locks of the guest's own structures: taken with interrupts off, held for a few instructions. */
#ifndef KMS_ALLOCATOR_GUEST_SPIN_H
#define KMS_ALLOCATOR_GUEST_SPIN_H

#include <stdint.h>

#include "allocator/guest/cpu.h"

/** Takes the lock, interrupts off from then on. What it returns is for kms_spin_unlock. */
/* NOLINTNEXTLINE(readability-non-const-parameter): an atomic operation writes there */
static inline uint64_t kms_spin_lock(uint32_t *lock)
{
	uint64_t flags = kms_irq_save();

	while (__atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE))
		kms_cpu_pause();
	return flags;
}

/* NOLINTNEXTLINE(readability-non-const-parameter): likewise */
static inline void kms_spin_unlock(uint32_t *lock, uint64_t flags)
{
	__atomic_store_n(lock, 0, __ATOMIC_RELEASE);
	kms_irq_restore(flags);
}

#endif
