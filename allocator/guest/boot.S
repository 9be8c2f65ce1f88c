/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From the PVH entry point (32 bits, no paging) and from real mode (the other CPUs) to C.
 *
 * The boot page tables map the first 4 GiB where they are (given up once all CPUs run) and at
 * KMS_GUEST_DIRECT_BASE, and the first GiB of them at KMS_GUEST_IMAGE_BASE.
 */
#include "allocator/guest/layout.h"

#define LOW(symbol) ((symbol) - KMS_GUEST_IMAGE_BASE)

#define PRESENT_WRITE 3
#define LARGE         0x80
#define PAE           0x20
#define LONG_MODE     0x100
#define PAGING_ON     0x80010001 /* PG, WP, PE */
#define EFER          0xc0000080

	.section .note.pvh, "a", @note
	.balign 4
	.long 4, 4, 18 /* name and value of 4 bytes; 18: 32-bit entry point */
	.asciz "Xen"
	.long LOW(kms_guest_entry)

	.section .text.boot, "ax"
	.code32
	.globl kms_guest_entry
kms_guest_entry:
	cli
	cld
	movl $LOW(kms_guest_boot_stack_end), %esp
	movl %ebx, LOW(kms_guest_start_info)
	/* kms_guest_pd: 4 tables in a row, 2048 entries of 2 MiB */
	movl $LOW(kms_guest_pd), %edi
	movl $(PRESENT_WRITE | LARGE), %eax
	movl $2048, %ecx
1:	movl %eax, (%edi)
	movl $0, 4(%edi)
	addl $0x200000, %eax
	addl $8, %edi
	loop 1b
	/* the upper table over them, for low and direct addresses alike */
	movl $LOW(pdpt_low), %edi
	movl $(LOW(kms_guest_pd) + PRESENT_WRITE), %eax
	movl $4, %ecx
2:	movl %eax, (%edi)
	addl $4096, %eax
	addl $8, %edi
	loop 2b
	movl $(LOW(kms_guest_pd) + PRESENT_WRITE), LOW(pdpt_image) + 510 * 8
	movl $(LOW(pdpt_low) + PRESENT_WRITE), LOW(kms_guest_pml4)
	movl $(LOW(pdpt_low) + PRESENT_WRITE), LOW(kms_guest_pml4) + 256 * 8
	movl $(LOW(pdpt_image) + PRESENT_WRITE), LOW(kms_guest_pml4) + 511 * 8
	xorl %ebp, %ebp /* CPU 0 */

/* Any CPU, its number in ebp. */
enter_long_mode:
	movl %cr4, %eax
	orl $PAE, %eax
	movl %eax, %cr4
	movl $LOW(kms_guest_pml4), %eax
	movl %eax, %cr3
	movl $EFER, %ecx
	rdmsr
	orl $LONG_MODE, %eax
	wrmsr
	movl %cr0, %eax
	orl $PAGING_ON, %eax
	movl %eax, %cr0
	lgdt LOW(gdt_low)
	ljmp $KMS_GUEST_CODE, $LOW(long_mode)

	.code64
long_mode:
	movl $KMS_GUEST_DATA, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movabsq $high, %rax
	jmp *%rax
high:
	lgdt gdt_high(%rip)
	movl %ebp, %edi
	xorl %ebp, %ebp /* the outermost frame */
	testl %edi, %edi
	jnz 3f
	movq $kms_guest_boot_stack_end, %rsp
	pushq $0
	jmp kms_guest_main
3:	movq kms_guest_cpu_stack(%rip), %rax
	movq -8(%rax, %rdi, 8), %rsp
	pushq $0
	jmp kms_guest_cpu_main

/* Copied to KMS_GUEST_TRAMPOLINE. */
#define AT(label) (KMS_GUEST_TRAMPOLINE + (label) - kms_guest_trampoline)
	.section .text.trampoline, "ax"
	.code16
	.globl kms_guest_trampoline, kms_guest_trampoline_end
kms_guest_trampoline:
	cli
	cld
	xorw %ax, %ax
	movw %ax, %ds
	lgdtl AT(trampoline_gdt)
	movl %cr0, %eax
	orl $1, %eax
	movl %eax, %cr0
	ljmpl $KMS_GUEST_CODE32, $AT(trampoline_32)
	.code32
trampoline_32:
	movw $KMS_GUEST_DATA, %ax
	movw %ax, %ds
	movw %ax, %es
	movw %ax, %ss
	/* Numbers are given in the order of arrival; who is one too many stays here. */
	movl $1, %ebp
	lock xaddl %ebp, LOW(cpu_next)
	cmpl LOW(kms_guest_cpus_wanted), %ebp
	jae 4f
	movl $LOW(enter_long_mode), %eax
	jmp *%eax
4:	hlt
	jmp 4b
	.balign 8
trampoline_gdt:
	.word 4 * 8 - 1
	.long LOW(kms_guest_gdt)
kms_guest_trampoline_end:

	.section .data
	.balign 16
	.globl kms_guest_gdt
kms_guest_gdt:
	.quad 0
	.quad 0x00af9a000000ffff /* code, 64 bits */
	.quad 0x00cf92000000ffff /* data */
	.quad 0x00cf9a000000ffff /* code, 32 bits */
	.fill 2 * KMS_GUEST_MAX_CPUS, 8, 0 /* task state segments */
gdt_end:
gdt_low:
	.word gdt_end - kms_guest_gdt - 1
	.long LOW(kms_guest_gdt)
	.balign 8
gdt_high:
	.word gdt_end - kms_guest_gdt - 1
	.quad kms_guest_gdt
	.balign 4
cpu_next:
	.long 1

	.section .bss
	.balign 4096
	.globl kms_guest_pml4, kms_guest_pd, kms_guest_boot_stack_end
kms_guest_pml4:
	.skip 4096
pdpt_low:
	.skip 4096
pdpt_image:
	.skip 4096
kms_guest_pd:
	.skip 4 * 4096
	.skip KMS_GUEST_BOOT_STACK
kms_guest_boot_stack_end:
	.section .note.GNU-stack, "", @progbits
