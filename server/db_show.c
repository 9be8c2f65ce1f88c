/* SPDX-License-Identifier: BSD-2-Clause */
/* The guard FIFO and the run's figures. */
#include <inttypes.h>
#include <string.h>

#include "base/fmt.h"
#include "schema/variables.h"
#include "server/db.h"
#include "server/db_run.h"

static const char *const backend_names[] = {"none yet", "userfaultfd", "markers", "mprotect",
					    "page tables"};
static const char *const limit_names[] = {"nothing", "depth", "bytes", "maps", "memory"};

#define NAME_OF(names, value)                                                                      \
	((value) < sizeof(names) / sizeof((names)[0]) ? (names)[value] : "unknown")

static void say_guard(struct kms_ddb *db, const struct kms_view_guard *g)
{
	struct kms_buf *out = db->out;

	kms_buf_addf(out, "kmem guard of target %" PRIu32 ": %s, backend %s\n", g->target,
		     g->s.depth ? "on" : "off", NAME_OF(backend_names, g->s.backend));
	kms_buf_addf(out,
		     "\tdepth requested %" PRIu64 ", effective %" PRIu64 "%s; %" PRIu64
		     " pages of address space (2 x depth)\n",
		     g->s.depth_requested, g->s.depth, g->pending ? ", pending" : "",
		     2 * g->s.depth);
	kms_buf_addf(out,
		     "\tused %" PRIu64 ", bytes %" PRIu64 ", pages %" PRIu64 ", limited by %s\n",
		     g->s.used, g->s.bytes, g->s.pages, NAME_OF(limit_names, g->s.limited_by));
	kms_buf_addf(out,
		     "\tfrees %" PRIu64 ", evictions %" PRIu64 ", unguarded %" PRIu64
		     ", live %" PRIu64 "\n",
		     g->s.frees, g->s.evictions, g->s.unguarded, g->s.live);
	kms_buf_addf(out, "\toldest %s, a freed block is caught for %" PRIu64 " frees\n",
		     kms_fmt_ns(g->oldest_age_us * 1000).text, g->window_frees);
	kms_buf_addf(out, "\tmaps used %" PRIu64 " of %" PRIu64 "\n", g->s.maps_used,
		     g->s.maps_max);
}

void kms_ddb_show_guard(struct kms_ddb *db)
{
	const struct kms_snapshot *s = db->snapshot;
	const struct kms_view_target *target;
	long index = -1;
	bool any = false;

	while ((target = kms_ddb_next_target(db, &index)))
		for (size_t i = 0; i < s->n_guards; i++) {
			if (s->guard[i].target != target->id)
				continue;
			say_guard(db, &s->guard[i]);
			any = true;
		}
	if (!any)
		kms_buf_add_str(db->out, "kmem: no guard figures yet\n");
}

void kms_ddb_show_kmem(struct kms_ddb *db)
{
	const struct kms_snapshot *s = db->snapshot;
	const struct kms_view_stats *stats = &s->stats;
	struct kms_buf *out = db->out;

	kms_buf_addf(out, "kmem: %" PRIu64 " bytes live in %" PRIu64 " blocks, peak %" PRIu64 "\n",
		     stats->live_bytes, stats->live_objects, stats->peak_bytes);
	kms_buf_addf(out, "\tallocs %" PRIu64 ", frees %" PRIu64 ", failed %" PRIu64 "\n",
		     stats->allocs, stats->frees, stats->failed);
	kms_buf_addf(out, "\talloc rate %" PRIu64 "/s, free rate %" PRIu64 "/s\n",
		     stats->alloc_rate, stats->free_rate);
	kms_buf_addf(out, "\tfaults %" PRIu64 ", targets %zu\n", stats->faults, s->n_targets);
	kms_buf_addf(out, "\tevents stored %" PRIu64 ", lost %" PRIu64 ", lag %s\n", stats->stored,
		     stats->lost, kms_fmt_ns(stats->lag_us * 1000).text);
}
