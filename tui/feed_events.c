/* SPDX-License-Identifier: BSD-2-Clause */
/* The newest events: see feed_impl.h. */
#include <inttypes.h>
#include <stdio.h>

#include "tui/feed_impl.h"
#include "tui/text.h"

enum {
	PAGE_ROWS = 1000,  /* the API's longest page */
	ENOUGH_ROWS = 120, /* more than a screen has lines */
	KEPT_ROWS = 500,
	TRIES = 8,
};

static const uint64_t first_window_ns = UINT64_C(100) * 1000 * 1000;
static const uint64_t least_window_ns = UINT64_C(10) * 1000;

/* One page from @from_ns on. */
static int ask(struct kms_feed_worker *worker, uint64_t from_ns, cJSON **json, struct kms_err *err)
{
	uint32_t target = worker->want.target;
	char path[KMS_FEED_PATH_BYTES];
	int n = snprintf(path, sizeof(path), "/api/v1/events?limit=%d&from=%" PRIu64, PAGE_ROWS,
			 from_ns);

	if (target)
		snprintf(path + n, sizeof(path) - (size_t)n, "&target=%" PRIu32, target);
	return kms_client_json(worker->client, path, json, err);
}

/* The newest rows stay. */
static void cut(cJSON *json)
{
	cJSON *items = cJSON_GetObjectItemCaseSensitive(json, "items");
	cJSON *first;
	int n = cJSON_GetArraySize(items);

	for (; n > KEPT_ROWS; n--) {
		first = cJSON_DetachItemViaPointer(items, items->child);
		cJSON_Delete(first);
	}
}

int kms_feed_events(struct kms_feed_worker *worker, uint64_t end_ns, cJSON **json,
		    struct kms_err *err)
{
	uint64_t window_ns = worker->events_window_ns;
	uint64_t from_ns;
	int rows;
	int ret;

	if (window_ns == 0)
		window_ns = first_window_ns;
	for (int i = 0;; i++) {
		from_ns = end_ns > window_ns ? end_ns - window_ns : 0;
		ret = ask(worker, from_ns, json, err);
		if (ret < 0)
			return ret;
		rows = cJSON_GetArraySize(kms_json_member(*json, "items"));
		if (i == TRIES)
			break;
		if (cJSON_IsString(kms_json_member(*json, "next_cursor")) &&
		    window_ns > least_window_ns)
			window_ns /= 3; /* the page ends before the newest */
		else if (rows < ENOUGH_ROWS && from_ns > 0)
			window_ns *= 4;
		else
			break;
		cJSON_Delete(*json);
		*json = NULL;
	}
	worker->events_window_ns = window_ns;
	cut(*json);
	return 0;
}
