/* SPDX-License-Identifier: BSD-2-Clause */
/* The process-wide part of kms_region_access(): the handler of SIGBUS. */
#ifndef KMS_TRACER_REGION_GUARD_H
#define KMS_TRACER_REGION_GUARD_H

/**
 * Makes SIGBUS in a guarded access come back as -EFAULT; elsewhere it does what it did before.
 * Any thread, any number of times: it looks whether the handler is still there.
 */
void kms_region_guard_install(void);

#endif
