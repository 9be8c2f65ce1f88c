/* SPDX-License-Identifier: BSD-2-Clause */
/* Ways into C from an interrupt or a trap, and from one thread to another. */
#include "allocator/guest/layout.h"

	.text
/*
 * 256 entries of 16 bytes. Each leaves an error code and its vector; those of the vectors for which
 * the CPU itself leaves a code push none.
 */
	.balign 16
	.globl kms_trap_entries
kms_trap_entries:
	.set vector, 0
	.rept 256
	.balign 16
	.if !(vector == 8 || (vector >= 10 && vector <= 14) || vector == 17 || vector == 21 || vector == 29 || vector == 30)
	pushq $0
	.endif
	pushq $vector
	jmp trap_common
	.set vector, vector + 1
	.endr

/*
 * Builds a struct kms_trap_frame. Frame pointers lead through: kms_trap saves the interrupted rbp,
 * and its return address tells an unwinder that the frame lies there (unwind_fp.c).
 */
	.balign 16
	.type trap_common, @function
trap_common:
	pushq %rax
	pushq %rcx
	pushq %rdx
	pushq %rbx
	pushq %rbp
	pushq %rsi
	pushq %rdi
	pushq %r8
	pushq %r9
	pushq %r10
	pushq %r11
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	cld
	movq %rsp, %rdi
	call kms_trap
	.globl kms_trap_return
kms_trap_return:
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %r11
	popq %r10
	popq %r9
	popq %r8
	popq %rdi
	popq %rsi
	popq %rbp
	popq %rbx
	popq %rdx
	popq %rcx
	popq %rax
	addq $16, %rsp
	iretq
	.size trap_common, . - trap_common

/* void kms_thread_switch(uint64_t *from_sp, uint64_t to_sp); interrupts are off */
	.balign 16
	.globl kms_thread_switch
	.type kms_thread_switch, @function
kms_thread_switch:
	pushq %rbp
	pushq %rbx
	pushq %r12
	pushq %r13
	pushq %r14
	pushq %r15
	movq %rsp, (%rdi)
	movq %rsi, %rsp
	popq %r15
	popq %r14
	popq %r13
	popq %r12
	popq %rbx
	popq %rbp
	ret
	.size kms_thread_switch, . - kms_thread_switch

/* A new thread comes here by kms_thread_switch; below it lies a return address of 0. */
	.balign 16
	.globl kms_thread_begin
	.type kms_thread_begin, @function
kms_thread_begin:
	xorl %ebp, %ebp
	jmp kms_thread_main
	.size kms_thread_begin, . - kms_thread_begin
	.section .note.GNU-stack, "", @progbits
