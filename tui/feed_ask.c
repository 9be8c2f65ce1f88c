/* SPDX-License-Identifier: BSD-2-Clause */
/* How one document is asked for, what that costs, and what it means that no answer comes. See feed_impl.h. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "tui/feed_impl.h"
#include "tui/text.h"

enum {
	NS_PER_MS = 1000000,
	RETRY_MS = 1000,
	/* A document that takes us 1 ms to read is asked for every 100 ms at most, so that one never
	 * takes more than a hundredth of a core; and the server has as long a rest as it worked. */
	SHARE = 100,
	WAIT_SHARE = 2,
	SLOW_WAIT_SHARE =
		5, /* four times as long for events and pages, which may be read from disk */
};

/* Paths of the documents; those that take ?target= have it added. */
static const struct {
	const char *path;
	bool target;
} documents[KMS_FEED_DOCUMENTS] = {
	[KMS_FEED_STATS] = {"/api/v1/stats",                       true },
	[KMS_FEED_TARGETS] = {"/api/v1/targets?limit=1000",          false},
	[KMS_FEED_SUSPECTS] = {"/api/v1/leaks?limit=1",               true },
	[KMS_FEED_CACHES] = {"/api/v1/caches?limit=1000",           true },
	[KMS_FEED_SITES] = {"/api/v1/sites?limit=300",             true },
	[KMS_FEED_LEAKS] = {"/api/v1/leaks?limit=300",             true },
	[KMS_FEED_GUARD] = {"/api/v1/guard",                       true },
	[KMS_FEED_FAULTS] = {"/api/v1/faults?limit=200",            true },
	[KMS_FEED_EVENTS] = {"/api/v1/events?limit=500&order=desc", true },
	[KMS_FEED_TIMELINE] = {"/api/v1/timeline",                    true },
};

static void set_state(struct kms_feed *feed, enum kms_feed_state state, const char *reason)
{
	kms_feed_lock(feed);
	feed->state = state;
	snprintf(feed->reason, sizeof(feed->reason), "%s", reason);
	kms_feed_unlock(feed);
}

/* The session went away: its trace goes on to answer, if it is a file that can be read. */
static void fall_back(struct kms_feed_worker *worker, const char *reason)
{
	struct kms_feed *feed = worker->feed;
	struct kms_source source = {.kind = KMS_SOURCE_FILE};
	struct kms_client *client;

	kms_feed_lock(feed);
	if (feed->source.kind == KMS_SOURCE_SESSION) /* a file of that name here may be another */
		memcpy(source.path, feed->file, sizeof(source.path));
	kms_feed_unlock(feed);
	if (!source.path[0] || kms_client_open(feed->hooks, &source, &client, NULL) < 0) {
		set_state(feed, KMS_FEED_LOST, reason);
		return;
	}
	kms_client_close(worker->client);
	worker->client = client;
	set_state(feed, KMS_FEED_ENDED, reason);
	kms_feed_unsettle(worker);
}

/* What every answer says about the moment and the file. */
static void learn(struct kms_feed_worker *worker, const cJSON *json)
{
	struct kms_feed *feed = worker->feed;
	const cJSON *snapshot = kms_json_member(json, "snapshot");
	const char *file = kms_json_text(snapshot, "file");

	if (!snapshot)
		return;
	kms_feed_lock(feed);
	if (kms_client_is_live(worker->client) && *file)
		snprintf(feed->file, sizeof(feed->file), "%s", file);
	if (feed->state == KMS_FEED_LOST)
		feed->state = KMS_FEED_LIVE;
	kms_feed_unlock(feed);
}

static bool is_finished(const cJSON *json)
{
	return kms_json_flag(kms_json_member(json, "snapshot"), "finished");
}

static void publish(struct kms_feed *feed, enum kms_feed_document document, const char *path,
		    cJSON *json, const struct kms_err *err)
{
	struct kms_doc *doc = calloc(1, sizeof(*doc));
	struct kms_doc *old;

	if (!doc) {
		cJSON_Delete(json);
		return;
	}
	doc->refs = 1;
	doc->json = json;
	snprintf(doc->path, sizeof(doc->path), "%s", path);
	if (!json)
		snprintf(doc->error, sizeof(doc->error), "%s", err->text);
	kms_feed_lock(feed);
	old = feed->slot[document].doc;
	feed->slot[document].doc = doc;
	kms_feed_unlock(feed);
	kms_doc_release(old);
	kms_feed_wake(feed);
}

bool kms_feed_path(const struct kms_feed_want *want, enum kms_feed_document document,
		   char path[KMS_FEED_PATH_BYTES])
{
	const char *given = documents[document].path;
	size_t n;

	if (document == KMS_FEED_PAGE)
		given = want->page;
	if (document == KMS_FEED_PANE)
		given = want->pane;
	if (!given || !*given) {
		path[0] = '\0';
		return false;
	}
	n = (size_t)snprintf(path, KMS_FEED_PATH_BYTES, "%s", given);
	if (document == KMS_FEED_CACHES && want->sum)
		n += (size_t)snprintf(path + n, KMS_FEED_PATH_BYTES - n, "&sum=1");
	if (documents[document].target && want->target && n < KMS_FEED_PATH_BYTES)
		snprintf(path + n, KMS_FEED_PATH_BYTES - n, "%ctarget=%" PRIu32,
			 strchr(given, '?') ? '&' : '?', want->target);
	return true;
}

static uint64_t cpu_ns(void)
{
	struct timespec t = {0};

	(void)clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t); /* 0 makes it seem cheap */
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* When a document is asked for next, by what it cost this time. */
static uint64_t next_due(const struct kms_feed_worker *worker, uint64_t begin_ns,
			 uint64_t cpu_spent_ns, uint64_t now_ns)
{
	uint64_t pause_ns = (uint64_t)worker->want.interval_ms * NS_PER_MS;
	uint64_t share = worker->lines ? SLOW_WAIT_SHARE : WAIT_SHARE;

	if (cpu_spent_ns * SHARE > pause_ns)
		pause_ns = cpu_spent_ns * SHARE;
	if ((now_ns - begin_ns) * share > pause_ns)
		pause_ns = (now_ns - begin_ns) * share;
	return begin_ns + pause_ns;
}

/* No answer: the session ended, or is too slow. */
static void fail(struct kms_feed_worker *worker, struct kms_feed_slot *slot, int ret,
		 const char *reason)
{
	slot->due_ns = kms_clock_now(kms_clock_system()) + (uint64_t)RETRY_MS * NS_PER_MS;
	if (ret == -ECONNRESET)
		fall_back(worker, reason);
	else
		set_state(worker->feed, KMS_FEED_LOST, reason);
	kms_feed_wake(worker->feed);
}

/* A list shows its end, so the newest is to be the last row, not the first. */
static void turn_round(cJSON *document)
{
	cJSON *items = cJSON_GetObjectItemCaseSensitive(document, "items");
	cJSON *turned = cJSON_CreateArray();

	if (!cJSON_IsArray(items) || !turned) {
		cJSON_Delete(turned);
		return;
	}
	while (items->child)
		cJSON_InsertItemInArray(turned, 0, cJSON_DetachItemViaPointer(items, items->child));
	cJSON_ReplaceItemInObjectCaseSensitive(document, "items", turned);
}

/* Asks for one document. */
void kms_feed_ask(struct kms_feed_worker *worker, enum kms_feed_document document)
{
	struct kms_feed_slot *slot = &worker->feed->slot[document];
	const struct kms_clock *clock = kms_clock_system();
	uint64_t begin_ns = kms_clock_now(clock);
	uint64_t cpu_begin_ns = cpu_ns();
	struct kms_err err = KMS_ERR_INIT;
	char path[KMS_FEED_PATH_BYTES];
	cJSON *json = NULL;
	bool live = kms_client_is_live(worker->client);
	int ret;

	(void)kms_feed_path(&worker->want, document, path);
	ret = kms_client_json(worker->client, path, &json, &err);
	if (ret == 0 && document == KMS_FEED_EVENTS)
		turn_round(json);
	slot->due_ns = next_due(worker, begin_ns, cpu_ns() - cpu_begin_ns, kms_clock_now(clock));
	if (live && (ret == -ECONNRESET || ret == -ETIMEDOUT)) {
		fail(worker, slot, ret, err.text);
		return;
	}
	if (ret == 0)
		learn(worker, json);
	/* what a file says does not change; the timeline is asked for once */
	slot->settled = (!live && (!json || is_finished(json))) || document == KMS_FEED_TIMELINE;
	publish(worker->feed, document, path, json, &err);
}
