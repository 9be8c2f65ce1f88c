/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Access to memory that another process may take away: see region.h.
 *
 * A signal handler has no argument, so the access that is under way hangs on a variable of the
 * thread: the one piece of state here that is not in a struct of the caller's.
 */
#include "tracer/region_guard.h"

#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>

#include "tracer/region.h"

/* An access under way. */
struct guard {
	sigjmp_buf back;
	const struct kms_region *region;
};

static _Thread_local struct guard *volatile guard_now;
static struct sigaction before;
static pthread_mutex_t installing = PTHREAD_MUTEX_INITIALIZER;

static bool is_within(const void *address, const void *start, size_t bytes)
{
	return start && (uintptr_t)address - (uintptr_t)start < bytes;
}

static bool is_ours(const struct kms_region *region, const void *address)
{
	return is_within(address, region->map, region->bytes) ||
	       is_within(address, region->page, region->page_bytes) ||
	       is_within(address, region->request, region->request_bytes);
}

static void on_bus_error(int number, siginfo_t *info, void *context)
{
	struct guard *guard = guard_now;

	if (guard && is_ours(guard->region, info->si_addr)) {
		guard_now = NULL;
		siglongjmp(guard->back, 1);
	}
	if (before.sa_flags & SA_SIGINFO) {
		before.sa_sigaction(number, info, context);
		return;
	}
	/* the access is repeated and ends the process as it would have without us */
	(void)sigaction(SIGBUS, &before, NULL); /* it was accepted when it was installed */
}

void kms_region_guard_install(void)
{
	struct sigaction action;
	struct sigaction now;

	memset(&action, 0, sizeof(action));
	action.sa_sigaction = on_bus_error;
	/* not blocked in the handler, because the handler is left by a jump */
	action.sa_flags = SA_SIGINFO | SA_NODEFER;
	(void)pthread_mutex_lock(&installing); /* a plain mutex, never locked twice */
	(void)sigaction(SIGBUS, NULL, &now);   /* a valid signal and a valid address */
	if (!(now.sa_flags & SA_SIGINFO) || now.sa_sigaction != on_bus_error) {
		before = now;
		(void)sigaction(SIGBUS, &action, NULL);
	}
	(void)pthread_mutex_unlock(&installing);
}

int kms_region_access(struct kms_region *region, void (*fn)(void *arg), void *arg)
{
	struct guard guard;

	if (region->is_gone)
		return -EFAULT;
	assert(!guard_now);
	guard.region = region;
	if (sigsetjmp(guard.back, 0)) {
		region->is_gone = true;
		return -EFAULT;
	}
	guard_now = &guard;
	atomic_signal_fence(memory_order_seq_cst); /* the compiler keeps fn between the two */
	fn(arg);
	atomic_signal_fence(memory_order_seq_cst);
	guard_now = NULL;
	return 0;
}
