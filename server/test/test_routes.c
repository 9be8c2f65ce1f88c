/* SPDX-License-Identifier: BSD-2-Clause */
/* Routes over the fixture: what the contract test cannot see from outside. */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <cjson/cJSON.h>

#include "server/access.h"
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

/* Every snapshot and stack borrowed by a request was given back. */
static int teardown(void **state)
{
	(void)state;
	kms_server_destroy(server);
	return atomic_load(&fixture.borrowed) == 0 && atomic_load(&fixture.stacks) == 0 ? 0 : -1;
}

static int ask(const char *method, const char *target, struct kms_response *out)
{
	struct kms_request_in in = {.method = method, .target = target, .can_stream = true};

	kms_server_handle(server, &in, out);
	return out->status;
}

/* The answer to a GET, parsed; the caller deletes it. */
static cJSON *get(const char *target, int status)
{
	struct kms_response out;
	cJSON *json;

	assert_int_equal(ask("GET", target, &out), status);
	assert_int_equal(strlen(out.body), out.body_bytes);
	json = cJSON_Parse(out.body);
	assert_non_null(json);
	kms_response_deinit(&out);
	return json;
}

static double number(const cJSON *json, const char *name)
{
	const cJSON *member = cJSON_GetObjectItemCaseSensitive(json, name);

	assert_true(cJSON_IsNumber(member));
	return member->valuedouble;
}

static const char *string(const cJSON *json, const char *name)
{
	const char *text = cJSON_GetStringValue(cJSON_GetObjectItemCaseSensitive(json, name));

	assert_non_null(text);
	return text;
}

static void other_methods_are_405_with_allow(void **state)
{
	struct kms_response out;

	(void)state;
	assert_int_equal(ask("DELETE", "/api/v1/guard", &out), 405);
	assert_string_equal(out.allow, "GET, PATCH");
	kms_response_deinit(&out);
	assert_int_equal(ask("PUT", "/healthz", &out), 405);
	assert_string_equal(out.allow, "GET");
	kms_response_deinit(&out);
}

static void who_may_only_read_changes_nothing(void **state)
{
	static const struct kms_request_in writes[] = {
		{.method = "PATCH", .target = "/api/v1/guard",   .body = "{\"depth\": 512}" },
		{.method = "PATCH",
		 .target = "/api/v1/variables/kmem_guard_depth",
		 .body = "{\"value\": 512}"						 },
		{.method = "POST",  .target = "/api/v1/marks",   .body = "{\"name\": \"x\"}"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(writes) / sizeof(writes[0]); i++) {
		struct kms_request_in in = writes[i];
		struct kms_response out;

		in.content_type = "application/json";
		in.body_bytes = strlen(in.body);
		in.who = "token";
		in.read_only = true;
		kms_server_handle(server, &in, &out);
		assert_int_equal(out.status, 403);
		kms_response_deinit(&out);
		assert_string_equal(fixture.who, "");
		in.read_only = false;
		kms_server_handle(server, &in, &out);
		assert_in_range(out.status, 200, 202);
		kms_response_deinit(&out);
		assert_string_equal(fixture.who, "token");
		fixture.who[0] = '\0';
	}
}

/* The way in is open to who has no rights yet: the token decides, not the connection. */
static void logging_in_needs_no_rights(void **state)
{
	static const char body[] = "{\"token\": \"0123\"}";
	struct kms_access access;
	struct kms_request_in in = {.method = "POST",
				    .target = "/api/v1/session",
				    .content_type = "application/json",
				    .body = body,
				    .body_bytes = sizeof(body) - 1,
				    .who = "anybody",
				    .access = &access,
				    .read_only = true};
	struct kms_response out;
	char right[KMS_TOKEN_TEXT_BYTES + 16];

	(void)state;
	assert_int_equal(kms_access_init(&access, 80), 0);
	kms_server_handle(server, &in, &out);
	assert_int_equal(out.status, 401);
	kms_response_deinit(&out);
	in.body_bytes =
		(size_t)snprintf(right, sizeof(right), "{\"token\": \"%s\"}", access.write_token);
	in.body = right;
	kms_server_handle(server, &in, &out);
	assert_int_equal(out.status, 200);
	assert_non_null(strstr(out.body, "\"write\""));
	kms_response_deinit(&out);
	kms_access_deinit(&access);
}

static void paths_are_matched_exactly(void **state)
{
	static const char *const bad[] = {
		"/api/v1/leaks/", "/api/v1/leaks/x/y",  "/api/v1",
		"//healthz",      "/api/v1/caches/a%2", "/api/v1/caches/%00",
		"/healthz/",      "/api/v1/Leaks",      "/api/v1/leaks%2f"};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		cJSON_Delete(get(bad[i], 404));
	cJSON_Delete(get("no-slash", 400));
	cJSON_Delete(get("", 400));
}

static void head_is_answered_like_get(void **state)
{
	struct kms_response out;

	(void)state;
	assert_int_equal(ask("HEAD", "/api/v1/stats", &out), 200);
	kms_response_deinit(&out);
}

static void unchanged_documents_are_304(void **state)
{
	struct kms_request_in in = {.method = "GET", .target = "/api/v1/stats"};
	struct kms_response first;
	struct kms_response second;

	(void)state;
	kms_server_handle(server, &in, &first);
	in.if_none_match = first.etag;
	kms_server_handle(server, &in, &second);
	assert_int_equal(second.status, 304);
	assert_int_equal(second.body_bytes, 0);
	kms_response_deinit(&second);
	fixture.snapshot.stats.allocs++;
	kms_server_handle(server, &in, &second);
	assert_int_equal(second.status, 200);
	kms_response_deinit(&second);
	kms_response_deinit(&first);
}

/* No answer may hold a byte that a terminal or a page could take for an order. */
static void hostile_names_leave_no_raw_control_bytes(void **state)
{
	static const char *const targets[] = {"/api/v1/targets",     "/api/v1/caches",
					      "/api/v1/leaks",       "/api/v1/faults",
					      "/api/v1/stacks/16",   "/api/v1/caches/%3c/script%3e",
					      "/api/v1/x\x1b]52;<b>"};
	struct kms_response out;

	(void)state;
	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++) {
		ask("GET", targets[i], &out);
		assert_int_equal(out.body[out.body_bytes - 1], '\n');
		for (size_t at = 0; at + 1 < out.body_bytes; at++)
			assert_true((unsigned char)out.body[at] >= 0x20 && out.body[at] != 0x7f);
		assert_null(strchr(out.body, '<'));
		assert_null(strstr(out.body, "\xe2\x80\xae"));
		kms_response_deinit(&out);
	}
}

static void reports_of_calls_without_a_block_name_no_address(void **state)
{
	static const struct {
		uint32_t kind, access;
		const char *words;
	} rows[] = {
		{KMS_FAULT_NULL_FREE, KMS_ACCESS_FREE,  "\nfree of a null pointer by thread"},
		{KMS_FAULT_ZERO_SIZE, KMS_ACCESS_ALLOC, "\nallocation of 0 bytes by thread" },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct kms_fault *raw = &fixture.fault[rows[i].kind - 1].raw, before = *raw;
		char path[64];
		cJSON *json;

		*raw = (struct kms_fault){.kind = rows[i].kind, .access = rows[i].access};
		snprintf(path, sizeof(path), "/api/v1/faults/%" PRIu32, rows[i].kind);
		json = get(path, 200);
		*raw = before;
		assert_non_null(strstr(string(json, "report"), rows[i].words));
		cJSON_Delete(json);
	}
}

static void reports_keep_their_lines_and_lose_escapes(void **state)
{
	cJSON *json = get("/api/v1/faults/2", 200); /* its thread has a hostile name */
	const char *report = string(json, "report");

	(void)state;
	assert_non_null(strstr(report, "\n"));
	assert_null(strchr(report, '\x1b'));
	assert_null(strchr(report, '\a'));
	cJSON_Delete(json);
}

static void sums_are_over_the_targets_that_live(void **state)
{
	cJSON *json = get("/api/v1/guard", 200);

	(void)state;
	assert_true(number(json, "used") == 1204);    /* target 2 alone runs */
	assert_true(number(json, "evictions") == 36); /* counters are of all */
	assert_true(number(json, "window_frees") == 1205);
	cJSON_Delete(json);
	fixture.target[1].state = KMS_STATE_EXITED;
	json = get("/api/v1/guard", 200);
	assert_true(number(json, "used") == 3 * 1204);
	assert_true(number(json, "window_frees") == 1204);
	cJSON_Delete(json);
}

static void target_selects_its_own_numbers(void **state)
{
	cJSON *json = get("/api/v1/stats?target=2", 200);

	(void)state;
	assert_true(number(json, "live_objects") == 1003 + 1004 + 1005);
	assert_true(number(json, "faults") == FIXTURE_FAULTS / 2.0);
	assert_true(cJSON_IsNull(cJSON_GetObjectItemCaseSensitive(json, "peak_bytes")));
	assert_true(number(cJSON_GetObjectItemCaseSensitive(json, "ring"), "lost") == 10);
	cJSON_Delete(json);
	json = get("/api/v1/caches?target=2", 200);
	assert_true(number(json, "total") == 3);
	cJSON_Delete(json);
	cJSON_Delete(get("/api/v1/caches?target=4", 404));
}

static void large_numbers_are_strings(void **state)
{
	cJSON *json;

	(void)state;
	fixture.snapshot.stats.allocs = UINT64_C(1) << 53;
	fixture.snapshot.stats.frees = (UINT64_C(1) << 53) + 1;
	json = get("/api/v1/stats", 200);
	assert_true(number(json, "allocs") == 9007199254740992.0);
	assert_string_equal(string(json, "frees"), "9007199254740993");
	cJSON_Delete(json);
}

static void cursor_of_another_run_is_gone(void **state)
{
	char target[256];
	cJSON *json = get("/api/v1/faults?limit=1", 200);
	const char *cursor = string(json, "next_cursor");

	(void)state;
	snprintf(target, sizeof(target), "/api/v1/faults?limit=1&cursor=%s", cursor);
	cJSON_Delete(get(target, 200));
	snprintf(target, sizeof(target), "/api/v1/faults?target=1&cursor=%s", cursor);
	cJSON_Delete(get(target, 400));
	snprintf(target, sizeof(target), "/api/v1/leaks?cursor=%s", cursor);
	cJSON_Delete(get(target, 400));
	fixture.snapshot.wall_ns++;
	snprintf(target, sizeof(target), "/api/v1/faults?limit=1&cursor=%s", cursor);
	cJSON_Delete(get(target, 410));
	cJSON_Delete(json);
}

/* The row a page ended with may be gone when the next one is asked for. */
static void pages_go_on_where_a_row_has_gone(void **state)
{
	char target[256];
	cJSON *json = get("/api/v1/leaks?limit=3", 200);

	(void)state;
	snprintf(target, sizeof(target), "/api/v1/leaks?cursor=%s", string(json, "next_cursor"));
	cJSON_Delete(json);
	memmove(&fixture.leak[2], &fixture.leak[3], sizeof(fixture.leak[0]) * (FIXTURE_LEAKS - 3));
	fixture.snapshot.n_leaks--;
	json = get(target, 200);
	/* scores 97 97 77 77 57 57: the third was sent and left, the fourth shares its score */
	assert_int_equal(cJSON_GetArraySize(cJSON_GetObjectItemCaseSensitive(json, "items")), 2);
	cJSON_Delete(json);
}

static void writes_go_to_the_target_and_are_refused_for_files(void **state)
{
	struct kms_request_in in = {.method = "PATCH",
				    .target = "/api/v1/guard?target=2",
				    .content_type = "application/json; charset=utf-8",
				    .body = "{\"depth\": 30000}",
				    .body_bytes = 16};
	struct kms_response out;

	(void)state;
	kms_server_handle(server, &in, &out);
	assert_int_equal(out.status, 200);
	assert_int_equal(fixture.depth, 30000);
	assert_int_equal(fixture.depth_target, 2);
	kms_response_deinit(&out);
	fixture.refuse_writes = true;
	kms_server_handle(server, &in, &out);
	assert_int_equal(out.status, 409);
	kms_response_deinit(&out);
	fixture_init(&fixture, false);
	kms_server_handle(server, &in, &out);
	assert_int_equal(out.status, 409);
	kms_response_deinit(&out);
	in.content_type = "application/jsonish";
	kms_server_handle(server, &in, &out);
	assert_int_equal(out.status, 415);
	kms_response_deinit(&out);
}

static void events_come_in_three_formats(void **state)
{
	struct kms_request_in in = {.method = "GET", .target = "/api/v1/events?limit=2&kind=free"};

	static const struct {
		const char *accept, *type, *begin;
	} cases[] = {
		{NULL,						    "application/json",     "{\"snapshot\""},
		{"*/*",						   "application/json",     "{\"snapshot\""},
		{"text/csv",					      "text/csv",
		 "seq,time_ns,kind,address,size,cache,thread,target,ring,stack_id,flags\r\n"
		 "3,1000,free,0x7f3c00040040,41,\"malloc-48\",4250,2,0,14,size redzone\r\n"                      },
		{"application/x-ndjson",                                  "application/x-ndjson",
		 "{\"seq\":3,\"time_ns\":1000,\"kind\":\"free\""                                                 },
		{"text/html, text/csv;q=0.5, application/x-ndjson;q=0.9", "application/x-ndjson",
		 "{\"seq\":3"										    },
		{"application/json;q=0, text/*",                          "text/csv",             "seq,"         },
	};
	struct kms_response out;

	(void)state;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		in.accept = cases[i].accept;
		kms_server_handle(server, &in, &out);
		assert_int_equal(out.status, 200);
		assert_string_equal(out.content_type, cases[i].type);
		assert_memory_equal(out.body, cases[i].begin, strlen(cases[i].begin));
		assert_non_null(strstr(out.link, "rel=\"next\""));
		kms_response_deinit(&out);
	}
	in.accept = "text/html";
	kms_server_handle(server, &in, &out);
	assert_int_equal(out.status, 406);
	kms_response_deinit(&out);
}

/* 14 faults with three stacks each, shown three times, and the owners of one: four stacks in all. */
static void a_request_asks_for_each_stack_once(void **state)
{
	(void)state;
	cJSON_Delete(get("/api/v1/faults", 200));
	assert_int_equal(atomic_load(&fixture.asked), 4);
}

static void lost_events_make_leaks_incomplete(void **state)
{
	cJSON *json = get("/api/v1/leaks", 200);

	(void)state;
	assert_true(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "incomplete")));
	cJSON_Delete(json);
	fixture.snapshot.stats.lost = 0;
	json = get("/api/v1/leaks", 200);
	assert_true(cJSON_IsFalse(cJSON_GetObjectItemCaseSensitive(json, "incomplete")));
	cJSON_Delete(json);
	fixture.snapshot.tracer_lost = "killed";
	json = get("/api/v1/leaks", 200);
	assert_true(cJSON_IsTrue(cJSON_GetObjectItemCaseSensitive(json, "incomplete")));
	cJSON_Delete(json);
}

static void empty_run_answers_every_list(void **state)
{
	const char *method;
	const char *pattern;
	struct kms_response out;

	(void)state;
	memset(&fixture.snapshot, 0, sizeof(fixture.snapshot));
	for (size_t i = 0; kms_server_route(i, &method, &pattern); i++) {
		if (strcmp(method, "GET") != 0 || strchr(pattern, '{'))
			continue;
		assert_int_equal(ask(method, pattern, &out), 200);
		kms_response_deinit(&out);
	}
}

/* A guest that is only looked at: what it has not is said, whatever is asked for. */
static void a_source_of_pictures_alone_answers_every_route(void **state)
{
	const struct kms_view_ops ops = {.acquire = fixture.ops.acquire,
					 .release = fixture.ops.release,
					 .stack = fixture.ops.stack,
					 .stack_free = fixture.ops.stack_free};
	static const char *const targets[] = {"/api/v1/history/7f3c00040040",
					      "/api/v1/whatis/7f3c00040040",
					      "/api/v1/caches/malloc-48/slabs"};
	struct kms_request_in in = {
		.method = "PATCH", .target = "/api/v1/guard", .content_type = "application/json"};
	const char *method;
	const char *pattern;
	struct kms_response out;

	(void)state;
	fixture.ops = ops;
	for (size_t i = 0; kms_server_route(i, &method, &pattern); i++) {
		if (strcmp(method, "GET") != 0 || strchr(pattern, '{') ||
		    strncmp(pattern, "/api/", 5) != 0)
			continue;
		if (ask(method, pattern, &out) != 200 && out.status != 501)
			fail_msg("%s: %d", pattern, out.status);
		kms_response_deinit(&out);
	}
	cJSON_Delete(get("/api/v1/events", 501));
	assert_int_equal(ask("POST", "/api/v1/targets/1/stop", &out), 501);
	kms_response_deinit(&out);
	assert_int_equal(ask("POST", "/api/v1/targets/1/detach", &out), 501);
	kms_response_deinit(&out);
	in.body = "{\"depth\": 100}", in.body_bytes = 14;
	kms_server_handle(server, &in, &out);
	assert_int_equal(out.status, 501);
	kms_response_deinit(&out);
	in.method = "POST", in.target = "/api/v1/marks";
	in.body = "{\"name\": \"before\"}", in.body_bytes = 18;
	kms_server_handle(server, &in, &out);
	assert_int_equal(out.status, 501);
	kms_response_deinit(&out);
	for (size_t i = 0; i < sizeof(targets) / sizeof(targets[0]); i++)
		cJSON_Delete(get(targets[i], 501));
}

#define ROUTE_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		ROUTE_TEST(other_methods_are_405_with_allow),
		ROUTE_TEST(who_may_only_read_changes_nothing),
		ROUTE_TEST(logging_in_needs_no_rights),
		ROUTE_TEST(paths_are_matched_exactly),
		ROUTE_TEST(head_is_answered_like_get),
		ROUTE_TEST(unchanged_documents_are_304),
		ROUTE_TEST(hostile_names_leave_no_raw_control_bytes),
		ROUTE_TEST(reports_keep_their_lines_and_lose_escapes),
		ROUTE_TEST(reports_of_calls_without_a_block_name_no_address),
		ROUTE_TEST(sums_are_over_the_targets_that_live),
		ROUTE_TEST(target_selects_its_own_numbers),
		ROUTE_TEST(large_numbers_are_strings),
		ROUTE_TEST(cursor_of_another_run_is_gone),
		ROUTE_TEST(pages_go_on_where_a_row_has_gone),
		ROUTE_TEST(writes_go_to_the_target_and_are_refused_for_files),
		ROUTE_TEST(events_come_in_three_formats),
		ROUTE_TEST(a_request_asks_for_each_stack_once),
		ROUTE_TEST(lost_events_make_leaks_incomplete),
		ROUTE_TEST(empty_run_answers_every_list),
		ROUTE_TEST(a_source_of_pictures_alone_answers_every_route),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
