/* SPDX-License-Identifier: BSD-2-Clause */
/* The newest events: see feed_impl.h. */
#include <inttypes.h>
#include <stdio.h>

#include "tui/feed_impl.h"
#include "tui/text.h"

enum {
	PAGE_ROWS = 1000,  /* the API's longest page */
	PAGES = 6,         /* that are read on to the end */
	ENOUGH_ROWS = 120, /* more than a screen has lines */
	KEPT_ROWS = 500,
	TRIES = 10,
	WIDER = 4, /* times, while only one side is known */
};

static const uint64_t first_window_ns = UINT64_C(100) * 1000 * 1000;

/* How far back to ask: what was too little, and what was more than can be read on to its end. */
struct window {
	uint64_t ns;
	uint64_t too_small_ns, too_large_ns; /* 0: not known */
};

/* The newest rows stay. */
static void cut(cJSON *items)
{
	for (int n = cJSON_GetArraySize(items); items && n > KEPT_ROWS; n--)
		cJSON_Delete(cJSON_DetachItemViaPointer(items, items->child));
}

/* Moves the rows of a later page behind those of the first, and takes its cursor. */
static void append(cJSON *first, cJSON *later)
{
	cJSON *to = cJSON_GetObjectItemCaseSensitive(first, "items");
	cJSON *from = cJSON_GetObjectItemCaseSensitive(later, "items");
	cJSON *next = cJSON_DetachItemFromObjectCaseSensitive(later, "next_cursor");

	while (to && from && from->child)
		cJSON_AddItemToArray(to, cJSON_DetachItemViaPointer(from, from->child));
	cut(to);
	cJSON_DeleteItemFromObjectCaseSensitive(first, "next_cursor");
	if (next)
		cJSON_AddItemToObject(first, "next_cursor", next);
	cJSON_Delete(later);
}

static const char *cursor_of(const cJSON *page)
{
	return cJSON_GetStringValue(kms_json_member(page, "next_cursor"));
}

/* The newest rows of all events from @from_ns on; there is still a cursor if PAGES did not suffice. */
static int ask(struct kms_feed_worker *worker, uint64_t from_ns, cJSON **json, struct kms_err *err)
{
	char path[2 * KMS_FEED_PATH_BYTES];
	char target[32] = "";
	cJSON *later;
	int ret;

	if (worker->want.target)
		snprintf(target, sizeof(target), "&target=%" PRIu32, worker->want.target);
	snprintf(path, sizeof(path), "/api/v1/events?limit=%d&from=%" PRIu64 "%s", PAGE_ROWS,
		 from_ns, target);
	ret = kms_client_json(worker->client, path, json, err);
	for (int i = 1; ret == 0 && i < PAGES && cursor_of(*json); i++) {
		snprintf(path, sizeof(path),
			 "/api/v1/events?limit=%d&from=%" PRIu64 "%s&cursor=%.300s", PAGE_ROWS,
			 from_ns, target, cursor_of(*json));
		ret = kms_client_json(worker->client, path, &later, err);
		if (ret == 0)
			append(*json, later);
	}
	if (ret < 0) {
		cJSON_Delete(*json);
		*json = NULL;
	}
	return ret;
}

/* Another try, from what the last one gave; false: this is it. */
static bool adjust(struct window *window, const cJSON *json, uint64_t from_ns)
{
	int rows = cJSON_GetArraySize(kms_json_member(json, "items"));

	if (cursor_of(json))
		window->too_large_ns = window->ns;
	else if (rows < ENOUGH_ROWS && from_ns > 0)
		window->too_small_ns = window->ns;
	else
		return false;
	if (!window->too_small_ns)
		window->ns /= WIDER;
	else if (!window->too_large_ns)
		window->ns = window->ns < UINT64_MAX / WIDER ? window->ns * WIDER : window->ns;
	else
		window->ns =
			window->too_small_ns + (window->too_large_ns - window->too_small_ns) / 4;
	return window->ns > 0 && window->ns != window->too_small_ns;
}

int kms_feed_events(struct kms_feed_worker *worker, uint64_t end_ns, cJSON **json,
		    struct kms_err *err)
{
	struct window window = {.ns = worker->events_window_ns ? worker->events_window_ns
							       : first_window_ns};
	uint64_t from_ns;
	int ret;

	for (int i = 0;; i++) {
		worker->events_window_ns = window.ns;
		from_ns = end_ns > window.ns ? end_ns - window.ns : 0;
		ret = ask(worker, from_ns, json, err);
		if (ret < 0)
			return ret;
		if (!adjust(&window, *json, from_ns) || i == TRIES)
			break;
		cJSON_Delete(*json);
		*json = NULL;
	}
	cut(cJSON_GetObjectItemCaseSensitive(*json, "items"));
	return 0;
}
