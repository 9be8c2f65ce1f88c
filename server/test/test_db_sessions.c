/* SPDX-License-Identifier: BSD-2-Clause */
/* POST /api/v1/db: what is remembered between lines, for whom, and for how many. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/test/unit.h"
#include "server/db_session.h"
#include "server/server.h"
#include "server/test/fixture_view.h"

static struct fixture fixture;
static struct kms_server *server;

static int setup(void **state)
{
	(void)state;
	fixture_init(&fixture, true);
	return kms_server_create(&fixture.view, "test", &server, NULL);
}

static int teardown(void **state)
{
	(void)state;
	kms_server_destroy(server);
	return 0;
}

/* Sends a line in a session (NULL: none); the document. The caller deletes it. */
static cJSON *send_as(const char *line, const char *session, bool read_only)
{
	struct kms_request_in in = {.method = "POST",
				    .target = "/api/v1/db",
				    .content_type = "application/json",
				    .who = "token",
				    .read_only = read_only};
	struct kms_response out;
	char body[512];
	cJSON *json;

	if (session)
		snprintf(body, sizeof(body), "{\"line\": \"%s\", \"session\": \"%s\"}", line,
			 session);
	else
		snprintf(body, sizeof(body), "{\"line\": \"%s\"}", line);
	in.body = body;
	in.body_bytes = strlen(body);
	kms_server_handle(server, &in, &out);
	assert_int_equal(out.status, 200);
	json = cJSON_ParseWithLength(out.body, out.body_bytes);
	kms_response_deinit(&out);
	assert_non_null(json);
	return json;
}

static const char *member(const cJSON *json, const char *name)
{
	return cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));
}

/* Checks what a line in a session prints. */
static void prints(const char *line, const char *session, const char *expected)
{
	cJSON *json = send_as(line, session, false);

	assert_string_equal(member(json, "output"), expected);
	assert_null(member(json, "error"));
	cJSON_Delete(json);
}

static void each_prompt_has_its_own_memory(void **state)
{
	cJSON *json;

	(void)state;
	prints("set $radix = 8", "a", "");
	prints("p/r 10", "a", "         10\n");
	prints("p/x 10", "b", "              10\n");
	prints("", "a",
	       "         10\n"); /* p again, in the same format, at next: what it was given */
	json = send_as("target 2", "b", false);
	assert_string_equal(member(json, "prompt"), "db{2}> ");
	cJSON_Delete(json);
	json = send_as("", "a", false);
	assert_string_equal(member(json, "prompt"), "db> ");
	cJSON_Delete(json);
}

static void without_a_session_nothing_is_remembered(void **state)
{
	(void)state;
	prints("set $radix = 8", NULL, "");
	prints("p 10", NULL, "              10\n");
	prints("", NULL, "");
}

static void the_prompt_used_longest_ago_is_forgotten(void **state)
{
	char id[KMS_DDB_SESSION_BYTES];

	(void)state;
	prints("set $radix = 8", "first", "");
	prints("set $radix = 8", "second", "");
	for (int i = 0; i < KMS_DDB_SESSIONS - 2; i++) {
		snprintf(id, sizeof(id), "s%d", i);
		prints("p 1", id, "               1\n");
	}
	prints("p/r 10", "first", "         10\n"); /* used again: now second is the oldest */
	prints("p 1", "one-more", "               1\n");
	prints("p/r 10", "first", "         10\n");
	prints("p/r 10", "second", "         10\n");
	prints("p/d 10", "second", "         16\n"); /* it had radix 8, and has 16 again */
	prints("p/d 10", "first", "          8\n");
}

static void who_may_only_read_reads_by_the_prompt_too(void **state)
{
	cJSON *json = send_as("w kmem_guard_depth 200", "a", true);

	(void)state;
	assert_non_null(strstr(member(json, "error"), "this connection may read only"));
	assert_string_equal(fixture.who, "");
	cJSON_Delete(json);
	json = send_as("show guard", "a", true);
	assert_null(member(json, "error"));
	cJSON_Delete(json);
	prints("w kmem_size 1", "a",
	       "kmem:kmem_size\t\t= 1\nkmem_size 7 -> 1 (0x1), effective 7\n");
	assert_string_equal(fixture.who, "token");
}

/* The same id, but neither sets what the other one's lines mean. */
static void who_may_only_read_has_a_prompt_of_his_own(void **state)
{
	cJSON *json;

	(void)state;
	cJSON_Delete(send_as("set $radix = 8", "a", true));
	prints("p 10", "a", "              10\n");
	cJSON_Delete(send_as("target 2", "a", false));
	json = send_as("p/d 10", "a", true);
	assert_string_equal(member(json, "output"), "          8\n");
	assert_string_equal(member(json, "prompt"), "db> ");
	cJSON_Delete(json);
}

/* Text of a prompt goes into JSON, and control bytes of a line do not come back raw. */
static void lines_are_hostile(void **state)
{
	cJSON *json = send_as("show pool \\u001b]52;c;\\u0007\\\"", "a", false);

	(void)state;
	assert_null(strchr(member(json, "error"), '\x1b'));
	assert_non_null(strstr(member(json, "error"), "no pool is named"));
	cJSON_Delete(json);
}

/* A target's memory that sends a line itself while one waits for it: how deep, and the last status. */
static int depth;
static int last_status;

static int memory_that_asks(void *ctx, uint32_t target, uint64_t address, void *to, size_t n,
			    size_t *n_read, struct kms_err *err)
{
	static const char body[] = "{\"line\": \"x 1000\"}";
	struct kms_request_in in = {.method = "POST",
				    .target = "/api/v1/db?target=2",
				    .content_type = "application/json",
				    .body = body,
				    .body_bytes = sizeof(body) - 1};
	struct kms_response out;

	(void)ctx, (void)target, (void)address, (void)to, (void)n;
	*n_read = 0;
	if (depth++ < 10) {
		kms_server_handle(server, &in, &out);
		if (last_status == 0) {
			last_status = out.status;
			assert_non_null(strstr(out.body, "/problems/too-many"));
		}
		kms_response_deinit(&out);
	}
	return kms_err_set(err, -EFAULT, "nothing is mapped there");
}

static void two_lines_run_at_once_and_the_third_is_told(void **state)
{
	(void)state;
	fixture.ops.memory = memory_that_asks;
	depth = last_status = 0;
	cJSON_Delete(send_as("x 1000", NULL, false));
	assert_int_equal(depth, 2); /* the third line did not get that far */
	assert_int_equal(last_status, 503);
	depth = 10;
	cJSON_Delete(send_as("x 1000", NULL, false)); /* all are over: 200 */
}

#define SESSION_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		SESSION_TEST(each_prompt_has_its_own_memory),
		SESSION_TEST(without_a_session_nothing_is_remembered),
		SESSION_TEST(the_prompt_used_longest_ago_is_forgotten),
		SESSION_TEST(who_may_only_read_reads_by_the_prompt_too),
		SESSION_TEST(who_may_only_read_has_a_prompt_of_his_own),
		SESSION_TEST(lines_are_hostile),
		SESSION_TEST(two_lines_run_at_once_and_the_third_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
