/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The stream over a connection: see http.h and stream.h.
 *
 * libmicrohttpd calls the reader as soon as it returns, so a reader with nothing to say must suspend
 * its connection before it returns 0. Suspended connections have no timeout, and their hang-up is not
 * noticed: both are the stream's.
 */
#include <errno.h>
#include <poll.h>

#include "server/exchange.h"
#include "server/http.h"

enum {
	STREAM_IDLE_SECONDS = 60, /* a client that takes nothing for so long is cut off */
	BLOCK_BYTES = 16 << 10,
};

static void pause_connection(void *connection)
{
	MHD_suspend_connection(connection);
}

static void resume_connection(void *connection)
{
	MHD_resume_connection(connection);
}

static bool is_gone(void *connection)
{
	const union MHD_ConnectionInfo *info =
		MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
	struct pollfd p = {.events = POLLRDHUP};

	if (!info)
		return false;
	p.fd = info->connect_fd;
	return poll(&p, 1, 0) > 0 && p.revents & (POLLRDHUP | POLLHUP | POLLERR);
}

static const struct kms_stream_port port = {pause_connection, resume_connection, is_gone};

static ssize_t read_stream(void *cls, uint64_t at, char *to, size_t max)
{
	ssize_t n = kms_stream_read(cls, to, max);

	(void)at;
	return n < 0 ? MHD_CONTENT_READER_END_OF_STREAM : n;
}

static void close_stream(void *cls)
{
	kms_stream_close(cls);
}

struct MHD_Response *kms_http_stream_response(struct kms_http_request *request)
{
	const char *last_event_id =
		MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, "Last-Event-ID");
	struct kms_stream_client *client;
	struct MHD_Response *response;
	int ret = kms_stream_open(&request->http->stream, &request->response.stream, last_event_id,
				  &port, request->connection, &client);

	if (ret < 0) {
		kms_response_deinit(&request->response);
		kms_server_refuse(&request->in,
				  ret == -EBUSY ? KMS_PROBLEM_TOO_MANY : KMS_PROBLEM_NOT_READY,
				  ret == -EBUSY ? "16 streams are open, and no more are served"
						: "the tracer is ending",
				  &request->response);
		return NULL;
	}
	response = MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, read_stream,
						     client, close_stream);
	if (!response) {
		kms_stream_close(client);
		return NULL;
	}
	/* without it the connection ends after the usual time: the client comes back */
	(void)MHD_set_connection_option(request->connection, MHD_CONNECTION_OPTION_TIMEOUT,
					(unsigned int)STREAM_IDLE_SECONDS);
	(void)MHD_add_response_header(response, "X-Accel-Buffering", "no");
	return response;
}
