/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Live events for many clients: what GET /api/v1/stream delivers, without the HTTP around it.
 *
 * A feed asks the API for one document, again and again, and makes an event of it when it has changed
 * in more than its moment. Clients of the same topic, target, limit and rate share a feed. Each client
 * has a queue of bounded size; one that reads too slowly loses `stats` first, then everything that
 * waits, is told so by `gap`, and then gets every document as it is now: a state is never lost.
 */
#ifndef KMS_SERVER_STREAM_H
#define KMS_SERVER_STREAM_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "server/stream_message.h"

enum kms_stream_limits {
	KMS_STREAM_CLIENTS = 16,
	KMS_STREAM_QUEUE = 256,             /* events that wait for a client */
	KMS_STREAM_QUEUE_BYTES = 256 << 10, /* of them together */
	KMS_STREAM_EVENT_BYTES = 1 << 20,   /* a larger document is not sent */
	KMS_STREAM_ROWS = 20,               /* of a list without ?limit= */
	KMS_STREAM_HEARTBEAT_MS = 10000,
	KMS_STREAM_RETRY_MS = 2000, /* what we tell browsers */
	KMS_STREAM_DRAIN_MS = 1000, /* kms_stream_stop() waits so long for the last events */
	KMS_STREAM_RECHECK_MS =
		1000, /* the same snapshot may answer differently: symbols come later */
	KMS_STREAM_EPOCH_BYTES = 24,
};

/**
 * How the stream stops and wakes the connection of a client. Both are called under the stream's lock,
 * so that a pause cannot overtake the wake-up it waits for.
 */
struct kms_stream_port {
	void (*pause)(void *connection); /* from within kms_stream_read(), which then returns 0 */
	void (*resume)(void *connection);
	bool (*is_gone)(
		void *connection); /* whether the other end has hung up; only while paused */
};

/** A document that is watched. */
struct kms_feed {
	struct kms_feed_key key;
	struct kms_feed *next;
	unsigned int users; /* clients, and the thread while it asks */
	uint64_t due_ns;
	uint64_t asked_ns;
	uint64_t snapshot_seq, snapshot_ns; /* of the last answer */
	uint64_t hash;
	bool too_large;             /* the last answer was, and clients were told */
	struct kms_message *newest; /* NULL none yet */
};

/* An event that waits for a client. */
struct kms_stream_entry {
	struct kms_message *message;
	bool without_id; /* an older event is still missing: this one is not yet a place to go on from */
};

struct kms_stream;

struct kms_stream_client {
	struct kms_stream *stream;
	struct kms_stream_client *next;
	const struct kms_stream_port *port;
	void *connection;
	struct kms_feed *feed[KMS_TOPICS]; /* NULL: not subscribed */
	struct kms_stream_entry queue[KMS_STREAM_QUEUE];
	unsigned int first, n;
	size_t queued_bytes;
	size_t sent_bytes;  /* of the first entry */
	uint32_t stale;     /* bits of topics whose newest event was left out */
	uint64_t skipped;   /* events left out that `gap` tells of */
	uint64_t active_ns; /* something was handed over */
	bool paused;
	bool ending; /* nothing comes any more: ends when the queue is empty */
};

struct kms_stream {
	const struct kms_server *server;
	char epoch[KMS_STREAM_EPOCH_BYTES];
	pthread_mutex_t lock;   /* guards all below, and all clients */
	pthread_cond_t changed; /* for the thread: a feed more, or the end */
	pthread_cond_t closed;  /* for kms_stream_stop(): a client less */
	pthread_t thread;
	bool stopping;
	struct kms_stream_client *clients;
	struct kms_feed *feeds;
	struct kms_message *heartbeat;
	struct kms_history history;
	uint64_t seq; /* of the newest event */
};

/** Begins, with a thread. Errors: -EAGAIN, -ENOMEM; nothing is left then. */
int kms_stream_start(struct kms_stream *stream, const struct kms_server *server);

/**
 * Sends `bye` to every client, waits a moment until they have taken what waits for them, and ends the
 * thread. From then on no client pauses. Clients still open are to be closed as ever.
 */
void kms_stream_stop(struct kms_stream *stream);

/** Frees what is left; no client may be open. */
void kms_stream_deinit(struct kms_stream *stream);

/**
 * A new client.
 *
 * Shape:  last_event_id as the client sent it, or NULL
 * Owner:  the caller ends it with kms_stream_close(); @connection must live until then
 * Errors: -EBUSY: KMS_STREAM_CLIENTS are there; -ESHUTDOWN: the end is near; -ENOMEM
 */
int kms_stream_open(struct kms_stream *stream, const struct kms_stream_spec *spec,
		    const char *last_event_id, const struct kms_stream_port *port, void *connection,
		    struct kms_stream_client **out);

void kms_stream_close(struct kms_stream_client *client);

/**
 * The next bytes for a client, up to @max. 0: nothing is there and the client was paused; -1: the end.
 */
ssize_t kms_stream_read(struct kms_stream_client *client, char *to, size_t max);

/* Between the files of the stream; the lock is held. */

/** Adds an event to a client's queue, or leaves it out if it reads too slowly; wakes it. */
void kms_stream_push(struct kms_stream_client *client, struct kms_message *message);

/** Adds an event whatever the queue holds: hello, gap, bye. Takes the reference; NULL is allowed. */
void kms_stream_push_own(struct kms_stream_client *client, struct kms_message *message);

/** Adds the newest event of each of @topics (bits), in the order of their ids. */
void kms_stream_push_newest(struct kms_stream_client *client, uint32_t topics, bool without_id);

/** Drops what waits, but not an event that is half sent. */
void kms_stream_drop(struct kms_stream_client *client);

/** Ends a client as soon as it has taken what waits. */
void kms_stream_end(struct kms_stream_client *client);

/** Name of a topic; static. */
const char *kms_topic_name(enum kms_topic topic);

/** The feed of a key, made if there is none; a user more. NULL: no memory. */
struct kms_feed *kms_feed_get(struct kms_stream *stream, const struct kms_feed_key *key);

/** A user less; the last one ends it. */
void kms_feed_put(struct kms_stream *stream, struct kms_feed *feed);

/** The thread: asks feeds that are due, looks after clients; @arg is the stream. Takes the lock. */
void *kms_feed_main(void *arg);

/** Ends paused clients whose other end is gone. */
void kms_stream_sweep(struct kms_stream *stream);

/** Nanoseconds of the monotonic clock. */
uint64_t kms_stream_now_ns(void);

#endif
