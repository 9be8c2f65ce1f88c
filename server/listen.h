/* SPDX-License-Identifier: BSD-2-Clause */
/* The Unix socket that the API is served on. */
#ifndef KMS_SERVER_LISTEN_H
#define KMS_SERVER_LISTEN_H

#include "base/err.h"

/**
 * A listening Unix socket of mode 0600 at @path. A socket that nobody serves any more is replaced.
 *
 * Owner:  the caller closes the descriptor (close-on-exec, non-blocking) and unlinks the path.
 * Errors: -EADDRINUSE, -ENAMETOOLONG, what socket(2) and bind(2) say
 */
int kms_listen_unix(const char *path, struct kms_err *err);

#endif
