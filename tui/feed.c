/* SPDX-License-Identifier: BSD-2-Clause */
/* The thread that asks: see feed.h. */
#include "tui/feed_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "tui/text.h"

enum {
	ANSWER_TIMEOUT_MS = 10000,
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
	[KMS_FEED_STATS] = {"/api/v1/stats",              true },
	[KMS_FEED_TARGETS] = {"/api/v1/targets?limit=1000", false},
	[KMS_FEED_SUSPECTS] = {"/api/v1/leaks?limit=1",      true },
	[KMS_FEED_CACHES] = {"/api/v1/caches?limit=1000",  true },
	[KMS_FEED_SITES] = {"/api/v1/sites?limit=300",    true },
	[KMS_FEED_LEAKS] = {"/api/v1/leaks?limit=300",    true },
	[KMS_FEED_GUARD] = {"/api/v1/guard",              true },
	[KMS_FEED_FAULTS] = {"/api/v1/faults?limit=200",   true },
	[KMS_FEED_TIMELINE] = {"/api/v1/timeline",           false},
};

void kms_doc_release(const struct kms_doc *doc)
{
	struct kms_doc *mine = (struct kms_doc *)doc; /* its count is not what it holds */

	if (!mine || __atomic_sub_fetch(&mine->refs, 1, __ATOMIC_ACQ_REL))
		return;
	cJSON_Delete(mine->json);
	free(mine);
}

static void wake(struct kms_feed *feed)
{
	const uint64_t one = 1;

	/* full: it is readable already */
	if (write(feed->event_fd, &one, sizeof(one)) < 0)
		return;
}

static void lock(struct kms_feed *feed)
{
	(void)pthread_mutex_lock(&feed->lock); /* plain, never locked twice */
}

static void unlock(struct kms_feed *feed)
{
	(void)pthread_mutex_unlock(&feed->lock);
}

static void set_state(struct kms_feed *feed, enum kms_feed_state state, const char *reason)
{
	lock(feed);
	feed->state = state;
	snprintf(feed->reason, sizeof(feed->reason), "%s", reason);
	unlock(feed);
}

/* Everything is to be asked for again. */
static void unsettle(const struct kms_feed_worker *worker)
{
	for (int i = 0; i < KMS_FEED_DOCUMENTS; i++) {
		if (!(worker->documents >> i & 1))
			continue;
		worker->feed->slot[i].due_ns = 0;
		worker->feed->slot[i].settled = false;
	}
}

/* The session went away: its trace goes on to answer, if it is a file that can be read. */
static void fall_back(struct kms_feed_worker *worker, const char *reason)
{
	struct kms_feed *feed = worker->feed;
	struct kms_source source = {.kind = KMS_SOURCE_FILE};
	struct kms_client *client;

	lock(feed);
	if (feed->source.kind == KMS_SOURCE_SESSION) /* a file of that name here may be another */
		memcpy(source.path, feed->file, sizeof(source.path));
	unlock(feed);
	if (!source.path[0] || kms_client_open(feed->hooks, &source, &client, NULL) < 0) {
		set_state(feed, KMS_FEED_LOST, reason);
		return;
	}
	kms_client_close(worker->client);
	worker->client = client;
	set_state(feed, KMS_FEED_ENDED, reason);
	unsettle(worker);
}

/* What every answer says about the moment and the file. */
static void learn(struct kms_feed_worker *worker, const cJSON *json)
{
	struct kms_feed *feed = worker->feed;
	const cJSON *snapshot = kms_json_member(json, "snapshot");
	const char *file = kms_json_text(snapshot, "file");

	if (!snapshot)
		return;
	lock(feed);
	feed->snapshot_time_ns = kms_json_number(snapshot, "time_ns");
	if (kms_client_is_live(worker->client) && *file)
		snprintf(feed->file, sizeof(feed->file), "%s", file);
	if (feed->state == KMS_FEED_LOST)
		feed->state = KMS_FEED_LIVE;
	unlock(feed);
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
	lock(feed);
	old = feed->slot[document].doc;
	feed->slot[document].doc = doc;
	unlock(feed);
	kms_doc_release(old);
	wake(feed);
}

static bool make_path(const struct kms_feed_want *want, enum kms_feed_document document,
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
	wake(worker->feed);
}

static int fetch(struct kms_feed_worker *worker, enum kms_feed_document document, const char *path,
		 cJSON **json, struct kms_err *err)
{
	struct kms_feed *feed = worker->feed;
	cJSON *stats = NULL;
	uint64_t end_ns;
	int ret;

	if (document != KMS_FEED_EVENTS)
		return kms_client_json(worker->client, path, json, err);
	lock(feed);
	end_ns = feed->snapshot_time_ns;
	unlock(feed);
	if (end_ns == 0) { /* nobody has been told the run's time yet */
		ret = kms_client_json(worker->client, "/api/v1/stats", &stats, err);
		if (ret < 0)
			return ret;
		end_ns = kms_json_number(kms_json_member(stats, "snapshot"), "time_ns");
		cJSON_Delete(stats);
	}
	return kms_feed_events(worker, end_ns, json, err);
}

/* Asks for one document. */
static void ask(struct kms_feed_worker *worker, enum kms_feed_document document)
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

	(void)make_path(&worker->want, document, path);
	ret = fetch(worker, document, path, &json, &err);
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

/* The next one that is due; KMS_FEED_DOCUMENTS: none, *due_ns says when. */
static enum kms_feed_document choose(const struct kms_feed_worker *worker, uint64_t now_ns,
				     uint64_t *due_ns)
{
	const struct kms_feed_want *want = &worker->want;
	enum kms_feed_document best = KMS_FEED_DOCUMENTS;
	const struct kms_feed_slot *slots = worker->feed->slot;
	char path[KMS_FEED_PATH_BYTES];

	*due_ns = now_ns + (uint64_t)RETRY_MS * NS_PER_MS;
	for (enum kms_feed_document i = 0; i < KMS_FEED_DOCUMENTS; i++) {
		if (!(want->documents & worker->documents & UINT32_C(1) << i) || slots[i].settled)
			continue;
		if (i != KMS_FEED_EVENTS && !make_path(want, i, path))
			continue;
		if (slots[i].due_ns < *due_ns)
			*due_ns = slots[i].due_ns;
		if (slots[i].due_ns > now_ns)
			continue;
		if (best == KMS_FEED_DOCUMENTS || slots[i].due_ns < slots[best].due_ns)
			best = i;
	}
	return best;
}

/* The prompt's answer: {"output", "error"}. */
static void ask_line(struct kms_feed_worker *worker, char *line)
{
	struct kms_feed *feed = worker->feed;
	struct kms_feed_output output = {.line = line};
	struct kms_err err = KMS_ERR_INIT;
	struct kms_reply reply = {0};
	struct kms_buf body;
	cJSON *json = NULL;
	const char *error;

	kms_buf_init(&body, 64 << 10);
	kms_buf_add_str(&body, "{\"line\":");
	kms_buf_add_json(&body, line, strlen(line));
	kms_buf_add_char(&body, '}');
	if (kms_client_request(worker->client, "POST", "/api/v1/db", kms_buf_text(&body), &reply,
			       &err) == 0)
		json = cJSON_ParseWithLength(reply.body, reply.body_bytes);
	error = kms_json_text(json, "error");
	output.failed = !json || *error;
	if (json && *kms_json_text(json, "output"))
		output.output = strdup(kms_json_text(json, "output"));
	else
		output.output = strdup(json ? error : err.text);
	free(reply.body);
	cJSON_Delete(json);
	kms_buf_deinit(&body);
	lock(feed);
	if (feed->n_outputs < KMS_FEED_LINES) {
		feed->output[feed->n_outputs++] = output;
	} else {
		free(output.line);
		free(output.output);
	}
	feed->stale++; /* it may have changed what is shown */
	(void)pthread_cond_broadcast(&feed->changed);
	unlock(feed);
	wake(feed);
}

static void renew(struct kms_feed_slot *slot)
{
	slot->due_ns = 0;
	slot->settled = false;
}

/* What is shown now; what changed is asked for at once. */
static void take_want(struct kms_feed_worker *worker)
{
	struct kms_feed *feed = worker->feed;
	uint32_t added = feed->want.documents & ~worker->want.documents & worker->documents;

	if (feed->want.target != worker->want.target || feed->want.sum != worker->want.sum ||
	    worker->seen_stale != feed->stale)
		unsettle(worker);
	if (worker->documents >> KMS_FEED_PAGE & 1 &&
	    strcmp(feed->want.page, worker->want.page) != 0)
		renew(&feed->slot[KMS_FEED_PAGE]);
	/* beside the newest event the path changes all the time: its turn comes, but no sooner */
	if (worker->documents >> KMS_FEED_PANE & 1 && feed->slot[KMS_FEED_PANE].settled &&
	    strcmp(feed->want.pane, worker->want.pane) != 0)
		renew(&feed->slot[KMS_FEED_PANE]);
	for (int i = 0; i < KMS_FEED_DOCUMENTS; i++)
		if (added >> i & 1)
			feed->slot[i].due_ns = 0;
	worker->want = feed->want;
	worker->seen = feed->wanted;
	worker->seen_stale = feed->stale;
}

/* Takes what is to be done, waiting until there is something; false: the end. */
static bool take_work(struct kms_feed_worker *worker, char **line, enum kms_feed_document *document)
{
	struct kms_feed *feed = worker->feed;
	struct timespec until;
	uint64_t due_ns;

	for (;;) {
		*line = NULL;
		*document = KMS_FEED_DOCUMENTS;
		if (feed->ending)
			return false;
		if (worker->seen != feed->wanted || worker->seen_stale != feed->stale)
			take_want(worker);
		if (worker->lines && feed->n_lines) {
			*line = feed->line[0];
			memmove(feed->line, feed->line + 1,
				--feed->n_lines * sizeof(feed->line[0]));
			return true;
		}
		*document = choose(worker, kms_clock_now(kms_clock_system()), &due_ns);
		if (*document != KMS_FEED_DOCUMENTS)
			return true;
		until.tv_sec = (time_t)(due_ns / 1000000000);
		until.tv_nsec = (long)(due_ns % 1000000000);
		(void)pthread_cond_timedwait(&feed->changed, &feed->lock, &until);
	}
}

static void *worker_thread(void *arg)
{
	struct kms_feed_worker *worker = arg;
	enum kms_feed_document document;
	char *line;
	bool more;

	for (;;) {
		lock(worker->feed);
		more = take_work(worker, &line, &document);
		unlock(worker->feed);
		if (!more)
			return NULL;
		if (line)
			ask_line(worker, line);
		else
			ask(worker, document);
	}
}

/* Signals are for the thread with the terminal. */
static int start_worker(struct kms_feed_worker *worker, struct kms_err *err)
{
	sigset_t all;
	sigset_t old;
	int ret;

	ret = kms_client_open(worker->feed->hooks, &worker->feed->source, &worker->client, err);
	if (ret < 0)
		return ret;
	kms_client_set_timeout(worker->client, ANSWER_TIMEOUT_MS);
	sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	ret = pthread_create(&worker->thread, NULL, worker_thread, worker);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	worker->started = ret == 0;
	return ret ? kms_err_set(err, -EAGAIN, "cannot start a thread") : 0;
}

static int init_locks(struct kms_feed *feed)
{
	pthread_condattr_t attr;

	if (pthread_condattr_init(&attr))
		return -ENOMEM;
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_mutex_init(&feed->lock, NULL);
	(void)pthread_cond_init(&feed->changed, &attr);
	(void)pthread_condattr_destroy(&attr);
	return 0;
}

/* Who asks for what: the one that must be quick, and the one that may be slow. */
static void share_out(struct kms_feed *feed)
{
	static const enum kms_feed_document slow[] = {KMS_FEED_EVENTS, KMS_FEED_TIMELINE,
						      KMS_FEED_PAGE, KMS_FEED_PANE};

	for (size_t i = 0; i < sizeof(slow) / sizeof(slow[0]); i++)
		feed->worker[1].documents |= UINT32_C(1) << slow[i];
	feed->worker[0].documents = ~feed->worker[1].documents;
	feed->worker[1].lines = true;
}

static void end_workers(struct kms_feed *feed)
{
	lock(feed);
	feed->ending = true;
	(void)pthread_cond_broadcast(&feed->changed);
	unlock(feed);
	for (int i = 0; i < KMS_FEED_WORKERS; i++) {
		if (feed->worker[i].started)
			(void)pthread_join(feed->worker[i].thread, NULL);
		kms_client_close(feed->worker[i].client);
	}
}

int kms_feed_create(const struct kms_hooks *hooks, const struct kms_source *source,
		    struct kms_feed **out, struct kms_err *err)
{
	struct kms_feed *feed = calloc(1, sizeof(*feed));
	int ret;

	if (!feed || init_locks(feed) < 0) {
		free(feed);
		return kms_err_set(err, -ENOMEM, "out of memory");
	}
	feed->hooks = hooks;
	feed->source = *source;
	feed->state = source->kind == KMS_SOURCE_FILE ? KMS_FEED_FILE : KMS_FEED_LIVE;
	share_out(feed);
	feed->event_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ret = feed->event_fd >= 0
		      ? 0
		      : kms_err_sys(err, -errno, "cannot make an event descriptor", NULL);
	for (int i = 0; i < KMS_FEED_WORKERS && ret == 0; i++) {
		feed->worker[i].feed = feed;
		ret = start_worker(&feed->worker[i], err);
	}
	if (ret < 0) {
		kms_feed_destroy(feed);
		return ret;
	}
	*out = feed;
	return 0;
}

void kms_feed_destroy(struct kms_feed *feed)
{
	if (!feed)
		return;
	end_workers(feed);
	for (int i = 0; i < KMS_FEED_DOCUMENTS; i++)
		kms_doc_release(feed->slot[i].doc);
	for (unsigned i = 0; i < feed->n_lines; i++)
		free(feed->line[i]);
	for (unsigned i = 0; i < feed->n_outputs; i++) {
		free(feed->output[i].line);
		free(feed->output[i].output);
	}
	if (feed->event_fd >= 0)
		close(feed->event_fd);
	(void)pthread_mutex_destroy(&feed->lock);
	(void)pthread_cond_destroy(&feed->changed);
	free(feed);
}

int kms_feed_fd(const struct kms_feed *feed)
{
	return feed->event_fd;
}

void kms_feed_seen(struct kms_feed *feed)
{
	uint64_t n;

	if (read(feed->event_fd, &n, sizeof(n)) < 0)
		return; /* it was quiet */
}

static bool is_same_want(const struct kms_feed_want *a, const struct kms_feed_want *b)
{
	return a->documents == b->documents && a->target == b->target && a->sum == b->sum &&
	       a->interval_ms == b->interval_ms && strcmp(a->page, b->page) == 0 &&
	       strcmp(a->pane, b->pane) == 0;
}

void kms_feed_want(struct kms_feed *feed, const struct kms_feed_want *want)
{
	lock(feed);
	if (!is_same_want(&feed->want, want)) {
		feed->want = *want;
		feed->wanted++;
		(void)pthread_cond_broadcast(&feed->changed);
	}
	unlock(feed);
}

const struct kms_doc *kms_feed_take(struct kms_feed *feed, enum kms_feed_document document)
{
	struct kms_doc *doc;

	lock(feed);
	doc = feed->slot[document].doc;
	if (doc)
		__atomic_add_fetch(&doc->refs, 1, __ATOMIC_RELAXED);
	unlock(feed);
	return doc;
}

int kms_feed_line(struct kms_feed *feed, const char *line)
{
	int ret = -ENOMEM;
	char *copy = strdup(line);

	lock(feed);
	if (copy && feed->n_lines < KMS_FEED_LINES) {
		feed->line[feed->n_lines++] = copy;
		copy = NULL;
		ret = 0;
		(void)pthread_cond_broadcast(&feed->changed);
	} else if (copy) {
		ret = -EBUSY;
	}
	unlock(feed);
	free(copy);
	return ret;
}

bool kms_feed_output(struct kms_feed *feed, struct kms_feed_output *output)
{
	bool has;

	lock(feed);
	has = feed->n_outputs > 0;
	if (has) {
		*output = feed->output[0];
		memmove(feed->output, feed->output + 1,
			--feed->n_outputs * sizeof(feed->output[0]));
	}
	unlock(feed);
	return has;
}

enum kms_feed_state kms_feed_state(struct kms_feed *feed, char reason[KMS_ERR_TEXT_BYTES])
{
	enum kms_feed_state state;

	lock(feed);
	state = feed->state;
	memcpy(reason, feed->reason, KMS_ERR_TEXT_BYTES);
	unlock(feed);
	return state;
}
