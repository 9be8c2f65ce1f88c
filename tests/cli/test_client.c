/* SPDX-License-Identifier: BSD-2-Clause */
/* The client's requests that change something: to a session through its socket, to a file in this process. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/test/unit.h"
#include "server/server.h"
#include "server/test/fixture_view.h"
#include "tui/client.h"

static struct fixture fixture;
static struct kms_server *server;

static int file_open(const char *path, void **file, struct kms_err *err)
{
	(void)path;
	(void)err;
	*file = server;
	return 0;
}

static int file_ask(void *file, const struct kms_ask *ask, struct kms_reply *reply,
		    struct kms_err *err)
{
	struct kms_request_in in = {.method = ask->method,
				    .target = ask->target,
				    .content_type = ask->body ? "application/json" : NULL,
				    .body = ask->body,
				    .body_bytes = ask->body ? strlen(ask->body) : 0};
	struct kms_response out;

	(void)err;
	kms_server_handle(file, &in, &out);
	reply->status = out.status;
	reply->body = out.body;
	reply->body_bytes = out.body_bytes;
	return 0;
}

static void file_close(void *file)
{
	(void)file;
}

static const struct kms_hooks hooks = {
	.file_open = file_open,
	.file_ask = file_ask,
	.file_close = file_close,
};

static void begin(bool live)
{
	fixture_init(&fixture, live);
	assert_int_equal(kms_server_create(&fixture.view, "test", &server, NULL), 0);
}

static struct kms_client *open_client(const struct kms_source *source)
{
	struct kms_client *client;

	assert_int_equal(kms_client_open(&hooks, source, &client, NULL), 0);
	return client;
}

/* Depths in turn, a value not taken up at once (the fixture's 4096), and a mistake. */
static void writes_arrive(struct kms_client *client)
{
	struct kms_err err = KMS_ERR_INIT;
	struct kms_reply reply;

	assert_int_equal(kms_client_request(client, "PATCH", "/api/v1/guard?target=2",
					    "{\"depth\": 30000}", &reply, &err),
			 0);
	assert_int_equal(reply.status, 200);
	assert_int_equal(fixture.depth, 30000);
	assert_int_equal(fixture.depth_target, 2);
	assert_non_null(strstr(reply.body, "\"depth\":30208"));
	free(reply.body);
	assert_int_equal(kms_client_request(client, "PATCH", "/api/v1/guard", "{\"depth\": 4096}",
					    &reply, &err),
			 0);
	assert_int_equal(reply.status, 202);
	free(reply.body);
	assert_int_equal(
		kms_client_request(client, "PATCH", "/api/v1/guard", "{\"deep\": 1}", &reply, &err),
		-EREMOTEIO);
	assert_non_null(strstr(err.text, "unknown member"));
	assert_null(reply.body);
	assert_int_equal(kms_client_get(client, "/api/v1/stats", NULL, &reply, &err), 0);
	free(reply.body); /* and a GET behind it is a GET */
}

static void a_session_takes_writes(void **state)
{
	char folder[] = "/tmp/kms-client-XXXXXX";
	struct kms_source source = {.kind = KMS_SOURCE_SESSION, .name = "test"};
	struct kms_client *client;
	struct kms_http *http;

	(void)state;
	begin(true);
	assert_non_null(mkdtemp(folder));
	snprintf(source.path, sizeof(source.path), "%s/api.sock", folder);
	assert_int_equal(kms_http_start(server, source.path, &http, NULL), 0);
	client = open_client(&source);
	writes_arrive(client);
	kms_client_close(client);
	kms_http_stop(http);
	kms_server_destroy(server);
	assert_int_equal(rmdir(folder), 0);
}

static void the_route_table_takes_writes_in_process(void **state)
{
	const struct kms_source source = {.kind = KMS_SOURCE_FILE};
	struct kms_client *client;

	(void)state;
	begin(true);
	client = open_client(&source);
	writes_arrive(client);
	kms_client_close(client);
	kms_server_destroy(server);
}

static void a_finished_trace_refuses_with_its_reason(void **state)
{
	const struct kms_source source = {.kind = KMS_SOURCE_FILE};
	struct kms_err err = KMS_ERR_INIT;
	struct kms_client *client;
	struct kms_reply reply;

	(void)state;
	begin(false);
	client = open_client(&source);
	assert_int_equal(kms_client_request(client, "PATCH", "/api/v1/guard", "{\"depth\": 1}",
					    &reply, &err),
			 -EREMOTEIO);
	assert_non_null(strstr(err.text, "finished trace"));
	assert_null(reply.body);
	kms_client_close(client);
	kms_server_destroy(server);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_session_takes_writes),
		cmocka_unit_test(the_route_table_takes_writes_in_process),
		cmocka_unit_test(a_finished_trace_refuses_with_its_reason),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
