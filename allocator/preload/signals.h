/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SIGSEGV and SIGBUS, shared between the guard and the program.
 *
 * signals.c has the handler that both signals get once the guard has started: a trap of a guard page
 * is reported, everything else goes to the program's own action as if we were not there.
 * sigaction.c lets the program set and read that action, sigmask.c keeps the two signals unblocked
 * (a hardware fault with its signal blocked kills the process before any report) and lets the
 * program believe otherwise. Until the guard has started all of them only pass calls on.
 */
#ifndef KMS_ALLOCATOR_PRELOAD_SIGNALS_H
#define KMS_ALLOCATOR_PRELOAD_SIGNALS_H

#include <signal.h>
#include <stdbool.h>
#include <stdint.h>

/** Catches guard traps from now on; once is enough. 0 or a negative error. */
int kms_signals_start(void);

/** In a forked child: locks that another thread of the parent may have held are free. */
void kms_signals_after_fork(void);

extern _Thread_local bool kms_signals_thread_ready __attribute__((tls_model("initial-exec")));
void kms_signals_thread_start(void);

/** To be called where guarded memory is given out: this thread must not block the two signals. */
static inline void kms_signals_thread(void)
{
	if (!kms_signals_thread_ready)
		kms_signals_thread_start();
}

/* Between the three files. */

/** libc's sigaction, under the name that nobody interposes. */
int kms_libc_sigaction(int sig, const struct sigaction *act,
		       struct sigaction *old) __asm__("__sigaction");

enum kms_guard_signals {
	KMS_SIGNAL_SEGV = 1, /* bits, as in the TLS word of sigmask.c */
	KMS_SIGNAL_BUS = 2,
};

static inline unsigned kms_signal_bit(int sig)
{
	return sig == SIGSEGV ? KMS_SIGNAL_SEGV : sig == SIGBUS ? KMS_SIGNAL_BUS : 0;
}

/** Is our handler in place? */
bool kms_signals_started(void);

/** Takes the two signals out of a set; returns the bits that were in it. */
unsigned kms_signals_strip(sigset_t *set);
void kms_signals_unstrip(sigset_t *set, unsigned bits);

/** The program's action for one of the two signals; the new one, if any, takes its place. */
void kms_signals_program_action(int sig, const struct sigaction *fresh, struct sigaction *old);

/** The program's action, to be carried out now: with SA_RESETHAND it is the default afterwards. */
struct sigaction kms_signals_take_action(int sig);

/** At start: what the program has set so far becomes its recorded action, masks are stripped. */
void kms_signals_adopt_actions(void (*handler)(int, siginfo_t *, void *));

/** Which of the two signals this thread's program believes to be blocked. */
unsigned kms_signals_blocked(void);

/** The kernel's mask, without libc in between. 0 or a negative error. */
int kms_signals_real_mask(int how, const sigset_t *set, sigset_t *old);

#endif
