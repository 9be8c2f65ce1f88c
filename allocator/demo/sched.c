/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The scheduler: hands the one CPU to the drivers' threads in turns of KMS_QUANTUM_OPS operations.
 *
 * The order of turns comes from the seed. Real time only decides how long the scheduler rests
 * between turns, so that a round takes about as long as was asked for; it never changes what is done.
 */
#include "allocator/demo/kernel.h"

#include <errno.h>
#include <time.h>

enum {
	NS_PER_S = 1000000000,
	REST_NS = 2000000, /* shorter rests are not worth a system call */
};

int kms_sched_init(struct kms_sched *sched)
{
	int rc;

	*sched = (struct kms_sched){0};
	rc = pthread_mutex_init(&sched->lock, NULL);
	if (rc)
		return -rc;
	rc = pthread_cond_init(&sched->changed, NULL);
	if (rc)
		pthread_mutex_destroy(&sched->lock);
	return -rc;
}

void kms_sched_deinit(struct kms_sched *sched)
{
	pthread_cond_destroy(&sched->changed);
	pthread_mutex_destroy(&sched->lock);
}

/* Waits until the CPU is given to @me (NULL: back to the scheduler). False: the kernel halts. */
static bool take_cpu(struct kms_sched *sched, const struct kms_driver *me)
{
	bool mine;

	pthread_mutex_lock(&sched->lock);
	while (sched->running != me && !sched->halt)
		pthread_cond_wait(&sched->changed, &sched->lock);
	mine = sched->running == me;
	pthread_mutex_unlock(&sched->lock);
	return mine;
}

static void give_cpu(struct kms_sched *sched, struct kms_driver *to)
{
	pthread_mutex_lock(&sched->lock);
	sched->running = to;
	pthread_cond_broadcast(&sched->changed);
	pthread_mutex_unlock(&sched->lock);
}

static void run_quantum(struct kms_driver *driver)
{
	for (int i = 0; i < KMS_QUANTUM_OPS && driver->ops_left; i++) {
		driver->ops_left--;
		driver->ops_done++;
		driver->kernel->ops_done++;
		driver->class->work(driver);
		kms_cpu_after_operation(driver->kernel);
	}
}

static void *driver_thread(void *argument)
{
	struct kms_driver *driver = argument;
	struct kms_sched *sched = &driver->kernel->sched;

	while (take_cpu(sched, driver)) {
		run_quantum(driver);
		give_cpu(sched, NULL);
	}
	return NULL;
}

int kms_sched_start(struct kms_kernel *kernel)
{
	for (int i = 0; i < KMS_DRIVERS; i++) {
		struct kms_driver *driver = &kernel->driver[i];
		int rc = pthread_create(&driver->thread, NULL, driver_thread, driver);

		if (rc)
			return -rc;
		(void)pthread_setname_np(driver->thread, driver->class->name); /* only a name */
	}
	return 0;
}

void kms_sched_stop(struct kms_kernel *kernel)
{
	pthread_mutex_lock(&kernel->sched.lock);
	kernel->sched.halt = true;
	pthread_cond_broadcast(&kernel->sched.changed);
	pthread_mutex_unlock(&kernel->sched.lock);
	for (int i = 0; i < KMS_DRIVERS; i++) {
		if (kernel->driver[i].thread)
			pthread_join(kernel->driver[i].thread, NULL);
	}
}

/* A driver that still has operations, chosen by the seed; NULL when all are done. */
static struct kms_driver *next_driver(struct kms_kernel *kernel)
{
	uint64_t start = kms_rng_below(&kernel->rng, KMS_DRIVERS);

	for (uint64_t i = 0; i < KMS_DRIVERS; i++) {
		struct kms_driver *driver = &kernel->driver[(start + i) % KMS_DRIVERS];

		if (driver->ops_left)
			return driver;
	}
	return NULL;
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

/* Sleeps while the round is ahead of its time. */
static void rest_until(uint64_t due_ns)
{
	uint64_t now = now_ns();
	struct timespec due = {.tv_sec = (time_t)(due_ns / NS_PER_S),
			       .tv_nsec = (long)(due_ns % NS_PER_S)};

	if (due_ns < now + REST_NS)
		return;
	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL) == EINTR)
		;
}

void kms_sched_round(struct kms_kernel *kernel)
{
	uint64_t begin_ns = now_ns();
	uint64_t length_ns = kernel->options.seconds * NS_PER_S;
	uint64_t total = 0;
	uint64_t first = kernel->ops_done;
	struct kms_driver *driver;

	for (int i = 0; i < KMS_DRIVERS; i++)
		total += kernel->driver[i].ops_left;
	while ((driver = next_driver(kernel))) {
		give_cpu(&kernel->sched, driver);
		take_cpu(&kernel->sched, NULL);
		if (length_ns)
			rest_until(begin_ns +
				   (uint64_t)((double)length_ns *
					      (double)(kernel->ops_done - first) / (double)total));
	}
}
