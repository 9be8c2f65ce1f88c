/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The thread that holds processes: see hold.h. What it knows is under one lock, which it keeps while
 * it works and gives up while it waits.
 */
#include "tracer/hold.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tracer/hold_impl.h"
#include "tracer/process.h"

/* Between looks, while some threads of a process still run, and while all of it stands: the end of
 * a held process is ours to be told first. */
static const uint64_t taking_ns = 500000;
static const uint64_t holding_ns = 5000000;

struct kms_hold {
	struct kms_hold_config config;
	pthread_mutex_t lock;
	pthread_cond_t changed; /* something is asked, or some state is another one */
	struct kms_list list;   /* struct kms_held */
	pthread_t thread;
	bool is_running;
	bool stop;
};

struct kms_hold *kms_hold_create(const struct kms_hold_config *config)
{
	struct kms_hold *hold = calloc(1, sizeof(*hold));
	pthread_condattr_t attr;

	if (!hold)
		return NULL;
	hold->config = *config;
	kms_list_init(&hold->list);
	/* none of these can fail with these arguments on Linux */
	(void)pthread_mutex_init(&hold->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&hold->changed, &attr);
	(void)pthread_condattr_destroy(&attr);
	return hold;
}

static struct kms_held *find(struct kms_hold *hold, pid_t pid)
{
	for (struct kms_list *it = kms_list_first(&hold->list); it;
	     it = kms_list_next(&hold->list, it)) {
		struct kms_held *held = KMS_CONTAINER_OF(it, struct kms_held, link);

		if (held->ask.pid == pid)
			return held;
	}
	return NULL;
}

static struct kms_held *add(struct kms_hold *hold, const struct kms_hold_ask *ask)
{
	struct kms_held *held = calloc(1, sizeof(*held));

	if (!held)
		return NULL;
	held->ask = *ask;
	held->pidfd = -1;
	kms_list_push_back(&hold->list, &held->link);
	return held;
}

static bool note(struct kms_hold *hold, pid_t tid, int status)
{
	for (struct kms_list *it = kms_list_first(&hold->list); it;
	     it = kms_list_next(&hold->list, it)) {
		if (kms_held_note(KMS_CONTAINER_OF(it, struct kms_held, link), tid, status))
			return true;
	}
	return false;
}

/* What became of the threads that we trace; of nobody else's children. */
static void reap(struct kms_hold *hold)
{
	int status;
	pid_t tid;

	while ((tid = waitpid(-1, &status, WNOHANG | __WALL | __WNOTHREAD)) > 0) {
		/* a thread that executed a program has its process's number by now */
		if (!note(hold, tid, status) && WIFSTOPPED(status))
			(void)ptrace(PTRACE_DETACH, tid, NULL, NULL);
	}
}

/* One look at one process. Returns whether its state changed; *held may be gone. */
static bool step(struct kms_held *held, uint64_t now_ns)
{
	enum kms_hold_state before = held->state;

	if (!held->is_wanted || held->state == KMS_HOLD_REFUSED) {
		if (!kms_held_let_go(held) && !held->is_wanted)
			kms_held_free(held);
		return false;
	}
	if (held->state != KMS_HOLD_HELD)
		kms_held_take(held, now_ns);
	return held->state != before;
}

/* When to look again; 0: nothing is held. */
static uint64_t pause_ns(const struct kms_held *held)
{
	bool is_done =
		held->is_wanted && (held->state == KMS_HOLD_HELD || held->state == KMS_HOLD_PARTLY);

	if (held->state == KMS_HOLD_REFUSED && held->is_wanted && !held->n)
		return 0;
	return is_done ? holding_ns : taking_ns;
}

/* Returns when to look again, 0: not before something is asked. */
static uint64_t look(struct kms_hold *hold, bool *is_news)
{
	uint64_t now_ns = kms_mono_ns(), least_ns = 0;
	struct kms_list *next;

	reap(hold);
	for (struct kms_list *it = kms_list_first(&hold->list); it; it = next) {
		next = kms_list_next(&hold->list, it);
		*is_news |= step(KMS_CONTAINER_OF(it, struct kms_held, link), now_ns);
	}
	for (struct kms_list *it = kms_list_first(&hold->list); it;
	     it = kms_list_next(&hold->list, it)) {
		uint64_t ns = pause_ns(KMS_CONTAINER_OF(it, struct kms_held, link));

		if (ns && (!least_ns || ns < least_ns))
			least_ns = ns;
	}
	return least_ns;
}

/* Until something is asked, or the time is over (0: never). */
static void rest(struct kms_hold *hold, uint64_t ns)
{
	uint64_t until_ns = kms_mono_ns() + ns;
	struct timespec until = {.tv_sec = (time_t)(until_ns / 1000000000u),
				 .tv_nsec = (long)(until_ns % 1000000000u)};

	if (ns)
		(void)pthread_cond_timedwait(&hold->changed, &hold->lock, &until);
	else
		(void)pthread_cond_wait(&hold->changed, &hold->lock);
}

static void *run(void *arg)
{
	struct kms_hold *hold = arg;

	(void)pthread_mutex_lock(&hold->lock); /* plain mutexes, never locked twice */
	while (!hold->stop) {
		bool is_news = false;
		uint64_t ns = look(hold, &is_news);

		if (!is_news) {
			rest(hold, ns);
			continue;
		}
		(void)pthread_cond_broadcast(&hold->changed);
		(void)pthread_mutex_unlock(&hold->lock);
		if (hold->config.changed)
			hold->config.changed(hold->config.arg);
		(void)pthread_mutex_lock(&hold->lock);
	}
	/* with its signals; who cannot be let go now is by the end of this thread */
	for (struct kms_list *it = kms_list_first(&hold->list); it;
	     it = kms_list_next(&hold->list, it))
		(void)kms_held_let_go(KMS_CONTAINER_OF(it, struct kms_held, link));
	(void)pthread_mutex_unlock(&hold->lock);
	return NULL;
}

static int start(struct kms_hold *hold)
{
	int result = hold->is_running ? 0 : -pthread_create(&hold->thread, NULL, run, hold);

	hold->is_running = result == 0;
	return result;
}

int kms_hold_take(struct kms_hold *hold, const struct kms_hold_ask *ask)
{
	struct kms_held *held;
	int result;

	(void)pthread_mutex_lock(&hold->lock);
	result = start(hold);
	held = result ? NULL : find(hold, ask->pid);
	if (!held && !result) {
		held = add(hold, ask);
		result = held ? 0 : -ENOMEM;
	}
	if (held && !held->is_wanted) {
		held->is_wanted = true;
		held->is_checked = false;
		if (held->pidfd >= 0)
			(void)close(held->pidfd); /* the pid may be another's by now */
		held->pidfd = -1;
		held->ask = *ask;
		held->state = KMS_HOLD_TAKING;
		held->asked_ns = kms_mono_ns();
		(void)pthread_cond_broadcast(&hold->changed);
	}
	(void)pthread_mutex_unlock(&hold->lock);
	return result;
}

void kms_hold_release(struct kms_hold *hold, pid_t pid)
{
	struct kms_held *held;

	(void)pthread_mutex_lock(&hold->lock);
	held = find(hold, pid);
	if (held && held->is_wanted) {
		held->is_wanted = false;
		(void)pthread_cond_broadcast(&hold->changed);
	}
	(void)pthread_mutex_unlock(&hold->lock);
}

enum kms_hold_state kms_hold_state(struct kms_hold *hold, pid_t pid)
{
	enum kms_hold_state state;
	const struct kms_held *held;

	(void)pthread_mutex_lock(&hold->lock);
	held = find(hold, pid);
	state = held && held->is_wanted ? held->state : KMS_HOLD_NONE;
	(void)pthread_mutex_unlock(&hold->lock);
	return state;
}

void kms_hold_reason(struct kms_hold *hold, pid_t pid, char reason[KMS_HOLD_REASON_BYTES])
{
	const struct kms_held *held;

	(void)pthread_mutex_lock(&hold->lock);
	held = find(hold, pid);
	(void)snprintf(reason, KMS_HOLD_REASON_BYTES, "%s",
		       held && held->state == KMS_HOLD_REFUSED ? held->reason : ""); /* fits */
	(void)pthread_mutex_unlock(&hold->lock);
}

static bool is_taking(struct kms_hold *hold)
{
	for (struct kms_list *it = kms_list_first(&hold->list); it;
	     it = kms_list_next(&hold->list, it)) {
		const struct kms_held *held = KMS_CONTAINER_OF(it, struct kms_held, link);

		if (held->is_wanted && held->state == KMS_HOLD_TAKING)
			return true;
	}
	return false;
}

int kms_hold_await(struct kms_hold *hold, int timeout_ms)
{
	uint64_t end_ns = kms_mono_ns() + (uint64_t)timeout_ms * 1000000u;
	uint64_t now_ns;
	bool is_late;

	(void)pthread_mutex_lock(&hold->lock);
	while ((now_ns = kms_mono_ns()) < end_ns && is_taking(hold))
		rest(hold, end_ns - now_ns);
	is_late = is_taking(hold);
	(void)pthread_mutex_unlock(&hold->lock);
	return is_late ? -ETIMEDOUT : 0;
}

void kms_hold_destroy(struct kms_hold *hold)
{
	struct kms_list *link;

	if (!hold)
		return;
	(void)pthread_mutex_lock(&hold->lock);
	hold->stop = true;
	(void)pthread_cond_broadcast(&hold->changed);
	(void)pthread_mutex_unlock(&hold->lock);
	if (hold->is_running)
		(void)pthread_join(hold->thread, NULL); /* joined once */
	while ((link = kms_list_first(&hold->list)) != NULL)
		kms_held_free(KMS_CONTAINER_OF(link, struct kms_held, link));
	(void)pthread_cond_destroy(&hold->changed); /* nobody waits any more */
	(void)pthread_mutex_destroy(&hold->lock);
	free(hold);
}
