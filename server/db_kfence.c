/* SPDX-License-Identifier: BSD-2-Clause */
/* show kfence: the pool in which a Linux kernel guards some of its objects; show slab: single slabs. */
#include <inttypes.h>
#include <string.h>

#include "server/db.h"
#include "server/db_run.h"
#include "server/kfence.h"
#include "server/report.h"

static void say_state(struct kms_ddb *db, const struct kms_view_kfence *state)
{
	struct kms_buf *out = db->out;

	kms_buf_addf(out, "KFENCE of target %" PRIu32 ": %s, one allocation every %" PRIu64 " ms\n",
		     state->target, state->enabled ? "on" : "off", state->sample_interval_ms);
	kms_buf_addf(out,
		     "\tpool at 0x%" PRIx64 ", %" PRIu32 " objects: %" PRIu32 " allocated, %" PRIu32
		     " freed\n",
		     state->pool, state->objects, state->live, state->freed);
	if (state->has_counters)
		kms_buf_addf(out,
			     "\tallocs %" PRIu64 ", frees %" PRIu64 ", bugs %" PRIu64
			     ", skipped %" PRIu64 "\n",
			     state->allocs, state->frees, state->bugs, state->skipped);
	kms_buf_addf(out, "\treports in the kernel's log: %" PRIu32 "\n", state->reports);
	for (uint32_t i = 0;
	     i < state->reports && i < sizeof(state->report) / sizeof(state->report[0]); i++) {
		kms_buf_add_str(out, "\t\t");
		kms_buf_add_printable(out, state->report[i], strlen(state->report[i]));
		kms_buf_add_char(out, '\n');
	}
}

static void say_stack(struct kms_ddb *db, const char *what, uint32_t pid, uint64_t stack_id)
{
	const struct kms_view_stack *stack = kms_stacks_get(db->stacks, stack_id, NULL);

	if (!stack->n_frames)
		return;
	kms_buf_addf(db->out, "\t%s by process %" PRIu32 ":\n", what, pid);
	for (size_t i = 0; i < stack->n_frames; i++) {
		kms_buf_add_str(db->out, "\t\t");
		kms_report_frame(db->out, &stack->frame[i]);
		kms_buf_add_char(db->out, '\n');
	}
}

static void say_object(struct kms_ddb *db, const struct kms_view_kfence_object *object)
{
	kms_buf_addf(db->out, "%5" PRIu32 " 0x%" PRIx64 " %6" PRIu64 " %-9s ", object->index,
		     object->address, object->bytes, kms_kfence_state_name(object->state));
	kms_ddb_add_name(db, object->cache, 0);
	if (!strchr(db->modif, 'v'))
		kms_report_caller(db->out, db->stacks, object->alloc_stack_id, " in ");
	kms_buf_add_char(db->out, '\n');
	if (!strchr(db->modif, 'v'))
		return;
	say_stack(db, "allocated", object->alloc_pid, object->alloc_stack_id);
	if (object->state == KMS_KFENCE_FREED)
		say_stack(db, "freed", object->free_pid, object->free_stack_id);
}

/* One target's; objects as many as are asked for, of an address only its own. */
static void say_kfence(struct kms_ddb *db, uint32_t target)
{
	size_t max = db->count >= 0 ? (size_t)db->count : KMS_DDB_ROWS, said = 0;
	struct kms_err err = KMS_ERR_INIT;
	struct kms_kfence kfence;

	if (kms_kfence_read(db->view, target, &kfence, &err) < 0) {
		kms_ddb_fail_err(db, "show kfence", &err);
	} else {
		say_state(db, &kfence.state);
		for (size_t i = 0; i < kfence.n && said < max; i++) {
			const struct kms_view_kfence_object *object = &kfence.object[i];

			if (db->have_addr &&
			    object->address / KMS_PAGE_BYTES != db->addr / KMS_PAGE_BYTES)
				continue;
			say_object(db, object);
			said++;
		}
		if (!db->have_addr && kfence.n > said)
			kms_buf_addf(db->out, "%zu more: show kfence,0t%zu\n", kfence.n - said,
				     kfence.n);
	}
	kms_kfence_deinit(&kfence);
}

void kms_ddb_show_kfence(struct kms_ddb *db)
{
	const struct kms_view_target *target;
	long index = -1;

	if (db->modif[strspn(db->modif, "v")] != '\0') {
		kms_ddb_fail(db, "Bad modifier: show kfence takes v (whole stacks)");
		return;
	}
	while (!kms_ddb_failed(db) && (target = kms_ddb_next_target(db, &index)))
		if (target->state == KMS_STATE_RUNNING)
			say_kfence(db, target->id);
}

/* Slabs being said. */
struct slabs {
	struct kms_ddb *db;
	uint64_t only; /* address in the one that is meant, 0 all */
	size_t said, max, more;
};

static int say_slab(void *arg, const struct kms_view_slab *slab)
{
	struct slabs *slabs = arg;
	struct kms_buf *out = slabs->db->out;

	if (slabs->only &&
	    (slabs->only < slab->base || slabs->only - slab->base >= slab->pages * KMS_PAGE_BYTES))
		return 0;
	if (slabs->said == slabs->max) {
		slabs->more++;
		return 0;
	}
	slabs->said++;
	kms_buf_addf(out, "0x%" PRIx64 " %5" PRIu64 " %6" PRIu32 " %6" PRIu32 " %6" PRIu32 " ",
		     slab->base, slab->pages, slab->count, slab->live, slab->count - slab->live);
	for (uint32_t i = 0; i < slab->count; i++)
		kms_buf_add_char(out, slab->bitmap[i / 8] >> (i & 7) & 1 ? '#' : '.');
	kms_buf_add_char(out, '\n');
	return 0;
}

static void say_slabs(struct kms_ddb *db, uint32_t target, const char *cache, uint64_t only)
{
	struct slabs slabs = {
		.db = db, .only = only, .max = db->count >= 0 ? (size_t)db->count : KMS_DDB_ROWS};
	struct kms_err err = KMS_ERR_INIT;

	kms_buf_add_str(db->out, "POOL '");
	kms_ddb_add_name(db, cache, 0);
	kms_buf_addf(db->out, "', target %" PRIu32 "; # allocated, . free\n", target);
	kms_buf_addf(db->out, "%-18s %5s %6s %6s %6s\n", "slab", "pages", "blocks", "alloc",
		     "free");
	if (db->view->ops->slabs(db->view->ctx, target, cache, say_slab, &slabs, &err) < 0)
		kms_ddb_fail_err(db, "show slab", &err);
	if (slabs.more)
		kms_buf_addf(db->out, "%zu more: show slab %s,0t%zu\n", slabs.more, cache,
			     slabs.more + slabs.said);
}

static bool say_named(struct kms_ddb *db, const char *name)
{
	const struct kms_snapshot *s = db->snapshot;
	bool any = false;

	for (size_t i = 0; i < s->n_caches && !kms_ddb_failed(db); i++) {
		if (strcmp(s->cache[i].name, name) != 0 ||
		    !kms_ddb_is_meant(db, s->cache[i].target))
			continue;
		say_slabs(db, s->cache[i].target, name, 0);
		any = true;
	}
	return any;
}

/* The slab that an address lies in. */
static void say_slab_at(struct kms_ddb *db, uint64_t address)
{
	uint32_t target;
	const char *cache = kms_ddb_cache_at(db, address, &target);

	if (cache)
		say_slabs(db, target, cache, address);
	else if (!kms_ddb_failed(db))
		kms_ddb_fail(db, "%s is in no slab", kms_ddb_number(db, address).text);
}

void kms_ddb_show_slab(struct kms_ddb *db)
{
	char name[KMS_DDB_NAME_BYTES];
	struct kms_ddb_lex rest = db->lex;
	uint64_t address = db->state->dot;

	if (!db->view->ops->slabs) {
		kms_ddb_fail(db, "show slab: this source does not know single slabs");
		return;
	}
	if (kms_ddb_lex_word(&rest, name, sizeof(name))) {
		for (size_t i = 0; i < db->snapshot->n_caches; i++) {
			if (strcmp(db->snapshot->cache[i].name, name) != 0)
				continue;
			db->lex = rest;
			kms_ddb_count(db);
			if (!kms_ddb_failed(db))
				(void)say_named(db, name); /* there is one */
			return;
		}
		if (!kms_ddb_expression(db, &address)) {
			db->lex.error[0] = '\0'; /* the word's own error says less */
			kms_ddb_fail(db, "no pool is named so; `show all pools` lists them");
			return;
		}
	}
	if (address)
		say_slab_at(db, address);
	else
		kms_ddb_fail(db, "which one? show slab CACHE, or show slab ADDRESS");
}
