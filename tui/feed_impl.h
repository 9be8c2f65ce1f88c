/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside the feed: what its files share.
 */
#ifndef KMS_TUI_FEED_IMPL_H
#define KMS_TUI_FEED_IMPL_H

#include <pthread.h>
#include <stdint.h>
#include <unistd.h>

#include "tui/client.h"
#include "tui/feed.h"
#include "tui/prompt.h"

enum {
	KMS_FEED_LINES = 16, /* lines and answers that may wait */
};

/** One document that is asked for. The thread's, but for doc. */
struct kms_feed_slot {
	struct kms_doc *doc; /* newest answer; under lock */
	uint64_t due_ns;     /* when it is to be asked for again */
	bool settled;        /* it will not change any more */
};

struct kms_feed;

/** A line of the prompt that waits. */
struct kms_feed_line {
	char *text;
	uint32_t target; /* it is about; 0 all */
};

/** A thread that asks, with a connection of its own: the slow answers hold up only each other. */
struct kms_feed_worker {
	struct kms_feed *feed;
	struct kms_client *client;
	pthread_t thread;
	bool started;
	uint32_t documents; /* bits of those that are its own */
	bool lines;         /* it asks the prompt's lines */
	struct kms_feed_want want;
	unsigned seen, seen_stale; /* of feed->wanted, feed->stale */
};

enum {
	KMS_FEED_WORKERS = 2,
};

struct kms_feed {
	const struct kms_hooks *hooks;
	struct kms_source source;
	int event_fd;
	char session[KMS_PROMPT_SESSION_BYTES]; /* of the prompt: what its lines set stays */
	struct kms_feed_worker worker[KMS_FEED_WORKERS];
	struct kms_feed_slot slot[KMS_FEED_DOCUMENTS]; /* each its worker's, but for doc */
	pthread_mutex_t lock;                          /* for all below */
	pthread_cond_t changed;
	bool ending;
	struct kms_feed_want want;
	unsigned wanted; /* counts kms_feed_want() */
	unsigned stale;  /* counts what makes every answer out of date */
	struct kms_feed_line line[KMS_FEED_LINES];
	unsigned n_lines;
	struct kms_feed_output output[KMS_FEED_LINES];
	unsigned n_outputs;
	enum kms_feed_state state;
	char reason[KMS_ERR_TEXT_BYTES];
	char file[PATH_MAX]; /* where the trace of the session is */
};

/** The lock of what two threads see. */
static inline void kms_feed_lock(struct kms_feed *feed)
{
	(void)pthread_mutex_lock(&feed->lock); /* plain, never locked twice */
}

static inline void kms_feed_unlock(struct kms_feed *feed)
{
	(void)pthread_mutex_unlock(&feed->lock);
}

/** There is something new. */
static inline void kms_feed_wake(struct kms_feed *feed)
{
	const uint64_t one = 1;

	/* full: it is readable already */
	if (write(feed->event_fd, &one, sizeof(one)) < 0)
		return;
}

/* feed_work.c */

/** A worker's thread. @arg is the worker. */
void *kms_feed_thread(void *arg);

/** All documents of a worker are to be asked for again. */
void kms_feed_unsettle(const struct kms_feed_worker *worker);

/* feed_ask.c */

/** The path that a document has now; false: none, there is nothing to ask. */
bool kms_feed_path(const struct kms_feed_want *want, enum kms_feed_document document,
		   char path[KMS_FEED_PATH_BYTES]);

/** Asks for a document and hands the answer out. Locks: blocks, without the lock */
void kms_feed_ask(struct kms_feed_worker *worker, enum kms_feed_document document);

/* feed_line.c */

/** Asks a line and hands the answer out. Owner: takes the text. Locks: blocks, without the lock */
void kms_feed_ask_line(struct kms_feed_worker *worker, struct kms_feed_line *line);

#endif
