/* SPDX-License-Identifier: BSD-2-Clause */
/* A client's queue: what waits, what is left out, what is handed over. See stream.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "server/stream.h"

static struct kms_stream_entry *entry_at(struct kms_stream_client *client, unsigned int i)
{
	return &client->queue[(client->first + i) % KMS_STREAM_QUEUE];
}

static void wake(struct kms_stream_client *client)
{
	if (!client->paused)
		return;
	client->paused = false;
	client->port->resume(client->connection);
}

/* Entries that nobody has seen a byte of begin here. */
static unsigned int first_whole(const struct kms_stream_client *client)
{
	return client->sent_bytes ? 1 : 0;
}

static void remove_entry(struct kms_stream_client *client, unsigned int i)
{
	struct kms_message *message = entry_at(client, i)->message;

	client->queued_bytes -= message->bytes;
	for (; i + 1 < client->n; i++)
		*entry_at(client, i) = *entry_at(client, i + 1);
	client->n--;
	kms_message_put(message);
}

static void append(struct kms_stream_client *client, struct kms_message *message, bool without_id)
{
	*entry_at(client, client->n) = (struct kms_stream_entry){message, without_id};
	client->n++;
	client->queued_bytes += message->bytes;
	wake(client);
}

/* An event larger than the whole queue is taken by a client that waits for nothing else. */
static bool has_room(const struct kms_stream_client *client, const struct kms_message *message)
{
	if (client->n + KMS_TOPICS + 3 > KMS_STREAM_QUEUE) /* gap, newest of each, bye */
		return false;
	return client->n == 0 || client->queued_bytes + message->bytes <= KMS_STREAM_QUEUE_BYTES;
}

/* Leaves the oldest waiting `stats` out; false: there is none. */
static bool drop_stats(struct kms_stream_client *client)
{
	for (unsigned int i = first_whole(client); i < client->n; i++) {
		if (!entry_at(client, i)->message->seq ||
		    entry_at(client, i)->message->key.topic != KMS_TOPIC_STATS)
			continue;
		remove_entry(client, i);
		client->stale |= 1u << KMS_TOPIC_STATS;
		return true;
	}
	return false;
}

void kms_stream_drop(struct kms_stream_client *client)
{
	const struct kms_message *message;

	for (unsigned int i = client->n; i-- > first_whole(client);) {
		message = entry_at(client, i)->message;
		if (!message->seq) /* hello, gap */
			continue;
		client->stale |= 1u << message->key.topic;
		client->skipped++;
		remove_entry(client, i);
	}
}

void kms_stream_push(struct kms_stream_client *client, struct kms_message *message)
{
	uint32_t bit = 1u << message->key.topic;

	if (client->ending)
		return;
	/* Once a client is behind, the newest state follows when it has taken what waits. */
	if (client->skipped || client->stale & bit) {
		client->stale |= bit;
		client->skipped += client->skipped != 0;
		return;
	}
	while (!has_room(client, message) && drop_stats(client))
		;
	if (has_room(client, message)) {
		append(client, kms_message_get(message), client->stale != 0);
		return;
	}
	client->stale |= bit;
	if (message->key.topic == KMS_TOPIC_STATS)
		return;
	client->skipped++;
	kms_stream_drop(client);
}

void kms_stream_push_own(struct kms_stream_client *client, struct kms_message *message)
{
	if (message && client->n < KMS_STREAM_QUEUE)
		append(client, message, false);
	else
		kms_message_put(message);
}

void kms_stream_push_newest(struct kms_stream_client *client, uint32_t topics, bool without_id)
{
	struct kms_message *next;
	struct kms_message *message;
	uint64_t after = 0;

	do {
		next = NULL;
		for (unsigned int i = 0; i < KMS_TOPICS; i++) {
			message =
				client->feed[i] && topics >> i & 1 ? client->feed[i]->newest : NULL;
			if (message && message->seq > after && (!next || message->seq < next->seq))
				next = message;
		}
		if (next && client->n < KMS_STREAM_QUEUE)
			append(client, kms_message_get(next), without_id);
		after = next ? next->seq : 0;
	} while (next);
}

void kms_stream_end(struct kms_stream_client *client)
{
	client->ending = true;
	wake(client);
}

/* Everything that waited is taken: tells what was left out and goes on with what is now. */
static bool catch_up(struct kms_stream_client *client)
{
	uint32_t stale = client->stale;
	char text[96];

	if (!stale || client->ending)
		return false;
	if (client->skipped) {
		snprintf(text, sizeof(text), "{\"reason\":\"slow\",\"skipped\":%" PRIu64 "}",
			 client->skipped);
		kms_stream_push_own(client, kms_message_create(NULL, "gap", text, strlen(text)));
	}
	client->stale = 0;
	client->skipped = 0;
	kms_stream_push_newest(client, stale, true);
	return client->n > 0;
}

/* Copies from the first entry; takes it off the queue when it is whole. */
static size_t take(struct kms_stream_client *client, char *to, size_t max)
{
	const struct kms_stream_entry *entry = entry_at(client, 0);
	const struct kms_message *message = entry->message;
	size_t n;

	if (client->sent_bytes == 0 && entry->without_id)
		client->sent_bytes = message->id_bytes;
	n = message->bytes - client->sent_bytes;
	if (n > max)
		n = max;
	memcpy(to, message->text + client->sent_bytes, n);
	client->sent_bytes += n;
	if (client->sent_bytes == message->bytes) {
		client->sent_bytes = 0;
		remove_entry(client, 0);
	}
	return n;
}

ssize_t kms_stream_read(struct kms_stream_client *client, char *to, size_t max)
{
	struct kms_stream *stream = client->stream;
	ssize_t result = -1;
	size_t used = 0;

	pthread_mutex_lock(&stream->lock);
	do {
		while (client->n && used < max)
			used += take(client, to + used, max - used);
	} while (used < max && catch_up(client));
	client->active_ns = kms_stream_now_ns();
	if (used) {
		result = (ssize_t)used;
	} else if (!client->ending) {
		client->paused = true;
		client->port->pause(client->connection);
		result = 0;
	}
	pthread_mutex_unlock(&stream->lock);
	return result;
}
