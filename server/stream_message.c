/* SPDX-License-Identifier: BSD-2-Clause */
/* Events as text, and the last of them: see stream_message.h. */
#include "server/stream_message.h"

#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

enum {
	FRAME_BYTES = 256, /* id, event and the ends of lines */
};

/* The lines of an event. @return bytes of the line "id: ...". */
static size_t write_event(struct kms_buf *text, const char *id, const char *event, const char *data,
			  size_t n)
{
	const char *line_feed;
	size_t id_bytes;
	size_t length;

	if (id)
		kms_buf_addf(text, "id: %s\n", id);
	id_bytes = text->used_bytes;
	kms_buf_addf(text, "event: %s\n", event);
	do {
		line_feed = memchr(data, '\n', n);
		length = line_feed ? (size_t)(line_feed - data) : n;
		kms_buf_add_str(text, "data: ");
		kms_buf_add(text, data, length);
		kms_buf_add_char(text, '\n');
		data += length + (line_feed != NULL);
		n -= length + (line_feed != NULL);
	} while (n > 0);
	kms_buf_add_char(text, '\n');
	return id_bytes;
}

static struct kms_message *create(const char *text, size_t bytes)
{
	struct kms_message *message = calloc(1, sizeof(*message) + bytes);

	if (!message)
		return NULL;
	message->refs = 1;
	message->bytes = bytes;
	memcpy(message->text, text, bytes);
	return message;
}

struct kms_message *kms_message_create(const char *id, const char *event, const char *data,
				       size_t data_bytes)
{
	struct kms_message *message = NULL;
	struct kms_buf text;
	size_t id_bytes;

	kms_buf_init(&text, FRAME_BYTES + 8 * data_bytes); /* at worst every byte ends a line */
	id_bytes = write_event(&text, id, event, data, data_bytes);
	if (kms_buf_status(&text) == 0)
		message = create(text.text, text.used_bytes);
	if (message)
		message->id_bytes = id_bytes;
	kms_buf_deinit(&text);
	return message;
}

struct kms_message *kms_message_raw(const char *text)
{
	return create(text, strlen(text));
}

struct kms_message *kms_message_get(struct kms_message *message)
{
	message->refs++;
	return message;
}

void kms_message_put(struct kms_message *message)
{
	if (message && --message->refs == 0)
		free(message);
}

static void evict(struct kms_history *history)
{
	struct kms_message *oldest = history->ring[history->first];

	history->evicted = oldest->seq;
	history->bytes -= oldest->bytes;
	history->first = (history->first + 1) % KMS_HISTORY_MESSAGES;
	history->n--;
	kms_message_put(oldest);
}

void kms_history_add(struct kms_history *history, struct kms_message *message)
{
	unsigned int at;

	while (history->n && (history->n == KMS_HISTORY_MESSAGES ||
			      history->bytes + message->bytes > KMS_HISTORY_BYTES))
		evict(history);
	at = (history->first + history->n) % KMS_HISTORY_MESSAGES;
	history->ring[at] = kms_message_get(message);
	history->bytes += message->bytes;
	history->n++;
}

struct kms_message *kms_history_at(const struct kms_history *history, unsigned int i)
{
	return i < history->n ? history->ring[(history->first + i) % KMS_HISTORY_MESSAGES] : NULL;
}

void kms_history_deinit(struct kms_history *history)
{
	while (history->n)
		evict(history);
}

bool kms_feed_key_equal(const struct kms_feed_key *a, const struct kms_feed_key *b)
{
	return a->topic == b->topic && a->period_ms == b->period_ms && a->target == b->target &&
	       a->limit == b->limit;
}
