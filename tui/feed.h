/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The screen's data: a thread of its own asks the API, so that a slow answer never holds up a key.
 *
 * The screen says what it shows (kms_feed_want); the feed asks for that again and again, each document
 * as often as its price allows, and says by a descriptor that something is new. Documents are never
 * changed once they are handed out, and are counted.
 */
#ifndef KMS_TUI_FEED_H
#define KMS_TUI_FEED_H

#include <stdbool.h>
#include <stdint.h>

#include <cjson/cJSON.h>

#include "base/err.h"
#include "tui/hooks.h"
#include "tui/source.h"

/** What is asked for. */
enum kms_feed_document {
	KMS_FEED_STATS,
	KMS_FEED_TARGETS,
	KMS_FEED_SUSPECTS, /* the leaks' totals */
	KMS_FEED_CACHES,
	KMS_FEED_SITES,
	KMS_FEED_LEAKS,
	KMS_FEED_GUARD,
	KMS_FEED_FAULTS,
	KMS_FEED_EVENTS,   /* the newest */
	KMS_FEED_TIMELINE, /* asked for once */
	KMS_FEED_PAGE,     /* the path of want.page */
	KMS_FEED_PANE,     /* the path of want.pane */
	KMS_FEED_DOCUMENTS,
};

enum {
	KMS_FEED_PATH_BYTES = 512,
};

/** An answer, or why there is none. Read-only; given back by kms_doc_release(). */
struct kms_doc {
	unsigned refs; /* atomic */
	cJSON *json;   /* NULL: error has the reason */
	char error[KMS_ERR_TEXT_BYTES];
	char path[KMS_FEED_PATH_BYTES]; /* that was asked */
};

/** What the screen shows. */
struct kms_feed_want {
	uint32_t documents;             /* bits of enum kms_feed_document */
	uint32_t target;                /* 0 all */
	bool sum;                       /* caches: one row for each name */
	unsigned interval_ms;           /* as often as this, at most */
	char page[KMS_FEED_PATH_BYTES]; /* "" none */
	char pane[KMS_FEED_PATH_BYTES];
};

enum kms_feed_state {
	KMS_FEED_LIVE,
	KMS_FEED_FILE,  /* a trace file; of a session that has ended, too */
	KMS_FEED_ENDED, /* a session that has ended: its file answers now */
	KMS_FEED_LOST,  /* it does not answer, and there is no file */
};

/** The answer to a line of the prompt. Owner: the caller frees both. */
struct kms_feed_output {
	char *line;
	char *output; /* what the prompt says, or why it could not be asked */
	bool failed;
};

struct kms_feed;

/**
 * Starts the thread.
 *
 * Owner:  the caller ends it with kms_feed_destroy().
 * Errors: what opening the source says; -ENOMEM, -EAGAIN: no thread, no descriptor
 */
int kms_feed_create(const struct kms_hooks *hooks, const struct kms_source *source,
		    struct kms_feed **out, struct kms_err *err);

/** Ends it, at most with the answer it waits for. NULL is allowed. */
void kms_feed_destroy(struct kms_feed *feed);

/** Readable when there is something new; kms_feed_seen() makes it quiet. */
int kms_feed_fd(const struct kms_feed *feed);
void kms_feed_seen(struct kms_feed *feed);

/** Says what is shown from now on. */
void kms_feed_want(struct kms_feed *feed, const struct kms_feed_want *want);

/** The newest answer, to be given back; NULL: none yet. */
const struct kms_doc *kms_feed_take(struct kms_feed *feed, enum kms_feed_document document);

/** NULL is allowed. */
void kms_doc_release(const struct kms_doc *doc);

/** A line for the db prompt, about @target (0 all); answers come in order. -EBUSY: too many wait. */
int kms_feed_send(struct kms_feed *feed, const char *line, uint32_t target);

/** The next answer to a line; false: none. */
bool kms_feed_output(struct kms_feed *feed, struct kms_feed_output *output);

/** Whether the source answers, and what it said if not. */
enum kms_feed_state kms_feed_state(struct kms_feed *feed, char reason[KMS_ERR_TEXT_BYTES]);

#endif
