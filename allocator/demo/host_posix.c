/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The emulated kernel in a process: a thread for each driver, one at a time has the CPU. Interrupts
 * run on its stack, as on a real CPU.
 */
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "allocator/demo/host.h"
#include "allocator/demo/host_posix.h"
#include "allocator/demo/kernel.h"

enum {
	NS_PER_S = 1000000000,
};

/* Waits until the CPU is given to @me (NULL: back to the scheduler). False: the kernel halts. */
static bool take_cpu(struct kms_host *host, const struct kms_driver *me)
{
	bool mine;

	pthread_mutex_lock(&host->lock);
	while (host->running != me && !host->halt)
		pthread_cond_wait(&host->changed, &host->lock);
	mine = host->running == me;
	pthread_mutex_unlock(&host->lock);
	return mine;
}

static void give_cpu(struct kms_host *host, struct kms_driver *to)
{
	pthread_mutex_lock(&host->lock);
	host->running = to;
	pthread_cond_broadcast(&host->changed);
	pthread_mutex_unlock(&host->lock);
}

static void *driver_thread(void *argument)
{
	struct kms_driver *driver = argument;
	struct kms_host *host = driver->kernel->host;

	while (take_cpu(host, driver)) {
		kms_sched_turn(driver);
		give_cpu(host, NULL);
	}
	return NULL;
}

void kms_host_turn(struct kms_driver *driver)
{
	struct kms_host *host = driver->kernel->host;

	give_cpu(host, driver);
	take_cpu(host, NULL);
}

static int locks_init(struct kms_host *host)
{
	int rc = pthread_mutex_init(&host->lock, NULL);

	if (rc)
		return -rc;
	rc = pthread_cond_init(&host->changed, NULL);
	if (rc)
		pthread_mutex_destroy(&host->lock);
	return -rc;
}

int kms_host_start(struct kms_kernel *kernel)
{
	struct kms_host *host = kernel->host;
	int rc = locks_init(host);

	if (rc)
		return rc;
	host->started = true;
	for (int i = 0; i < KMS_DRIVERS; i++) {
		struct kms_driver *driver = &kernel->driver[i];

		rc = pthread_create(&host->thread[i], NULL, driver_thread, driver);
		if (rc)
			return -rc;
		host->threads++;
		(void)pthread_setname_np(host->thread[i], driver->class->name); /* only a name */
	}
	return 0;
}

void kms_host_stop(struct kms_kernel *kernel)
{
	struct kms_host *host = kernel->host;

	if (!host->started)
		return;
	pthread_mutex_lock(&host->lock);
	host->halt = true;
	pthread_cond_broadcast(&host->changed);
	pthread_mutex_unlock(&host->lock);
	for (unsigned i = 0; i < host->threads; i++)
		pthread_join(host->thread[i], NULL);
	pthread_cond_destroy(&host->changed);
	pthread_mutex_destroy(&host->lock);
}

uint64_t kms_host_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

void kms_host_rest(uint64_t until_ns)
{
	struct timespec until = {.tv_sec = (time_t)(until_ns / NS_PER_S),
				 .tv_nsec = (long)(until_ns % NS_PER_S)};

	while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR)
		;
}

void kms_host_console(struct kms_kernel *kernel, const char *line)
{
	(void)kernel;
	puts(line);
	(void)fflush(stdout); /* a message that nobody sees */
}

void kms_host_journal(struct kms_kernel *kernel, const char *line)
{
	FILE *journal = kernel->host->journal;

	if (!journal)
		return;
	(void)fprintf(journal, "%s\n", line);
	(void)fflush(journal); /* what is missing in it is found by its readers */
}

/* The environment has set them before, and the demo's own go before it. */
void kms_host_variables(void)
{
}

void kms_host_await_end(void)
{
	char byte;
	ssize_t n;

	do
		n = read(STDIN_FILENO, &byte, 1);
	while (n > 0 || (n < 0 && errno == EINTR));
}

void kms_host_interrupt(unsigned level, void (*function)(void *argument), void *argument)
{
	(void)level;
	function(argument);
}
