/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Signal masks. SIGSEGV and SIGBUS stay unblocked while the guard runs; what the program believes is
 * kept per thread, told when it asks, and honoured for signals that are sent (signals.c).
 *
 * Only masks set through sigprocmask, pthread_sigmask, sighold and sigrelse are seen. siglongjmp,
 * setcontext and new threads carry on the kernel's mask; then the belief may be out of date, which
 * only shows in what a later call reads back.
 */
#include <errno.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "allocator/preload/signals.h"

#define EXPORT __attribute__((visibility("default")))

/* The names of libc's parameters are reserved ones.
 * NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */

enum {
	KERNEL_MASK_BYTES = 8,
	/* libc keeps the first two real-time signals for itself. */
	LIBC_SIGNALS = 2,
	FIRST_LIBC_SIGNAL = 32,
};

_Thread_local bool kms_signals_thread_ready __attribute__((tls_model("initial-exec")));
static _Thread_local unsigned believed __attribute__((tls_model("initial-exec")));

unsigned kms_signals_blocked(void)
{
	return believed;
}

int kms_signals_real_mask(int how, const sigset_t *set, sigset_t *old)
{
	int saved_errno = errno;
	int result = syscall(SYS_rt_sigprocmask, how, set, old, KERNEL_MASK_BYTES) ? -errno : 0;

	errno = saved_errno;
	return result;
}

unsigned kms_signals_strip(sigset_t *set)
{
	static const int both[] = {SIGSEGV, SIGBUS};
	unsigned bits = 0;

	for (unsigned i = 0; i < 2; i++) {
		if (sigismember(set, both[i]) == 1)
			bits |= kms_signal_bit(both[i]);
		sigdelset(set, both[i]);
	}
	return bits;
}

void kms_signals_unstrip(sigset_t *set, unsigned bits)
{
	if (bits & KMS_SIGNAL_SEGV)
		sigaddset(set, SIGSEGV);
	if (bits & KMS_SIGNAL_BUS)
		sigaddset(set, SIGBUS);
}

void kms_signals_thread_start(void)
{
	sigset_t mask;

	kms_signals_thread_ready = true;
	if (kms_signals_real_mask(SIG_BLOCK, NULL, &mask))
		return;
	believed |= kms_signals_strip(&mask);
	if (believed)
		(void)kms_signals_real_mask(SIG_SETMASK, &mask, NULL);
}

/* Takes libc's own signals out, as libc does. */
static void strip_libc(sigset_t *set)
{
	unsigned long word;

	__builtin_memcpy(&word, set, sizeof(word));
	for (unsigned i = 0; i < LIBC_SIGNALS; i++)
		word &= ~(1UL << (FIRST_LIBC_SIGNAL + i - 1));
	__builtin_memcpy(set, &word, sizeof(word));
}

/* Returns 0 or an errno. */
static int change(int how, const sigset_t *set, sigset_t *old)
{
	unsigned before = believed, after = believed;
	sigset_t copy;
	int result;

	if (set) {
		unsigned bits;

		copy = *set;
		strip_libc(&copy);
		bits = kms_signals_started() && how != SIG_UNBLOCK ? kms_signals_strip(&copy) : 0;
		if (how == SIG_BLOCK)
			after |= bits;
		else if (how == SIG_SETMASK)
			after = bits;
		else
			after &= ~((sigismember(set, SIGSEGV) == 1 ? KMS_SIGNAL_SEGV : 0u) |
				   (sigismember(set, SIGBUS) == 1 ? KMS_SIGNAL_BUS : 0u));
	}
	/* First the belief: what is unblocked may be delivered before the call returns. */
	believed = after;
	result = kms_signals_real_mask(how, set ? &copy : NULL, old);
	if (result < 0) {
		believed = before;
		return -result;
	}
	if (old)
		kms_signals_unstrip(old, before);
	return 0;
}

EXPORT int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	return change(how, set, old);
}

static int with_errno(int error)
{
	if (!error)
		return 0;
	errno = error;
	return -1;
}

EXPORT int sigprocmask(int how, const sigset_t *set, sigset_t *old)
{
	return with_errno(change(how, set, old));
}

static int change_one(int how, int sig)
{
	sigset_t set;

	sigemptyset(&set);
	return sigaddset(&set, sig) ? -1 : with_errno(change(how, &set, NULL));
}

EXPORT int sighold(int sig)
{
	return change_one(SIG_BLOCK, sig);
}

EXPORT int sigrelse(int sig)
{
	return change_one(SIG_UNBLOCK, sig);
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
