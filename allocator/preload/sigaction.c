/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * sigaction and its elder relatives. For SIGSEGV and SIGBUS they set and read a record of what the
 * program wants; the kernel keeps our handler, with those flags of the program's that the kernel
 * acts upon. From the masks of all other handlers the two signals are taken out, because a guard
 * trap in such a handler would kill the process.
 */
#include <errno.h>
#include <stddef.h>

#include "allocator/port.h"
#include "allocator/preload/signals.h"

#define EXPORT __attribute__((visibility("default")))

/* The names of libc's parameters are reserved ones.
 * NOLINTBEGIN(readability-inconsistent-declaration-parameter-name) */

enum {
	OUR_FLAGS = SA_SIGINFO | SA_NODEFER,
	/* What the kernel looks at when it delivers a signal. */
	KERNEL_FLAGS = SA_RESTART | SA_ONSTACK,
	SIGNALS = 65,
};

/* Under the lock, which is taken with every signal blocked: a handler may come here. */
static struct {
	uint32_t lock;
	struct sigaction action[2]; /* SIGSEGV, SIGBUS */
	void (*handler)(int, siginfo_t *, void *);
	uint8_t masked[SIGNALS]; /* bits that were in the handler's sa_mask */
} program;

static void record_lock(sigset_t *old)
{
	sigset_t all;

	sigfillset(&all);
	(void)kms_signals_real_mask(SIG_SETMASK, &all, old);
	kms_port_lock(&program.lock);
}

static void record_unlock(const sigset_t *old)
{
	kms_port_unlock(&program.lock);
	(void)kms_signals_real_mask(SIG_SETMASK, old, NULL);
}

static struct sigaction *record_of(int sig)
{
	return &program.action[sig == SIGBUS];
}

static bool has_handler(const struct sigaction *action)
{
	return action->sa_handler != SIG_DFL && action->sa_handler != SIG_IGN;
}

/* Our handler, delivered the way the program wants it to be. */
static void install(int sig)
{
	const struct sigaction *wanted = record_of(sig);
	struct sigaction ours = {
		.sa_sigaction = program.handler,
		.sa_flags = OUR_FLAGS |
			    (has_handler(wanted) ? wanted->sa_flags & KERNEL_FLAGS : KERNEL_FLAGS),
	};

	sigemptyset(&ours.sa_mask);
	(void)kms_libc_sigaction(sig, &ours, NULL);
}

void kms_signals_after_fork(void)
{
	program.lock = 0;
}

void kms_signals_program_action(int sig, const struct sigaction *fresh, struct sigaction *old)
{
	sigset_t mask;

	record_lock(&mask);
	if (old)
		*old = *record_of(sig);
	if (fresh) {
		*record_of(sig) = *fresh;
		install(sig);
	}
	record_unlock(&mask);
}

struct sigaction kms_signals_take_action(int sig)
{
	struct sigaction action;
	sigset_t mask;

	record_lock(&mask);
	action = *record_of(sig);
	if (has_handler(&action) && (unsigned)action.sa_flags & SA_RESETHAND)
		record_of(sig)->sa_handler = SIG_DFL;
	record_unlock(&mask);
	return action;
}

/* A handler that was set before: the same with a mask that we can live with. */
static void adopt(int sig)
{
	struct sigaction action;

	if (kms_libc_sigaction(sig, NULL, &action) || !has_handler(&action))
		return;
	program.masked[sig] = (uint8_t)kms_signals_strip(&action.sa_mask);
	if (program.masked[sig])
		(void)kms_libc_sigaction(sig, &action, NULL);
}

void kms_signals_adopt_actions(void (*handler)(int, siginfo_t *, void *))
{
	program.handler = handler;
	for (int sig = 1; sig < SIGNALS; sig++) {
		if (!kms_signal_bit(sig)) {
			adopt(sig);
		} else if (kms_libc_sigaction(sig, NULL, record_of(sig)) == 0) {
			install(sig);
		}
	}
}

/* The action of another signal. */
static int set_other(int sig, const struct sigaction *act, struct sigaction *old)
{
	struct sigaction stripped;
	unsigned bits = 0, before;
	int result;

	if (sig <= 0 || sig >= SIGNALS)
		return kms_libc_sigaction(sig, act, old);
	before = program.masked[sig];
	if (act) {
		stripped = *act;
		if (has_handler(act))
			bits = kms_signals_strip(&stripped.sa_mask);
	}
	result = kms_libc_sigaction(sig, act ? &stripped : NULL, old);
	if (result == 0 && old)
		kms_signals_unstrip(&old->sa_mask, before);
	if (result == 0 && act)
		program.masked[sig] = (uint8_t)bits;
	return result;
}

EXPORT int sigaction(int sig, const struct sigaction *act, struct sigaction *old)
{
	struct sigaction copy;

	if (!kms_signals_started())
		return kms_libc_sigaction(sig, act, old);
	if (!kms_signal_bit(sig))
		return set_other(sig, act, old);
	if (act) {
		copy = *act; /* outside of the lock: the pointer may be bad */
		/* Nobody can block these two. */
		sigdelset(&copy.sa_mask, SIGKILL);
		sigdelset(&copy.sa_mask, SIGSTOP);
	}
	kms_signals_program_action(sig, act ? &copy : NULL, old);
	return 0;
}

/* Sets a handler in one of the old ways; the result as signal() gives it. */
static sighandler_t set_handler(int sig, sighandler_t handler, int flags, bool mask_itself)
{
	struct sigaction action = {.sa_handler = handler, .sa_flags = flags}, old;

	if (handler == SIG_ERR || sig <= 0 || sig >= SIGNALS) {
		errno = EINVAL;
		return SIG_ERR;
	}
	sigemptyset(&action.sa_mask);
	if (mask_itself)
		sigaddset(&action.sa_mask, sig);
	return sigaction(sig, &action, &old) ? SIG_ERR : old.sa_handler;
}

/* Signals for which siginterrupt(sig, 1) was called, as libc keeps them for signal(). */
static sigset_t interrupting;

EXPORT sighandler_t signal(int sig, sighandler_t handler)
{
	bool restart = sig <= 0 || sig >= SIGNALS || sigismember(&interrupting, sig) != 1;

	return set_handler(sig, handler, restart ? SA_RESTART : 0, true);
}

sighandler_t bsd_signal(int sig, sighandler_t handler);

EXPORT sighandler_t bsd_signal(int sig, sighandler_t handler)
{
	return signal(sig, handler);
}

EXPORT sighandler_t ssignal(int sig, sighandler_t handler)
{
	return signal(sig, handler);
}

EXPORT sighandler_t sysv_signal(int sig, sighandler_t handler)
{
	return set_handler(sig, handler, (int)SA_RESETHAND | SA_NODEFER, false);
}

sighandler_t __sysv_signal(int sig, sighandler_t handler);

EXPORT sighandler_t __sysv_signal(int sig, sighandler_t handler)
{
	return sysv_signal(sig, handler);
}

EXPORT int siginterrupt(int sig, int flag)
{
	struct sigaction action;

	if (sigaction(sig, NULL, &action))
		return -1;
	if (flag) {
		sigaddset(&interrupting, sig);
		action.sa_flags &= ~SA_RESTART;
	} else {
		sigdelset(&interrupting, sig);
		action.sa_flags |= SA_RESTART;
	}
	return sigaction(sig, &action, NULL);
}

EXPORT int sigignore(int sig)
{
	const struct sigaction action = {.sa_handler = SIG_IGN};

	return sigaction(sig, &action, NULL);
}

EXPORT sighandler_t sigset(int sig, sighandler_t handler)
{
	struct sigaction action = {.sa_handler = handler}, old;
	sigset_t one, mask;
	bool hold = handler == SIG_HOLD;

	if (handler == SIG_ERR || sig <= 0 || sig >= SIGNALS) {
		errno = EINVAL;
		return SIG_ERR;
	}
	sigemptyset(&one);
	sigaddset(&one, sig);
	if (sigaction(sig, hold ? NULL : &action, &old) ||
	    pthread_sigmask(hold ? SIG_BLOCK : SIG_UNBLOCK, &one, &mask))
		return SIG_ERR;
	return sigismember(&mask, sig) ? SIG_HOLD : old.sa_handler;
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
