/* SPDX-License-Identifier: BSD-2-Clause */
/* Clients of the stream, from hello to bye: see stream.h. */
#include "server/stream.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/fmt.h"
#include "base/hash.h"
#include "server/exchange.h"

static const char *const topic_names[KMS_TOPICS] = {KMS_TOPIC_NAMES};

const char *kms_topic_name(enum kms_topic topic)
{
	return topic_names[topic];
}

uint64_t kms_stream_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

/* Another one for each stream, so that ids of an earlier server are known as foreign. */
static void make_epoch(char epoch[KMS_STREAM_EPOCH_BYTES])
{
	struct timespec ts;
	uint64_t hash;

	clock_gettime(CLOCK_REALTIME, &ts);
	hash = kms_hash_join((uint64_t)getpid(), (uint64_t)ts.tv_sec);
	snprintf(epoch, KMS_STREAM_EPOCH_BYTES, "%016" PRIx64,
		 kms_hash_join(hash, (uint64_t)ts.tv_nsec));
}

int kms_stream_start(struct kms_stream *stream, const struct kms_server *server)
{
	pthread_condattr_t attr;
	int ret;

	memset(stream, 0, sizeof(*stream));
	stream->server = server;
	make_epoch(stream->epoch);
	stream->heartbeat = kms_message_raw(":\n\n");
	if (!stream->heartbeat)
		return -ENOMEM;
	pthread_mutex_init(&stream->lock, NULL);
	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_cond_init(&stream->changed, &attr);
	pthread_cond_init(&stream->closed, &attr);
	pthread_condattr_destroy(&attr);
	ret = pthread_create(&stream->thread, NULL, kms_feed_main, stream);
	if (ret) {
		stream->stopping = true;
		kms_stream_deinit(stream);
	}
	return -ret;
}

void kms_stream_stop(struct kms_stream *stream)
{
	static const char why[] = "{\"reason\":\"the tracer is ending\"}";
	struct timespec deadline;
	int ret = 0;

	pthread_mutex_lock(&stream->lock);
	stream->stopping = true;
	pthread_cond_broadcast(&stream->changed);
	pthread_mutex_unlock(&stream->lock);
	pthread_join(stream->thread, NULL);
	clock_gettime(CLOCK_MONOTONIC, &deadline);
	deadline.tv_sec += KMS_STREAM_DRAIN_MS / 1000;
	pthread_mutex_lock(&stream->lock);
	for (struct kms_stream_client *client = stream->clients; client; client = client->next) {
		kms_stream_push_own(client, kms_message_create(NULL, "bye", why, strlen(why)));
		kms_stream_end(client);
	}
	while (stream->clients && ret != ETIMEDOUT)
		ret = pthread_cond_timedwait(&stream->closed, &stream->lock, &deadline);
	pthread_mutex_unlock(&stream->lock);
}

void kms_stream_deinit(struct kms_stream *stream)
{
	kms_history_deinit(&stream->history);
	kms_message_put(stream->heartbeat);
	pthread_cond_destroy(&stream->closed);
	pthread_cond_destroy(&stream->changed);
	pthread_mutex_destroy(&stream->lock);
}

void kms_stream_sweep(struct kms_stream *stream)
{
	for (struct kms_stream_client *client = stream->clients; client; client = client->next)
		if (client->paused && client->port->is_gone(client->connection))
			kms_stream_end(client);
}

static bool is_full(const struct kms_stream *stream)
{
	unsigned int n = 0;

	for (const struct kms_stream_client *client = stream->clients; client;
	     client = client->next)
		n += !client->ending;
	return n >= KMS_STREAM_CLIENTS;
}

static struct kms_message *make_hello(const struct kms_stream *stream,
				      const struct kms_stream_spec *spec, bool resumed)
{
	struct kms_message *message = NULL;
	struct kms_json json;
	struct kms_buf text;

	kms_buf_init(&text, 1024);
	kms_json_init(&json, &text);
	kms_json_object_begin(&json, NULL);
	kms_json_string(&json, "epoch", stream->epoch);
	kms_json_u64(&json, "seq", stream->seq);
	kms_json_string(&json, "version", stream->server->version);
	kms_json_array_begin(&json, "topics");
	for (unsigned int i = 0; i < KMS_TOPICS; i++)
		if (spec->topics >> i & 1)
			kms_json_string(&json, NULL, topic_names[i]);
	kms_json_array_end(&json);
	kms_json_double(&json, "hz", 1000.0 / spec->period_ms);
	if (spec->target)
		kms_json_u64(&json, "target", spec->target);
	else
		kms_json_null(&json, "target");
	kms_json_u64(&json, "limit", spec->limit);
	kms_json_bool(&json, "resumed", resumed);
	kms_json_object_end(&json);
	if (kms_buf_status(&text) == 0)
		message = kms_message_create(NULL, "hello", text.text, text.used_bytes);
	kms_buf_deinit(&text);
	return message;
}

static bool read_id(const struct kms_stream *stream, const char *id, uint64_t *seq)
{
	size_t n = strlen(stream->epoch);

	return strncmp(id, stream->epoch, n) == 0 && id[n] == '.' &&
	       id[n + 1 + strspn(id + n + 1, "0123456789")] == '\0' &&
	       kms_parse_u64(id + n + 1, seq) == 0;
}

static bool is_missed(const struct kms_stream_client *client, const struct kms_message *message,
		      uint64_t seq)
{
	const struct kms_feed *feed = client->feed[message->key.topic];

	return message->seq > seq && feed && kms_feed_key_equal(&feed->key, &message->key);
}

/* Whether everything behind @seq is still there and fits. */
static bool can_replay(const struct kms_stream *stream, const struct kms_stream_client *client,
		       uint64_t seq)
{
	const struct kms_message *message;
	unsigned int n = 0;
	size_t bytes = 0;

	if (seq < stream->history.evicted || seq > stream->seq)
		return false;
	for (unsigned int i = 0; (message = kms_history_at(&stream->history, i)); i++) {
		if (!is_missed(client, message, seq))
			continue;
		n++;
		bytes += message->bytes;
	}
	return n < KMS_STREAM_QUEUE / 2 && bytes <= KMS_STREAM_QUEUE_BYTES / 2;
}

static void replay(const struct kms_stream *stream, struct kms_stream_client *client, uint64_t seq)
{
	struct kms_message *message;

	for (unsigned int i = 0; (message = kms_history_at(&stream->history, i)); i++)
		if (is_missed(client, message, seq))
			kms_stream_push(client, message);
}

/* What a client gets first: who we are, then what it missed, or how everything is. */
static void greet(const struct kms_stream *stream, struct kms_stream_client *client,
		  const struct kms_stream_spec *spec, const char *last_event_id)
{
	static const char why[] = "{\"reason\":\"expired\",\"skipped\":null}";
	uint64_t seq = 0;
	bool resumed = last_event_id && read_id(stream, last_event_id, &seq) &&
		       can_replay(stream, client, seq);
	char retry[32];

	snprintf(retry, sizeof(retry), "retry: %d\n\n", KMS_STREAM_RETRY_MS);
	kms_stream_push_own(client, kms_message_raw(retry));
	kms_stream_push_own(client, make_hello(stream, spec, resumed));
	if (resumed) {
		replay(stream, client, seq);
		return;
	}
	if (last_event_id)
		kms_stream_push_own(client, kms_message_create(NULL, "gap", why, strlen(why)));
	kms_stream_push_newest(client, spec->topics, false);
}

/* Existing feeds are taken, others made: the thread asks those at once. */
static int subscribe(struct kms_stream *stream, struct kms_stream_client *client,
		     const struct kms_stream_spec *spec)
{
	struct kms_feed_key key = {
		.period_ms = spec->period_ms, .target = spec->target, .limit = spec->limit};

	for (unsigned int i = 0; i < KMS_TOPICS; i++) {
		if (!(spec->topics >> i & 1))
			continue;
		key.topic = (enum kms_topic)i;
		client->feed[i] = kms_feed_get(stream, &key);
		if (!client->feed[i])
			return -ENOMEM;
	}
	return 0;
}

static void unsubscribe(struct kms_stream *stream, struct kms_stream_client *client)
{
	for (unsigned int i = 0; i < KMS_TOPICS; i++)
		if (client->feed[i])
			kms_feed_put(stream, client->feed[i]);
}

static int add_client(struct kms_stream *stream, struct kms_stream_client *client,
		      const struct kms_stream_spec *spec, const char *last_event_id)
{
	int ret;

	if (stream->stopping)
		return -ESHUTDOWN;
	if (is_full(stream))
		kms_stream_sweep(stream);
	if (is_full(stream))
		return -EBUSY;
	ret = subscribe(stream, client, spec);
	if (ret < 0) {
		unsubscribe(stream, client);
		return ret;
	}
	client->active_ns = kms_stream_now_ns();
	greet(stream, client, spec, last_event_id);
	client->next = stream->clients;
	stream->clients = client;
	return 0;
}

/* NOLINTNEXTLINE(readability-function-size): what makes up a client, and nothing else */
int kms_stream_open(struct kms_stream *stream, const struct kms_stream_spec *spec,
		    const char *last_event_id, const struct kms_stream_port *port, void *connection,
		    struct kms_stream_client **out)
{
	struct kms_stream_client *client = calloc(1, sizeof(*client));
	int ret;

	if (!client)
		return -ENOMEM;
	client->stream = stream;
	client->port = port;
	client->connection = connection;
	pthread_mutex_lock(&stream->lock);
	ret = add_client(stream, client, spec, last_event_id);
	pthread_mutex_unlock(&stream->lock);
	if (ret < 0)
		free(client);
	else
		*out = client;
	return ret;
}

void kms_stream_close(struct kms_stream_client *client)
{
	struct kms_stream *stream = client->stream;
	struct kms_stream_client **at;

	pthread_mutex_lock(&stream->lock);
	for (at = &stream->clients; *at != client; at = &(*at)->next)
		;
	*at = client->next;
	for (unsigned int i = 0; i < client->n; i++)
		kms_message_put(client->queue[(client->first + i) % KMS_STREAM_QUEUE].message);
	unsubscribe(stream, client);
	pthread_cond_signal(&stream->closed);
	pthread_mutex_unlock(&stream->lock);
	free(client);
}
