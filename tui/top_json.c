/* SPDX-License-Identifier: BSD-2-Clause */
/* The data behind the screen as one JSON object. See top_run.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "tui/client.h"
#include "tui/text.h"
#include "tui/top_run.h"
#include "tui/view.h"

enum {
	TRIES = 20, /* to get all of one moment; pictures change every 100 ms at most */
};

static const struct {
	const char *name, *path;
	bool target;
} parts[] = {
	{"targets", "/api/v1/targets?limit=1000", false},
	{"stats",   "/api/v1/stats",              true },
	{"caches",  "/api/v1/caches?limit=1000",  true },
	{"sites",   "/api/v1/sites?limit=1000",   true },
	{"guard",   "/api/v1/guard",              true },
	{"leaks",   "/api/v1/leaks?limit=1000",   true },
	{"faults",  "/api/v1/faults?limit=1000",  true },
};

#define PARTS (sizeof(parts) / sizeof(parts[0]))

/* The moment of a body; the bodies are not changed, so it is only looked at. */
static bool read_moment(const struct kms_reply *reply, uint64_t *seq, uint64_t *time_ns)
{
	cJSON *json = cJSON_ParseWithLength(reply->body, reply->body_bytes);
	const cJSON *snapshot = kms_json_member(json, "snapshot");
	bool has = snapshot != NULL;

	*seq = kms_json_number(snapshot, "seq");
	*time_ns = kms_json_number(snapshot, "time_ns");
	cJSON_Delete(json);
	return has;
}

static int ask_part(struct kms_client *client, size_t part, uint32_t target,
		    struct kms_reply *reply, struct kms_err *err)
{
	char path[128];

	if (target && parts[part].target)
		snprintf(path, sizeof(path), "%s%ctarget=%" PRIu32, parts[part].path,
			 strchr(parts[part].path, '?') ? '&' : '?', target);
	else
		snprintf(path, sizeof(path), "%s", parts[part].path);
	free(reply->body);
	reply->body = NULL;
	return kms_client_get(client, path, NULL, reply, err);
}

/* All bodies once; *same: they are of one moment. */
static int ask_all(struct kms_client *client, uint32_t target, struct kms_reply *replies,
		   bool *same, struct kms_err *err)
{
	uint64_t first[2] = {0};
	uint64_t moment[2];
	int ret = 0;

	*same = true;
	for (size_t i = 0; i < PARTS && ret == 0; i++) {
		ret = ask_part(client, i, target, &replies[i], err);
		if (ret < 0)
			break;
		if (!read_moment(&replies[i], &moment[0], &moment[1]))
			*same = false;
		if (i == 0)
			memcpy(first, moment, sizeof(first));
		else if (memcmp(first, moment, sizeof(first)) != 0)
			*same = false;
	}
	return ret;
}

static void print_all(struct kms_cli *cli, const struct kms_reply *replies, bool same)
{
	fprintf(cli->out, "{\"same_moment\":%s", same ? "true" : "false");
	for (size_t i = 0; i < PARTS; i++) {
		fprintf(cli->out, ",\"%s\":", parts[i].name);
		kms_cli_write(cli->out, replies[i].body, replies[i].body_bytes);
	}
	fputs("}\n", cli->out);
}

int kms_top_json(struct kms_cli *cli, const struct kms_source *source,
		 const struct kms_top_config *config)
{
	struct kms_err err = KMS_ERR_INIT;
	struct kms_reply replies[PARTS] = {0};
	struct kms_client *client = NULL;
	bool same = false;
	int ret = kms_client_open(cli->hooks, source, &client, &err);

	for (int i = 0; i < TRIES && ret == 0 && !same; i++)
		ret = ask_all(client, config->target, replies, &same, &err);
	kms_client_close(client);
	if (ret == 0)
		print_all(cli, replies, same);
	for (size_t i = 0; i < PARTS; i++)
		free(replies[i].body);
	return ret < 0 ? kms_cli_fail(cli, &err, kms_view_status(&err)) : KMS_EXIT_OK;
}
