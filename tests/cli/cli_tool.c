/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The command line over made-up data: everything is real but the tracer. A file whose first line is
 * "fixture" opens as the finished fixture of server/test; `run` "runs" programs named after what
 * becomes of them: ok, status N, signal N, missing, busy.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/io.h"
#include "server/server.h"
#include "server/test/fixture_view.h"
#include "tui/cli.h"
#include "tui/client.h"

struct file {
	struct fixture fixture;
	struct kms_server *server;
};

static int file_open(const char *path, void **out, struct kms_err *err)
{
	struct file *file;
	char *text;
	int ret = kms_read_file(path, 1 << 20, &text, NULL, err);

	if (ret < 0)
		return ret;
	ret = strncmp(text, "fixture\n", 8) == 0 ? 0 : -EBADMSG;
	free(text);
	if (ret < 0)
		return kms_err_set(err, ret, "%s is not a kmemscope trace", path);
	file = calloc(1, sizeof(*file));
	if (!file)
		return -ENOMEM;
	fixture_init(&file->fixture, false);
	*out = file;
	return kms_server_create(&file->fixture.view, "test", &file->server, err);
}

static int file_ask(void *f, const struct kms_ask *ask, struct kms_reply *reply,
		    struct kms_err *err)
{
	struct file *file = f;
	struct kms_request_in in = {
		.method = ask->method,
		.target = ask->target,
		.accept = ask->accept,
		.content_type = ask->body ? "application/json" : NULL,
		.body = ask->body,
		.body_bytes = ask->body ? strlen(ask->body) : 0,
	};
	struct kms_response out;

	(void)err;
	kms_server_handle(file->server, &in, &out);
	reply->status = out.status;
	reply->body = out.body;
	reply->body_bytes = out.body_bytes;
	kms_reply_link(reply->next, out.link, strlen(out.link));
	return 0;
}

static void file_close(void *f)
{
	struct file *file = f;

	kms_server_destroy(file->server);
	free(file);
}

static int sql(const char *path, const char *query, const struct kms_sql_sink *sink,
	       struct kms_err *err)
{
	static const char *const names[] = {"kind", "n", "note"};
	static const char *const rows[][3] = {
		{"alloc", "4500036", NULL                },
		{"free",  "17",      "a\tb\\c\nx\x1b[31m"},
	};
	void *file;
	int ret = file_open(path, &file, err);

	if (ret < 0)
		return ret;
	file_close(file);
	if (strcmp(query, "bad") == 0)
		return kms_err_set(err, -EINVAL, "no such table: bad");
	for (size_t i = 0; strcmp(query, "none") != 0 && i < 2; i++)
		if (sink->row(sink->arg, 3, names, rows[i]))
			break;
	return 0;
}

static int session_root(char path[PATH_MAX], struct kms_err *err)
{
	const char *dir = getenv("XDG_RUNTIME_DIR");

	if (!dir || strcmp(dir, "/foreign") == 0)
		return kms_err_set(err, dir ? -EPERM : -ENOENT, "%s belongs to another user", dir);
	snprintf(path, PATH_MAX, "%s/kmemscope", dir);
	return 0;
}

/* Prints what it was asked for on stdout, one item a line, so that a test can compare. */
static void print_request(const struct kms_run_request *request)
{
	printf("output %s\n", request->output ? request->output : "-");
	for (size_t i = 0; i < request->n_settings; i++)
		printf("setting %s\n", request->settings[i]);
	printf("first_only %d\n", request->first_only);
	for (char *const *arg = request->argv; *arg; arg++)
		printf("arg %s\n", *arg);
}

static int run_daemon(const struct kms_daemon_request *request, struct kms_err *err)
{
	if (request->folder && strcmp(request->folder, "nowhere") == 0)
		return kms_err_sys(err, -ENOENT, "folder for traces", NULL);
	if (request->started)
		request->started(request->arg, "/run/none/api.sock", NULL);
	return 0;
}

static int run(const struct kms_run_request *request, struct kms_err *err)
{
	const char *program = request->argv[0];
	int number = request->argv[1] ? atoi(request->argv[1]) : 0;

	print_request(request);
	if (strcmp(program, "missing") == 0) {
		kms_err_set(err, -ENOENT, "missing: no such program");
		return 127;
	}
	request->info->pid = 4242;
	snprintf(request->info->file, sizeof(request->info->file), "%s",
		 request->output ? request->output : "kmemscope.ok.4242.kms");
	snprintf(request->info->socket, sizeof(request->info->socket), "/run/none/api.sock");
	if (request->started)
		request->started(request->arg);
	request->info->wait_status = strcmp(program, "signal") == 0 ? number : number << 8;
	return strcmp(program, "signal") == 0 ? 128 + number : number;
}

static const char *library_path(void)
{
	return "/usr/lib/libkmem_malloc.so";
}

int main(int argc, char **argv)
{
	static const struct kms_hooks hooks = {
		.version = "0.0.0-test",
		.schema_version = 1,
		.features = "none",
		.file_open = file_open,
		.file_ask = file_ask,
		.file_close = file_close,
		.sql = sql,
		.session_root = session_root,
		.daemon = run_daemon,
		.run = run,
		.library_path = library_path,
	};

	return kms_cli_main(&hooks, argc, argv);
}
