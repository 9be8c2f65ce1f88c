/* SPDX-License-Identifier: BSD-2-Clause */
/* What all views share: see view.h. */
#include "tui/view.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
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

const char *kms_opt_text(const struct kms_opt_number *number, char text[24])
{
	if (!number->given)
		return NULL;
	snprintf(text, 24, "%" PRIu64, number->value);
	return text;
}

/* What a reader of the text must know, on stderr; JSON says it itself. */
static void warn(struct kms_cli *cli, const cJSON *document)
{
	const cJSON *snapshot = kms_json_member(document, "snapshot");
	uint64_t lost = kms_json_number(snapshot, "lost");

	if (*kms_json_text(snapshot, "tracer_lost"))
		kms_cli_error(cli, "%s; what came later is missing",
			      kms_json_text(snapshot, "tracer_lost"));
	if (lost)
		kms_cli_error(cli, "%" PRIu64 " event%s lost: figures may be wrong", lost,
			      lost == 1 ? " is" : "s are");
}

void kms_view_print(struct kms_cli *cli, const struct kms_view_values *values,
		    const struct kms_reply *reply, const cJSON *document, kms_show_fn *show)
{
	struct kms_text text;

	if (values->json) {
		kms_cli_write(cli->out, reply->body, reply->body_bytes);
		return;
	}
	kms_text_init(&text, cli);
	text.color &= !values->no_color;
	show(&text, document, values);
	kms_text_print(&text, cli->out);
	warn(cli, document);
}

int kms_view_ask(struct kms_cli *cli, const struct kms_view_values *values,
		 struct kms_client *client, const struct kms_view_request *request)
{
	struct kms_err err = KMS_ERR_INIT;
	struct kms_reply reply;
	cJSON *document;
	int status = KMS_EXIT_FAILED;

	if (kms_client_request(client, request->method, request->target, request->body, &reply,
			       &err) < 0)
		return kms_cli_fail(cli, &err, kms_view_status(&err));
	document = cJSON_ParseWithLength(reply.body, reply.body_bytes);
	if (document) {
		kms_view_print(cli, values, &reply, document, request->show);
		status = kms_view_strict(values, document);
	} else {
		kms_cli_error(cli, "the answer is not JSON");
	}
	free(reply.body);
	cJSON_Delete(document);
	return status;
}
