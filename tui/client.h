/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A client of the API: the same requests to a trace file, in this process, and to a live session,
 * through its socket.
 */
#ifndef KMS_TUI_CLIENT_H
#define KMS_TUI_CLIENT_H

#include "base/err.h"
#include "tui/hooks.h"
#include "tui/source.h"

struct cJSON;
struct kms_client;

/**
 * Opens a source.
 *
 * Owner:  the caller ends it with kms_client_close().
 * Errors: what the file says; -ENOMEM. A session is not asked yet.
 */
int kms_client_open(const struct kms_hooks *hooks, const struct kms_source *source,
		    struct kms_client **out, struct kms_err *err);

/** NULL is allowed. */
void kms_client_close(struct kms_client *client);

/** Whether it is a live session. */
bool kms_client_is_live(const struct kms_client *client);

/** Longest wait for an answer of a session; default 60 s. */
void kms_client_set_timeout(struct kms_client *client, long timeout_ms);

/**
 * Sends a GET.
 *
 * Shape:  target is path and query; accept may be NULL (JSON)
 * Owner:  the caller frees reply->body.
 * Errors: -ECONNRESET: the session went away; -ETIMEDOUT: it does not answer; -EREMOTEIO: it refused,
 *         err has its reason; -ENOMEM. The reply is empty then.
 */
int kms_client_get(struct kms_client *client, const char *target, const char *accept,
		   struct kms_reply *reply, struct kms_err *err);

/**
 * Sends any request, for those that change something.
 *
 * Shape:  method "POST", "PATCH", ...; body is JSON text of at most 64 KiB, NULL none
 * Owner:  the caller frees reply->body; reply->status is 2xx (202: taken up, not yet in effect)
 * Errors: as kms_client_get()
 */
int kms_client_request(struct kms_client *client, const char *method, const char *target,
		       const char *body, struct kms_reply *reply, struct kms_err *err);

/** Sends a GET and parses the answer; the caller deletes it. Errors as above; -EBADMSG: no JSON. */
int kms_client_json(struct kms_client *client, const char *target, struct cJSON **json,
		    struct kms_err *err);

/** Sets reply->next from a Link header's value of @n bytes: <TARGET>; rel="next". */
void kms_reply_link(char next[512], const char *link, size_t n);

#endif
