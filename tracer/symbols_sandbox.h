/* SPDX-License-Identifier: BSD-2-Clause */
/* What the helper gives up before it opens the first foreign file. */
#ifndef KMS_TRACER_SYMBOLS_SANDBOX_H
#define KMS_TRACER_SYMBOLS_SANDBOX_H

#include <stdbool.h>
#include <stdint.h>

/**
 * Limits memory, descriptors and core files, and gives up the right to gain rights.
 *
 * Returns 0 or a negative errno.
 */
int kms_symbols_sandbox_limits(uint64_t memory_bytes);

/** Address space in use; 0 if it cannot be told or says nothing because there is no limit. */
uint64_t kms_symbols_sandbox_used_bytes(void);

/**
 * Refuses every system call but those that reading files needs: no write access, no network, no other process.
 *
 * A call that is refused fails with EPERM. Does nothing on other machines than x86-64 and in instrumented builds, whose
 * run-time libraries need more. Returns 0 or a negative errno.
 */
int kms_symbols_sandbox_filter(void);

/** Ends the process by SIGALRM unless it is called again within this time; 0 switches it off. */
void kms_symbols_sandbox_watchdog(uint64_t ms);

#endif
