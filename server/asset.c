/* SPDX-License-Identifier: BSD-2-Clause */
/* Files of the page: see asset.h. */
#include "server/asset.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <zlib.h>

#include "base/cleanup.h"

enum {
	GZIP_WINDOW = 15 + 16, /* of inflateInit2(): the largest window, gzip's frame */
	PIECE_BYTES = 16 << 10,
};

static const char page[] = "/index.html";

const struct kms_asset *kms_asset_find(const char *path, size_t path_bytes)
{
	if (path_bytes == 1 && path[0] == '/') {
		path = page;
		path_bytes = strlen(page);
	}
	for (const struct kms_asset *asset = kms_assets; asset->path; asset++)
		if (strlen(asset->path) == path_bytes && memcmp(asset->path, path, path_bytes) == 0)
			return asset;
	return NULL;
}

int kms_asset_inflate(const struct kms_asset *asset, struct kms_buf *out)
{
	z_stream z = {.next_in = (z_const Bytef *)asset->gzip, .avail_in = (uInt)asset->gzip_bytes};
	unsigned char piece[PIECE_BYTES];
	int ret = inflateInit2(&z, GZIP_WINDOW);
	size_t before = out->used_bytes;

	if (ret != Z_OK)
		return -ENOMEM;
	do {
		z.next_out = piece;
		z.avail_out = sizeof(piece);
		ret = inflate(&z, Z_NO_FLUSH);
		kms_buf_add(out, piece, sizeof(piece) - z.avail_out);
	} while (ret == Z_OK);
	inflateEnd(&z);
	if (ret != Z_STREAM_END || out->used_bytes - before != asset->bytes)
		return -EIO;
	return 0;
}

/* One element of the list, n bytes: "gzip;q=0.5". */
static bool element_is_gzip(const char *element, size_t n)
{
	size_t name = strcspn(element, ";, \t");
	const char *q;

	if (name != 4 || n < name || strncasecmp(element, "gzip", 4) != 0)
		return false;
	q = memchr(element, '=', n);
	if (!q)
		return true;
	q++; /* q=0, q=0.0, ... mean "not this one" */
	return strspn(q, "0.") < strcspn(q, ",; \t");
}

bool kms_accepts_gzip(const char *header)
{
	size_t n;

	while (header && *header) {
		header += strspn(header, " \t,");
		n = strcspn(header, ",");
		if (element_is_gzip(header, n))
			return true;
		header += n;
	}
	return false;
}

/* The kernel keeps the path inside the folder: no "..", no links out of it. */
static int open_beneath(const char *folder, const char *path)
{
	const struct open_how how = {.flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK,
				     .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS};
	KMS_AUTO_CLOSE int dir = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);

	return dir < 0 ? -1 : (int)syscall(SYS_openat2, dir, path, &how, sizeof(how));
}

int kms_asset_read(const char *folder, const char *path, size_t path_bytes, struct kms_buf *out)
{
	KMS_AUTO_CLOSE int fd = -1;
	char name[PATH_MAX];
	char piece[PIECE_BYTES];
	struct stat st;
	ssize_t n;

	if (path_bytes <= 1) {
		path = page;
		path_bytes = strlen(page);
	}
	if (path_bytes >= sizeof(name) || path[0] != '/')
		return -ENOENT;
	memcpy(name, path + 1, path_bytes - 1);
	name[path_bytes - 1] = '\0';
	fd = open_beneath(folder, name);
	if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
		return -ENOENT;
	while ((n = read(fd, piece, sizeof(piece))) > 0) {
		kms_buf_add(out, piece, (size_t)n);
		if (out->used_bytes > KMS_ASSET_BYTES)
			return -E2BIG;
	}
	return n < 0 ? -ENOENT : 0;
}

const char *kms_asset_media_type(const char *path, size_t path_bytes)
{
	static const char *const types[][2] = {
		{".html",  "text/html; charset=utf-8"      },
		{".js",    "text/javascript; charset=utf-8"},
		{".css",   "text/css; charset=utf-8"       },
		{".svg",   "image/svg+xml"                 },
		{".png",   "image/png"                     },
		{".ico",   "image/x-icon"                  },
		{".json",  "application/json"              },
		{".map",   "application/json"              },
		{".txt",   "text/plain; charset=utf-8"     },
		{".woff2", "font/woff2"                    },
	};
	size_t n;

	if (path_bytes <= 1)
		return types[0][1];
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		n = strlen(types[i][0]);
		if (path_bytes > n && memcmp(path + path_bytes - n, types[i][0], n) == 0)
			return types[i][1];
	}
	return "application/octet-stream";
}
