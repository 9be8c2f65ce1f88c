/* SPDX-License-Identifier: BSD-2-Clause */
/* QMP against peers that are no QEMU: slow ones, talkative ones, ones that talk nonsense. */
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/test/unit.h"
#include "tracer/guest/json_end.h"
#include "tracer/guest/qmp.h"
#include "tracer/guest/test/peer.h"
#include "tracer/process.h"

#define GREETING "{\"QMP\": {\"version\": {}, \"capabilities\": []}}\r\n"

static void answers_and_events_are_told_apart(void **state)
{
	struct peer peer = {
		.greeting = GREETING,
		.answer =
			{"{\"return\": {}, \"id\": 1}\r\n",
				 "{\"event\": \"STOP\"}\r\n{\"return\": 7, \"id\": 99}\n"
			 "{\"return\": {\"status\": \"paused\", \"running\": false}, \"id\": 2}\n"
			 "{\"event\": \"RESET\", \"data\": {\"reason\": \"guest-reset\"}}\n", "{\n \"return\":\n  \"a } \\\" { b\",\n \"id\": 3\n}\n",
				 "{\"error\": {\"class\": \"X\", \"desc\": \"no such\\ncommand\"}, \"id\": 4}"},
	};
	char status[KMS_QMP_WORD_BYTES], *text;
	struct kms_qmp_event event;
	struct kms_err err = KMS_ERR_INIT;
	struct kms_qmp *qmp;
	bool is_running = true;

	(void)state;
	peer_start(&peer);
	assert_int_equal(kms_qmp_open(peer.path, 10000, &qmp, NULL), 0);
	assert_int_equal(kms_qmp_peer(qmp), getpid());
	assert_int_equal(kms_qmp_status(qmp, status, &is_running, NULL), 0);
	assert_string_equal(status, "paused");
	assert_false(is_running);
	assert_int_equal(kms_qmp_next_event(qmp, 10000, &event, NULL), 1);
	assert_string_equal(event.name, "STOP");
	assert_string_equal(event.reason, "");
	assert_int_equal(kms_qmp_next_event(qmp, 10000, &event, NULL), 1);
	assert_string_equal(event.name, "RESET");
	assert_string_equal(event.reason, "guest-reset");
	assert_int_equal(kms_qmp_next_event(qmp, 0, &event, NULL), 0);
	assert_int_equal(kms_qmp_monitor(qmp, "x", &text, NULL), 0);
	assert_string_equal(text, "a } \" { b");
	free(text);
	assert_int_equal(kms_qmp_command(qmp, "y", &err), -EIO);
	assert_null(strchr(err.text, '\n'));
	kms_qmp_close(qmp);
	peer_end(&peer);
}

static void only_the_last_events_are_kept(void **state)
{
	struct peer peer = {
		.greeting = GREETING,
		.answer = {"{\"return\": {}, \"id\": 1}\n", "{\"event\": \"A\"}\n",
			   "{\"event\": \"B\"}\n{\"return\": {}, \"id\": 3}"},
	};
	struct kms_qmp_event event;
	struct kms_qmp *qmp;
	char text[KMS_QMP_EVENTS * 20 + 64] = "";
	unsigned count = 0;

	(void)state;
	for (unsigned i = 0; i < KMS_QMP_EVENTS; i++)
		strcat(text, "{\"event\": \"A\"}\n");
	strcat(text, "{\"return\": {}, \"id\": 2}\n");
	peer.answer[1] = text;
	peer_start(&peer);
	assert_int_equal(kms_qmp_open(peer.path, 10000, &qmp, NULL), 0);
	assert_int_equal(kms_qmp_command(qmp, "x", NULL), 0);
	assert_int_equal(kms_qmp_command(qmp, "x", NULL), 0);
	while (kms_qmp_next_event(qmp, 0, &event, NULL) == 1)
		count++;
	assert_int_equal(count, KMS_QMP_EVENTS);
	assert_string_equal(event.name, "B");
	kms_qmp_close(qmp);
	peer_end(&peer);
}

static void who_does_not_greet_is_busy(void **state)
{
	struct peer peer = {.greeting = ""};
	uint64_t begin = kms_mono_ns();
	struct kms_qmp *qmp;

	(void)state;
	peer_start(&peer);
	assert_int_equal(kms_qmp_open(peer.path, 100, &qmp, NULL), -EBUSY);
	assert_true(kms_mono_ns() - begin >= UINT64_C(100000000));
	peer_end(&peer);
}

static void who_is_no_qmp_is_refused(void **state)
{
	static const char *const greetings[] = {"220 mail\r\n", "{\"hello\": 1}\n", "}{",
						"[1]",          "{\"QMP\": }\n",    "\"x\""};

	(void)state;
	for (size_t i = 0; i < sizeof(greetings) / sizeof(greetings[0]); i++) {
		struct peer peer = {.greeting = greetings[i]};
		struct kms_qmp *qmp;

		peer_start(&peer);
		assert_int_equal(kms_qmp_open(peer.path, 10000, &qmp, NULL), -EPROTO);
		peer_end(&peer);
	}
}

static void answers_that_are_none_end_the_channel(void **state)
{
	static const struct {
		const char *answer;
		unsigned repeat;
		bool closes;
		int result;
	} rows[] = {
		{"{\"id\": 2}\n",              0,    false, -EPROTO}, /* neither answer nor error */
		{"{\"return\": {}, \"id\": 2", 0,    true,  -EPIPE }, /* not to its end */
		{"garbage",                    0,    false, -EPROTO},
		{"{\"x\": \"",                 0,    true,  -EPIPE },
		{"{\"event\": \"SPAM\"}\n",    5000, false, -EPROTO}, /* never the answer */
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct peer peer = {
			.greeting = GREETING,
			.answer = {"{\"return\": {}, \"id\": 1}\n", rows[i].answer},
			.closes = rows[i].closes,
			.repeat = rows[i].repeat,
		};
		struct kms_qmp *qmp;

		peer_start(&peer);
		assert_int_equal(kms_qmp_open(peer.path, 10000, &qmp, NULL), 0);
		assert_int_equal(kms_qmp_command(qmp, "x", NULL), rows[i].result);
		kms_qmp_close(qmp);
		peer_end(&peer);
	}
}

static void a_message_without_an_end_is_bounded(void **state)
{
	static char spaces[65536];
	struct peer peer = {
		.greeting = GREETING,
		.answer = {"{\"return\": {}, \"id\": 1}\n", "{\"x\": \"", NULL},
		.repeat = 200,
	};
	struct kms_qmp *qmp;

	(void)state;
	memset(spaces, ' ', sizeof(spaces) - 1);
	spaces[0] = '{';
	peer.answer[1] = spaces;
	peer_start(&peer);
	assert_int_equal(kms_qmp_open(peer.path, 10000, &qmp, NULL), 0);
	assert_int_equal(kms_qmp_command(qmp, "x", NULL), -EMSGSIZE);
	kms_qmp_close(qmp);
	peer_end(&peer);
}

/* Somebody who says the same for ever, and no event. */
static void who_talks_on_without_an_event_is_given_up(void **state)
{
	struct peer peer = {
		.greeting = GREETING,
		.answer = {"{\"return\": {}, \"id\": 1}\n"},
		.repeat = UINT_MAX - 1,
	};
	struct kms_qmp_event event;
	struct kms_qmp *qmp;

	(void)state;
	peer_start(&peer);
	assert_int_equal(kms_qmp_open(peer.path, 10000, &qmp, NULL), 0);
	assert_int_equal(kms_qmp_next_event(qmp, 10000, &event, NULL), -EPROTO);
	kms_qmp_close(qmp);
	peer_end(&peer);
}

static void addresses_without_a_listener_are_refused(void **state)
{
	struct kms_qmp *qmp;
	char path[300];

	(void)state;
	memset(path, 'a', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(kms_qmp_open(path, 100, &qmp, NULL), -ENAMETOOLONG);
	assert_int_equal(kms_qmp_open("/nonexistent/qmp", 100, &qmp, NULL), -ENOENT);
	assert_int_equal(kms_qmp_open("no.such.host.invalid:80", 100, &qmp, NULL), -EINVAL);
	assert_int_equal(kms_qmp_open("localhost:1", 100, &qmp, NULL), -ECONNREFUSED);
}

static void ends_of_objects_are_found_piece_by_piece(void **state)
{
	static const char text[] =
		" \r\n{\"a\": [{}, \"}\\\"{\", \"\\\\\"], \"b\": {}}{\"next\": 1}";
	const size_t want = sizeof(text) - 1 - strlen("{\"next\": 1}");
	struct kms_json_end end = {0};
	size_t bytes = 0;

	(void)state;
	for (size_t n = 0; n < want; n++)
		assert_int_equal(kms_json_end_find(&end, text, n, &bytes), 0);
	assert_int_equal(kms_json_end_find(&end, text, sizeof(text) - 1, &bytes), 1);
	assert_int_equal(bytes, want);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(answers_and_events_are_told_apart),
		cmocka_unit_test(only_the_last_events_are_kept),
		cmocka_unit_test(who_does_not_greet_is_busy),
		cmocka_unit_test(who_is_no_qmp_is_refused),
		cmocka_unit_test(answers_that_are_none_end_the_channel),
		cmocka_unit_test(a_message_without_an_end_is_bounded),
		cmocka_unit_test(who_talks_on_without_an_event_is_given_up),
		cmocka_unit_test(addresses_without_a_listener_are_refused),
		cmocka_unit_test(ends_of_objects_are_found_piece_by_piece),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
