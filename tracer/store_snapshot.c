/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The tables that show the newest snapshot: emptied and filled again, within the caller's
 * transaction. Faults are never taken back: they are only added to.
 */
#include <stdio.h>
#include <string.h>

#include "tracer/sample.h"
#include "tracer/store_impl.h"
#include "tracer/store_names.h"

static int exec(struct kms_store *store, const char *sql)
{
	int rc = sqlite3_exec(store->db, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? SQLITE_DONE : rc;
}

static void events_json(const uint64_t events[KMS_EVENT_KINDS], char out[512])
{
	size_t used = 0;

	for (unsigned kind = 0; kind < KMS_EVENT_KINDS; kind++)
		used += (size_t)snprintf(out + used, 512 - used, "%s%llu", kind ? "," : "[",
					 (unsigned long long)events[kind]);
	(void)snprintf(out + used, 512 - used, "]"); /* 16 numbers of at most 20 digits */
}

static int write_stats_row(struct kms_store *store, uint32_t target, const struct kms_view_stats *s)
{
	char events[512];

	events_json(s->events, events);
	return KMS_RUN(store->stmt[STORE_STATS], KMS_INT(target), KMS_INT(s->live_bytes),
		       KMS_INT(s->live_objects), KMS_INT(s->peak_bytes), KMS_INT(s->allocs),
		       KMS_INT(s->frees), KMS_INT(s->failed), KMS_INT(s->alloc_rate),
		       KMS_INT(s->free_rate), KMS_INT(s->faults), KMS_TEXT(events),
		       KMS_INT(s->produced), KMS_INT(s->stored), KMS_INT(s->lost),
		       KMS_REAL(s->ring_fill), KMS_INT(s->waits), KMS_INT(s->waited_ns),
		       KMS_INT(s->lag_us), KMS_REAL(s->ns_per_event));
}

static int write_stats(struct kms_store *store, const struct kms_snapshot *snapshot)
{
	int rc = exec(store, "DELETE FROM stats");

	if (rc == SQLITE_DONE)
		rc = write_stats_row(store, 0, &snapshot->stats);
	for (size_t i = 0; rc == SQLITE_DONE && snapshot->target_stats && i < snapshot->n_targets;
	     i++)
		if (snapshot->target[i].id)
			rc = write_stats_row(store, snapshot->target[i].id,
					     &snapshot->target_stats[i]);
	return rc;
}

static int write_kinds(struct kms_store *store, const struct kms_snapshot *snapshot)
{
	int rc = SQLITE_DONE;

	for (size_t i = 0; rc == SQLITE_DONE && i < snapshot->n_targets; i++)
		if (snapshot->target[i].kind == KMS_TARGET_GUEST)
			rc = KMS_RUN(store->stmt[STORE_TARGET_KIND],
				     KMS_INT(snapshot->target[i].id), KMS_TEXT("guest"));
	return rc;
}

static int write_caches(struct kms_store *store, const struct kms_snapshot *snapshot)
{
	int rc = exec(store, "DELETE FROM caches");

	for (size_t i = 0; rc == SQLITE_DONE && i < snapshot->n_caches; i++) {
		const struct kms_view_cache *c = &snapshot->cache[i];

		rc = KMS_RUN(store->stmt[STORE_CACHE], KMS_INT(c->target),
			     KMS_TEXT(c->name ? c->name : ""), KMS_INT(c->object_bytes),
			     KMS_INT(c->objects_live), KMS_INT(c->objects_cached),
			     KMS_INT(c->objects_guarded), KMS_INT(c->objects_total),
			     KMS_INT(c->slabs), KMS_INT(c->pages), KMS_REAL(c->utilization),
			     KMS_INT(c->waste_bytes), KMS_INT(c->live_bytes), KMS_INT(c->allocs),
			     KMS_INT(c->frees), KMS_INT(c->failed), KMS_INT(c->alloc_rate),
			     KMS_INT(c->free_rate));
	}
	return rc;
}

static int write_guards(struct kms_store *store, const struct kms_snapshot *snapshot)
{
	int rc = exec(store, "DELETE FROM guard");

	for (size_t i = 0; rc == SQLITE_DONE && i < snapshot->n_guards; i++) {
		const struct kms_view_guard *g = &snapshot->guard[i];
		const struct kms_guard_stat *s = &g->s;

		rc = KMS_RUN(
			store->stmt[STORE_GUARD], KMS_INT(g->target), KMS_INT(s->depth_requested),
			KMS_INT(s->depth), KMS_INT(g->pending), KMS_INT(s->used), KMS_INT(s->bytes),
			KMS_INT(s->pages), KMS_INT(s->live), KMS_INT(s->frees),
			KMS_INT(s->evictions), KMS_INT(s->unguarded), KMS_INT(g->oldest_age_us),
			KMS_INT(g->window_frees), KMS_INT(s->oldest_free_ns),
			KMS_INT(s->oldest_free_nr), KMS_INT(s->maps_used), KMS_INT(s->maps_max),
			KMS_TEXT(kms_name_of(KMS_NAMES_LIMIT, s->limited_by)),
			KMS_TEXT(kms_name_of(KMS_NAMES_BACKEND, s->backend)));
	}
	return rc;
}

static int write_leak_caches(struct kms_store *store, size_t rank, const struct kms_view_leak *l)
{
	int rc = SQLITE_DONE;

	for (size_t i = 0; rc == SQLITE_DONE && i < l->n_caches; i++)
		rc = KMS_RUN(store->stmt[STORE_LEAK_CACHE], KMS_INT(rank), KMS_INT(i),
			     KMS_TEXT(l->caches[i].name), KMS_INT(l->caches[i].bytes),
			     KMS_INT(l->caches[i].count));
	return rc;
}

static int write_leaks(struct kms_store *store, const struct kms_snapshot *snapshot)
{
	int rc = exec(store, "DELETE FROM leak_rows; DELETE FROM leak_caches");

	for (size_t i = 0; rc == SQLITE_DONE && i < snapshot->n_leaks; i++) {
		const struct kms_view_leak *l = &snapshot->leak[i];
		const struct kms_view_evidence *e = &l->evidence;

		rc = KMS_RUN(store->stmt[STORE_LEAK], KMS_INT(i + 1), KMS_INT(l->target),
			     KMS_TEXT(l->id), KMS_INT(l->stack_id), KMS_TEXT(l->cache),
			     KMS_REAL(l->score), KMS_INT(l->bytes), KMS_INT(l->count),
			     KMS_INT(l->age_p50_us), KMS_INT(l->allocs),
			     KMS_REAL(e->growth_bytes_per_s), KMS_REAL(e->age_over_lifetime),
			     KMS_INT(e->freed), KMS_INT(e->never_freed), KMS_INT(e->at_exit),
			     KMS_TEXT(l->state ? l->state : "open"), KMS_INT(l->folded));
		if (rc == SQLITE_DONE)
			rc = write_leak_caches(store, i + 1, l);
	}
	return rc;
}

static int write_owners(struct kms_store *store, const struct kms_view_fault *f)
{
	int rc = SQLITE_DONE;

	for (size_t i = 0; rc == SQLITE_DONE && i < f->n_owners; i++) {
		const struct kms_view_owner *o = &f->owner[i];

		rc = KMS_RUN(store->stmt[STORE_OWNER], KMS_INT(f->id), KMS_INT(i),
			     KMS_INT(o->alloc_ns), KMS_INT(o->free_ns), KMS_INT(o->bytes),
			     KMS_INT(o->alloc_stack_id), KMS_INT(o->free_stack_id),
			     KMS_INT(o->thread));
	}
	return rc;
}

static int write_faults(struct kms_store *store, const struct kms_snapshot *snapshot)
{
	int rc = exec(store, "DELETE FROM fault_owners"); /* there may be fewer than before */

	for (size_t i = 0; rc == SQLITE_DONE && i < snapshot->n_faults; i++) {
		const struct kms_view_fault *f = &snapshot->fault[i];
		char text[sizeof(f->raw.text) + 1];

		memcpy(text, f->raw.text, sizeof(f->raw.text));
		text[sizeof(f->raw.text)] = '\0';
		rc = KMS_RUN(store->stmt[STORE_FAULT], KMS_INT(f->id), KMS_INT(f->target),
			     KMS_TEXT(kms_name_of(KMS_NAMES_FAULT, f->raw.kind)),
			     KMS_TEXT(kms_name_of(KMS_NAMES_ACCESS, f->raw.access)),
			     KMS_INT(store_run_time(store, f->target, f->raw.time_ns)),
			     KMS_INT(f->raw.address), KMS_INT(f->raw.block_bytes),
			     KMS_TEXT(f->cache),
			     KMS_INT(f->raw.block ? f->raw.address - f->raw.block : 0),
			     KMS_INT(f->tid), KMS_TEXT(f->thread_name), KMS_INT(f->stack_id),
			     KMS_INT(f->alloc_stack_id), KMS_INT(f->free_stack_id), KMS_TEXT(text),
			     KMS_BLOB(&f->raw, sizeof(f->raw)));
		if (rc == SQLITE_DONE)
			rc = write_owners(store, f);
	}
	return rc;
}

static int write_sample(struct kms_store *store, const struct kms_snapshot *snapshot)
{
	struct kms_view_sample s = kms_sample_of(snapshot);

	return KMS_RUN(store->stmt[STORE_SAMPLE], KMS_INT(s.time_ns), KMS_INT(s.live_bytes),
		       KMS_INT(s.live_objects), KMS_INT(s.allocs), KMS_INT(s.frees),
		       KMS_INT(s.alloc_rate), KMS_INT(s.free_rate), KMS_INT(s.faults),
		       KMS_INT(s.lost), KMS_INT(s.guard_used), KMS_INT(s.guard_depth));
}

static int write_target_sample(struct kms_store *store, const struct kms_snapshot *snapshot,
			       size_t index)
{
	struct kms_view_sample s = kms_sample_of_target(snapshot, index);

	return KMS_RUN(store->stmt[STORE_TARGET_SAMPLE], KMS_INT(s.time_ns),
		       KMS_INT(snapshot->target[index].id), KMS_INT(s.live_bytes),
		       KMS_INT(s.live_objects), KMS_INT(s.allocs), KMS_INT(s.frees),
		       KMS_INT(s.alloc_rate), KMS_INT(s.free_rate), KMS_INT(s.faults),
		       KMS_INT(s.lost), KMS_INT(s.guard_used), KMS_INT(s.guard_depth));
}

static int write_target_samples(struct kms_store *store, const struct kms_snapshot *snapshot)
{
	uint64_t now_ns = snapshot->time_ns;
	int rc = SQLITE_DONE;
	unsigned written = 0;

	if (now_ns < store->next_target_samples_ns || !snapshot->target_stats)
		return rc;
	store->next_target_samples_ns = now_ns + KMS_STORE_TARGET_SAMPLE_NS;
	for (size_t i = 0; rc == SQLITE_DONE && i < snapshot->n_targets; i++) {
		uint32_t state = snapshot->target[i].state;

		if (state != KMS_STATE_RUNNING && state != KMS_STATE_STOPPED)
			continue;
		if (written++ == KMS_STORE_TARGET_SAMPLES)
			break;
		rc = write_target_sample(store, snapshot, i);
	}
	if (rc == SQLITE_DONE && now_ns > KMS_STORE_TARGET_PAST_NS)
		rc = KMS_RUN(store->stmt[STORE_TARGET_SAMPLE_DELETE],
			     KMS_INT(now_ns - KMS_STORE_TARGET_PAST_NS));
	return rc;
}

static int write_meta(struct kms_store *store, const struct kms_snapshot *snapshot)
{
	int rc = KMS_RUN(store->stmt[STORE_META], KMS_TEXT("snapshot_seq"), KMS_INT(snapshot->seq));

	if (rc == SQLITE_DONE)
		rc = KMS_RUN(store->stmt[STORE_META], KMS_TEXT("snapshot_time_ns"),
			     KMS_INT(snapshot->time_ns));
	if (rc == SQLITE_DONE)
		rc = KMS_RUN(store->stmt[STORE_META], KMS_TEXT("snapshot_wall_ns"),
			     KMS_INT(snapshot->wall_ns));
	if (rc == SQLITE_DONE)
		rc = KMS_RUN(store->stmt[STORE_META], KMS_TEXT("snapshot_incomplete"),
			     KMS_INT(snapshot->incomplete));
	return rc;
}

int store_write_snapshot(struct kms_store *store, const struct kms_snapshot *snapshot)
{
	static int (*const parts[])(struct kms_store *, const struct kms_snapshot *) = {
		write_stats,  write_kinds,  write_caches,         write_guards, write_leaks,
		write_faults, write_sample, write_target_samples, write_meta,
	};
	int rc = SQLITE_DONE;

	for (size_t i = 0; rc == SQLITE_DONE && i < sizeof(parts) / sizeof(*parts); i++)
		rc = parts[i](store, snapshot);
	return rc;
}
