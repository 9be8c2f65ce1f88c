/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * From a multiboot loader (QEMU's option ROM copies the image only when the machine runs, as it does with
 * NetBSD/i386) to C, and the clock's interrupt. The page tables are there already: tables.S.
 */
#define LOW(symbol) ((symbol) - IMAGE_BASE)

	.section .note.pvh, "a", @note
	.balign 4
	.long 0x1badb002, 0, -0x1badb002

	.section .text.boot, "ax"
	.code32
	.globl start
start:
	cli
	cld
	lgdt LOW(gdt_low)
	ljmp $8, $LOW(flat)
flat:
	movl $16, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movl %cr4, %eax
	orl $CR4_BITS, %eax /* large pages, or PAE */
	movl %eax, %cr4
	movl $(LOW(page_tables) + ROOT_OFFSET), %eax
	movl %eax, %cr3
	movl %cr0, %eax
	orl $0x80010001, %eax /* PG, WP, PE */
	movl %eax, %cr0
	movl $high, %eax
	jmp *%eax
high:
	lgdt gdt_high
	movl $stack_end, %esp
	xorl %ebp, %ebp
	call kernel_main
1:	hlt
	jmp 1b

	.text
	.globl clock_entry
clock_entry:
	pushal
	cld
	call clock
	popal
	iret

	.section .rodata
	.balign 8
gdt:
	.quad 0, 0x00cf9a000000ffff, 0x00cf92000000ffff
gdt_end:
gdt_low:
	.word gdt_end - gdt - 1
	.long LOW(gdt)
	.balign 8
gdt_high:
	.word gdt_end - gdt - 1
	.long gdt

	.bss
	.balign 16
	.skip 16384
stack_end:
	.section .note.GNU-stack, "", @progbits
