/* SPDX-License-Identifier: BSD-2-Clause */
/* See errands.h. */
#include "tracer/errands.h"

#include <errno.h>

#include "tracer/process.h"

static const uint64_t slice_ns = 2000000; /* DESIGN 7 */

/* Lies on its asker's stack. */
struct kms_errand {
	struct kms_errand *next;
	kms_errand_fn *step;
	void *arg;
	bool is_over;
	int result;
};

void kms_errands_init(struct kms_errands *errands, void (*wake)(void *arg), void *wake_arg)
{
	*errands = (struct kms_errands){.wake = wake, .wake_arg = wake_arg};
	errands->last = &errands->first;
	(void)pthread_mutex_init(&errands->lock, NULL); /* cannot fail without attributes */
	(void)pthread_cond_init(&errands->changed, NULL);
}

void kms_errands_deinit(struct kms_errands *errands)
{
	(void)pthread_cond_destroy(&errands->changed); /* nobody waits any more */
	(void)pthread_mutex_destroy(&errands->lock);
}

int kms_errands_run(struct kms_errands *errands, kms_errand_fn *step, void *arg)
{
	struct kms_errand errand = {.step = step, .arg = arg};

	(void)pthread_mutex_lock(&errands->lock); /* a plain mutex, never locked twice */
	if (errands->closed) {
		errand.result = -ESHUTDOWN;
	} else {
		*errands->last = &errand;
		errands->last = &errand.next;
		errands->wake(errands->wake_arg);
		while (!errand.is_over)
			(void)pthread_cond_wait(&errands->changed, &errands->lock);
	}
	(void)pthread_mutex_unlock(&errands->lock);
	return errand.result;
}

/* Takes the oldest errand off the list and lets its asker go; the lock is held. */
static void end_first(struct kms_errands *errands, int result)
{
	struct kms_errand *errand = errands->first;

	errands->first = errand->next;
	if (!errands->first)
		errands->last = &errands->first;
	errand->result = result;
	errand->is_over = true;
	(void)pthread_cond_broadcast(&errands->changed);
}

bool kms_errands_work(struct kms_errands *errands, void *owned, bool busy)
{
	struct kms_errand *errand;
	uint64_t begun_ns;
	bool more;

	(void)pthread_mutex_lock(&errands->lock);
	errand = errands->first; /* stays first: only this thread takes it away */
	(void)pthread_mutex_unlock(&errands->lock);
	if (!errand)
		return false;
	begun_ns = kms_mono_ns();
	if (busy && begun_ns < errands->rest_until_ns)
		return true;
	more = !errand->step(errand->arg, owned, begun_ns + slice_ns);
	errands->rest_until_ns = 2 * kms_mono_ns() - begun_ns;
	(void)pthread_mutex_lock(&errands->lock);
	if (!more)
		end_first(errands, 0);
	more = errands->first != NULL;
	(void)pthread_mutex_unlock(&errands->lock);
	return more;
}

void kms_errands_close(struct kms_errands *errands)
{
	(void)pthread_mutex_lock(&errands->lock);
	errands->closed = true;
	while (errands->first)
		end_first(errands, -ESHUTDOWN);
	(void)pthread_mutex_unlock(&errands->lock);
}
