/* SPDX-License-Identifier: BSD-2-Clause */
/* The data behind the screen as one JSON object. See top_run.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "tui/client.h"
#include "tui/top_run.h"
#include "tui/view.h"

enum {
	LIST_ROWS = 1000, /* of each list: the API's longest page */
};

int kms_top_json(struct kms_cli *cli, const struct kms_source *source,
		 const struct kms_top_config *config)
{
	struct kms_err err = KMS_ERR_INIT;
	struct kms_reply reply = {0};
	struct kms_client *client = NULL;
	char path[96];
	int used = snprintf(path, sizeof(path), "/api/v1/snapshot?limit=%d", LIST_ROWS);
	int ret = kms_client_open(cli->hooks, source, &client, &err);

	if (config->target)
		(void)snprintf(path + used, sizeof(path) - (size_t)used, "&target=%" PRIu32,
			       config->target); /* fits */
	if (ret == 0)
		ret = kms_client_get(client, path, NULL, &reply, &err);
	kms_client_close(client);
	if (ret == 0 && reply.body_bytes && reply.body[0] == '{') {
		/* one request, one moment: said for those who look for it */
		fputs("{\"same_moment\":true,", cli->out);
		kms_cli_write(cli->out, reply.body + 1, reply.body_bytes - 1);
	} else if (ret == 0) {
		ret = kms_err_set(&err, -EPROTO, "the answer is not JSON");
	}
	free(reply.body);
	return ret < 0 ? kms_cli_fail(cli, &err, kms_view_status(&err)) : KMS_EXIT_OK;
}
