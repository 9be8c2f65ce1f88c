/* SPDX-License-Identifier: BSD-2-Clause */
/* The feed: its life, and what the screen says to it and takes from it. See feed.h. */
#include "tui/feed_impl.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

enum {
	ANSWER_TIMEOUT_MS = 10000,
};

void kms_doc_release(const struct kms_doc *doc)
{
	struct kms_doc *mine = (struct kms_doc *)doc; /* its count is not what it holds */

	if (!mine || __atomic_sub_fetch(&mine->refs, 1, __ATOMIC_ACQ_REL))
		return;
	cJSON_Delete(mine->json);
	free(mine);
}

/* Signals are for the thread with the terminal. */
static int start_worker(struct kms_feed_worker *worker, struct kms_err *err)
{
	sigset_t all;
	sigset_t old;
	int ret;

	ret = kms_client_open(worker->feed->hooks, &worker->feed->source, &worker->client, err);
	if (ret < 0)
		return ret;
	kms_client_set_timeout(worker->client, ANSWER_TIMEOUT_MS);
	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&worker->thread, NULL, kms_feed_thread, worker);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	worker->started = ret == 0;
	return ret ? kms_err_set(err, -EAGAIN, "cannot start a thread") : 0;
}

static int init_locks(struct kms_feed *feed)
{
	pthread_condattr_t attr;

	if (pthread_condattr_init(&attr))
		return -ENOMEM;
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_mutex_init(&feed->lock, NULL);
	(void)pthread_cond_init(&feed->changed, &attr);
	(void)pthread_condattr_destroy(&attr);
	return 0;
}

/* Who asks for what: the one that must be quick, and the one that may be slow. */
static void share_out(struct kms_feed *feed)
{
	static const enum kms_feed_document slow[] = {KMS_FEED_EVENTS, KMS_FEED_TIMELINE,
						      KMS_FEED_PAGE, KMS_FEED_PANE};

	for (size_t i = 0; i < sizeof(slow) / sizeof(slow[0]); i++)
		feed->worker[1].documents |= UINT32_C(1) << slow[i];
	feed->worker[0].documents = ~feed->worker[1].documents;
	feed->worker[1].lines = true;
}

static void end_workers(struct kms_feed *feed)
{
	kms_feed_lock(feed);
	feed->ending = true;
	(void)pthread_cond_broadcast(&feed->changed);
	kms_feed_unlock(feed);
	for (int i = 0; i < KMS_FEED_WORKERS; i++) {
		if (feed->worker[i].started)
			(void)pthread_join(feed->worker[i].thread, NULL);
		kms_client_close(feed->worker[i].client);
	}
}

int kms_feed_create(const struct kms_hooks *hooks, const struct kms_source *source,
		    struct kms_feed **out, struct kms_err *err)
{
	struct kms_feed *feed = calloc(1, sizeof(*feed));
	int ret;

	if (!feed || init_locks(feed) < 0) {
		free(feed);
		return kms_err_set(err, -ENOMEM, "out of memory");
	}
	feed->hooks = hooks;
	feed->source = *source;
	memcpy(feed->file, source->file, sizeof(feed->file));
	feed->state = source->kind == KMS_SOURCE_FILE ? KMS_FEED_FILE : KMS_FEED_LIVE;
	share_out(feed);
	kms_prompt_name(feed->session);
	feed->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ret = feed->event_fd >= 0
		      ? 0
		      : kms_err_sys(err, -errno, "cannot make an event descriptor", NULL);
	for (int i = 0; i < KMS_FEED_WORKERS && ret == 0; i++) {
		feed->worker[i].feed = feed;
		ret = start_worker(&feed->worker[i], err);
	}
	if (ret < 0) {
		kms_feed_destroy(feed);
		return ret;
	}
	*out = feed;
	return 0;
}

void kms_feed_destroy(struct kms_feed *feed)
{
	if (!feed)
		return;
	end_workers(feed);
	for (int i = 0; i < KMS_FEED_DOCUMENTS; i++)
		kms_doc_release(feed->slot[i].doc);
	for (unsigned i = 0; i < feed->n_lines; i++)
		free(feed->line[i].text);
	for (unsigned i = 0; i < feed->n_outputs; i++) {
		free(feed->output[i].line);
		free(feed->output[i].output);
	}
	if (feed->event_fd >= 0)
		close(feed->event_fd);
	(void)pthread_mutex_destroy(&feed->lock);
	(void)pthread_cond_destroy(&feed->changed);
	free(feed);
}

int kms_feed_fd(const struct kms_feed *feed)
{
	return feed->event_fd;
}

void kms_feed_seen(struct kms_feed *feed)
{
	uint64_t n;

	if (read(feed->event_fd, &n, sizeof(n)) < 0)
		return; /* it was quiet */
}

static bool is_same_want(const struct kms_feed_want *a, const struct kms_feed_want *b)
{
	return a->documents == b->documents && a->target == b->target && a->sum == b->sum &&
	       a->interval_ms == b->interval_ms && strcmp(a->page, b->page) == 0 &&
	       strcmp(a->pane, b->pane) == 0;
}

void kms_feed_want(struct kms_feed *feed, const struct kms_feed_want *want)
{
	kms_feed_lock(feed);
	if (!is_same_want(&feed->want, want)) {
		feed->want = *want;
		feed->wanted++;
		(void)pthread_cond_broadcast(&feed->changed);
	}
	kms_feed_unlock(feed);
}

const struct kms_doc *kms_feed_take(struct kms_feed *feed, enum kms_feed_document document)
{
	struct kms_doc *doc;

	kms_feed_lock(feed);
	doc = feed->slot[document].doc;
	if (doc)
		__atomic_add_fetch(&doc->refs, 1, __ATOMIC_RELAXED);
	kms_feed_unlock(feed);
	return doc;
}

enum kms_feed_state kms_feed_state(struct kms_feed *feed, char reason[KMS_ERR_TEXT_BYTES])
{
	enum kms_feed_state state;

	kms_feed_lock(feed);
	state = feed->state;
	memcpy(reason, feed->reason, KMS_ERR_TEXT_BYTES);
	kms_feed_unlock(feed);
	return state;
}
