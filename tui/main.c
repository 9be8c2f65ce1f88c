/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The program: hands the components to each other as function tables. The only file that includes a
 * header of each.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
		kms_file_name_stacks(o->file);
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

/* Where the API is served: made where errors can be told, used in the tracer's process. */
struct serving {
	struct kms_tcp *tcp; /* NULL: on no port */
	const char *web_root;
};

static void serving_close(struct serving *serving)
{
	kms_tcp_close(serving->tcp);
}

static int serving_open(struct serving *serving, const struct kms_http_options *http,
			struct kms_err *err)
{
	*serving = (struct serving){.web_root = http->web_root};
	if (http->web_root && access(http->web_root, R_OK | X_OK) < 0)
		return kms_err_set(err, -errno, "cannot serve the page from %s: %s", http->web_root,
				   strerrordesc_np(errno));
	if (http->where)
		return kms_tcp_open(http->where, http->expose, &serving->tcp, err);
	if (http->expose || http->web_root)
		return kms_err_set(err, -EINVAL, "%s needs --http",
				   http->expose ? "--http-expose-unencrypted" : "--web-root");
	return 0;
}

/* The API of a live run, in the tracer's process. */
struct served {
	struct kms_server *server;
	struct kms_http *http;
};

static void *serve_start(void *arg, const struct kms_view *view, const char *socket_path,
			 struct kms_err *err)
{
	const struct serving *serving = arg;
	struct served *s = calloc(1, sizeof(*s));
	int ret;

	if (!s) {
		kms_err_set(err, -ENOMEM, "out of memory");
		return NULL;
	}
	ret = kms_server_create(view, KMS_VERSION, &s->server, err);
	if (ret == 0 && serving->web_root)
		ret = kms_server_set_web_root(s->server, serving->web_root, err);
	if (ret == 0)
		ret = kms_http_start(s->server, socket_path, &s->http, err);
	if (ret == 0 && serving->tcp)
		ret = kms_http_serve_tcp(s->http, serving->tcp, err);
	if (ret == 0)
		return s;
	kms_http_stop(s->http);
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
	_Static_assert(KMS_RUN_INFO_EARLIER == KMS_RUN_EARLIER, "the same room");
	info->n_earlier = result->n_earlier;
	memcpy(info->earlier, result->earlier, sizeof(info->earlier));
	memcpy(info->file, result->file, sizeof(info->file));
	memcpy(info->socket, result->socket, sizeof(info->socket));
}

/* One call of the run hook. */
struct running {
	const struct kms_run_request *request;
	struct serving serving;
};

static void started(void *arg, const struct kms_run_result *result)
{
	struct running *running = arg;
	const struct kms_run_request *request = running->request;
	struct kms_tcp *tcp = running->serving.tcp;

	copy_result(request->info, result);
	if (tcp) {
		snprintf(request->info->url, sizeof(request->info->url), "%s",
			 kms_tcp_login_url(tcp));
		kms_tcp_release(tcp); /* the tracer serves; a port must not outlive it here */
	}
	if (request->started)
		request->started(request->arg);
}

static void say(void *arg, const char *line)
{
	const struct kms_run_request *request = ((const struct running *)arg)->request;

	if (request->say)
		request->say(request->arg, line);
}

static int run_and_serve(struct running *running, struct kms_run_result *result,
			 struct kms_err *err)
{
	const struct kms_run_request *request = running->request;
	const struct kms_run_config config = {
		.argv = request->argv,
		.output = request->output,
		.settings = request->settings,
		.n_settings = request->n_settings,
		.first_only = request->first_only,
		.by_daemon = request->by_daemon,
		.stopped = request->stopped,
		.serve_start = serve_start,
		.serve_stop = serve_stop,
		.serve_arg = &running->serving,
		.serve_fd = running->serving.tcp ? kms_tcp_fd(running->serving.tcp) : 0,
		.started = started,
		.say = say,
		.say_arg = running,
	};

	return kms_run(&config, result, err);
}

static int run(const struct kms_run_request *request, struct kms_err *err)
{
	struct running running = {.request = request};
	struct kms_run_result *result = calloc(1, sizeof(*result)); /* two paths */
	int status = KMS_RUN_FAILED;

	if (!result) {
		kms_err_set(err, -ENOMEM, "out of memory");
		return status;
	}
	if (request->by_daemon && request->http.where) {
		kms_err_set(err, -EINVAL, "--http is the daemon's: kmemscope daemon --http PORT");
	} else if (serving_open(&running.serving, &request->http, err) == 0) {
		status = run_and_serve(&running, result, err);
		copy_result(request->info, result);
	}
	serving_close(&running.serving);
	free(result);
	return status;
}

/* One call of the daemon hook. */
struct daemon_running {
	const struct kms_daemon_request *request;
	struct serving serving;
};

static void daemon_started(void *arg, const char *socket_path)
{
	const struct daemon_running *running = arg;
	const struct kms_daemon_request *request = running->request;
	const struct kms_tcp *tcp = running->serving.tcp;

	if (request->started)
		request->started(request->arg, socket_path, tcp ? kms_tcp_login_url(tcp) : NULL);
}

static void daemon_say(void *arg, const char *line)
{
	const struct kms_daemon_request *request = ((const struct daemon_running *)arg)->request;

	if (request->say)
		request->say(request->arg, line);
}

static int run_daemon(const struct kms_daemon_request *request, struct kms_err *err)
{
	struct daemon_running running = {.request = request};
	const struct kms_daemon_config config = {
		.folder = request->folder,
		.serve_start = serve_start,
		.serve_stop = serve_stop,
		.serve_arg = &running.serving,
		.started = daemon_started,
		.say = daemon_say,
		.say_arg = &running,
	};
	int ret = serving_open(&running.serving, &request->http, err);

	if (ret == 0)
		ret = kms_daemon(&config, err);
	serving_close(&running.serving);
	return ret;
}

/* One call of the attach hook. */
struct attaching {
	const struct kms_attach_ask *ask;
	struct serving serving;
};

static void attach_started(void *arg, const struct kms_run_result *result)
{
	const struct attaching *attaching = arg;
	const struct kms_attach_ask *ask = attaching->ask;
	const struct kms_tcp *tcp = attaching->serving.tcp;

	copy_result(ask->info, result);
	if (tcp)
		snprintf(ask->info->url, sizeof(ask->info->url), "%s", kms_tcp_login_url(tcp));
	if (ask->started)
		ask->started(ask->arg);
}

static void attach_say(void *arg, const char *line)
{
	const struct kms_attach_ask *ask = ((const struct attaching *)arg)->ask;

	if (ask->say)
		ask->say(ask->arg, line);
}

static int attach_and_serve(struct attaching *attaching, struct kms_run_result *result,
			    struct kms_err *err)
{
	const struct kms_attach_ask *ask = attaching->ask;
	struct kms_guest_run_config guest = {.target = ask->guest,
					     .kernel = ask->kernel,
					     .go = ask->go,
					     .allow_write = ask->allow_write,
					     .boot = ask->boot,
					     .depth = ask->depth};
	const struct kms_attach_config config = {
		.pid = ask->pid,
		.output = ask->output,
		.settings = ask->settings,
		.n_settings = ask->n_settings,
		.stopped = ask->stopped,
		.serve_start = serve_start,
		.serve_stop = serve_stop,
		.serve_arg = &attaching->serving,
		.started = attach_started,
		.say = attach_say,
		.say_arg = attaching,
	};

	guest.attach = config;
	return ask->guest ? kms_guest_run(&guest, result, err)
			  : kms_attach_run(&config, result, err);
}

static int attach(const struct kms_attach_ask *ask, struct kms_err *err)
{
	struct attaching attaching = {.ask = ask};
	struct kms_run_result *result = calloc(1, sizeof(*result)); /* two paths */
	int code;

	if (!result)
		return kms_err_set(err, -ENOMEM, "out of memory");
	code = serving_open(&attaching.serving, &ask->http, err);
	if (code == 0) {
		code = attach_and_serve(&attaching, result, err);
		copy_result(ask->info, result);
		ask->info->let_go = result->background;
		ask->info->background = false; /* the session is gone: the file answers */
	}
	serving_close(&attaching.serving);
	free(result);
	return code;
}

struct each {
	void (*fn)(void *arg, const struct kms_attachable *process);
	void *arg;
};

static void each_info(void *arg, const struct kms_attach_info *info)
{
	const struct each *each = arg;
	const struct kms_attachable process = {info->pid, info->program, info->session};

	each->fn(each->arg, &process);
}

static void attach_each(void (*fn)(void *arg, const struct kms_attachable *process), void *arg)
{
	struct each each = {fn, arg};

	kms_attach_each(each_info, &each);
}

struct each_guest {
	void (*fn)(void *arg, const struct kms_attachable_guest *guest);
	void *arg;
};

static bool each_qemu(void *arg, const struct kms_qemu *qemu, int result, const struct kms_err *err)
{
	const struct each_guest *each = arg;
	const struct kms_attachable_guest guest = {
		.pid = qemu->pid,
		.program = qemu->program,
		.name = qemu->options.name,
		.kernel = qemu->options.kernel,
		.ram_bytes = qemu->options.ram_bytes,
		.why_not = result ? err->text : NULL,
	};

	if (result != -EINVAL && result != -ESRCH) /* no QEMU after all, or gone */
		each->fn(each->arg, &guest);
	return false;
}

static void guest_each(void (*fn)(void *arg, const struct kms_attachable_guest *guest), void *arg)
{
	struct each_guest each = {fn, arg};

	(void)kms_qemu_each(each_qemu, &each,
			    NULL); /* those that were found are all there is to tell */
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
	.attach = attach,
	.attach_each = attach_each,
	.guest_each = guest_each,
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
