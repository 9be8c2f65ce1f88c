/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/base.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/list.h"
#include "tracer/batch_build.h"
#include "tracer/process.h"
#include "tracer/table_page.h"

enum {
	ENTRIES_AT_ONCE = 8 * KMS_TABLE_PAGE_ENTRIES, /* in one batch */
	PATIENCE_S = 2,                               /* for the end of a scan */
};

struct asked {
	struct kms_list link;
	struct kms_base_want want;
};

/* How many entries of an image's table are given out. */
struct counted {
	struct kms_list link;
	uint32_t image, next;
};

struct kms_base {
	int (*emit)(void *arg, struct kms_batch *batch);
	void (*say)(void *arg, const char *line);
	void *arg;
	pthread_mutex_t lock;
	pthread_cond_t changed;
	struct kms_list asked; /* guarded by lock, and so are the next three */
	bool stop;
	bool is_running;
	bool is_scanning;
	pthread_t thread;
	/* of the thread */
	struct kms_list counted;
	struct kms_base_entry *entry; /* ENTRIES_AT_ONCE */
	size_t n;
	struct counted *count;
	const struct kms_base_want *want;
};

static struct kms_batch *make_batch(const struct kms_base *base)
{
	struct kms_batch *batch = kms_batch_create();
	struct kms_batch_table *table =
		batch ? kms_batch_add_table(batch, KMS_TABLE_BASE, base->count->next,
					    (uint32_t)base->n, sizeof(*base->entry))
		      : NULL;

	if (!table) {
		kms_batch_put(batch);
		return NULL;
	}
	table->image = base->want->image;
	memcpy(table->data, base->entry, base->n * sizeof(*base->entry));
	batch->what = KMS_BATCH_DATA;
	batch->time_ns = kms_mono_ns();
	return batch;
}

static bool is_to_stop(const struct kms_base *base)
{
	return __atomic_load_n(&base->stop, __ATOMIC_RELAXED);
}

/* Nothing is left to be sent then, also on failure. */
static int send(struct kms_base *base)
{
	struct kms_batch *batch = make_batch(base);
	uint32_t n = (uint32_t)base->n;
	int result = -ENOMEM;

	base->n = 0;
	/* one that waits for memory for ever must not keep kms_base_end() */
	while (batch && (result = base->emit(base->arg, batch)) == -ENOMEM && !is_to_stop(base))
		(void)nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
	kms_batch_put(batch);
	if (!batch)
		return -ENOMEM;
	if (result == -ENOMEM)
		return -ECANCELED;
	base->count->next += n;
	return 0;
}

/* Of the image's table; how many spans and blocks there are, only the process says. */
static uint32_t room_of(const struct kms_base *base)
{
	uint64_t taken = (uint64_t)base->count->next + base->n;
	uint32_t max = kms_table_entries_max(KMS_TABLE_BASE);

	return taken < max ? max - (uint32_t)taken : 0;
}

/* Errors: -ENOSPC: there is room for the end alone */
static int add(void *arg, const struct kms_base_entry *from)
{
	struct kms_base *base = arg;
	struct kms_base_entry *entry;
	int result = 0;

	if (is_to_stop(base))
		return -ECANCELED;
	if (base->n == ENTRIES_AT_ONCE)
		result = send(base);
	if (result)
		return result;
	if (room_of(base) < (from->kind == KMS_BASE_END ? 1 : 2))
		return -ENOSPC;
	entry = &base->entry[base->n++];
	*entry = *from;
	entry->target = base->want->target;
	entry->session = (uint8_t)base->want->plan.session;
	return base->n == ENTRIES_AT_ONCE ? send(base) : 0;
}

static struct counted *count_of(struct kms_base *base, uint32_t image)
{
	struct counted *counted;

	for (struct kms_list *it = kms_list_first(&base->counted); it;
	     it = kms_list_next(&base->counted, it)) {
		counted = KMS_CONTAINER_OF(it, struct counted, link);
		if (counted->image == image)
			return counted;
	}
	counted = calloc(1, sizeof(*counted));
	if (counted) {
		counted->image = image;
		kms_list_push_back(&base->counted, &counted->link);
	}
	return counted;
}

static void tell(struct kms_base *base, const struct kms_base_result *result, int code)
{
	char who[32] =
		"the guest"; /* whose emulator is not known: saved memory, a stub elsewhere */
	char line[160];

	if (!base->say || (!code && !result->cut && !result->skipped) || code == -ECANCELED)
		return;
	if (base->want->plan.pid)
		(void)snprintf(who, sizeof(who), "pid %d", (int)base->want->plan.pid);
	if (code)
		(void)snprintf(line, sizeof(line),
			       "%s: what it allocated before cannot be read: %s", who,
			       strerrordesc_np(-code));
	else
		(void)snprintf(line, sizeof(line),
			       "%s: not all that it allocated before could be read", who);
	base->say(base->arg, line);
}

static void scan(struct kms_base *base, const struct kms_base_want *want)
{
	struct kms_base_result result = {0};
	struct kms_base_entry begin = {
		.kind = KMS_BASE_BEGIN, .address = want->time_ns, .size = want->plan.first_session};
	struct kms_base_plan plan = want->plan;
	struct kms_base_entry end = {.kind = KMS_BASE_END};
	int code;

	base->want = want;
	base->n = 0;
	base->count = count_of(base, want->image);
	if (!base->count)
		return;
	plan.max_blocks = room_of(base);
	code = add(base, &begin);
	if (!code)
		code = kms_base_scan(&plan, add, base, &result);
	if (code == -ENOSPC) {
		result.cut = true;
		code = 0;
	}
	end.size = result.blocks;
	end.first = code || result.cut || result.skipped;
	if (code != -ECANCELED && add(base, &end) == 0 && base->n)
		(void)send(base); /* without memory the model never hears the end of it */
	tell(base, &result, code == -ESRCH ? 0 : code);
}

static void *run(void *arg)
{
	struct kms_base *base = arg;
	struct kms_list *link;

	(void)pthread_mutex_lock(&base->lock); /* a plain mutex, never locked twice */
	while (!base->stop) {
		link = kms_list_pop_front(&base->asked);
		if (!link) {
			(void)pthread_cond_wait(&base->changed, &base->lock);
			continue;
		}
		base->is_scanning = true;
		(void)pthread_mutex_unlock(&base->lock);
		scan(base, &KMS_CONTAINER_OF(link, struct asked, link)->want);
		free(KMS_CONTAINER_OF(link, struct asked, link));
		(void)pthread_mutex_lock(&base->lock);
		base->is_scanning = false;
		(void)pthread_cond_broadcast(&base->changed);
	}
	(void)pthread_mutex_unlock(&base->lock);
	return NULL;
}

struct kms_base *kms_base_create(int (*emit)(void *arg, struct kms_batch *batch),
				 void (*say)(void *arg, const char *line), void *arg)
{
	struct kms_base *base = calloc(1, sizeof(*base));

	if (!base)
		return NULL;
	base->emit = emit;
	base->say = say;
	base->arg = arg;
	kms_list_init(&base->asked);
	kms_list_init(&base->counted);
	(void)pthread_mutex_init(&base->lock, NULL); /* default attributes cannot fail */
	(void)pthread_cond_init(&base->changed, NULL);
	return base;
}

static void free_lists(struct kms_base *base)
{
	struct kms_list *link, *next;

	for (link = kms_list_first(&base->asked); link; link = next) {
		next = kms_list_next(&base->asked, link);
		free(KMS_CONTAINER_OF(link, struct asked, link));
	}
	for (link = kms_list_first(&base->counted); link; link = next) {
		next = kms_list_next(&base->counted, link);
		free(KMS_CONTAINER_OF(link, struct counted, link));
	}
}

void kms_base_end(struct kms_base *base)
{
	struct timespec until;

	if (!base)
		return;
	(void)clock_gettime(CLOCK_REALTIME, &until); /* cannot fail */
	until.tv_sec += PATIENCE_S;
	(void)pthread_mutex_lock(&base->lock);
	while (base->is_running && !base->stop &&
	       (base->is_scanning || !kms_list_is_empty(&base->asked))) {
		if (pthread_cond_timedwait(&base->changed, &base->lock, &until))
			break;
	}
	__atomic_store_n(&base->stop, true, __ATOMIC_RELAXED);
	(void)pthread_cond_broadcast(&base->changed);
	(void)pthread_mutex_unlock(&base->lock);
	if (base->is_running)
		(void)pthread_join(base->thread, NULL);
	base->is_running = false;
}

void kms_base_destroy(struct kms_base *base)
{
	if (!base)
		return;
	kms_base_end(base);
	free_lists(base);
	(void)pthread_cond_destroy(&base->changed);
	(void)pthread_mutex_destroy(&base->lock);
	free(base->entry);
	free(base);
}

/* Most runs need none. */
static bool start(struct kms_base *base)
{
	if (base->is_running || base->stop)
		return !base->stop;
	if (!base->entry)
		base->entry = malloc(ENTRIES_AT_ONCE * sizeof(*base->entry));
	base->is_running = base->entry && !pthread_create(&base->thread, NULL, run, base);
	return base->is_running;
}

void kms_base_ask(struct kms_base *base, const struct kms_base_want *want)
{
	struct asked *asked = calloc(1, sizeof(*asked));

	if (!asked)
		return;
	asked->want = *want;
	(void)pthread_mutex_lock(&base->lock);
	if (start(base)) {
		kms_list_push_back(&base->asked, &asked->link);
		(void)pthread_cond_broadcast(&base->changed);
		asked = NULL;
	}
	(void)pthread_mutex_unlock(&base->lock);
	free(asked);
}
