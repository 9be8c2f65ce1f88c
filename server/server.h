/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The API of kmemscope: a request in, a response out, over a view of a run (schema/snapshot.h).
 *
 * kms_server_handle() is a pure route table. Clients of a file call it in their own process; clients
 * of a live session reach the same table through the Unix socket that kms_http_start() serves. What
 * the resources look like stands in schema/openapi.json; why, in README.md.
 */
#ifndef KMS_SERVER_SERVER_H
#define KMS_SERVER_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "schema/snapshot.h"

struct kms_access;
struct kms_server;
struct kms_http;
struct kms_tcp;

enum kms_server_limits {
	KMS_REQUEST_BODY_BYTES = 64 << 10,   /* a larger request body is refused with 413 */
	KMS_REQUEST_TARGET_BYTES = 8 << 10,  /* path and query */
	KMS_RESPONSE_BODY_BYTES = 256 << 20, /* a larger answer is a 500: narrow it by limit */
};

/**
 * One request. Strings are borrowed for the call; what is not there is NULL.
 *
 * The fields come from the other side as they are: nothing is decoded or checked yet.
 */
struct kms_request_in {
	const char *method; /* "GET", "HEAD", "PATCH" */
	const char *target; /* path and query as on the request line: "/api/v1/leaks?limit=3" */
	const char *accept;
	const char *content_type;
	const char *if_none_match;
	const char *body; /* body_bytes bytes, no NUL needed */
	size_t body_bytes;
	const char *who; /* the peer, for the audit: "uid 0 pid 7", "token"; NULL: this process */
	const char *accept_encoding;
	struct kms_access *access; /* where clients log in (access.h); NULL: nowhere */
	bool read_only;            /* the peer may not change anything */
	bool can_stream;           /* the caller goes on with kms_response.stream */
};

/** What a client of the stream subscribes to. */
struct kms_stream_spec {
	uint32_t topics;    /* bits of enum kms_topic (stream_message.h) */
	uint32_t period_ms; /* between two looks at a document; 0: the answer is not a stream */
	uint32_t target;    /* 0 all */
	uint32_t limit;     /* rows of lists */
};

/**
 * One response.
 *
 * Shape:  body has body_bytes bytes and a NUL behind them; empty strings are headers not sent.
 * Owner:  the caller; ends it with kms_response_deinit().
 */
struct kms_response {
	int status;               /* HTTP status, 200 to 599 */
	const char *content_type; /* static */
	char *body;
	size_t body_bytes;
	char etag[24];
	char link[512];                 /* value of a Link header */
	char allow[32];                 /* value of an Allow header, with status 405 */
	size_t moment_at, moment_bytes; /* piece of the body that says only when it is of */
	struct kms_stream_spec stream;  /* the body follows as events, if in->can_stream */
	bool page;                      /* a file of the web page: scripts of its own run in it */
	const char *cache_control;      /* static; NULL: no-store */
	const char *content_encoding;   /* static; NULL: none */
	char cookie[160];               /* value of a Set-Cookie header */
};

/**
 * A server over a view.
 *
 * Shape:  version is what /openapi.json and the Server header say; copied.
 * Owner:  the caller ends it with kms_server_destroy(); the view must outlive it.
 * Errors: -ENOMEM
 */
int kms_server_create(const struct kms_view *view, const char *version, struct kms_server **out,
		      struct kms_err *err);

/**
 * Serves the web page from a folder instead of the one in the program, for working on it. Before the
 * server serves anything.
 *
 * Errors: -ENOTDIR and the like; -ENOMEM
 */
int kms_server_set_web_root(struct kms_server *server, const char *folder, struct kms_err *err);

/** Ends a server. No call may be under way, no kms_http may serve it. NULL is allowed. */
void kms_server_destroy(struct kms_server *server);

/**
 * Answers one request. Every request gets an answer; a failure is a problem document (RFC 9457).
 *
 * Locks:  any thread, several at once; blocks as long as the view's functions do
 */
void kms_server_handle(const struct kms_server *server, const struct kms_request_in *in,
		       struct kms_response *out);

/** Frees what a response holds; it may be used again. */
void kms_response_deinit(struct kms_response *response);

/** Whether a request is for a file of the web page, which holds nothing of a run. */
bool kms_server_is_page(const struct kms_server *server, const struct kms_request_in *in);

/** Method and path pattern ("/api/v1/leaks/{id}") of route @index; false behind the last. Static. */
bool kms_server_route(size_t index, const char **method, const char **pattern);

/**
 * Serves on a Unix socket, mode 0600, to this user and root only, in threads of its own.
 *
 * A dead socket of the same name is replaced; a live one is not.
 *
 * Owner:  the caller ends it with kms_http_stop(); the server must outlive it.
 * Errors: -EADDRINUSE (somebody serves there), -ENAMETOOLONG (107 bytes are the kernel's limit), what
 *         bind(2) says, -ENOMEM; err names the path
 */
int kms_http_start(const struct kms_server *server, const char *socket_path, struct kms_http **out,
		   struct kms_err *err);

/**
 * Listens on a TCP port of this machine, for kms_http_serve_tcp(), in this process or a child of it.
 *
 * Shape:  where is [ADDR:]PORT: 8080, 127.0.0.1:8080, localhost:8080, [::1]:8080; port 0 is any that
 *         is free. An address that other machines can reach is refused unless @expose.
 * Owner:  the caller ends it with kms_tcp_close()
 * Errors: -EINVAL, -EPERM (address not allowed), -EADDRINUSE, -EADDRNOTAVAIL, -EACCES; err says what
 *         to do
 */
int kms_tcp_open(const char *where, bool expose, struct kms_tcp **out, struct kms_err *err);

/**
 * Addresses of the page; static in tcp. The one with a login is a secret: it opens the page, with all
 * rights, once.
 */
const char *kms_tcp_url(const struct kms_tcp *tcp);
const char *kms_tcp_login_url(const struct kms_tcp *tcp);

/** The listening descriptor, to be kept open in a child that serves. */
int kms_tcp_fd(const struct kms_tcp *tcp);

/** Stops listening in this process; a child goes on. */
void kms_tcp_release(struct kms_tcp *tcp);

/** Releases and frees. NULL is allowed. */
void kms_tcp_close(struct kms_tcp *tcp);

/**
 * Serves on a TCP port too. Clients there need a token: `token` (everything) and `token-read` (no
 * changes) are written to the folder of the Unix socket, mode 0600, beside `http.url`.
 *
 * Owner:  tcp must outlive http
 * Errors: what the file system says, -ENOMEM
 */
int kms_http_serve_tcp(struct kms_http *http, struct kms_tcp *tcp, struct kms_err *err);

/** Answers what is under way, closes every connection, removes the socket. NULL is allowed. */
void kms_http_stop(struct kms_http *http);

#endif
