/* SPDX-License-Identifier: BSD-2-Clause */
/* The web page and its files: what no route answers. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "server/asset.h"
#include "server/exchange.h"

/* A file of the folder that the page is worked on in: always as it is now. */
static bool serve_folder(struct kms_exchange *x, size_t path_bytes)
{
	const char *path = x->in->target;

	if (kms_asset_read(x->server->web_root, path, path_bytes, &x->body) < 0) {
		kms_buf_reset(&x->body);
		return false;
	}
	x->out->content_type = kms_asset_media_type(path, path_bytes);
	x->out->page = true;
	return true;
}

static void serve_asset(struct kms_exchange *x, const struct kms_asset *asset)
{
	bool gzip = kms_accepts_gzip(x->in->accept_encoding);

	if (gzip) {
		x->out->content_encoding = "gzip";
		kms_buf_add(&x->body, asset->gzip, asset->gzip_bytes);
	} else if (kms_asset_inflate(asset, &x->body) == -EIO) {
		kms_problem(x, KMS_PROBLEM_INTERNAL, "%s is damaged inside this program",
			    asset->path);
		return;
	}
	x->out->page = true;
	x->out->content_type = asset->media_type;
	x->out->cache_control = asset->immutable ? "max-age=31536000, immutable" : "no-cache";
	/* two encodings are two representations, each with a tag of its own */
	snprintf(x->out->etag, sizeof(x->out->etag), "\"%s%s\"", asset->digest, gzip ? "-gz" : "");
}

bool kms_serve_page(struct kms_exchange *x, size_t path_bytes)
{
	const struct kms_asset *asset;

	if (strcmp(x->in->method, "GET") != 0 && strcmp(x->in->method, "HEAD") != 0)
		return false;
	if (x->server->web_root)
		return serve_folder(x, path_bytes);
	asset = kms_asset_find(x->in->target, path_bytes);
	if (asset)
		serve_asset(x, asset);
	return asset != NULL;
}
