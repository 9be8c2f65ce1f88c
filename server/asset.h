/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The web page: files of web/dist, compressed, in the program (cmake/EmbedWeb.cmake), or of a folder
 * while the page is worked on.
 */
#ifndef KMS_SERVER_ASSET_H
#define KMS_SERVER_ASSET_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

enum kms_asset_limits {
	KMS_ASSET_BYTES = 16 << 20, /* of a file of a folder */
};

/** A file of the page. */
struct kms_asset {
	const char *path; /* "/index.html" */
	const char *media_type;
	const char *digest;        /* 16 hexadecimal digits of the SHA-256 of its content */
	const unsigned char *gzip; /* gzip_bytes bytes */
	size_t gzip_bytes;
	size_t bytes;   /* inflated */
	bool immutable; /* its name changes with its content */
};

/** The table; ends with a row of NULLs. */
extern const struct kms_asset kms_assets[];

/** The file at the first path_bytes bytes of a path, "/" being the page itself; NULL: none. */
const struct kms_asset *kms_asset_find(const char *path, size_t path_bytes);

/** Adds a file's content to a text. Errors: -EIO: it does not inflate to what the table says; -ENOMEM */
int kms_asset_inflate(const struct kms_asset *asset, struct kms_buf *out);

/** Whether an Accept-Encoding header takes gzip; NULL: there is none. */
bool kms_accepts_gzip(const char *header);

/**
 * Adds a file of a folder to a text; nothing outside of the folder, whatever the path says.
 *
 * Errors: -ENOENT: there is no such regular file; -E2BIG: more than KMS_ASSET_BYTES
 */
int kms_asset_read(const char *folder, const char *path, size_t path_bytes, struct kms_buf *out);

/** Media type by suffix, for files of a folder. Static. */
const char *kms_asset_media_type(const char *path, size_t path_bytes);

#endif
