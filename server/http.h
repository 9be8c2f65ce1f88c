/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Inside the HTTP front: libmicrohttpd's polling thread reads requests and writes responses; worker
 * threads answer them, so that one slow answer holds up nobody else.
 *
 * A request belongs to the polling thread, but for the time between kms_work_submit() and the
 * worker's MHD_resume_connection().
 */
#ifndef KMS_SERVER_HTTP_H
#define KMS_SERVER_HTTP_H

#include <pthread.h>
#include <stdbool.h>

#include <microhttpd.h>

#include "base/buf.h"
#include "server/exchange.h"
#include "server/server.h"
#include "server/stream.h"
#include "server/tcp.h"

enum kms_http_limits {
	KMS_HTTP_WORKERS = 3,
	KMS_HTTP_LISTENERS = 2,    /* the Unix socket, a TCP port */
	KMS_HTTP_CONNECTIONS = 64, /* of a listener */
	KMS_HTTP_IDLE_SECONDS = 15,
	KMS_HTTP_MEMORY_BYTES = 32 << 10, /* of a connection: request line and headers */
	KMS_HTTP_DRAIN_MS = 1000,         /* kms_http_stop() waits so long for answers to be sent */
};

enum kms_http_stage {
	KMS_HTTP_NEW,     /* headers not yet looked at */
	KMS_HTTP_BODY,    /* collecting the body */
	KMS_HTTP_WORKING, /* suspended, with a worker */
	KMS_HTTP_DONE,    /* response ready */
};

struct kms_http_request {
	struct kms_http *http;
	struct kms_http_listener *listener; /* that it came in at */
	struct kms_http_request *next;      /* in the workers' queue */
	struct MHD_Connection *connection;
	enum kms_http_stage stage;
	bool counted; /* in kms_work.under_way */
	char *target;
	char who[96]; /* in.who */
	struct kms_buf body;
	struct kms_request_in in;
	struct kms_response response;
};

/** The worker threads and their queue. */
struct kms_work {
	pthread_mutex_t lock; /* guards all below but thread */
	pthread_cond_t queued;
	pthread_cond_t completed;
	struct kms_http_request *first, *last;
	unsigned int under_way; /* submitted and not yet sent */
	bool stopping;
	unsigned int n_threads;
	pthread_t thread[KMS_HTTP_WORKERS];
};

/** A socket that is listened on, with a polling thread of its own. */
struct kms_http_listener {
	struct kms_http *http;
	struct MHD_Daemon *daemon;
	MHD_socket fd;       /* once the daemon has stopped listening */
	struct kms_tcp *tcp; /* borrowed; NULL: the Unix socket */
};

struct kms_http {
	const struct kms_server *server;
	struct kms_work work;
	struct kms_stream stream;
	unsigned int n_listeners;
	struct kms_http_listener listener[KMS_HTTP_LISTENERS];
	char path[108];
};

/** Starts the workers. Errors: -EAGAIN, -ENOMEM; nothing then runs. */
int kms_work_start(struct kms_work *work);

/** Refuses new work, answers what is queued, joins the workers, waits for the last answers to be sent. */
void kms_work_stop(struct kms_work *work);

/** Hands a request to the workers and suspends it; false if they are stopping. */
bool kms_work_submit(struct kms_work *work, struct kms_http_request *request);

/** A submitted request was sent, or its client is gone. */
void kms_work_completed(struct kms_work *work);

/**
 * The response that delivers the events that request->response.stream asks for. NULL: request->response
 * says why not, or has no body for want of memory.
 */
struct MHD_Response *kms_http_stream_response(struct kms_http_request *request);

/** Why a request is refused. */
struct kms_http_refusal {
	enum kms_problem problem;
	const char *detail; /* static */
};

/**
 * Finds out who asks and whether he may: request->in gets who, read_only and access. False: refused.
 * Called when the headers are there.
 */
bool kms_http_admit(struct kms_http_request *request, struct kms_http_refusal *refusal);

/* libmicrohttpd's callbacks; cls is the struct kms_http_listener. */
void *kms_http_on_uri(void *cls, const char *uri, struct MHD_Connection *connection);
enum MHD_Result kms_http_on_request(void *cls, struct MHD_Connection *connection, const char *url,
				    const char *method, const char *version,
				    const char *upload_data, size_t *upload_data_size,
				    void **con_cls);
void kms_http_on_completed(void *cls, struct MHD_Connection *connection, void **con_cls,
			   enum MHD_RequestTerminationCode code);

#endif
