/* SPDX-License-Identifier: BSD-2-Clause */
/* The prompt's lines and their answers. See feed.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "tui/feed_impl.h"
#include "tui/prompt.h"
#include "tui/text.h"

enum {
	OUTPUT_BYTES = 16 << 20,
};

/* Sends the line; NULL: err says why there is no answer. */
static cJSON *post(const struct kms_feed_worker *worker, const struct kms_feed_line *line,
		   struct kms_err *err)
{
	struct kms_reply reply = {0};
	char *body = kms_prompt_body(line->text, strlen(line->text), worker->feed->session);
	char path[64] = "/api/v1/db";
	cJSON *json = NULL;

	if (line->target)
		snprintf(path, sizeof(path), "/api/v1/db?target=%" PRIu32, line->target);
	if (!body)
		(void)kms_err_set(err, -ENOMEM, "out of memory");
	else if (kms_client_request(worker->client, "POST", path, body, &reply, err) == 0)
		json = cJSON_ParseWithLength(reply.body, reply.body_bytes);
	free(reply.body);
	free(body);
	return json;
}

/* The prompt's answer, {"output", "error"}: what it printed, then what went wrong. */
static char *read_answer(const cJSON *json, const struct kms_err *err)
{
	struct kms_buf text;

	kms_buf_init(&text, OUTPUT_BYTES);
	kms_buf_add_str(&text, kms_json_text(json, "output"));
	kms_buf_add_str(&text, json ? kms_json_text(json, "error") : err->text);
	return kms_buf_take(&text);
}

void kms_feed_ask_line(struct kms_feed_worker *worker, struct kms_feed_line *line)
{
	struct kms_feed *feed = worker->feed;
	struct kms_err err = KMS_ERR_INIT;
	cJSON *json = post(worker, line, &err);
	struct kms_feed_output output = {
		.line = line->text,
		.output = read_answer(json, &err),
		.failed = !json || *kms_json_text(json, "error"),
	};

	cJSON_Delete(json);
	kms_feed_lock(feed);
	if (feed->n_outputs < KMS_FEED_LINES) {
		feed->output[feed->n_outputs++] = output;
	} else {
		free(output.line);
		free(output.output);
	}
	feed->stale++; /* it may have changed what is shown */
	(void)pthread_cond_broadcast(&feed->changed);
	kms_feed_unlock(feed);
	kms_feed_wake(feed);
}

int kms_feed_send(struct kms_feed *feed, const char *line, uint32_t target)
{
	int ret = -ENOMEM;
	char *copy = strdup(line);

	kms_feed_lock(feed);
	if (copy && feed->n_lines < KMS_FEED_LINES) {
		feed->line[feed->n_lines++] = (struct kms_feed_line){copy, target};
		copy = NULL;
		ret = 0;
		(void)pthread_cond_broadcast(&feed->changed);
	} else if (copy) {
		ret = -EBUSY;
	}
	kms_feed_unlock(feed);
	free(copy);
	return ret;
}

bool kms_feed_output(struct kms_feed *feed, struct kms_feed_output *output)
{
	bool has;

	kms_feed_lock(feed);
	has = feed->n_outputs > 0;
	if (has) {
		*output = feed->output[0];
		memmove(feed->output, feed->output + 1,
			--feed->n_outputs * sizeof(feed->output[0]));
	}
	kms_feed_unlock(feed);
	return has;
}
