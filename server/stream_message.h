/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Events of the stream as they go over the wire, shared by all clients that get them, and the last of
 * them, for clients that come back.
 *
 * Locks: everything here is guarded by the stream's lock (stream.h).
 */
#ifndef KMS_SERVER_STREAM_MESSAGE_H
#define KMS_SERVER_STREAM_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "server/server.h"

/* What a client may subscribe to, each the body of a document. */
enum kms_topic {
	KMS_TOPIC_STATS,
	KMS_TOPIC_CACHES,
	KMS_TOPIC_LEAKS,
	KMS_TOPIC_GUARD,
	KMS_TOPIC_FAULTS,
	KMS_TOPIC_TARGETS,
	KMS_TOPIC_LOSS,
	KMS_TOPICS,
};

/** Names of enum kms_topic: of events, and in ?topics=. */
#define KMS_TOPIC_NAMES "stats", "caches", "leaks", "guard", "faults", "targets", "loss"

enum kms_history_limits {
	KMS_HISTORY_MESSAGES = 4096,
	KMS_HISTORY_BYTES = 4 << 20,
};

/** Which documents a feed delivers: clients that ask for the same share it. */
struct kms_feed_key {
	enum kms_topic topic;
	uint32_t period_ms;
	uint32_t target;
	uint32_t limit;
};

/** One event, text and all; never changed once made. */
struct kms_message {
	struct kms_feed_key key;
	uint64_t seq; /* 0: an event without id */
	unsigned int refs;
	size_t id_bytes; /* length of the line "id: ..." that the text begins with */
	size_t bytes;
	char text[];
};

/**
 * Makes an event with one reference.
 *
 * Shape:  id is "EPOCH.SEQ" or NULL; data may hold line feeds, each begins a further data line
 * Errors: NULL: no memory
 */
struct kms_message *kms_message_create(const char *id, const char *event, const char *data,
				       size_t data_bytes);

/** The same of text as it is: a comment, or a "retry" line. */
struct kms_message *kms_message_raw(const char *text);

/** Another reference. */
struct kms_message *kms_message_get(struct kms_message *message);

/** Gives a reference back; NULL is allowed. */
void kms_message_put(struct kms_message *message);

/** The last messages, oldest first. All zero is an empty history. */
struct kms_history {
	struct kms_message *ring[KMS_HISTORY_MESSAGES];
	unsigned int first, n;
	size_t bytes;
	uint64_t evicted; /* highest seq that is no longer here */
};

/** Takes a reference to a message with the highest seq so far; the oldest ones go. */
void kms_history_add(struct kms_history *history, struct kms_message *message);

/** Message number @i, 0 the oldest; NULL behind the newest. Borrowed. */
struct kms_message *kms_history_at(const struct kms_history *history, unsigned int i);

/** Gives all references back. */
void kms_history_deinit(struct kms_history *history);

/** Whether two keys are the same. */
bool kms_feed_key_equal(const struct kms_feed_key *a, const struct kms_feed_key *b);

#endif
