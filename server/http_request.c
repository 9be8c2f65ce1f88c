/* SPDX-License-Identifier: BSD-2-Clause */
/* One HTTP request, from its first line to its response: see http.h. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/fmt.h"
#include "server/exchange.h"
#include "server/http.h"

void *kms_http_on_uri(void *cls, const char *uri, struct MHD_Connection *connection)
{
	struct kms_http_request *request = calloc(1, sizeof(*request));

	if (!request)
		return NULL;
	request->listener = cls;
	request->http = request->listener->http;
	request->connection = connection;
	request->target = strdup(uri);
	kms_buf_init(&request->body, KMS_REQUEST_BODY_BYTES);
	return request;
}

void kms_http_on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
			   enum MHD_RequestTerminationCode code)
{
	struct kms_http_request *request = *con_cls;
	(void)cls;
	(void)connection;
	(void)code;
	if (!request)
		return;
	if (request->counted)
		kms_work_completed(&request->http->work);
	kms_response_deinit(&request->response);
	kms_buf_deinit(&request->body);
	free(request->target);
	free(request);
	*con_cls = NULL;
}

/* Headers that say how long the body is. */
struct framing {
	unsigned int lengths;
	unsigned int encodings;
	bool bad_length;
	uint64_t length;
};

static enum MHD_Result see_header(void *cls, enum MHD_ValueKind kind, const char *key,
				  const char *value)
{
	struct framing *framing = cls;

	(void)kind;
	if (strcasecmp(key, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0)
		framing->encodings++;
	if (strcasecmp(key, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0) {
		framing->lengths++;
		framing->bad_length |= !value || kms_parse_u64(value, &framing->length) < 0;
	}
	return MHD_YES;
}

/* The response object of an answer, which takes its body; NULL: no memory. */
static struct MHD_Response *make_response(struct kms_http_request *request)
{
	struct kms_response *out = &request->response;
	struct MHD_Response *response = NULL;

	if (out->stream.period_ms && strcmp(request->in.method, "GET") == 0) {
		response = kms_http_stream_response(request);
		/* a stream ends when it ends: what is awaited at the server's end are answers */
		if (response && request->counted) {
			request->counted = false;
			kms_work_completed(&request->http->work);
		}
	}
	if (response || !out->body)
		return response;
	response =
		MHD_create_response_from_buffer(out->body_bytes, out->body, MHD_RESPMEM_MUST_FREE);
	if (response)
		out->body = NULL; /* the response's now */
	return response;
}

/* A header of a response; one that does not fit into memory is left out: the response is still right. */
static void add_header(struct MHD_Response *response, const char *name, const char *value)
{
	if (value && value[0])
		(void)MHD_add_response_header(response, name, value);
}

/* What browsers are told about every answer. */
static void add_policy(struct MHD_Response *response, const struct kms_response *out)
{
	static const char *const fixed[][2] = {
		{"X-Content-Type-Options",       "nosniff"    },
		{"Referrer-Policy",              "no-referrer"},
		{"Cross-Origin-Opener-Policy",   "same-origin"},
		{"Cross-Origin-Resource-Policy", "same-origin"},
	};
	/* only what the page itself brings: no script of a name, no request elsewhere, no frame */
	static const char content[] =
		"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
		"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

	for (size_t i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		add_header(response, fixed[i][0], fixed[i][1]);
	if (!out->page)
		return;
	add_header(response, "Content-Security-Policy", content);
	add_header(response, "Permissions-Policy",
		   "camera=(), microphone=(), geolocation=(), usb=()");
	add_header(response, MHD_HTTP_HEADER_VARY, "Accept-Encoding");
}

static enum MHD_Result queue_response(struct kms_http_request *request)
{
	struct MHD_Response *response = make_response(request);
	const struct kms_response *out = &request->response;
	enum MHD_Result ret;

	if (!response)
		return MHD_NO;
	add_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, out->content_type);
	add_header(response, MHD_HTTP_HEADER_CACHE_CONTROL,
		   out->cache_control ? out->cache_control : "no-store");
	add_policy(response, out);
	add_header(response, MHD_HTTP_HEADER_CONTENT_ENCODING, out->content_encoding);
	add_header(response, MHD_HTTP_HEADER_ETAG, out->etag);
	add_header(response, MHD_HTTP_HEADER_LINK, out->link);
	add_header(response, MHD_HTTP_HEADER_ALLOW, out->allow);
	add_header(response, MHD_HTTP_HEADER_SET_COOKIE, out->cookie);
	if (out->status == MHD_HTTP_UNAUTHORIZED)
		add_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE,
			   "Bearer realm=\"kmemscope\"");
	ret = MHD_queue_response(request->connection, (unsigned int)out->status, response);
	MHD_destroy_response(response);
	return ret;
}

static enum MHD_Result refuse(struct kms_http_request *request, enum kms_problem problem,
			      const char *detail)
{
	kms_server_refuse(&request->in, problem, detail, &request->response);
	return queue_response(request);
}

static const char *header(struct kms_http_request *request, const char *name)
{
	return MHD_lookup_connection_value(request->connection, MHD_HEADER_KIND, name);
}

/*
 * The headers are there, the body is not. libmicrohttpd 0.9.75 takes a request with two lengths, or
 * with a length and an encoding, which two parties may cut differently: such a request is refused.
 */
static enum MHD_Result begin(struct kms_http_request *request, const char *method)
{
	struct framing framing = {0};
	struct kms_http_refusal refusal;

	request->in.method = method;
	request->in.target = request->target;
	request->in.can_stream = true;
	request->in.accept = header(request, MHD_HTTP_HEADER_ACCEPT);
	request->in.content_type = header(request, MHD_HTTP_HEADER_CONTENT_TYPE);
	request->in.if_none_match = header(request, MHD_HTTP_HEADER_IF_NONE_MATCH);
	request->in.accept_encoding = header(request, MHD_HTTP_HEADER_ACCEPT_ENCODING);
	if (!kms_http_admit(request, &refusal))
		return refuse(request, refusal.problem, refusal.detail);
	MHD_get_connection_values(request->connection, MHD_HEADER_KIND, see_header, &framing);
	if (framing.bad_length || framing.lengths + framing.encodings > 1)
		return refuse(request, KMS_PROBLEM_BAD_REQUEST,
			      "one Content-Length or one Transfer-Encoding, not more");
	if (framing.length > KMS_REQUEST_BODY_BYTES)
		return refuse(request, KMS_PROBLEM_BODY_TOO_LARGE, "at most 65536 bytes");
	request->stage = KMS_HTTP_BODY;
	return MHD_YES;
}

/* A piece of the body, or its end. */
static enum MHD_Result take_body(struct kms_http_request *request, const char *data, size_t *bytes)
{
	if (*bytes) {
		kms_buf_add(&request->body, data, *bytes);
		*bytes = 0;
		/* too long without having said so: drop the connection */
		return kms_buf_status(&request->body) == 0 ? MHD_YES : MHD_NO;
	}
	request->in.body = kms_buf_text(&request->body);
	request->in.body_bytes = request->body.used_bytes;
	if (kms_work_submit(&request->http->work, request))
		return MHD_YES;
	return refuse(request, KMS_PROBLEM_NOT_READY, "the tracer is ending");
}

/* NOLINTNEXTLINE(readability-function-size): the library decides on the parameters */
enum MHD_Result kms_http_on_request(void *cls, struct MHD_Connection *connection, const char *url,
				    const char *method, const char *version,
				    const char *upload_data, size_t *upload_data_size,
				    void **con_cls)
{
	struct kms_http_request *request = *con_cls;

	(void)cls;
	(void)connection;
	(void)url; /* decoded; the routes want it as it came */
	(void)version;
	if (!request || !request->target)
		return MHD_NO;
	switch (request->stage) {
	case KMS_HTTP_NEW:
		return begin(request, method);
	case KMS_HTTP_BODY:
		return take_body(request, upload_data, upload_data_size);
	case KMS_HTTP_DONE:
		return queue_response(request);
	default:
		return MHD_NO;
	}
}
