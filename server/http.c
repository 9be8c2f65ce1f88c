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

static struct MHD_Daemon *start_daemon(struct kms_http_listener *listener, int fd)
{
	return MHD_start_daemon(
		MHD_USE_EPOLL | MHD_USE_INTERNAL_POLLING_THREAD | MHD_ALLOW_SUSPEND_RESUME |
			MHD_USE_ERROR_LOG,
		0, NULL, NULL, kms_http_on_request, listener, MHD_OPTION_EXTERNAL_LOGGER,
		ignore_log, NULL, MHD_OPTION_LISTEN_SOCKET, (MHD_socket)fd,
		MHD_OPTION_CONNECTION_LIMIT, (unsigned int)KMS_HTTP_CONNECTIONS,
		MHD_OPTION_CONNECTION_TIMEOUT, (unsigned int)KMS_HTTP_IDLE_SECONDS,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)KMS_HTTP_MEMORY_BYTES,
		MHD_OPTION_URI_LOG_CALLBACK, kms_http_on_uri, listener, MHD_OPTION_NOTIFY_COMPLETED,
		kms_http_on_completed, listener, MHD_OPTION_END);
}

/* All signals are blocked while threads are made: they belong to the caller's threads. */
static void block_signals(sigset_t *before)
{
	sigset_t all;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, before);
}

/* Serves on a listening socket, which is ours from then on; if that fails it is still the caller's. */
static int add_listener(struct kms_http *http, int fd, struct kms_tcp *tcp)
{
	struct kms_http_listener *listener = &http->listener[http->n_listeners];
	sigset_t before;

	if (http->n_listeners == KMS_HTTP_LISTENERS)
		return -EBUSY;
	*listener = (struct kms_http_listener){.http = http, .tcp = tcp};
	block_signals(&before);
	errno = 0;
	listener->daemon = start_daemon(listener, fd);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!listener->daemon)
		return errno ? -errno : -ENOMEM;
	http->n_listeners++;
	return 0;
}

/* The threads that all listeners share. */
static int start_threads(struct kms_http *http)
{
	sigset_t before;
	int ret;

	block_signals(&before);
	ret = kms_work_start(&http->work);
	if (ret == 0) {
		ret = kms_stream_start(&http->stream, http->server);
		if (ret < 0)
			kms_work_stop(&http->work);
	}
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return ret;
}

/* Serves on the Unix socket; the descriptor is ours from then on. */
static int start(struct kms_http *http, int fd)
{
	int ret = start_threads(http);

	if (ret < 0) {
		close(fd);
		return ret;
	}
	ret = add_listener(http, fd, NULL);
	if (ret == 0)
		return 0;
	close(fd);
	kms_stream_stop(&http->stream);
	kms_work_stop(&http->work);
	kms_stream_deinit(&http->stream);
	return ret;
}

int kms_http_start(const struct kms_server *server, const char *socket_path, struct kms_http **out,
		   struct kms_err *err)
{
	struct kms_http *http = calloc(1, sizeof(*http));
	int fd;
	int ret;

	if (!http)
		return kms_err_set(err, -ENOMEM, "no memory for the API server");
	http->server = server;
	fd = kms_listen_unix(socket_path, err);
	if (fd < 0) {
		free(http);
		return fd;
	}
	snprintf(http->path, sizeof(http->path), "%s", socket_path); /* fits: it could be bound */
	ret = start(http, fd);
	if (ret < 0) {
		(void)unlink(http->path); /* the first failure counts */
		free(http);
		return kms_err_sys(err, ret, "cannot start the API server", socket_path);
	}
	*out = http;
	return 0;
}

/* The folder that the Unix socket is in. */
static void socket_folder(const struct kms_http *http, char folder[sizeof(http->path)])
{
	const char *slash = strrchr(http->path, '/');

	if (slash)
		snprintf(folder, sizeof(http->path), "%.*s/", (int)(slash - http->path),
			 http->path);
	else
		snprintf(folder, sizeof(http->path), ".");
}

int kms_http_serve_tcp(struct kms_http *http, struct kms_tcp *tcp, struct kms_err *err)
{
	char folder[sizeof(http->path)];
	int ret;

	socket_folder(http, folder);
	ret = kms_tcp_write_files(tcp, folder, err);
	if (ret < 0)
		return ret;
	ret = add_listener(http, tcp->fd, tcp);
	if (ret < 0) {
		kms_tcp_remove_files(folder);
		return kms_err_sys(err, ret, "cannot serve at", tcp->url);
	}
	tcp->fd = -1;
	return 0;
}

/* Nobody finds us any more; a failure harms nobody. */
static void remove_files(const struct kms_http *http)
{
	char folder[sizeof(http->path)];

	(void)unlink(http->path);
	socket_folder(http, folder);
	for (unsigned int i = 0; i < http->n_listeners; i++)
		if (http->listener[i].tcp)
			kms_tcp_remove_files(folder);
}

/*
 * Order matters: no new connections, the end of the streams, then no new work and every suspended
 * request resumed, then the end of the polling threads. libmicrohttpd aborts the process if one is
 * still suspended then.
 */
void kms_http_stop(struct kms_http *http)
{
	struct kms_http_listener *listener;

	if (!http)
		return;
	remove_files(http);
	for (unsigned int i = 0; i < http->n_listeners; i++)
		http->listener[i].fd = MHD_quiesce_daemon(http->listener[i].daemon);
	kms_stream_stop(&http->stream);
	kms_work_stop(&http->work);
	for (unsigned int i = 0; i < http->n_listeners; i++) {
		listener = &http->listener[i];
		MHD_stop_daemon(listener->daemon);
		if (listener->fd != MHD_INVALID_SOCKET)
			close(listener->fd);
	}
	kms_stream_deinit(&http->stream);
	pthread_cond_destroy(&http->work.completed);
	pthread_cond_destroy(&http->work.queued);
	pthread_mutex_destroy(&http->work.lock);
	free(http);
}
