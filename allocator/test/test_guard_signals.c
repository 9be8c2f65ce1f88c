/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SIGSEGV and SIGBUS are shared: what is not the guard's reaches the program as if the guard were
 * not there, and no mask of the program hides a trap of the guard.
 */
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "allocator/test/guard_cases.h"
#include "allocator/test/guard_support.h"
#include "tests/support/kt.h"

enum {
	BAD_ADDRESS = 8,
	STACK_BYTES = 64 << 10,
	ROUNDS = 2000,
	GROWN_ROUNDS = 2000, /* by then the FIFO is full, and slots and slabs are there */
};

/* What the program's handler was given, and whether it jumps out. */
static struct {
	sigjmp_buf back;
	volatile int signal, count, code;
	void *volatile address;
	volatile uintptr_t frame;
	sigset_t mask;
	volatile bool jump;
} got;

static void handler(int sig, siginfo_t *info, void *context)
{
	(void)context;
	got.signal = sig;
	got.count++;
	got.code = info->si_code;
	got.address = info->si_addr;
	got.frame = (uintptr_t)__builtin_frame_address(0);
	(void)pthread_sigmask(SIG_BLOCK, NULL, &got.mask);
	if (got.jump)
		siglongjmp(got.back, 1);
}

static void set_handler(int sig, int flags)
{
	struct sigaction action = {.sa_sigaction = handler, .sa_flags = SA_SIGINFO | flags};

	sigemptyset(&action.sa_mask);
	sigaddset(&action.sa_mask, SIGUSR1);
	KT_CHECK(sigaction(sig, &action, NULL) == 0, "%s", strerror(errno));
}

/* An access that is nobody's but the program's own fault. */
static void bad_access(void)
{
	uintptr_t address = BAD_ADDRESS;

	__asm__ volatile("" : "+r"(address));
	guard_write((void *)address, 1);
}

static bool is_blocked(int sig)
{
	sigset_t mask;

	KT_CHECK(pthread_sigmask(SIG_BLOCK, NULL, &mask) == 0, "mask");
	return sigismember(&mask, sig) == 1;
}

static void expect_handled(int count)
{
	KT_CHECK(got.count == count && got.signal == SIGSEGV, "count %d", got.count);
	KT_CHECK(got.address == (void *)BAD_ADDRESS, "address %p", got.address);
	KT_CHECK(sigismember(&got.mask, SIGUSR1), "sa_mask is not blocked");
	KT_CHECK(sigismember(&got.mask, SIGSEGV), "the signal itself is not blocked");
	KT_CHECK(!is_blocked(SIGUSR1) && !is_blocked(SIGSEGV), "masks stay behind");
}

static int its_handler_gets_its_faults(void *arg)
{
	(void)arg;
	guard_case_begin();
	set_handler(SIGSEGV, 0);
	got.jump = true;
	for (int i = 0; i < 3; i++) {
		guard_case_expect_caught();
		if (!sigsetjmp(got.back, 1))
			bad_access();
		expect_handled(i + 1);
	}
	return 0;
}

static int a_handler_set_before_the_guard_is_kept(void *arg)
{
	struct sigaction now;

	(void)arg;
	set_handler(SIGSEGV, SA_NODEFER);
	guard_case_begin();
	KT_CHECK(sigaction(SIGSEGV, NULL, &now) == 0, "sigaction");
	KT_CHECK(now.sa_sigaction == handler, "another handler");
	KT_CHECK((now.sa_flags & (SA_SIGINFO | SA_NODEFER | SA_ONSTACK)) ==
			 (SA_SIGINFO | SA_NODEFER),
		 "flags %#x", (unsigned)now.sa_flags);
	KT_CHECK(sigismember(&now.sa_mask, SIGUSR1), "mask");
	got.jump = true;
	if (!sigsetjmp(got.back, 1))
		bad_access();
	KT_CHECK(got.count == 1 && !sigismember(&got.mask, SIGSEGV), "SA_NODEFER is lost");
	guard_case_expect_caught();
	return 0;
}

static int a_fault_without_handler_kills(void *arg)
{
	(void)arg;
	guard_case_begin();
	guard_case_expect_caught();
	bad_access();
	return 0;
}

static int a_handler_for_once_is_gone_the_second_time(void *arg)
{
	struct sigaction now;

	(void)arg;
	guard_case_begin();
	set_handler(SIGSEGV, (int)SA_RESETHAND);
	got.jump = true;
	if (!sigsetjmp(got.back, 1))
		bad_access();
	KT_CHECK(got.count == 1, "count %d", got.count);
	KT_CHECK(sigaction(SIGSEGV, NULL, &now) == 0 && now.sa_handler == SIG_DFL,
		 "not the default");
	guard_case_expect_caught();
	bad_access();
	return 0;
}

static int a_sent_signal_kills(void *arg)
{
	(void)arg;
	guard_case_begin();
	kill(getpid(), SIGBUS);
	return 0;
}

static int a_fault_kills_though_it_is_ignored(void *arg)
{
	(void)arg;
	guard_case_begin();
	signal(SIGSEGV, SIG_IGN);
	kill(getpid(), SIGSEGV);
	guard_case_expect_caught();
	bad_access();
	return 0;
}

static void plain(int sig)
{
	got.signal = sig;
	got.count++;
}

/* libc calls these deprecated; old programs call them. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

static int signal_tells_what_the_program_set(void *arg)
{
	(void)arg;
	guard_case_begin();
	KT_CHECK(signal(SIGSEGV, plain) == SIG_DFL, "first");
	KT_CHECK(signal(SIGSEGV, SIG_IGN) == plain, "second");
	KT_CHECK(sysv_signal(SIGBUS, plain) == SIG_DFL, "sysv");
	raise(SIGBUS);
	KT_CHECK(got.count == 1 && signal(SIGBUS, SIG_DFL) == SIG_DFL, "not for once");
	KT_CHECK(signal(SIGKILL, plain) == SIG_ERR && errno == EINVAL, "SIGKILL");
	KT_CHECK(signal(SIGTERM, plain) == SIG_DFL, "SIGTERM");
	raise(SIGTERM);
	KT_CHECK(got.signal == SIGTERM, "signal %d", got.signal);
	guard_case_expect_caught();
	return 0;
}

static int sigset_holds_and_lets_go(void *arg)
{
	(void)arg;
	guard_case_begin();
	KT_CHECK(sigset(SIGSEGV, plain) == SIG_DFL, "sigset");
	KT_CHECK(sigset(SIGSEGV, SIG_HOLD) == plain, "hold");
	KT_CHECK(is_blocked(SIGSEGV), "not held");
	KT_CHECK(sigset(SIGSEGV, plain) == SIG_HOLD, "was held");
	KT_CHECK(!is_blocked(SIGSEGV), "still held");
	raise(SIGSEGV);
	KT_CHECK(got.count == 1, "count %d", got.count);
	guard_case_expect_caught();
	return 0;
}

#pragma GCC diagnostic pop

static int no_mask_hides_a_trap(void *arg)
{
	sigset_t all, old;

	(void)arg;
	guard_case_begin();
	guard_case_expect_caught();
	sigfillset(&all);
	KT_CHECK(pthread_sigmask(SIG_BLOCK, &all, &old) == 0, "block");
	KT_CHECK(!sigismember(&old, SIGSEGV), "old mask");
	KT_CHECK(is_blocked(SIGSEGV) && is_blocked(SIGBUS) && is_blocked(SIGTERM), "read back");
	guard_case_expect_caught();
	KT_CHECK(sigprocmask(SIG_SETMASK, &old, &all) == 0, "restore");
	KT_CHECK(sigismember(&all, SIGSEGV) && !is_blocked(SIGSEGV), "restored");
	return 0;
}

static int a_sent_signal_waits_until_it_is_unblocked(void *arg)
{
	sigset_t one;

	(void)arg;
	guard_case_begin();
	set_handler(SIGSEGV, 0);
	sigemptyset(&one);
	sigaddset(&one, SIGSEGV);
	KT_CHECK(sigprocmask(SIG_BLOCK, &one, NULL) == 0, "block");
	guard_case_expect_caught();
	raise(SIGSEGV);
	KT_CHECK(got.count == 0, "delivered though blocked");
	KT_CHECK(sigprocmask(SIG_UNBLOCK, &one, NULL) == 0, "unblock");
	KT_CHECK(got.count == 1 && got.code <= 0, "count %d code %d", got.count, got.code);
	guard_case_expect_caught();
	return 0;
}

static void *blocked_thread(void *arg)
{
	sigset_t all;

	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, NULL);
	pthread_barrier_wait(arg); /* blocked */
	pthread_barrier_wait(arg); /* the guard runs */
	guard_case_expect_caught();
	return NULL;
}

static int a_thread_that_blocked_before_is_watched(void *arg)
{
	pthread_barrier_t barrier;
	pthread_t thread;

	(void)arg;
	pthread_barrier_init(&barrier, NULL, 2);
	KT_CHECK(pthread_create(&thread, NULL, blocked_thread, &barrier) == 0, "thread");
	pthread_barrier_wait(&barrier);
	guard_case_begin();
	pthread_barrier_wait(&barrier);
	pthread_join(thread, NULL);
	return 0;
}

static unsigned char *stale;

static void touching_handler(int sig)
{
	uint64_t before = guard_faults();

	(void)sig;
	guard_write(stale, 1);
	got.count += guard_faults() == before + 1;
}

static void raise_with_stale_block(int sig)
{
	stale = kmem_alloc(GUARD_CASE_BYTES, KM_SLEEP);
	kmem_free(stale, GUARD_CASE_BYTES);
	raise(sig);
}

static int a_handler_that_blocks_everything_is_watched(void *arg)
{
	struct sigaction action = {.sa_handler = touching_handler}, old;

	(void)arg;
	sigfillset(&action.sa_mask);
	KT_CHECK(sigaction(SIGUSR1, &action, NULL) == 0, "before");
	guard_case_begin();
	raise_with_stale_block(SIGUSR1);
	KT_CHECK(sigaction(SIGUSR2, &action, NULL) == 0, "after");
	raise_with_stale_block(SIGUSR2);
	KT_CHECK(got.count == 2, "count %d", got.count);
	KT_CHECK(sigaction(SIGUSR2, NULL, &old) == 0, "read back");
	KT_CHECK(sigismember(&old.sa_mask, SIGSEGV) && sigismember(&old.sa_mask, SIGBUS), "mask");
	return 0;
}

/* NOLINTNEXTLINE(misc-no-recursion): to run out of stack */
static __attribute__((noinline)) int recurse(const volatile char *above, int depth)
{
	volatile char frame[4096];

	frame[0] = above[0];
	return depth ? recurse(frame, depth - 1) + frame[0] : 0;
}

static int a_stack_overflow_reaches_its_handler(void *arg)
{
	stack_t stack = {.ss_size = STACK_BYTES};
	char first = 0;

	(void)arg;
	guard_case_begin();
	stack.ss_sp =
		mmap(NULL, STACK_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	KT_CHECK(sigaltstack(&stack, NULL) == 0, "%s", strerror(errno));
	set_handler(SIGSEGV, SA_ONSTACK);
	got.jump = true;
	if (!sigsetjmp(got.back, 1))
		(void)recurse(&first, INT_MAX);
	KT_CHECK(got.count == 1, "count %d", got.count);
	KT_CHECK(got.frame - (uintptr_t)stack.ss_sp < STACK_BYTES, "not on the other stack");
	guard_case_expect_caught();
	return 0;
}

static int a_copy_out_of_a_freed_block_goes_on(void *arg)
{
	char *p, copy[2000];

	(void)arg;
	guard_case_begin();
	p = kmem_alloc(sizeof(copy), KM_SLEEP);
	kmem_free(p, sizeof(copy));
	memcpy(copy, p, sizeof(copy));
	KT_CHECK(guard_faults() == 1, "%d findings", (int)guard_faults());
	KT_CHECK(guard_last_fault()->access == KMS_ACCESS_READ, "access");
	KT_CHECK(memcmp(copy, p, sizeof(copy)) == 0, "not what is there now");
	return 0;
}

/* A page that the program itself has closed is the program's business, in a guarded block too. */
static int its_own_closed_page_is_its_own(void *arg)
{
	unsigned char *p, *page;

	(void)arg;
	guard_case_begin();
	set_handler(SIGSEGV, 0);
	got.jump = true;
	p = kmem_alloc(4 * GUARD_PAGE_BYTES, KM_SLEEP);
	page = (unsigned char *)(((uintptr_t)p + GUARD_PAGE_BYTES) &
				 ~(uintptr_t)(GUARD_PAGE_BYTES - 1));
	KT_CHECK(mprotect(page, GUARD_PAGE_BYTES, PROT_NONE) == 0, "%s", strerror(errno));
	for (int i = 0; i < 3; i++) {
		if (!sigsetjmp(got.back, 1))
			guard_write(page + 5, 1);
		KT_CHECK(got.count == i + 1 && got.address == page + 5, "count %d", got.count);
	}
	KT_CHECK(mprotect(page, GUARD_PAGE_BYTES, PROT_READ | PROT_WRITE) == 0, "%s",
		 strerror(errno));
	guard_write(page + 5, 1);
	KT_CHECK(madvise(page, GUARD_PAGE_BYTES, MADV_DONTNEED) == 0, "%s", strerror(errno));
	KT_CHECK(guard_read(page + 5) == 0, "memory given back is not zero");
	kmem_free(p, 4 * GUARD_PAGE_BYTES);
	KT_CHECK(guard_faults() == 0 && got.count == 3, "%d findings", (int)guard_faults());
	guard_case_expect_caught();
	return 0;
}

static volatile int interruptions;

/* NOLINTBEGIN(bugprone-signal-handler): what it is about */
static void allocating_handler(int sig)
{
	void *p = kmem_alloc(100, KM_NOSLEEP);

	(void)sig;
	if (p)
		kmem_free(p, 100);
	interruptions++;
}

/* NOLINTEND(bugprone-signal-handler) */

static void use_guarded(void)
{
	unsigned char *p = kmem_alloc(700, KM_SLEEP);

	memset(p, 1, 700);
	kmem_free(p, 700);
}

/*
 * A handler may interrupt the guard and call it again. Not while a call has the lock of the arena, which
 * grows in the beginning only: who comes then waits for ever (README, Threads, signals, fork).
 */
static int calls_within_calls_do_not_hang(void *arg)
{
	const struct timespec often = {.tv_nsec = 20000};
	struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGALRM};
	timer_t timer;

	(void)arg;
	guard_case_begin();
	for (int i = 0; i < GROWN_ROUNDS; i++)
		use_guarded();
	allocating_handler(0);
	signal(SIGALRM, allocating_handler);
	KT_CHECK(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0, "%s", strerror(errno));
	KT_CHECK(timer_settime(timer, 0, &(struct itimerspec){often, often}, NULL) == 0, "timer");
	for (int i = 0; i < ROUNDS || interruptions < 100; i++)
		use_guarded();
	timer_delete(timer);
	guard_flush(1);
	KT_CHECK(guard_faults() == 0, "%d findings", (int)guard_faults());
	KT_CHECK(guard_figures()->live == 0, "%d live", (int)guard_figures()->live);
	return 0;
}

static const struct guard_case cases[] = {
	{"its handler gets its faults",                 its_handler_gets_its_faults,                 0      },
	{"a handler set before the guard is kept",      a_handler_set_before_the_guard_is_kept,      0      },
	{"a fault without handler kills",               a_fault_without_handler_kills,               SIGSEGV},
	{"a handler for once is gone the second time",  a_handler_for_once_is_gone_the_second_time,
	 SIGSEGV											    },
	{"a sent signal kills",                         a_sent_signal_kills,                         SIGBUS },
	{"a fault kills though it is ignored",          a_fault_kills_though_it_is_ignored,          SIGSEGV},
	{"signal() tells what the program set",         signal_tells_what_the_program_set,           0      },
	{"sigset() holds and lets go",                  sigset_holds_and_lets_go,                    0      },
	{"no mask hides a trap",                        no_mask_hides_a_trap,                        0      },
	{"a sent signal waits until it is unblocked",   a_sent_signal_waits_until_it_is_unblocked,   0      },
	{"a thread that blocked before is watched",     a_thread_that_blocked_before_is_watched,     0      },
	{"a handler that blocks everything is watched", a_handler_that_blocks_everything_is_watched,
	 0												  },
	{"a stack overflow reaches its handler",        a_stack_overflow_reaches_its_handler,        0      },
	{"a copy out of a freed block goes on",         a_copy_out_of_a_freed_block_goes_on,         0      },
	{"its own closed page is its own",              its_own_closed_page_is_its_own,              0      },
	{"calls within calls do not hang",              calls_within_calls_do_not_hang,              0      },
};

int main(int argc, char **argv)
{
	return guard_cases_run(cases, sizeof(cases) / sizeof(cases[0]), argc, argv);
}
