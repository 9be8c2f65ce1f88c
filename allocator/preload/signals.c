/* SPDX-License-Identifier: BSD-2-Clause */
/* The handler of SIGSEGV and SIGBUS: traps of guard pages, and the program's own actions. */
#include "allocator/preload/signals.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

#include "allocator/guard.h"
#include "allocator/port.h"
#include "allocator/port/process.h"
#include "allocator/port/unwind_posix.h"
#include "allocator/umem.h"

enum {
	FAULT_WRITE = 2, /* bit of the page fault's error code */
};

/* The last fault that came while one was being reported; for a debugger, and counted. */
struct mailbox {
	uint64_t count;
	uint64_t address;
	uint64_t pc;
	int sig;
};

static struct mailbox mailbox;
static uint32_t start_state; /* 0 not, 1 started; atomic */
static uint32_t start_lock;

/* This thread is reporting a trap. */
static _Thread_local bool trapping __attribute__((tls_model("initial-exec")));

bool kms_signals_started(void)
{
	return __atomic_load_n(&start_state, __ATOMIC_ACQUIRE) != 0;
}

/* A fault inside of a fault: too much is unknown to report it in the usual way. */
static void put_mailbox(struct kms_heap *heap, int sig, uintptr_t address, uint64_t pc)
{
	mailbox.count++;
	mailbox.address = address;
	mailbox.pc = pc;
	mailbox.sig = sig;
	heap->slot->lost_faults++;
}

static bool report(struct kms_local *t, uintptr_t address, const greg_t *regs)
{
	const struct kms_frame frame = {
		.pc = (uint64_t)regs[REG_RIP],
		.sp = (uint64_t)regs[REG_RSP],
		.fp = (uint64_t)regs[REG_RBP],
	};
	uint32_t stack = 0;
	bool resume;

	kms_enter(t);
	if (kms_variable(t->heap, KMS_VAR_TRACE) == 2)
		stack = kms_stack_capture_exact(t->stack, &frame);
	resume = kms_guard_owns(t->heap, address)
			 ? kms_guard_trap(t, address, regs[REG_ERR] & FAULT_WRITE, stack)
			 : kms_umem_trap(t, address, regs[REG_ERR] & FAULT_WRITE, stack);
	kms_leave(t);
	return resume;
}

/* True: the access can go on. */
static bool guard_trap(int sig, const siginfo_t *info, const ucontext_t *context)
{
	const greg_t *regs = context->uc_mcontext.gregs;
	uintptr_t address = (uintptr_t)info->si_addr;
	struct kms_heap *heap = kms_process_heap();
	struct kms_local *t;
	bool resume;

	if (!kms_guard_owns(heap, address) && !kms_umem_owns(heap, address))
		return false;
	if (trapping) {
		put_mailbox(heap, sig, address, (uint64_t)regs[REG_RIP]);
		return false;
	}
	trapping = true;
	/* A nested one if the trap came out of our own code: two frees race, realloc copies from a
	 * block that another thread has freed. */
	t = kms_process_local();
	resume = t && report(t, address, regs);
	trapping = false;
	return resume;
}

/*
 * The default action, which the kernel must carry out: for a fault by running into it again, so that
 * the core shows it; for a signal that was sent, by sending it again with what it carried.
 */
static void die(int sig, siginfo_t *info, bool fault)
{
	struct sigaction action = {.sa_handler = SIG_DFL};
	sigset_t set;

	(void)kms_libc_sigaction(sig, &action, NULL);
	if (fault)
		return;
	sigemptyset(&set);
	sigaddset(&set, sig);
	syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), sig, info);
	(void)kms_signals_real_mask(SIG_UNBLOCK, &set, NULL);
}

/* Calls the program's handler as the kernel would have done. The mask is restored on return. */
static void chain(int sig, siginfo_t *info, void *context, bool fault)
{
	struct sigaction action = kms_signals_take_action(sig);
	sigset_t block = action.sa_mask;

	if (action.sa_handler == SIG_IGN && !fault)
		return;
	if (action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN) {
		die(sig, info, fault);
		return;
	}
	if (!(action.sa_flags & SA_NODEFER))
		sigaddset(&block, sig);
	(void)kms_signals_real_mask(SIG_BLOCK, &block, NULL);
	/* A handler of one argument ignores the others. */
	action.sa_sigaction(sig, info, context);
}

/* A signal that was sent, and that the program believes to have blocked: it stays pending. */
static bool keep_pending(int sig, siginfo_t *info, ucontext_t *context)
{
	sigset_t set;

	if (!(kms_signals_blocked() & kms_signal_bit(sig)))
		return false;
	sigemptyset(&set);
	sigaddset(&set, sig);
	(void)kms_signals_real_mask(SIG_BLOCK, &set, NULL);
	sigaddset(&context->uc_sigmask, sig);
	syscall(SYS_rt_tgsigqueueinfo, getpid(), syscall(SYS_gettid), sig, info);
	return true;
}

static void handle(int sig, siginfo_t *info, void *context)
{
	bool fault = info->si_code > 0; /* by the kernel; sent ones have 0 or less */
	int saved_errno = errno;
	bool done;

	if (fault)
		done = kms_unwind_fixup(context) || guard_trap(sig, info, context);
	else
		done = keep_pending(sig, info, context);
	errno = saved_errno;
	if (!done)
		chain(sig, info, context, fault);
}

int kms_signals_start(void)
{
	kms_port_lock(&start_lock);
	if (!start_state) {
		kms_signals_adopt_actions(handle);
		__atomic_store_n(&start_state, 1, __ATOMIC_RELEASE);
	}
	kms_port_unlock(&start_lock);
	return 0;
}
