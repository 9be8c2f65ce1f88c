/* SPDX-License-Identifier: BSD-2-Clause */
/* From the PVH entry point to C, and the clock's interrupt. The page tables are there already: tables.S. */
#define LOW(symbol) ((symbol) - IMAGE_BASE)

	.section .note.pvh, "a", @note
	.balign 4
	.long 4, 4, 18 /* name and value of 4 bytes; 18: 32-bit entry point */
	.asciz "Xen"
	.long LOW(start)

	.section .text.boot, "ax"
	.code32
	.globl start
start:
	cli
	cld
	movl $LOW(stack_end), %esp
	movl %cr4, %eax
	orl $0x20, %eax /* PAE */
	movl %eax, %cr4
	movl $LOW(page_tables), %eax
	movl %eax, %cr3
	movl $0xc0000080, %ecx /* EFER */
	rdmsr
	orl $0x100, %eax /* long mode */
	wrmsr
	movl %cr0, %eax
	orl $0x80010001, %eax /* PG, WP, PE */
	movl %eax, %cr0
	lgdt LOW(gdt_low)
	ljmp $8, $LOW(long_mode)
	.code64
long_mode:
	movl $16, %eax
	movl %eax, %ds
	movl %eax, %es
	movl %eax, %ss
	movabsq $high, %rax
	jmp *%rax
high:
	lgdt gdt_high(%rip)
	movq $stack_end, %rsp
	xorl %ebp, %ebp
	call kernel_main
1:	hlt
	jmp 1b

	.text
	.globl clock_entry
clock_entry:
	.irp r, rax, rcx, rdx, rsi, rdi, r8, r9, r10, r11
	pushq %\r
	.endr
	cld
	call clock
	.irp r, r11, r10, r9, r8, rdi, rsi, rdx, rcx, rax
	popq %\r
	.endr
	iretq

	.section .rodata
	.balign 8
gdt:
	.quad 0, 0x00af9a000000ffff, 0x00cf92000000ffff
gdt_end:
gdt_low:
	.word gdt_end - gdt - 1
	.long LOW(gdt)
	.balign 8
gdt_high:
	.word gdt_end - gdt - 1
	.quad gdt

	.bss
	.balign 16
	.skip 16384
stack_end:
	.section .note.GNU-stack, "", @progbits
