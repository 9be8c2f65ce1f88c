/* SPDX-License-Identifier: BSD-2-Clause */
/* The threads of the feed: what each does next, and how long it waits for that. See feed_impl.h. */
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "tui/feed_impl.h"

enum {
	NS_PER_MS = 1000000,
	REST_MS = 1000, /* with nothing to do one looks again after this */
};

/* Everything is to be asked for again. */
void kms_feed_unsettle(const struct kms_feed_worker *worker)
{
	for (int i = 0; i < KMS_FEED_DOCUMENTS; i++) {
		if (!(worker->documents >> i & 1))
			continue;
		worker->feed->slot[i].due_ns = 0;
		worker->feed->slot[i].settled = false;
	}
}

/* The next one that is due; KMS_FEED_DOCUMENTS: none, *due_ns says when. */
static enum kms_feed_document choose(const struct kms_feed_worker *worker, uint64_t now_ns,
				     uint64_t *due_ns)
{
	const struct kms_feed_want *want = &worker->want;
	enum kms_feed_document best = KMS_FEED_DOCUMENTS;
	const struct kms_feed_slot *slots = worker->feed->slot;
	char path[KMS_FEED_PATH_BYTES];

	*due_ns = now_ns + (uint64_t)REST_MS * NS_PER_MS;
	for (enum kms_feed_document i = 0; i < KMS_FEED_DOCUMENTS; i++) {
		if (!(want->documents & worker->documents & UINT32_C(1) << i) || slots[i].settled)
			continue;
		if (!kms_feed_path(want, i, path))
			continue;
		if (slots[i].due_ns < *due_ns)
			*due_ns = slots[i].due_ns;
		if (slots[i].due_ns > now_ns)
			continue;
		if (best == KMS_FEED_DOCUMENTS || slots[i].due_ns < slots[best].due_ns)
			best = i;
	}
	return best;
}

static void renew(struct kms_feed_slot *slot)
{
	slot->due_ns = 0;
	slot->settled = false;
}

/* What is shown now; what changed is asked for at once. */
static void take_want(struct kms_feed_worker *worker)
{
	struct kms_feed *feed = worker->feed;
	uint32_t added = feed->want.documents & ~worker->want.documents & worker->documents;

	if (feed->want.target != worker->want.target || feed->want.sum != worker->want.sum ||
	    worker->seen_stale != feed->stale)
		kms_feed_unsettle(worker);
	if (worker->documents >> KMS_FEED_PAGE & 1 &&
	    strcmp(feed->want.page, worker->want.page) != 0)
		renew(&feed->slot[KMS_FEED_PAGE]);
	/* beside the newest event the path changes all the time: its turn comes, but no sooner */
	if (worker->documents >> KMS_FEED_PANE & 1 && feed->slot[KMS_FEED_PANE].settled &&
	    strcmp(feed->want.pane, worker->want.pane) != 0)
		renew(&feed->slot[KMS_FEED_PANE]);
	for (int i = 0; i < KMS_FEED_DOCUMENTS; i++)
		if (added >> i & 1)
			feed->slot[i].due_ns = 0;
	worker->want = feed->want;
	worker->seen = feed->wanted;
	worker->seen_stale = feed->stale;
}

/* Takes what is to be done, waiting until there is something; false: the end. */
static bool take_work(struct kms_feed_worker *worker, struct kms_feed_line *line,
		      enum kms_feed_document *document)
{
	struct kms_feed *feed = worker->feed;
	struct timespec until;
	uint64_t due_ns;

	for (;;) {
		line->text = NULL;
		*document = KMS_FEED_DOCUMENTS;
		if (feed->ending)
			return false;
		if (worker->seen != feed->wanted || worker->seen_stale != feed->stale)
			take_want(worker);
		if (worker->lines && feed->n_lines) {
			*line = feed->line[0];
			memmove(feed->line, feed->line + 1,
				--feed->n_lines * sizeof(feed->line[0]));
			return true;
		}
		*document = choose(worker, kms_clock_now(kms_clock_system()), &due_ns);
		if (*document != KMS_FEED_DOCUMENTS)
			return true;
		until.tv_sec = (time_t)(due_ns / 1000000000);
		until.tv_nsec = (long)(due_ns % 1000000000);
		(void)pthread_cond_timedwait(&feed->changed, &feed->lock, &until);
	}
}

void *kms_feed_thread(void *arg)
{
	struct kms_feed_worker *worker = arg;
	enum kms_feed_document document;
	struct kms_feed_line line;
	bool more;

	for (;;) {
		kms_feed_lock(worker->feed);
		more = take_work(worker, &line, &document);
		kms_feed_unlock(worker->feed);
		if (!more)
			return NULL;
		if (line.text)
			kms_feed_ask_line(worker, &line);
		else
			kms_feed_ask(worker, document);
	}
}
