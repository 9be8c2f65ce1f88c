/* SPDX-License-Identifier: BSD-2-Clause */
/* /api/v1/snapshot: the documents that make up a screen, of one moment. */
#include <inttypes.h>
#include <stdio.h>

#include "server/exchange.h"
#include "server/write.h"

enum {
	PATH_BYTES = 96,
};

static const struct {
	const char *name, *path;
	bool takes_limit, takes_target;
} parts[] = {
	{"targets", "/api/v1/targets", true,  false},
        {"stats",   "/api/v1/stats",   false, true },
	{"caches",  "/api/v1/caches",  true,  true },
        {"sites",   "/api/v1/sites",   true,  true },
	{"guard",   "/api/v1/guard",   false, true },
        {"leaks",   "/api/v1/leaks",   true,  true },
	{"faults",  "/api/v1/faults",  true,  true },
};

#define PARTS (sizeof(parts) / sizeof(parts[0]))

/* "/api/v1/leaks?limit=20&target=2": the request that a client would make for the part alone. */
static void write_path(const struct kms_exchange *x, size_t part, char path[PATH_BYTES])
{
	size_t used = (size_t)snprintf(path, PATH_BYTES, "%s?", parts[part].path);

	if (parts[part].takes_limit)
		used += (size_t)snprintf(path + used, PATH_BYTES - used, "limit=%zu&",
					 x->query.limit);
	if (parts[part].takes_target && x->query.target)
		(void)snprintf(path + used, PATH_BYTES - used, "target=%" PRIu32,
			       x->query.target); /* fits */
}

void kms_res_snapshot(struct kms_exchange *x)
{
	char path[PATH_BYTES];

	kms_json_object_begin(&x->json, NULL);
	kms_write_snapshot(x);
	for (size_t i = 0; i < PARTS; i++) {
		write_path(x, i, path);
		if (!kms_exchange_part(x, parts[i].name, path))
			return;
	}
	kms_json_object_end(&x->json);
}
