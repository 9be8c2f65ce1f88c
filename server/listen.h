/* SPDX-License-Identifier: BSD-2-Clause */
/* The Unix socket and the TCP port that the API is served on. */
#ifndef KMS_SERVER_LISTEN_H
#define KMS_SERVER_LISTEN_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"

enum {
	KMS_ENDPOINT_BYTES = 64,
};

/** A TCP port of this machine. */
struct kms_endpoint {
	uint16_t port;
	bool loopback;
	char name[KMS_ENDPOINT_BYTES]; /* "127.0.0.1:8080", "[::1]:8080" */
};

/**
 * A listening Unix socket of mode 0600 at @path. A socket that nobody serves any more is replaced.
 *
 * Owner:  the caller closes the descriptor (close-on-exec, non-blocking) and unlinks the path.
 * Errors: -EADDRINUSE, -ENAMETOOLONG, what socket(2) and bind(2) say
 */
int kms_listen_unix(const char *path, struct kms_err *err);

/**
 * A listening TCP socket at [ADDR:]PORT; see kms_tcp_open().
 *
 * Owner:  the caller closes the descriptor (close-on-exec, non-blocking).
 */
int kms_listen_tcp(const char *where, bool expose, struct kms_endpoint *end, struct kms_err *err);

/** An address and port as text. */
void kms_socket_name(const struct sockaddr_storage *address, char name[KMS_ENDPOINT_BYTES]);

#endif
