/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The fixture's API for scripts.
 *
 *	api_tool routes               METHOD PATTERN of each route, one a line
 *	api_tool get METHOD TARGET [ACCEPT|BODY]   status, media type and headers on stderr, body on stdout
 *	api_tool serve SOCKET [[ADDR:]PORT [expose]]
 *	                              serves until stdin is closed; prints "ready" first, with a port the
 *	                              address to log in at before it. A byte of stdin changes something:
 *	                              s stats, g guard, l leaks, m nothing
 *
 * The run of the fixture lives, or, with API_TOOL_FINISHED in the environment, is over. With
 * API_TOOL_SLOW_MS pages of events take so long. API_TOOL_WEB_ROOT is the page's folder.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/server.h"
#include "server/test/fixture_view.h"

static struct fixture fixture;

static int list_routes(void)
{
	const char *method;
	const char *pattern;

	for (size_t i = 0; kms_server_route(i, &method, &pattern); i++)
		printf("%s %s\n", method, pattern);
	return 0;
}

static int get(const struct kms_server *server, char **argv)
{
	struct kms_request_in in = {.method = argv[0], .target = argv[1]};
	struct kms_response out;

	if (argv[2] && strcmp(in.method, "GET") == 0)
		in.accept = argv[2];
	else if (argv[2])
		in = (struct kms_request_in){.method = argv[0],
					     .target = argv[1],
					     .content_type = "application/json",
					     .body = argv[2],
					     .body_bytes = strlen(argv[2])};
	kms_server_handle(server, &in, &out);
	fprintf(stderr, "%d %s\n%s\n", out.status, out.content_type, out.link);
	fwrite(out.body, 1, out.body_bytes, stdout);
	kms_response_deinit(&out);
	return 0;
}

static void change(char byte)
{
	static const char names[] = {[FIXTURE_STATS] = 's',
				     [FIXTURE_GUARD] = 'g',
				     [FIXTURE_LEAK] = 'l',
				     [FIXTURE_MOMENT] = 'm'};

	for (unsigned int i = 0; i < sizeof(names); i++)
		if (names[i] == byte)
			fixture_change(&fixture, (enum fixture_change)i);
}

static int fail(const struct kms_err *err)
{
	fprintf(stderr, "%s\n", err->text);
	return 1;
}

static int serve(const struct kms_server *server, char **argv)
{
	struct kms_err err = KMS_ERR_INIT;
	struct kms_tcp *tcp = NULL;
	struct kms_http *http;
	char byte;

	if (argv[1] && kms_tcp_open(argv[1], argv[2] != NULL, &tcp, &err) < 0)
		return fail(&err);
	if (kms_http_start(server, argv[0], &http, &err) < 0)
		return fail(&err);
	if (tcp && kms_http_serve_tcp(http, tcp, &err) < 0)
		return fail(&err);
	if (tcp)
		puts(kms_tcp_login_url(tcp));
	puts("ready");
	fflush(stdout);
	while (read(STDIN_FILENO, &byte, 1) > 0)
		change(byte);
	kms_http_stop(http);
	kms_tcp_close(tcp);
	return 0;
}

int main(int argc, char **argv)
{
	struct kms_server *server;
	int ret = 2;

	fixture_init(&fixture, !getenv("API_TOOL_FINISHED"));
	if (getenv("API_TOOL_SLOW_MS"))
		fixture.slow_ms = (unsigned int)atoi(getenv("API_TOOL_SLOW_MS"));
	if (kms_server_create(&fixture.view, "0.0.0-test", &server, NULL) < 0)
		return 1;
	if (getenv("API_TOOL_WEB_ROOT") &&
	    kms_server_set_web_root(server, getenv("API_TOOL_WEB_ROOT"), NULL) < 0)
		return 1;
	if (argc == 2 && strcmp(argv[1], "routes") == 0)
		ret = list_routes();
	else if (argc >= 4 && strcmp(argv[1], "get") == 0)
		ret = get(server, argv + 2);
	else if (argc >= 3 && strcmp(argv[1], "serve") == 0)
		ret = serve(server, argv + 2);
	else
		fprintf(stderr,
			"usage: api_tool routes | get METHOD TARGET | serve SOCKET [PORT]\n");
	kms_server_destroy(server);
	return ret;
}
