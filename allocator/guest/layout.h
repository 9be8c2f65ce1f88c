/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Numbers that C, assembly and the linker script share: where things lie, which vector means what.
 */
#ifndef KMS_ALLOCATOR_GUEST_LAYOUT_H
#define KMS_ALLOCATOR_GUEST_LAYOUT_H

/* The image is linked here and loaded 2 GiB lower, from 1 MiB on. */
#define KMS_GUEST_IMAGE_BASE 0xffffffff80000000

/* The first 4 GiB, byte for byte; 2 MiB pages. */
#define KMS_GUEST_DIRECT_BASE 0xffff800000000000

/* Reservations: 4 KiB pages, mapped as they are opened. */
#define KMS_GUEST_AREA_BASE 0xffff900000000000
#define KMS_GUEST_AREA_END  0xffffa00000000000

/* Where the other CPUs begin, in real mode: below 1 MiB, in nobody's way. */
#define KMS_GUEST_TRAMPOLINE 0x8000

#define KMS_GUEST_MAX_CPUS    8
#define KMS_GUEST_STACK_BYTES 65536
#define KMS_GUEST_BOOT_STACK  16384

/* Segments. */
#define KMS_GUEST_CODE   8
#define KMS_GUEST_DATA   16
#define KMS_GUEST_CODE32 24
#define KMS_GUEST_TSS    32 /* 16 bytes for each CPU from here on */

/* Interrupt vectors. */
#define KMS_VECTOR_TIMER    0x20
#define KMS_VECTOR_DEVICE   0x21 /* a device of the workload */
#define KMS_VECTOR_SOFT     0x22 /* what its interrupt has left to do */
#define KMS_VECTOR_WAKE     0x23 /* look for a thread to run */
#define KMS_VECTOR_POLL     0x24 /* flush, or stand: kms_cpu_poll */
#define KMS_VECTOR_SPURIOUS 0xff

#endif
