/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A TCP port that the API is served on, with its secrets: see kms_tcp_open() in server.h.
 */
#ifndef KMS_SERVER_TCP_H
#define KMS_SERVER_TCP_H

#include <stdbool.h>

#include "server/access.h"
#include "server/server.h"

struct kms_tcp {
	int fd;       /* listening; -1 released, or the HTTP front's now */
	bool exposed; /* other machines can reach it */
	struct kms_access access;
	char url[80];
	char login_url[96 + KMS_TOKEN_TEXT_BYTES];
};

/**
 * Writes the tokens and the address into files of a folder, mode 0600, that replace older ones.
 * Errors: what the file system says; files written so far are removed
 */
int kms_tcp_write_files(const struct kms_tcp *tcp, const char *folder, struct kms_err *err);

/** Removes them. */
void kms_tcp_remove_files(const char *folder);

#endif
