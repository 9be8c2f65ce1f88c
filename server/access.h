/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Who may ask over TCP, and what: tokens, the browser's cookie, and whether a request is what a client
 * of ours would send. Knows headers, not connections.
 *
 * Any process of any user of this machine, and any page in a browser, can reach a port. So: a secret
 * that only the owner can read; the Host header, because a foreign name can be made to resolve to this
 * machine; Origin and Sec-Fetch-Site, because a foreign page can send requests with our cookie.
 */
#ifndef KMS_SERVER_ACCESS_H
#define KMS_SERVER_ACCESS_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "server/exchange.h"

enum kms_access_limits {
	KMS_TOKEN_BYTES = 32,
	KMS_TOKEN_TEXT_BYTES = 2 * KMS_TOKEN_BYTES + 1,
	KMS_ACCESS_BROWSERS = 32, /* logged in at a time; a further one takes the oldest's place */
};

/* What somebody may do. */
enum kms_scope {
	KMS_SCOPE_NONE,
	KMS_SCOPE_READ,
	KMS_SCOPE_WRITE,
};

/** Names of enum kms_scope. */
#define KMS_SCOPE_NAMES "none", "read", "write"

/** Secrets are texts of lower-case hexadecimal digits. */
struct kms_access {
	uint16_t port;
	char read_token[KMS_TOKEN_TEXT_BYTES];
	char write_token[KMS_TOKEN_TEXT_BYTES];
	pthread_mutex_t lock;                   /* guards all below */
	char login_token[KMS_TOKEN_TEXT_BYTES]; /* good once: "" afterwards */

	struct kms_browser {
		char cookie[KMS_TOKEN_TEXT_BYTES];
		enum kms_scope scope;
	} browser[KMS_ACCESS_BROWSERS];

	unsigned int next_browser;
};

/** Headers of a request, as they came; NULL: not there. */
struct kms_access_headers {
	unsigned int n_hosts;
	unsigned int n_authorizations;
	const char *host;
	const char *authorization;
	const char *cookie; /* the whole header */
	const char *origin;
	const char *fetch_site;
	const char *
		local; /* ADDR:PORT that the connection came in at, where Host may name it; or NULL */
};

/** Outcome: a problem and its reason, or who asks. */
struct kms_access_verdict {
	bool refused;
	enum kms_problem problem;
	const char *detail; /* static */
	enum kms_scope scope;
	const char *kind; /* "token", "browser"; static */
};

/** Makes the secrets. Errors: those of getrandom(2) */
int kms_access_init(struct kms_access *access, uint16_t port);

void kms_access_deinit(struct kms_access *access);

/**
 * Judges a request.
 *
 * Shape:  @open: the request needs no credentials (healthz, files of the page, logging in)
 * Locks:  any thread
 */
void kms_access_judge(struct kms_access *access, const struct kms_access_headers *headers,
		      const char *method, bool open, struct kms_access_verdict *verdict);

/**
 * Exchanges a token for a cookie: the one-time token, or one of the two lasting ones.
 *
 * Shape:  *cookie is the value of a Set-Cookie header
 * Errors: KMS_SCOPE_NONE: not a token, or used already
 */
enum kms_scope kms_access_login(struct kms_access *access, const char *token, char *cookie,
				size_t cookie_bytes);

#endif
