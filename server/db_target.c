/* SPDX-License-Identifier: BSD-2-Clause */
/* Which target a line is about, and letting targets stop and go on. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "server/db.h"
#include "server/db_run.h"
#include "server/sum.h"
#include "server/write.h"

static const char *const stop_names[] = {KMS_STOP_NAMES};

enum {
	LISTED_IDS = 8,  /* in an error that lists targets */
	SETTLE_MS = 500, /* a picture shows sooner that a target stands or runs */
	SETTLE_POLL_MS = 10,
};

uint32_t kms_ddb_chosen(const struct kms_ddb *db)
{
	return db->target ? db->target : db->state->target;
}

const struct kms_view_target *kms_ddb_target(const struct kms_ddb *db, uint32_t id)
{
	const struct kms_snapshot *s = db->snapshot;

	for (size_t i = 0; i < s->n_targets; i++)
		if (s->target[i].id == id)
			return &s->target[i];
	return NULL;
}

bool kms_ddb_is_meant(const struct kms_ddb *db, uint32_t target)
{
	uint32_t chosen = kms_ddb_chosen(db);

	return !chosen || chosen == target;
}

static bool is_live(const struct kms_view_target *target)
{
	return target->state == KMS_STATE_RUNNING || target->state == KMS_STATE_STOPPED;
}

static size_t count_live(const struct kms_snapshot *s)
{
	size_t n = 0;

	for (size_t i = 0; i < s->n_targets; i++)
		n += is_live(&s->target[i]);
	return n;
}

const struct kms_view_target *kms_ddb_next_target(const struct kms_ddb *db, long *index)
{
	const struct kms_snapshot *s = db->snapshot;
	bool any_live = count_live(s) > 0;
	uint32_t chosen = kms_ddb_chosen(db);

	for (size_t i = (size_t)(*index + 1); i < s->n_targets; i++) {
		if (chosen ? s->target[i].id != chosen : any_live && !is_live(&s->target[i]))
			continue;
		*index = (long)i;
		return &s->target[i];
	}
	return NULL;
}

/* "2, 3, 4 and 17 more" */
static void list_live(const struct kms_ddb *db, struct kms_buf *text)
{
	const struct kms_view_target *target;
	long index = -1;
	size_t n = 0;

	while ((target = kms_ddb_next_target(db, &index)))
		if (n++ < LISTED_IDS)
			kms_buf_addf(text, "%s%" PRIu32, n > 1 ? ", " : "", target->id);
	if (n > LISTED_IDS)
		kms_buf_addf(text, " and %zu more", n - LISTED_IDS);
}

bool kms_ddb_one_target(struct kms_ddb *db, uint32_t *target)
{
	const struct kms_view_target *first;
	struct kms_buf text;
	long index = -1;

	first = kms_ddb_next_target(db, &index);
	*target = first ? first->id : 0;
	if (!first) {
		if (kms_ddb_chosen(db))
			kms_ddb_fail(db, "target %" PRIu32 " is not in this run; `ps` lists them",
				     kms_ddb_chosen(db));
		else
			kms_ddb_fail(db, "the run has no target yet");
		return false;
	}
	if (!kms_ddb_next_target(db, &index))
		return true;
	kms_buf_init(&text, KMS_DDB_ERROR_BYTES / 2);
	list_live(db, &text);
	kms_ddb_fail(db, "several targets are meant (%s); choose one: target %" PRIu32,
		     kms_buf_text(&text), first->id);
	kms_buf_deinit(&text);
	return false;
}

const char *kms_ddb_cache_at(struct kms_ddb *db, uint64_t address, uint32_t *target)
{
	const struct kms_view *view = db->view;
	struct kms_view_block block = {0};
	struct kms_err err = KMS_ERR_INIT;

	if (!kms_ddb_one_target(db, target) || !view->ops->whatis ||
	    view->ops->whatis(view->ctx, *target, address, &block, &err) < 0 || !block.address)
		return NULL;
	return block.cache;
}

/* The target that was given, else the chosen one, else 0: all. False: there is none of that number. */
static bool given_target(struct kms_ddb *db, uint32_t *id)
{
	*id = kms_ddb_chosen(db);
	if (!db->have_addr)
		return true;
	*id = db->addr > UINT32_MAX ? 0 : (uint32_t)db->addr;
	if (db->addr == 0 || kms_ddb_target(db, *id))
		return true;
	kms_ddb_fail(db, "target %" PRIu64 " is not in this run; `ps` lists them (0t12 is decimal)",
		     db->addr);
	return false;
}

void kms_ddb_cmd_target(struct kms_ddb *db)
{
	const struct kms_view_target *target;
	uint32_t id;

	if (!given_target(db, &id))
		return;
	if (db->have_addr)
		db->state->target = id;
	target = kms_ddb_target(db, id);
	if (!target) {
		kms_buf_add_str(db->out, "kmem: no target is chosen: a write goes to all\n");
		return;
	}
	kms_buf_addf(db->out, "kmem: target %" PRIu32 ", pid %" PRIu32 ", ", target->id,
		     target->pid);
	kms_ddb_add_name(db, target->name, 0);
	kms_buf_addf(db->out, ", %s\n", kms_state_name(target->state));
}

/* Why it stands still: ddb's column WAIT. */
static void add_wait(struct kms_ddb *db, const struct kms_view_target *target)
{
	if (target->state != KMS_STATE_STOPPED)
		return;
	kms_buf_addf(db->out, " %s",
		     target->stop_reason < sizeof(stop_names) / sizeof(stop_names[0])
			     ? stop_names[target->stop_reason]
			     : "unknown");
	if (target->stop_fault)
		kms_buf_addf(db->out, " %" PRIu32, target->stop_fault);
}

void kms_ddb_cmd_ps(struct kms_ddb *db)
{
	const struct kms_snapshot *s = db->snapshot;
	const struct kms_view_target *target;
	int64_t left = db->count >= 0 ? db->count : INT64_MAX;

	kms_buf_add_str(db->out, " TARGET     PID PARENT S            NAME             WAIT\n");
	for (size_t i = 0; i < s->n_targets && left-- > 0; i++) {
		target = &s->target[i];
		kms_buf_addf(db->out, "%c%6" PRIu32 " %7" PRIu32 " %6" PRIu32 " %-12s ",
			     target->id == kms_ddb_chosen(db) ? '>' : ' ', target->id, target->pid,
			     target->parent, kms_state_name(target->state));
		kms_ddb_add_name(db, target->name, 0);
		add_wait(db, target);
		kms_buf_add_char(db->out, '\n');
	}
}

/* Whether the targets that are meant are as they should be in the newest picture. */
static bool is_settled(const struct kms_ddb *db, uint32_t id, bool stopped)
{
	const struct kms_view *view = db->view;
	const struct kms_snapshot *s = view->ops->acquire(view->ctx);
	bool settled = true;

	for (size_t i = 0; i < s->n_targets; i++)
		if (is_live(&s->target[i]) && (!id || s->target[i].id == id))
			settled &= (s->target[i].state == KMS_STATE_STOPPED) == stopped;
	view->ops->release(view->ctx, s);
	return settled;
}

/* So that the next line shows what this one did: pictures are a moment old. */
static void settle(const struct kms_ddb *db, uint32_t id, bool stopped)
{
	const struct kms_clock *clock = kms_clock_system();
	const struct timespec pause = {.tv_nsec = SETTLE_POLL_MS * 1000000L};
	uint64_t end = kms_clock_now(clock) + (uint64_t)SETTLE_MS * 1000000;

	while (!is_settled(db, id, stopped) && kms_clock_now(clock) < end)
		nanosleep(&pause, NULL);
}

typedef int control_fn(void *ctx, const char *who, uint32_t target, struct kms_err *err);

/* Asks the view; that it is so already is told, and no failure. */
static void control(struct kms_ddb *db, bool stops)
{
	const struct kms_view *view = db->view;
	control_fn *fn = stops ? view->ops->stop : view->ops->resume;
	const char *done = stops ? "stopped; c lets it go on" : "continued";
	const char *already = stops ? "stopped already" : "runs already";
	struct kms_err err = KMS_ERR_INIT;
	char name[32] = "all targets";
	uint32_t id;
	int ret;

	if (!given_target(db, &id))
		return;
	if (!fn) {
		kms_ddb_fail(db, "%s: this session cannot stop its targets", db->command->name);
		return;
	}
	if (id)
		snprintf(name, sizeof(name), "target %" PRIu32, id);
	ret = fn(view->ctx, db->who, id, &err);
	if (ret == 0)
		settle(db, id, stops);
	if (ret == -EALREADY)
		kms_buf_addf(db->out, "kmem: %s: %s\n", name, already);
	else if (ret < 0)
		kms_ddb_fail_err(db, name, &err);
	else
		kms_buf_addf(db->out, "kmem: %s: %s\n", name, done);
}

void kms_ddb_cmd_continue(struct kms_ddb *db)
{
	/* ddb's c has a count of instructions and no address */
	db->have_addr = false;
	control(db, false);
}

void kms_ddb_cmd_stop(struct kms_ddb *db)
{
	control(db, true);
}

void kms_ddb_cmd_quit(struct kms_ddb *db)
{
	const struct kms_snapshot *s = db->snapshot;
	bool stopped = false;

	db->leave = true;
	db->have_addr = false;
	for (size_t i = 0; i < s->n_targets; i++)
		stopped |= s->target[i].state == KMS_STATE_STOPPED &&
			   kms_ddb_is_meant(db, s->target[i].id);
	if (stopped && !s->finished && !db->read_only)
		control(db, false);
}
