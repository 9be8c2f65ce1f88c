/* SPDX-License-Identifier: BSD-2-Clause */
/* What all views share: see view.h. */
#include "tui/view.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* Everything but letters, digits and a few harmless ones as %XX. */
static void add_encoded(struct kms_buf *url, const char *value)
{
	for (; *value; value++) {
		if (isalnum((unsigned char)*value) || strchr("-._~,", *value))
			kms_buf_add_char(url, *value);
		else
			kms_buf_addf(url, "%%%02x", (unsigned char)*value);
	}
}

char *kms_view_target(const char *path, const char *const *pairs)
{
	struct kms_buf url;
	char separator = '?';

	kms_buf_init(&url, 3500);
	kms_buf_add_str(&url, path);
	for (; pairs[0]; pairs += 2) {
		if (!pairs[1])
			continue;
		kms_buf_addf(&url, "%c%s=", separator, pairs[0]);
		add_encoded(&url, pairs[1]);
		separator = '&';
	}
	if (kms_buf_status(&url) == 0)
		return kms_buf_take(&url);
	kms_buf_deinit(&url);
	return NULL;
}

int kms_view_open(struct kms_cli *cli, char **args, int n_args, struct kms_client **client)
{
	struct kms_err err = KMS_ERR_INIT;
	struct kms_source source;

	if (kms_source_pick(cli->hooks, n_args ? args[0] : NULL, &source, &err) < 0 ||
	    kms_client_open(cli->hooks, &source, client, &err) < 0)
		return kms_cli_fail(cli, &err, KMS_EXIT_FAILED);
	return 0;
}

int kms_view_status(const struct kms_err *err)
{
	return err->code == -ECONNRESET ? KMS_EXIT_TARGET_LOST : KMS_EXIT_FAILED;
}

int kms_view_strict(const struct kms_view_values *values, const cJSON *document)
{
	const cJSON *snapshot = kms_json_member(document, "snapshot");

	if (!values->strict)
		return KMS_EXIT_OK;
	if (*kms_json_text(snapshot, "tracer_lost"))
		return KMS_EXIT_TARGET_LOST;
	return kms_json_number(snapshot, "lost") ? KMS_EXIT_EVENTS_LOST : KMS_EXIT_OK;
}
