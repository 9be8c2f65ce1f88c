/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Any request gets a well-formed answer. Input: method, path and query, Accept, body, each on a line
 * of its own; the body is the rest.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include <cjson/cJSON.h>

#include "base/test/fuzz_entry.h"
#include "server/server.h"
#include "server/test/fixture_view.h"

static const char *next_line(char **text)
{
	char *line = *text;
	char *end = strchr(line, '\n');

	if (end)
		*end = '\0';
	*text = end ? end + 1 : line + strlen(line);
	return line;
}

static void check_json(const struct kms_response *out)
{
	cJSON *json;

	if (!strstr(out->content_type, "json") || strstr(out->content_type, "ndjson") ||
	    out->status == 304)
		return;
	json = cJSON_ParseWithLength(out->body, out->body_bytes);
	assert(json);
	cJSON_Delete(json);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	static struct fixture fixture;
	struct kms_server *server;
	struct kms_request_in in = {.content_type = "application/json", .can_stream = true};
	struct kms_response out;
	char *text = calloc(1, n + 1);
	char *rest = text;

	assert(text);
	memcpy(text, bytes, n);
	if (!fixture.view.ops)
		fixture_init(&fixture, true);
	if (kms_server_create(&fixture.view, "fuzz", &server, NULL) < 0)
		abort();
	in.method = next_line(&rest);
	in.target = next_line(&rest);
	in.accept = next_line(&rest);
	in.body = rest;
	in.body_bytes = strlen(rest);
	kms_server_handle(server, &in, &out);
	assert(out.status >= 200 && out.status < 600 && out.body && out.content_type);
	assert(!strpbrk(out.link, "\r\n"));
	assert(atomic_load(&fixture.borrowed) == 0 && atomic_load(&fixture.stacks) == 0);
	check_json(&out);
	kms_response_deinit(&out);
	kms_server_destroy(server);
	free(text);
	return 0;
}
