/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The port of allocator/unwind.h by frame pointers: all code of the guest keeps them. One module, the
 * image.
 *
 * A trap may come before a function has its frame pointer, or after it has given it back. There the
 * instruction tells: push %rbp at a function's begin, mov %rsp,%rbp behind it, ret at its end.
 */
#include <stddef.h>

#include "allocator/guest/cpu.h"
#include "allocator/guest/paging.h"
#include "allocator/guest/thread.h"
#include "allocator/guest/unwind.h"
#include "allocator/unwind.h"

enum {
	PUSH_RBP = 0x55,
	RET = 0xc3,
	FUNCTION_ALIGN = 16,
	IMAGE_EPOCH = 1,
};

extern const uint8_t kms_guest_image_start[];
extern const uint8_t kms_guest_text_end[];
extern const uint8_t kms_trap_return[];

const struct kms_signal_layout kms_unwind_signal_layout = {
	.pc_offset = offsetof(struct kms_trap_frame, rip),
	.sp_offset = offsetof(struct kms_trap_frame, rsp),
	.fp_offset = offsetof(struct kms_trap_frame, rbp),
};

static bool is_code(uint64_t pc)
{
	return pc > (uintptr_t)kms_guest_image_start && pc <= (uintptr_t)kms_guest_text_end;
}

uint32_t kms_unwind_rule(struct kms_unwind *unwind, uint64_t pc)
{
	const uint8_t *code = (const uint8_t *)(uintptr_t)pc;

	(void)unwind;
	if (!is_code(pc))
		return kms_rule_make(KMS_RULE_BAD, 0, 0);
	if (code == kms_trap_return)
		return kms_rule_make(KMS_RULE_SIGNAL, 0, 0);
	/* pc - 1 is an instruction's first byte only where a trap interrupted it */
	if (code[-1] == RET || (code[-1] == PUSH_RBP && (pc - 1) % FUNCTION_ALIGN == 0))
		return kms_rule_make(KMS_RULE_SP, 1, 0);
	if (code[-2] == PUSH_RBP && (pc - 2) % FUNCTION_ALIGN == 0)
		return kms_rule_make(KMS_RULE_SP, 2, 2);
	return kms_rule_make(KMS_RULE_FP, 2, 2);
}

const struct kms_rule_wide *kms_unwind_wide(const struct kms_unwind *unwind, uint32_t index)
{
	(void)unwind;
	(void)index;
	return NULL;
}

uint32_t kms_unwind_epoch(struct kms_unwind *unwind, uint64_t pc)
{
	(void)unwind;
	return is_code(pc) ? IMAGE_EPOCH : 0;
}

bool kms_unwind_epoch_holds(const struct kms_unwind *unwind, uint32_t epoch)
{
	(void)unwind;
	return epoch == IMAGE_EPOCH;
}

void kms_unwind_forget(struct kms_unwind *unwind)
{
	(void)unwind;
}

bool kms_unwind_read(struct kms_unwind *unwind, uint64_t address, uint64_t *value)
{
	(void)unwind;
	if (address % sizeof(*value) || !kms_paging_readable(address))
		return false;
	*value = *(const uint64_t *)(uintptr_t)address;
	return true;
}

bool kms_unwind_readable(struct kms_unwind *unwind, uint64_t start, uint64_t end)
{
	(void)unwind;
	for (uint64_t page = start & ~UINT64_C(4095); page < end; page += 4096) {
		if (!kms_paging_readable(page))
			return false;
	}
	return true;
}

uint64_t kms_unwind_stack_end(struct kms_unwind *unwind, uint64_t sp)
{
	const struct kms_thread_context *thread = kms_cpu_this()->thread;

	(void)unwind;
	return sp < thread->stack_end ? thread->stack_end : 0;
}
