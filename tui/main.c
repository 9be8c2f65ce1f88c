/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The program: hands the components to each other as function tables. The only file that includes a
 * header of each.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/region.h"
#include "server/server.h"
#include "tracer/tracer.h"
#include "tui/cli.h"
#include "tui/client.h"
#ifdef KMS_HAVE_DEMO
#include "allocator/demo/demo.h"
#endif

/* A trace file with the API over it. */
struct opened {
	struct kms_file *file;
	struct kms_view view;
	struct kms_server *server;
};

static void file_close(void *opened)
{
	struct opened *o = opened;

	kms_server_destroy(o->server);
	kms_file_close(o->file);
	free(o);
}

static int file_open(const char *path, void **out, struct kms_err *err)
{
	struct opened *o = calloc(1, sizeof(*o));
	int ret;

	if (!o)
		return kms_err_set(err, -ENOMEM, "out of memory");
	ret = kms_file_open(path, &o->file, err);
	if (ret == 0) {
		o->view = kms_file_view(o->file);
		ret = kms_server_create(&o->view, KMS_VERSION, &o->server, err);
	}
	if (ret < 0) {
		file_close(o);
		return ret;
	}
	*out = o;
	return 0;
}

static int file_ask(void *opened, const struct kms_ask *ask, struct kms_reply *reply,
		    struct kms_err *err)
{
	struct opened *o = opened;
	const struct kms_request_in in = {
		.method = ask->method,
		.target = ask->target,
		.accept = ask->accept,
		.content_type = ask->body ? "application/json" : NULL,
		.body = ask->body,
		.body_bytes = ask->body ? strlen(ask->body) : 0,
	};
	struct kms_response out;

	kms_server_handle(o->server, &in, &out);
	if (!out.body)
		return kms_err_set(err, -ENOMEM, "out of memory");
	reply->status = out.status;
	reply->body = out.body;
	reply->body_bytes = out.body_bytes;
	kms_reply_link(reply->next, out.link, strlen(out.link));
	return 0;
}

static int run_sql(const char *path, const char *query, const struct kms_sql_sink *sink,
		   struct kms_err *err)
{
	const struct kms_query_sink rows = {sink->row, sink->arg};

	return kms_file_sql(path, query, &rows, err);
}

static int session_root(char path[PATH_MAX], struct kms_err *err)
{
	return kms_session_root(path, 0, err);
}

/* The API of a live run, in the tracer's process. */
struct served {
	struct kms_server *server;
	struct kms_http *http;
};

static void *serve_start(void *arg, const struct kms_view *view, const char *socket_path,
			 struct kms_err *err)
{
	struct served *s = calloc(1, sizeof(*s));

	(void)arg;
	if (!s) {
		kms_err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	if (kms_server_create(view, KMS_VERSION, &s->server, err) == 0 &&
	    kms_http_start(s->server, socket_path, &s->http, err) == 0)
		return s;
	kms_server_destroy(s->server);
	free(s);
	return NULL;
}

static void serve_stop(void *served)
{
	struct served *s = served;

	if (!s)
		return;
	kms_http_stop(s->http);
	kms_server_destroy(s->server);
	free(s);
}

static void copy_result(struct kms_run_info *info, const struct kms_run_result *result)
{
	info->pid = result->pid;
	info->wait_status = result->wait_status;
	info->tracer_lost = result->tracer_lost;
	info->background = result->background;
	info->n_others = result->n_others;
	info->store_failed = result->store_failed;
	memcpy(info->file, result->file, sizeof(info->file));
	memcpy(info->socket, result->socket, sizeof(info->socket));
}

static void started(void *arg, const struct kms_run_result *result)
{
	const struct kms_run_request *request = arg;

	copy_result(request->info, result);
	if (request->started)
		request->started(request->arg);
}

static void say(void *arg, const char *line)
{
	const struct kms_run_request *request = arg;

	if (request->say)
		request->say(request->arg, line);
}

static int run(const struct kms_run_request *request, struct kms_err *err)
{
	const struct kms_run_config config = {
		.argv = request->argv,
		.output = request->output,
		.settings = request->settings,
		.n_settings = request->n_settings,
		.first_only = request->first_only,
		.by_daemon = request->by_daemon,
		.serve_start = serve_start,
		.serve_stop = serve_stop,
		.started = started,
		.say = say,
		.say_arg = (void *)request, /* only read */
	};
	struct kms_run_result *result = calloc(1, sizeof(*result)); /* two paths */
	int status;

	if (!result) {
		kms_err_set(err, -ENOMEM, "out of memory");
		return KMS_RUN_FAILED;
	}
	status = kms_run(&config, result, err);
	copy_result(request->info, result);
	free(result);
	return status;
}

static int run_daemon(const struct kms_daemon_request *request, struct kms_err *err)
{
	const struct kms_daemon_config config = {
		.folder = request->folder,
		.serve_start = serve_start,
		.serve_stop = serve_stop,
		.started = request->started,
		.say = request->say,
		.say_arg = request->arg,
	};

	return kms_daemon(&config, err);
}

static const char *library_path(void)
{
	static char path[PATH_MAX];

	return kms_launch_library(path, NULL) == 0 ? path : NULL;
}

static const struct kms_hooks hooks = {
	.version = KMS_VERSION,
	.schema_version = KMS_REGION_VERSION,
	.features = "size redzone poison guard sql api",
	.file_open = file_open,
	.file_ask = file_ask,
	.file_close = file_close,
	.sql = run_sql,
	.session_root = session_root,
	.run = run,
	.daemon = run_daemon,
	.library_path = library_path,
#ifdef KMS_HAVE_DEMO
	.demo_kernel = kms_demo_kernel_main,
#endif
};

int main(int argc, char **argv)
{
	if (kms_symbols_is_helper(argc, argv))
		return kms_symbols_helper_main(argc, argv);
#ifdef KMS_HAVE_DEMO
	if (argc >= 2 && strcmp(argv[1], "demo-kernel") == 0) /* what `demo` starts */
		return kms_demo_kernel_main(argc - 1, argv + 1);
#endif
	return kms_cli_main(&hooks, argc, argv);
}
