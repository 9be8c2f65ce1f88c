/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * What an address is and was: whatis, bufctl, history, show event. The block that holds it comes from the
 * view; its past from the recorded events of the block's address, read backwards in windows, so that
 * the newest ones cost no reading of the whole trace.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "schema/spans.h"
#include "server/db.h"
#include "server/db_run.h"
#include "server/owners.h"
#include "server/report.h"

enum {
	MAX_EVENTS = 256, /* shown of one address */
	FIRST_WINDOW = 1 << 20,
	WINDOW_GROWS = 8,
	EXPLAIN_BYTES = 1024,
};

static const char *const event_names[KMS_EVENT_KINDS] = {KMS_EVENT_NAMES};

static const char *event_name(uint32_t kind)
{
	return kind < KMS_EVENT_KINDS ? event_names[kind] : "unknown";
}

/* The newest events of an address: a ring while they are read, then in order of time. */
struct past {
	struct kms_view_event event[MAX_EVENTS];
	size_t first; /* of the ring */
	size_t n;
	char cache[64]; /* of the newest: names in events are borrowed */
};

static int keep(void *arg, const struct kms_view_event *event)
{
	struct past *past = arg;
	struct kms_view_event *slot = &past->event[(past->first + past->n) % MAX_EVENTS];

	*slot = *event;
	slot->cache = NULL;
	snprintf(past->cache, sizeof(past->cache), "%s", event->cache ? event->cache : "?");
	if (past->n < MAX_EVENTS)
		past->n++;
	else
		past->first = (past->first + 1) % MAX_EVENTS;
	return 0;
}

/* Event @i, 0 the newest. */
static const struct kms_view_event *past_event(const struct past *past, size_t i)
{
	return &past->event[past->n - 1 - i];
}

/* Rings interleave: the order of time has to be made. */
static int by_time(const void *a, const void *b)
{
	const struct kms_view_event *x = a;
	const struct kms_view_event *y = b;

	if (x->time_ns != y->time_ns)
		return x->time_ns < y->time_ns ? -1 : 1;
	return (x->seq > y->seq) - (x->seq < y->seq);
}

/* Reads the newest @wanted events of an address, or fewer if there are no more. False: an error is set. */
static bool read_past(struct kms_ddb *db, uint32_t target, uint64_t address, size_t wanted,
		      struct past *past)
{
	const struct kms_view *view = db->view;
	struct kms_event_query query = {.address = address,
					.to_ns = UINT64_MAX,
					.target = target,
					.limit = SIZE_MAX,
					.before_seq = UINT64_MAX};
	uint64_t window = FIRST_WINDOW;
	struct kms_err err = KMS_ERR_INIT;

	if (!view->ops->events) {
		kms_ddb_fail(db, "events: this source records no events");
		return false;
	}
	query.from_seq = db->snapshot->seq;
	do {
		query.from_seq = query.from_seq > window ? query.from_seq - window : 0;
		window *= WINDOW_GROWS;
		past->first = past->n = 0;
		if (view->ops->events(view->ctx, &query, keep, past, &err) < 0) {
			kms_ddb_fail_err(db, "events", &err);
			return false;
		}
	} while (past->n < wanted && query.from_seq > 0);
	if (past->n)
		qsort(past->event, past->n, sizeof(past->event[0]), by_time);
	return true;
}

static const char *state_text(uint32_t state)
{
	switch (state) {
	case KMS_BLOCK_LIVE:
		return "allocated";
	case KMS_BLOCK_CACHED:
		return "cached";
	case KMS_BLOCK_QUARANTINE:
		return "free, in the guard FIFO";
	case KMS_BLOCK_SPENT:
		return "free, caught once";
	case KMS_BLOCK_FREE:
		return "free";
	default:
		return "never allocated";
	}
}

static void add_moment(struct kms_buf *out, uint64_t ns)
{
	kms_buf_addf(out, "%" PRIu64 ".%06" PRIu64, ns / 1000000000, ns / 1000 % 1000000);
}

/* The second line of whatis: the owner, or the last one. */
static void add_owner(struct kms_ddb *db, const struct kms_view_block *block)
{
	struct kms_buf *out = db->out;

	kms_buf_addf(out, "\t%" PRIu64 " byte%s", block->bytes, block->bytes == 1 ? "" : "s");
	if (block->alloc_ns) {
		kms_buf_add_str(out, ", allocated at ");
		add_moment(out, block->alloc_ns);
		kms_buf_add_str(out, " s");
		if (block->alloc_tid)
			kms_buf_addf(out, " by thread %" PRIu32, block->alloc_tid);
	}
	kms_report_caller(out, db->stacks, block->alloc_stack_id, " in ");
	if (block->free_ns) {
		kms_buf_add_str(out, ", freed at ");
		add_moment(out, block->free_ns);
		kms_buf_add_str(out, " s");
		kms_report_caller(out, db->stacks, block->free_stack_id, " in ");
	}
	kms_buf_add_char(out, '\n');
}

/* "0x7f10 is 0x7f00+16 in POOL 'malloc-48' (allocated)" */
static void say_block(struct kms_ddb *db, uint64_t address, const struct kms_view_block *block)
{
	kms_buf_addf(db->out, "0x%" PRIx64 " is 0x%" PRIx64 "+%" PRIu64 " in POOL '", address,
		     block->address, address - block->address);
	kms_ddb_add_name(db, block->cache, 0);
	kms_buf_addf(db->out, "' (%s), target %" PRIu32 "\n", state_text(block->state),
		     block->target);
	add_owner(db, block);
}

/* Asks the view; false: nothing is known of the address there. */
static bool find_block(const struct kms_ddb *db, uint32_t target, uint64_t address,
		       struct kms_view_block *block)
{
	const struct kms_view *view = db->view;
	struct kms_err err = KMS_ERR_INIT;

	memset(block, 0, sizeof(*block));
	return view->ops->whatis &&
	       view->ops->whatis(view->ctx, target, address, block, &err) == 0 && block->address;
}

static bool needs_address(struct kms_ddb *db)
{
	if (db->have_addr || db->state->dot)
		return true;
	kms_ddb_fail(db, "Address missing: %s ADDRESS", db->command->name);
	return false;
}

/* What the view can say besides, each line behind a tab; false: nothing. */
static bool explain(struct kms_ddb *db, uint32_t target, bool is_block)
{
	const struct kms_view *view = db->view;
	struct kms_err err = KMS_ERR_INIT;
	char text[EXPLAIN_BYTES], *rest = text, *line;

	if (!view->ops->explain ||
	    view->ops->explain(view->ctx, target, db->addr, text, sizeof(text), &err) < 0)
		return false;
	if (!is_block)
		kms_buf_addf(db->out, "0x%" PRIx64 ", target %" PRIu32 "\n", db->addr, target);
	while ((line = strsep(&rest, "\n"))) {
		if (!*line)
			continue;
		kms_buf_add_char(db->out, '\t');
		kms_buf_add_printable(db->out, line, strlen(line));
		kms_buf_add_char(db->out, '\n');
	}
	return true;
}

void kms_ddb_cmd_whatis(struct kms_ddb *db)
{
	const struct kms_view_target *target;
	struct kms_view_block block;
	uint64_t offset;
	long index = -1;
	bool known = false;

	if (!needs_address(db))
		return;
	if (kms_ddb_variable_at(db->addr, &offset)) {
		kms_buf_addf(db->out, "0x%" PRIx64 " is %s, a variable of the targets\n", db->addr,
			     kms_ddb_place(db, db->addr).text);
		return;
	}
	if (!db->view->ops->whatis) {
		kms_ddb_fail(db, "whatis: this source does not know single blocks; `history ADDR` "
				 "has the recorded events");
		return;
	}
	while ((target = kms_ddb_next_target(db, &index))) {
		bool is_block = find_block(db, target->id, db->addr, &block);

		if (is_block)
			say_block(db, db->addr, &block);
		known |= explain(db, target->id, is_block) || is_block;
	}
	if (!known)
		kms_buf_addf(db->out, "0x%" PRIx64 " is unknown\n", db->addr);
}

static void add_past_owner(struct kms_ddb *db, const struct kms_moment_pair *pair, size_t number)
{
	struct kms_view_owner owner = {.alloc_ns = pair->alloc->time_ns,
				       .bytes = pair->alloc->size,
				       .alloc_stack_id = pair->alloc->stack_id,
				       .thread = pair->alloc->tid};

	if (pair->free) {
		owner.free_ns = pair->free->time_ns;
		owner.free_stack_id = pair->free->stack_id;
	}
	kms_report_owner(db->out, db->stacks, &owner, number);
}

static void show_history(struct kms_ddb *db, uint32_t target, size_t max)
{
	uint64_t base = kms_owners_begin(db->view, db->snapshot, target, db->addr);
	struct kms_owners h = {0};
	struct kms_err err = KMS_ERR_INIT;

	if (kms_owners_read(db->view, target, base, &h, &err) < 0) {
		kms_ddb_fail_err(db, "history", &err);
	} else {
		kms_buf_addf(db->out, "0x%" PRIx64 " in target %" PRIu32 ": %zu owner%s%s\n", base,
			     target, h.n_owners, h.n_owners == 1 ? "" : "s",
			     h.cut ? ", and more than are read" : "");
		for (size_t i = 0; i < h.n_owners && i < max; i++)
			add_past_owner(db, &h.owner[i], i + 1);
		if (h.n_owners > max)
			kms_buf_addf(db->out, "  and %zu older ones: history ADDR,0t%zu\n",
				     h.n_owners - max, h.n_owners);
	}
	kms_owners_deinit(&h);
}

void kms_ddb_cmd_history(struct kms_ddb *db)
{
	const struct kms_view_target *target;
	size_t max = db->count > 0 ? (size_t)db->count : KMS_DDB_ROWS;
	long index = -1;

	if (!needs_address(db))
		return;
	while (!kms_ddb_failed(db) && (target = kms_ddb_next_target(db, &index)))
		show_history(db, target->id, max);
}

/* One record in mdb's columns; /v adds cache, size and stack. */
static void say_record(struct kms_ddb *db, const struct kms_view_event *event, const char *cache)
{
	kms_buf_addf(db->out, "%16" PRIx64 " %16" PRIx64 " ", event->seq, event->address);
	add_moment(db->out, event->time_ns);
	kms_buf_addf(db->out, " %8" PRIu32 " ", event->tid);
	kms_ddb_add_caller(db, event->stack_id);
	kms_buf_add_char(db->out, '\n');
	if (db->modif[0] != 'v')
		return;
	kms_buf_addf(db->out, "%16s ", event_name(event->kind));
	kms_ddb_add_name(db, cache, 0);
	kms_buf_addf(db->out, " %" PRIu64 " bytes\n", event->size);
	kms_ddb_add_stack(db, event->stack_id, INT64_MAX);
}

void kms_ddb_cmd_bufctl(struct kms_ddb *db)
{
	const struct kms_view_target *target;
	struct past past;
	long index = -1;
	bool known = false;

	if (!needs_address(db))
		return;
	kms_buf_addf(db->out, "%16s %16s %8s %8s %s\n", "ADDR", "BUFADDR", "TIMESTAMP", "THREAD",
		     "CALLER");
	while ((target = kms_ddb_next_target(db, &index))) {
		if (!read_past(db, target->id,
			       kms_owners_begin(db->view, db->snapshot, target->id, db->addr), 1,
			       &past))
			return;
		if (past.n)
			say_record(db, past_event(&past, 0), past.cache);
		known |= past.n > 0;
	}
	if (!known)
		kms_ddb_fail(db,
			     "0x%" PRIx64 ": no record; it is no block's begin, or older than the "
			     "trace",
			     db->addr);
}

static void say_event(struct kms_ddb *db, const struct kms_view_event *event)
{
	add_moment(db->out, event->time_ns);
	kms_buf_addf(
		db->out, " target %" PRIu32 " thread %" PRIu32 " %-8s %" PRIx64 " %" PRIu64 " ",
		event->target, event->tid, event_name(event->kind), event->address, event->size);
	kms_ddb_add_caller(db, event->stack_id);
	kms_buf_add_char(db->out, '\n');
}

static void count_events(struct kms_ddb *db)
{
	const struct kms_view_stats *stats = &db->snapshot->stats;

	for (unsigned int i = 1; i < KMS_EVENT_KINDS; i++)
		if (stats->events[i])
			kms_buf_addf(db->out, "kmem %-14s %" PRIu64 "\n", event_names[i],
				     stats->events[i]);
	kms_buf_addf(db->out, "kmem %-14s %" PRIu64 "\n", "lost in rings", stats->lost);
}

void kms_ddb_show_event(struct kms_ddb *db)
{
	size_t max = db->count > 0 ? (size_t)db->count : KMS_DDB_ROWS;
	struct past past;

	if (!db->have_addr) {
		count_events(db);
		return;
	}
	if (max > MAX_EVENTS)
		max = MAX_EVENTS;
	if (!read_past(db, kms_ddb_chosen(db), db->addr, max, &past))
		return;
	for (size_t i = 0; i < past.n && i < max; i++)
		say_event(db, past_event(&past, i));
	if (!past.n)
		kms_buf_addf(db->out, "kmem: no event of %" PRIx64 "\n", db->addr);
}
