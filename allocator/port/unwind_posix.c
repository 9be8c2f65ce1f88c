/* SPDX-License-Identifier: BSD-2-Clause */
#include "allocator/port/unwind_posix.h"

#include <errno.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "allocator/port/cfi.h"

#define PAGE_MASK (~(uint64_t)(KMS_PAGE_BYTES - 1))

enum {
	CALL_BYTES = 7, /* the longest call instruction without prefixes we look for */
	CALL_RELATIVE = 0xe8,
	CALL_GROUP = 0xff,
	WORD_SHIFT = 3,
};

const struct kms_signal_layout kms_unwind_signal_layout = {
	.pc_offset = offsetof(ucontext_t, uc_mcontext.gregs) + REG_RIP * sizeof(greg_t),
	.sp_offset = offsetof(ucontext_t, uc_mcontext.gregs) + REG_RSP * sizeof(greg_t),
	.fp_offset = offsetof(ucontext_t, uc_mcontext.gregs) + REG_RBP * sizeof(greg_t),
};

/* End of the main thread's stack; set by the dynamic loader before anything runs. */
/* NOLINTNEXTLINE(bugprone-reserved-identifier,cert-dcl37-c,readability-identifier-naming) */
extern void *__libc_stack_end;

/*
 * bool load(uint64_t address, uint64_t *value): the one instruction that may fault on purpose. It is
 * assembly so that its address is known: kms_unwind_fixup moves on from kms_unwind_load to
 * kms_unwind_load_failed.
 */
__asm__(".pushsection .text\n"
	".hidden kms_unwind_load\n"
	".hidden kms_unwind_load_failed\n"
	".globl kms_unwind_load\n"
	".globl kms_unwind_load_failed\n"
	".type kms_unwind_load, @function\n"
	"kms_unwind_load:\n"
	"	.cfi_startproc\n"
	"	movq (%rdi), %rax\n"
	"	movq %rax, (%rsi)\n"
	"	movl $1, %eax\n"
	"	ret\n"
	"kms_unwind_load_failed:\n"
	"	xorl %eax, %eax\n"
	"	ret\n"
	"	.cfi_endproc\n"
	".size kms_unwind_load, .-kms_unwind_load\n"
	".popsection\n");

bool kms_unwind_load(uint64_t address, uint64_t *value);
void kms_unwind_load_failed(void);

bool kms_unwind_fixup(void *context)
{
	greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;

	if ((uintptr_t)regs[REG_RIP] != (uintptr_t)&kms_unwind_load)
		return false;
	regs[REG_RIP] = (greg_t)(uintptr_t)&kms_unwind_load_failed;
	return true;
}

/*
 * Asks the kernel whether 8 bytes can be read: sigprocmask with an operation that does not exist
 * copies the mask before it looks at the operation. No seccomp filter forbids it, and it changes
 * nothing. Raw, so that errno stays as it is.
 */
static bool probe(uint64_t address)
{
	register long mask_bytes __asm__("r10") = 8;
	long result;

	__asm__ volatile("syscall"
			 : "=a"(result)
			 : "0"((long)SYS_rt_sigprocmask), "D"(-1L), "S"(address), "d"(0L),
			   "r"(mask_bytes)
			 : "rcx", "r11", "memory");
	return result == -EINVAL;
}

void kms_unwind_init(struct kms_unwind *unwind, struct kms_region_header *region)
{
	kms_modules_init(&unwind->modules, region);
	unwind->probe_works = probe((uintptr_t)unwind) && !probe(8);
}

bool kms_unwind_read(struct kms_unwind *unwind, uint64_t address, uint64_t *value)
{
	if (address % sizeof(*value))
		return false;
	if (unwind->fixup_ready)
		return kms_unwind_load(address, value);
	if (!unwind->probe_works || !probe(address))
		return false;
	*value = *(const uint64_t *)(uintptr_t)address;
	return true;
}

bool kms_unwind_readable(struct kms_unwind *unwind, uint64_t start, uint64_t end)
{
	if (!unwind->probe_works)
		return false;
	for (uint64_t page = start & PAGE_MASK; page < end; page += KMS_PAGE_BYTES) {
		if (!probe(page))
			return false;
	}
	return true;
}

uint64_t kms_unwind_stack_end(struct kms_unwind *unwind, uint64_t sp)
{
	uint64_t thread = (uintptr_t)__builtin_thread_pointer();
	uint64_t first = (uintptr_t)__libc_stack_end;

	(void)unwind;
	/* glibc puts a thread's control block above its stack; the first thread's lies elsewhere, at
	 * lower addresses than its stack. */
	if (sp < thread)
		return thread;
	return sp < first ? first : 0;
}

/* Reads up to 8 bytes of code before @pc; what cannot be read is 0. */
static uint64_t code_before(struct kms_unwind *unwind, uint64_t pc)
{
	uint64_t low = 0, high = 0;
	uint64_t place = pc - sizeof(low);
	unsigned shift = 8 * (unsigned)(place % sizeof(low));

	if (pc < KMS_PAGE_BYTES)
		return 0;
	(void)kms_unwind_read(unwind, place & ~UINT64_C(7), &low);
	if (shift == 0)
		return low;
	(void)kms_unwind_read(unwind, (place & ~UINT64_C(7)) + sizeof(low), &high);
	return low >> shift | high << (64 - shift);
}

/* Does a call instruction end at @pc? */
static bool follows_call(struct kms_unwind *unwind, uint64_t pc)
{
	uint64_t code = code_before(unwind, pc); /* its last byte is the one before pc */
	uint8_t byte[sizeof(code)];

	__builtin_memcpy(byte, &code, sizeof(code));
	if (byte[sizeof(code) - 5] == CALL_RELATIVE)
		return true;
	for (unsigned length = 2; length <= CALL_BYTES; length++) {
		const uint8_t *at = byte + sizeof(code) - length;

		if (at[0] == CALL_GROUP && (at[1] >> 3 & 7) == 2)
			return true;
	}
	return false;
}

/* mov $__NR_rt_sigreturn, %rax; syscall: what a handler returns to, whoever wrote it. */
static bool is_signal_return(struct kms_unwind *unwind, uint64_t pc)
{
	static const uint8_t code[9] = {0x48, 0xc7, 0xc0, 0x0f, 0, 0, 0, 0x0f, 0x05};
	uint64_t first = code_before(unwind, pc + 8);
	uint64_t second = code_before(unwind, pc + 9);

	return __builtin_memcmp(&first, code, 8) == 0 &&
	       __builtin_memcmp(&second, code + 1, 8) == 0;
}

/* A pc that no table describes. */
static uint32_t unknown_rule(struct kms_unwind *unwind, uint64_t pc)
{
	struct kms_module_view module;

	if (is_signal_return(unwind, pc))
		return kms_rule_make(KMS_RULE_SIGNAL, 0, 0);
	if (follows_call(unwind, pc))
		return kms_rule_make(KMS_RULE_CHAIN, 0, 0);
	/* A coroutine's first function returns to code that never called it. */
	if (kms_module_find(pc, &module) && kms_module_is_code(&module, pc))
		return kms_rule_make(KMS_RULE_END, 1, 0);
	return kms_rule_make(KMS_RULE_BAD, 0, 0);
}

const struct kms_rule_wide *kms_unwind_wide(const struct kms_unwind *unwind, uint32_t index)
{
	/* pairs with add_wide: the entry is there */
	if (index >= __atomic_load_n(&unwind->wide_count, __ATOMIC_ACQUIRE))
		return NULL;
	return &unwind->wide[index];
}

static bool same_wide(const struct kms_rule_wide *a, const struct kms_rule_wide *b)
{
	return a->kind == b->kind && a->cfa_bytes == b->cfa_bytes && a->fp_bytes == b->fp_bytes;
}

/* Finds or adds a wide rule. Under the lock of the module table, which is as rarely needed. */
static uint32_t add_wide(struct kms_unwind *unwind, const struct kms_rule_wide *rule)
{
	uint32_t chain = kms_rule_make(KMS_RULE_CHAIN, 0, 0);
	uint32_t index;

	if (!kms_modules_try_lock(&unwind->modules))
		return chain;
	for (index = 0; index < unwind->wide_count; index++) {
		if (same_wide(&unwind->wide[index], rule))
			break;
	}
	if (index == unwind->wide_count && index < KMS_WIDE_RULES) {
		unwind->wide[index] = *rule;
		/* pairs with kms_unwind_wide: the entry is there */
		__atomic_store_n(&unwind->wide_count, index + 1, __ATOMIC_RELEASE);
	}
	kms_modules_unlock(&unwind->modules);
	if (index == KMS_WIDE_RULES)
		return chain;
	return kms_rule_make(KMS_RULE_WIDE, (int32_t)(index & KMS_RULE_CFA_MASK), 0);
}

static bool is_at(const struct kms_cfi_register *reg, enum kms_cfi_base base, int64_t offset)
{
	return reg->saved == KMS_CFI_AT && reg->place.base == base && reg->place.offset == offset;
}

static bool is_signal_row(const struct kms_fde *fde, const struct kms_cfi_row *row)
{
	const struct kms_signal_layout *layout = &kms_unwind_signal_layout;

	return fde->signal_frame && row->cfa.base == KMS_CFI_SP_DEREF && row->cfa.offset == 0 &&
	       row->cfa.deref_offset == layout->sp_offset &&
	       is_at(&row->ra, KMS_CFI_SP, layout->pc_offset) &&
	       is_at(&row->fp, KMS_CFI_SP, layout->fp_offset);
}

/* Does a multiple of 8 fit into @bits bits of words, as a signed number if @is_signed? */
static bool fits(int64_t bytes, unsigned bits, bool is_signed)
{
	int64_t words = bytes >> WORD_SHIFT;
	int64_t half = INT64_C(1) << (bits - 1);

	if (bytes & 7)
		return false;
	return is_signed ? words >= -half && words < half : words > 0 && words < 2 * half;
}

/* Where the caller's fp is, as kms_rule_wide.fp_bytes says it. */
static int64_t fp_place(const struct kms_cfi_row *row)
{
	if (row->fp.saved == KMS_CFI_SAME)
		return 0;
	if (row->fp.saved != KMS_CFI_AT || row->fp.place.base != KMS_CFI_CFA ||
	    row->fp.place.offset >= 0 || row->fp.place.offset % 8)
		return 1;
	return row->fp.place.offset;
}

/* Packs a row; CHAIN if it is none of those that we can step over. */
static uint32_t pack_row(struct kms_unwind *unwind, const struct kms_cfi_row *row)
{
	struct kms_rule_wide wide = {KMS_RULE_SP, row->cfa.offset, fp_place(row)};
	uint32_t fp_words;
	bool is_below_sp;

	if (row->ra.saved == KMS_CFI_UNDEFINED)
		return kms_rule_make(KMS_RULE_END, 0, 0);
	if (!is_at(&row->ra, KMS_CFI_CFA, -8))
		return kms_rule_make(KMS_RULE_CHAIN, 0, 0);
	if (row->cfa.base == KMS_CFI_FP_DEREF && row->cfa.offset == 0 &&
	    fits(row->cfa.deref_offset, KMS_RULE_CFA_BITS, true) && is_at(&row->fp, KMS_CFI_FP, 0))
		return kms_rule_make(KMS_RULE_FP_DEREF,
				     (int32_t)(row->cfa.deref_offset >> WORD_SHIFT), 0);
	if (row->cfa.base != KMS_CFI_SP && row->cfa.base != KMS_CFI_FP)
		return kms_rule_make(KMS_RULE_CHAIN, 0, 0);
	if (row->cfa.base == KMS_CFI_FP)
		wide.kind = KMS_RULE_FP;
	else if (row->cfa.offset < 8)
		return kms_rule_make(KMS_RULE_CHAIN, 0, 0);
	/* Already popped, in an epilogue that a signal interrupted, the fp is still there below sp. */
	is_below_sp = wide.kind == KMS_RULE_SP && -wide.fp_bytes > wide.cfa_bytes;
	if (is_below_sp || wide.fp_bytes == 1 ||
	    !fits(wide.cfa_bytes, KMS_RULE_CFA_BITS, wide.kind == KMS_RULE_FP) ||
	    -wide.fp_bytes >> WORD_SHIFT > KMS_RULE_FP_MASK)
		return add_wide(unwind, &wide);
	fp_words = (uint32_t)(-wide.fp_bytes >> WORD_SHIFT);
	return kms_rule_make(wide.kind, (int32_t)(wide.cfa_bytes >> WORD_SHIFT), fp_words);
}

uint32_t kms_unwind_rule(struct kms_unwind *unwind, uint64_t pc)
{
	struct kms_module_view module;
	struct kms_eh_view segment;
	struct kms_cfi_row row;
	struct kms_fde fde;

	if (!kms_module_find(pc - 1, &module) || !module.header ||
	    !kms_module_segment(&module, &segment) ||
	    !kms_eh_find(&segment, module.header, pc - 1, &fde) || !kms_cfi_row(&fde, pc - 1, &row))
		return unknown_rule(unwind, pc);
	if (is_signal_row(&fde, &row))
		return kms_rule_make(KMS_RULE_SIGNAL, 0, 0);
	return pack_row(unwind, &row);
}

uint32_t kms_unwind_epoch(struct kms_unwind *unwind, uint64_t pc)
{
	struct kms_module_view module;

	return kms_module_find(pc - 1, &module) ? kms_modules_epoch(&unwind->modules, &module) : 0;
}

bool kms_unwind_epoch_holds(const struct kms_unwind *unwind, uint32_t epoch)
{
	return kms_modules_holds(&unwind->modules, epoch);
}

void kms_unwind_forget(struct kms_unwind *unwind)
{
	kms_modules_forget(&unwind->modules);
}
