/* SPDX-License-Identifier: BSD-2-Clause */
/* What the guest does once it runs. */
#ifndef KMS_ALLOCATOR_GUEST_WORKLOAD_H
#define KMS_ALLOCATOR_GUEST_WORKLOAD_H

/** Starts the threads of the workload that the command line asks for; kept, not copied. */
void kms_workload_start(const char *options);

#endif
