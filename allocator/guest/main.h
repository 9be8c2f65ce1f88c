/* SPDX-License-Identifier: BSD-2-Clause */
#ifndef KMS_ALLOCATOR_GUEST_MAIN_H
#define KMS_ALLOCATOR_GUEST_MAIN_H

#include <stdint.h>

/** The command line; "" none. */
const char *kms_guest_options(void);

/** Entry points of the first CPU and of the others, from boot.S. */
_Noreturn void kms_guest_main(void);
_Noreturn void kms_guest_cpu_main(uint32_t index);

#endif
