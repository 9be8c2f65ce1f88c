/* SPDX-License-Identifier: BSD-2-Clause */
/* The thread that asks for documents and sends what has changed: see stream.h. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/hash.h"
#include "server/exchange.h"
#include "server/stream.h"

enum {
	NS_IN_MS = 1000000,
	LOOK_MS = 1000, /* between two looks at clients: heartbeats, hang-ups */
	PATH_BYTES = 96,
};

/* A topic's document. */
static const struct {
	const char *path;
	bool takes_target, takes_limit;
} documents[KMS_TOPICS] = {
	[KMS_TOPIC_STATS] = {"/api/v1/stats",   true,  false},
	[KMS_TOPIC_CACHES] = {"/api/v1/caches",  true,  true },
	[KMS_TOPIC_LEAKS] = {"/api/v1/leaks",   true,  true },
	[KMS_TOPIC_GUARD] = {"/api/v1/guard",   true,  false},
	[KMS_TOPIC_FAULTS] = {"/api/v1/faults",  true,  true },
	[KMS_TOPIC_TARGETS] = {"/api/v1/targets", false, true },
	[KMS_TOPIC_LOSS] = {"/api/v1/loss",    true,  false},
};

struct kms_feed *kms_feed_get(struct kms_stream *stream, const struct kms_feed_key *key)
{
	struct kms_feed *feed;

	for (feed = stream->feeds; feed; feed = feed->next)
		if (kms_feed_key_equal(&feed->key, key))
			break;
	if (!feed) {
		feed = calloc(1, sizeof(*feed));
		if (!feed)
			return NULL;
		feed->key = *key;
		feed->next = stream->feeds;
		stream->feeds = feed;
		pthread_cond_signal(&stream->changed);
	}
	feed->users++;
	return feed;
}

void kms_feed_put(struct kms_stream *stream, struct kms_feed *feed)
{
	struct kms_feed **at;

	if (--feed->users)
		return;
	for (at = &stream->feeds; *at != feed; at = &(*at)->next)
		;
	*at = feed->next;
	kms_message_put(feed->newest);
	free(feed);
}

/* "/api/v1/leaks?limit=20&target=2" */
static void write_path(const struct kms_feed_key *key, char path[PATH_BYTES])
{
	size_t used = (size_t)snprintf(path, PATH_BYTES, "%s?", documents[key->topic].path);

	if (documents[key->topic].takes_limit)
		used += (size_t)snprintf(path + used, PATH_BYTES - used, "limit=%" PRIu32 "&",
					 key->limit);
	if (documents[key->topic].takes_target && key->target)
		used += (size_t)snprintf(path + used, PATH_BYTES - used, "target=%" PRIu32,
					 key->target);
	(void)used;
}

/* What a document says, its moment left out. */
static uint64_t hash_content(const struct kms_response *out)
{
	size_t behind = out->moment_at + out->moment_bytes;
	uint64_t hash = kms_hash_bytes(out->body, out->moment_at, 0);

	return kms_hash_bytes(out->body + behind, out->body_bytes - behind, hash);
}

static void tell_clients(struct kms_stream *stream, const struct kms_feed *feed,
			 struct kms_message *message)
{
	for (struct kms_stream_client *client = stream->clients; client; client = client->next)
		if (client->feed[feed->key.topic] == feed)
			kms_stream_push(client, message);
}

/* A document that no client should have to take: they hear of it once. */
static void tell_too_large(struct kms_stream *stream, struct kms_feed *feed, size_t bytes)
{
	char text[128];

	if (feed->too_large)
		return;
	feed->too_large = true;
	kms_message_put(feed->newest);
	feed->newest = NULL;
	snprintf(text, sizeof(text),
		 "{\"reason\":\"too_large\",\"skipped\":null,\"topic\":\"%s\",\"bytes\":%zu}",
		 kms_topic_name(feed->key.topic), bytes);
	for (struct kms_stream_client *client = stream->clients; client; client = client->next)
		if (client->feed[feed->key.topic] == feed)
			kms_stream_push_own(client,
					    kms_message_create(NULL, "gap", text, strlen(text)));
}

static void publish(struct kms_stream *stream, struct kms_feed *feed,
		    const struct kms_response *out)
{
	uint64_t hash = hash_content(out);
	struct kms_message *message;
	char id[64];
	size_t bytes = out->body_bytes;

	if (bytes > KMS_STREAM_EVENT_BYTES) {
		tell_too_large(stream, feed, bytes);
		return;
	}
	if (feed->newest && feed->hash == hash)
		return;
	while (bytes && out->body[bytes - 1] == '\n') /* else the event had an empty line more */
		bytes--;
	snprintf(id, sizeof(id), "%s.%" PRIu64, stream->epoch, stream->seq + 1);
	message = kms_message_create(id, kms_topic_name(feed->key.topic), out->body, bytes);
	if (!message)
		return; /* the next look tries again */
	message->key = feed->key;
	message->seq = ++stream->seq;
	kms_history_add(&stream->history, message);
	kms_message_put(feed->newest);
	feed->newest = message;
	feed->hash = hash;
	feed->too_large = false;
	tell_clients(stream, feed, message);
}

/* Whether the feed's document can be another one than at the last look. */
static bool may_have_changed(const struct kms_stream *stream, struct kms_feed *feed, uint64_t now)
{
	const struct kms_view *view = stream->server->view;
	const struct kms_snapshot *snapshot = view->ops->acquire(view->ctx);
	bool same = feed->asked_ns && snapshot->seq == feed->snapshot_seq &&
		    snapshot->time_ns == feed->snapshot_ns &&
		    now - feed->asked_ns < (uint64_t)KMS_STREAM_RECHECK_MS * NS_IN_MS;

	feed->snapshot_seq = snapshot->seq;
	feed->snapshot_ns = snapshot->time_ns;
	view->ops->release(view->ctx, snapshot);
	return !same;
}

/* Asks without the lock: an answer may take long. The feed is ours meanwhile, but for its users. */
static void ask(struct kms_stream *stream, struct kms_feed *feed, uint64_t now)
{
	struct kms_request_in in = {.method = "GET"};
	struct kms_response out = {0};
	char path[PATH_BYTES];

	feed->due_ns = now + (uint64_t)feed->key.period_ms * NS_IN_MS;
	feed->users++;
	pthread_mutex_unlock(&stream->lock);
	if (may_have_changed(stream, feed, now)) {
		feed->asked_ns = now;
		write_path(&feed->key, path);
		in.target = path;
		kms_server_handle(stream->server, &in, &out);
	}
	pthread_mutex_lock(&stream->lock);
	if (out.status == 200 && out.body)
		publish(stream, feed, &out);
	kms_response_deinit(&out);
	kms_feed_put(stream, feed);
}

/* The feed that has waited longest; its time may be still to come. NULL: there is none. */
static struct kms_feed *next_due(const struct kms_stream *stream)
{
	struct kms_feed *next = stream->feeds;

	for (struct kms_feed *feed = next; feed; feed = feed->next)
		if (feed->due_ns < next->due_ns)
			next = feed;
	return next;
}

/* Who has heard nothing for long gets a comment: only that shows when a client is gone unnoticed. */
static void look_after(struct kms_stream *stream, uint64_t now)
{
	kms_stream_sweep(stream);
	for (struct kms_stream_client *client = stream->clients; client; client = client->next)
		if (client->paused && !client->ending &&
		    now - client->active_ns >= (uint64_t)KMS_STREAM_HEARTBEAT_MS * NS_IN_MS)
			kms_stream_push_own(client, kms_message_get(stream->heartbeat));
}

static void wait_until(struct kms_stream *stream, uint64_t ns)
{
	const struct timespec until = {.tv_sec = (time_t)(ns / 1000000000),
				       .tv_nsec = (long)(ns % 1000000000)};

	pthread_cond_timedwait(&stream->changed, &stream->lock, &until);
}

void *kms_feed_main(void *arg)
{
	struct kms_stream *stream = arg;
	uint64_t looked_ns = kms_stream_now_ns();
	struct kms_feed *feed;
	uint64_t look_ns;
	uint64_t now;

	pthread_mutex_lock(&stream->lock);
	while (!stream->stopping) {
		now = kms_stream_now_ns();
		look_ns = looked_ns + (uint64_t)LOOK_MS * NS_IN_MS;
		feed = next_due(stream);
		if (now >= look_ns) {
			look_after(stream, now);
			looked_ns = now;
		} else if (!feed) {
			pthread_cond_wait(&stream->changed, &stream->lock);
		} else if (feed->due_ns <= now) {
			ask(stream, feed, now);
		} else {
			wait_until(stream, feed->due_ns < look_ns ? feed->due_ns : look_ns);
		}
	}
	pthread_mutex_unlock(&stream->lock);
	return NULL;
}
