/* SPDX-License-Identifier: BSD-2-Clause */
/* The stream without HTTP around it: what slow clients get, who is woken when, what memory it takes. */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/test/unit.h"
#include "server/stream.h"
#include "server/test/fixture_view.h"

enum {
	TEXT_BYTES = 4 << 20,
	WAIT_S = 60,
};

/* The other end of a client. */
struct end {
	atomic_bool paused;
	atomic_bool gone;
};

static struct fixture fixture;
static struct kms_server *server;
static struct kms_stream stream;
static char text[TEXT_BYTES];

static void pause_end(void *connection)
{
	struct end *end = connection;

	assert_false(atomic_exchange(&end->paused, true)); /* never paused twice */
}

static void resume_end(void *connection)
{
	struct end *end = connection;

	if (!atomic_exchange(&end->paused, false))
		abort(); /* woken without being paused */
}

static bool end_is_gone(void *connection)
{
	return atomic_load(&((struct end *)connection)->gone);
}

static const struct kms_stream_port port = {pause_end, resume_end, end_is_gone};

static int setup(void **state)
{
	(void)state;
	fixture_init(&fixture, true);
	if (kms_server_create(&fixture.view, "test", &server, NULL) < 0)
		return -1;
	return kms_stream_start(&stream, server);
}

static int teardown(void **state)
{
	(void)state;
	kms_stream_stop(&stream);
	if (stream.clients || stream.feeds)
		return -1;
	kms_stream_deinit(&stream);
	kms_server_destroy(server);
	return atomic_load(&fixture.borrowed);
}

/* A client that looks every ten seconds: what comes in between is ours. */
static struct kms_stream_client *open_client(uint32_t topics, const char *id, struct end *end)
{
	const struct kms_stream_spec spec = {.topics = topics, .period_ms = 10000, .limit = 20};
	struct kms_stream_client *client = NULL;

	assert_int_equal(kms_stream_open(&stream, &spec, id, &port, end, &client), 0);
	return client;
}

static bool has_first_events(struct kms_stream_client *client, uint32_t topics)
{
	bool all = true;

	pthread_mutex_lock(&stream.lock);
	for (unsigned int i = 0; i < KMS_TOPICS; i++)
		if (topics >> i & 1)
			all &= client->feed[i]->newest != NULL;
	pthread_mutex_unlock(&stream.lock);
	return all;
}

/* Reads until nothing is there; the text of all that came, from the buffer's begin. */
static size_t drain(struct kms_stream_client *client, struct end *end)
{
	size_t used = 0;
	ssize_t n;

	if (atomic_load(&end->paused)) {
		text[0] = '\0';
		return 0;
	}
	while ((n = kms_stream_read(client, text + used, sizeof(text) - 1 - used)) > 0)
		used += (size_t)n;
	text[used] = '\0';
	return used;
}

/* The client with the first events of its feeds taken. */
static struct kms_stream_client *begin(uint32_t topics, struct end *end)
{
	struct kms_stream_client *client = open_client(topics, NULL, end);
	time_t deadline = time(NULL) + WAIT_S;

	while (!has_first_events(client, topics) && time(NULL) < deadline)
		sched_yield();
	assert_true(has_first_events(client, topics));
	drain(client, end);
	return client;
}

/* An event of a topic, as the feed would make it. */
static void say(struct kms_stream_client *of, enum kms_topic topic, size_t bytes)
{
	struct kms_feed *feed = of->feed[topic];
	struct kms_message *message;
	char *data = malloc(bytes);
	char id[64];

	assert_non_null(data);
	memset(data, 'x', bytes);
	pthread_mutex_lock(&stream.lock);
	snprintf(id, sizeof(id), "%s.%" PRIu64, stream.epoch, stream.seq + 1);
	message = kms_message_create(id, kms_topic_name(topic), data, bytes);
	assert_non_null(message);
	message->key = feed->key;
	message->seq = ++stream.seq;
	kms_history_add(&stream.history, message);
	kms_message_put(feed->newest);
	feed->newest = message;
	for (struct kms_stream_client *c = stream.clients; c; c = c->next)
		if (c->feed[topic] == feed)
			kms_stream_push(c, message);
	pthread_mutex_unlock(&stream.lock);
	free(data);
}

static unsigned int count(const char *what)
{
	unsigned int n = 0;

	for (const char *at = text; (at = strstr(at, what)); at++)
		n++;
	return n;
}

#define STATS (1u << KMS_TOPIC_STATS)
#define LEAKS (1u << KMS_TOPIC_LEAKS)

static void greeting_comes_first_and_then_each_document(void **state)
{
	struct end end = {0};
	struct kms_stream_client *client = open_client(STATS | LEAKS, NULL, &end);
	const char *hello;
	time_t deadline = time(NULL) + WAIT_S;

	(void)state;
	while (!has_first_events(client, STATS | LEAKS) && time(NULL) < deadline)
		sched_yield();
	drain(client, &end);
	hello = strstr(text, "event: hello\n");
	assert_memory_equal(text, "retry: 2000\n\n", 13);
	assert_non_null(hello);
	assert_true(strstr(text, "id: ") > hello);
	assert_int_equal(count("event: stats\n"), 1);
	assert_int_equal(count("event: leaks\n"), 1);
	assert_int_equal(count("event: "), 3);
	assert_true(atomic_load(&end.paused));
	kms_stream_close(client);
}

static void events_wake_a_paused_client_once(void **state)
{
	struct end end = {0};
	struct kms_stream_client *client = begin(STATS, &end);

	(void)state;
	assert_true(atomic_load(&end.paused));
	say(client, KMS_TOPIC_STATS, 10);
	assert_false(atomic_load(&end.paused));
	say(client, KMS_TOPIC_STATS, 10); /* resume_end() would abort if woken again */
	drain(client, &end);
	assert_int_equal(count("event: stats\n"), 2);
	kms_stream_close(client);
}

static void slow_client_loses_stats_first(void **state)
{
	struct end end = {0};
	struct kms_stream_client *client = begin(STATS | LEAKS, &end);

	(void)state;
	for (int i = 0; i < 20; i++) {
		say(client, KMS_TOPIC_STATS, 10000);
		say(client, KMS_TOPIC_LEAKS, 10000);
	}
	assert_true(client->queued_bytes <= KMS_STREAM_QUEUE_BYTES);
	drain(client, &end);
	assert_int_equal(count("event: leaks\n"), 20);
	assert_in_range(count("event: stats\n"), 1, 19);
	assert_int_equal(count("event: gap\n"), 0);
	/* the newest figures come in the end, whatever was left out before */
	assert_true(strstr(text, "event: stats\n") != NULL);
	assert_memory_equal(text + strlen(text) - 10, "xxxxxxxx\n\n", 10);
	assert_int_equal(client->stale, 0);
	kms_stream_close(client);
}

static void client_that_does_not_read_gets_a_gap_and_the_newest_state(void **state)
{
	struct end slow_end = {0}, quick_end = {0};
	struct kms_stream_client *slow = begin(STATS | LEAKS, &slow_end);
	struct kms_stream_client *quick = begin(STATS | LEAKS, &quick_end);
	unsigned int quick_events = 0;
	char newest[64];

	(void)state;
	for (int i = 0; i < 500; i++) {
		say(slow, KMS_TOPIC_LEAKS, 9000);
		drain(quick, &quick_end);
		quick_events += count("event: leaks\n");
		assert_true(slow->queued_bytes <= KMS_STREAM_QUEUE_BYTES);
		assert_true(stream.history.bytes <= KMS_HISTORY_BYTES);
	}
	assert_int_equal(quick_events, 500); /* nothing lost for others */
	say(slow, KMS_TOPIC_LEAKS, 8999);
	drain(slow, &slow_end);
	assert_int_equal(count("event: gap\n"), 1);
	assert_int_equal(count("\"skipped\":501}"), 1);
	snprintf(newest, sizeof(newest), "id: %s.%" PRIu64 "\n", stream.epoch, stream.seq);
	assert_int_equal(count(newest), 0); /* no place to go on from: it may miss others */
	assert_int_equal(count("event: leaks\n"), 1);
	say(slow, KMS_TOPIC_LEAKS, 10);
	drain(slow, &slow_end);
	assert_int_equal(count("id: "), 1);
	kms_stream_close(slow);
	kms_stream_close(quick);
}

static void half_an_event_is_never_dropped(void **state)
{
	struct end end = {0};
	struct kms_stream_client *client = begin(LEAKS, &end);
	size_t used;

	(void)state;
	say(client, KMS_TOPIC_LEAKS, 100000);
	used = (size_t)kms_stream_read(client, text, 50000);
	assert_int_equal(used, 50000);
	for (int i = 0; i < 10; i++)
		say(client, KMS_TOPIC_LEAKS, 100001);
	while (client->sent_bytes)
		used += (size_t)kms_stream_read(client, text + used, 1);
	text[used] = '\0';
	assert_int_equal(count("event: "), 1);
	assert_int_equal(strspn(strstr(text, "xxx"), "x"), 100000);
	drain(client, &end);
	assert_int_equal(count("event: gap\n"), 1);
	assert_int_equal(count("event: leaks\n"), 1);
	kms_stream_close(client);
}

/* "EPOCH.SEQ" of the newest event. */
static void newest_id(char id[64])
{
	snprintf(id, 64, "%s.%" PRIu64, stream.epoch, stream.seq);
}

static void client_that_comes_back_gets_what_it_missed(void **state)
{
	struct end end = {0}, second_end = {0}, keeper_end = {0};
	struct kms_stream_client *keeper = begin(STATS | LEAKS, &keeper_end);
	struct kms_stream_client *client = begin(STATS | LEAKS, &end);
	char id[64];

	(void)state;
	say(client, KMS_TOPIC_LEAKS, 10);
	newest_id(id);
	kms_stream_close(client);
	say(keeper, KMS_TOPIC_LEAKS, 11);
	say(keeper, KMS_TOPIC_STATS, 12);
	say(keeper, KMS_TOPIC_LEAKS, 13);
	client = open_client(STATS | LEAKS, id, &second_end);
	drain(client, &second_end);
	assert_int_equal(count("\"resumed\":true"), 1);
	assert_int_equal(count("event: gap\n"), 0);
	assert_int_equal(count("event: leaks\n"), 2);
	assert_int_equal(count("event: stats\n"), 1);
	assert_true(strstr(text, "data: xxxxxxxxxxx\n") < strstr(text, "event: stats\n"));
	kms_stream_close(client);
	kms_stream_close(keeper);
}

static void unknown_ids_get_a_gap_and_everything(void **state)
{
	static const char *const ids[] = {"", "1", "0123456789abcdef.1", "x.y", ".", "999"};
	struct end keeper_end = {0}, end;
	struct kms_stream_client *keeper = begin(STATS | LEAKS, &keeper_end);
	struct kms_stream_client *client;
	char id[64];

	(void)state;
	for (size_t i = 0; i < sizeof(ids) / sizeof(ids[0]) + 2; i++) {
		if (i < sizeof(ids) / sizeof(ids[0]))
			snprintf(id, sizeof(id), "%s", ids[i]);
		else if (i == sizeof(ids) / sizeof(ids[0]))
			snprintf(id, sizeof(id), "%s.%" PRIu64, stream.epoch, stream.seq + 1);
		else
			snprintf(id, sizeof(id), "%s.-1", stream.epoch);
		end = (struct end){0};
		client = open_client(STATS | LEAKS, id, &end);
		drain(client, &end);
		assert_int_equal(count("\"resumed\":false"), 1);
		assert_int_equal(count("event: gap\n"), 1);
		assert_int_equal(count("event: leaks\n"), 1);
		assert_int_equal(count("event: stats\n"), 1);
		kms_stream_close(client);
	}
	/* as many events as are kept, and one more */
	newest_id(id);
	for (int i = 0; i <= KMS_HISTORY_MESSAGES; i++) {
		say(keeper, KMS_TOPIC_STATS, 10);
		drain(keeper, &keeper_end);
	}
	assert_int_equal(stream.history.n, KMS_HISTORY_MESSAGES);
	end = (struct end){0};
	client = open_client(STATS | LEAKS, id, &end);
	drain(client, &end);
	assert_int_equal(count("event: gap\n"), 1);
	kms_stream_close(client);
	kms_stream_close(keeper);
}

static void seventeenth_client_is_refused_until_one_is_gone(void **state)
{
	const struct kms_stream_spec spec = {.topics = STATS, .period_ms = 10000, .limit = 20};
	struct kms_stream_client *client[KMS_STREAM_CLIENTS + 1];
	struct end end[KMS_STREAM_CLIENTS + 1] = {0};

	(void)state;
	for (int i = 0; i < KMS_STREAM_CLIENTS; i++)
		client[i] = begin(STATS, &end[i]);
	assert_int_equal(kms_stream_open(&stream, &spec, NULL, &port, &end[16], &client[16]),
			 -EBUSY);
	atomic_store(&end[3].gone, true); /* hung up, and nobody has noticed */
	assert_int_equal(kms_stream_open(&stream, &spec, NULL, &port, &end[16], &client[16]), 0);
	assert_int_equal(drain(client[3], &end[3]), 0);
	assert_int_equal(kms_stream_read(client[3], text, 10), -1);
	for (int i = 0; i <= KMS_STREAM_CLIENTS; i++)
		kms_stream_close(client[i]);
}

static void data_with_line_feeds_becomes_several_lines(void **state)
{
	static const char data[] = "a\nevent: bye\n\nid: 1";
	struct kms_message *message = kms_message_create("e.1", "stats", data, strlen(data));

	(void)state;
	assert_non_null(message);
	assert_int_equal(message->bytes,
			 strlen("id: e.1\nevent: stats\ndata: a\ndata: event: bye\ndata: \n"
				"data: id: 1\n\n"));
	assert_memory_equal(message->text,
			    "id: e.1\nevent: stats\ndata: a\ndata: event: bye\ndata: \n"
			    "data: id: 1\n\n",
			    message->bytes);
	kms_message_put(message);
}

#define STREAM_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		STREAM_TEST(greeting_comes_first_and_then_each_document),
		STREAM_TEST(events_wake_a_paused_client_once),
		STREAM_TEST(slow_client_loses_stats_first),
		STREAM_TEST(client_that_does_not_read_gets_a_gap_and_the_newest_state),
		STREAM_TEST(half_an_event_is_never_dropped),
		STREAM_TEST(client_that_comes_back_gets_what_it_missed),
		STREAM_TEST(unknown_ids_get_a_gap_and_everything),
		STREAM_TEST(seventeenth_client_is_refused_until_one_is_gone),
		STREAM_TEST(data_with_line_feeds_becomes_several_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
