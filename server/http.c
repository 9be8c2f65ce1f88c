/* SPDX-License-Identifier: BSD-2-Clause */
/* Start and end of the HTTP front: see server.h and http.h. */
#include "server/http.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/listen.h"

/* What libmicrohttpd has to say is about broken clients; a library does not print. */
static void ignore_log(void *cls, const char *fmt, va_list args)
{
	(void)cls;
	(void)fmt;
	(void)args;
}

static struct MHD_Daemon *start_daemon(struct kms_http *http)
{
	return MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_INTERNAL_POLLING_THREAD | MHD_ALLOW_SUSPEND_RESUME |
			MHD_USE_ERROR_LOG,
		0, NULL, NULL, kms_http_on_request, http, MHD_OPTION_EXTERNAL_LOGGER, ignore_log,
		NULL, MHD_OPTION_LISTEN_SOCKET, (MHD_socket)http->fd, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned int)KMS_HTTP_CONNECTIONS, MHD_OPTION_CONNECTION_TIMEOUT,
		(unsigned int)KMS_HTTP_IDLE_SECONDS, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
		(size_t)KMS_HTTP_MEMORY_BYTES, MHD_OPTION_URI_LOG_CALLBACK, kms_http_on_uri, http,
		MHD_OPTION_NOTIFY_COMPLETED, kms_http_on_completed, http, MHD_OPTION_END);
}

/* Starts workers and polling thread with all signals blocked: they belong to the caller's threads. */
static int start_threads(struct kms_http *http)
{
	sigset_t all;
	sigset_t before;
	int ret;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = kms_work_start(&http->work);
	if (ret == 0) {
		ret = kms_stream_start(&http->stream, http->server);
		if (ret < 0)
			kms_work_stop(&http->work);
	}
	if (ret == 0) {
		http->daemon = start_daemon(http);
		if (!http->daemon) {
			ret = errno ? -errno : -ENOMEM;
			kms_stream_stop(&http->stream);
			kms_stream_deinit(&http->stream);
			kms_work_stop(&http->work);
		}
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return ret;
}

int kms_http_start(const struct kms_server *server, const char *socket_path, struct kms_http **out,
		   struct kms_err *err)
{
	struct kms_http *http = calloc(1, sizeof(*http));
	int ret;

	if (!http)
		return kms_err_set(err, -ENOMEM, "no memory for the API server");
	http->server = server;
	http->fd = kms_listen_unix(socket_path, err);
	if (http->fd < 0) {
		ret = http->fd;
		free(http);
		return ret;
	}
	snprintf(http->path, sizeof(http->path), "%s", socket_path); /* fits: it could be bound */
	ret = start_threads(http);
	if (ret < 0) {
		(void)unlink(http->path); /* the first failure counts */
		close(http->fd);
		free(http);
		return kms_err_sys(err, ret, "cannot start the API server", socket_path);
	}
	*out = http;
	return 0;
}

/*
 * Order matters: no new connections, the end of the streams, then no new work and every suspended
 * request resumed, then the end of the polling thread. libmicrohttpd aborts the process if one is still suspended then.
 */
void kms_http_stop(struct kms_http *http)
{
	MHD_socket fd;

	if (!http)
		return;
	(void)unlink(http->path); /* clients see no session; a failure harms nobody */
	fd = MHD_quiesce_daemon(http->daemon);
	kms_stream_stop(&http->stream);
	kms_work_stop(&http->work);
	MHD_stop_daemon(http->daemon);
	if (fd != MHD_INVALID_SOCKET)
		close(fd);
	kms_stream_deinit(&http->stream);
	pthread_cond_destroy(&http->work.completed);
	pthread_cond_destroy(&http->work.queued);
	pthread_mutex_destroy(&http->work.lock);
	free(http);
}
