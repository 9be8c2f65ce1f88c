/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * /metrics: the figures in the text format of Prometheus, version 0.0.4. Sums over targets; labelled by
 * cache, never by site or address: a time series for each of those would be more than anybody stores.
 */
#include <inttypes.h>
#include <limits.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "server/exchange.h"
#include "server/sum.h"
#include "server/suspect.h"
#include "server/write.h"

static const char *const fault_names[KMS_FAULT_KINDS] = {KMS_FAULT_NAMES};

enum {
	CACHES_MAX = 1000, /* a target that makes up names makes up no more series than this */
	LABEL_BYTES = 256,
};

/* Begins a family: its name is on every line, so it is written once here. */
struct family {
	struct kms_buf *text;
	const char *name;
};

static struct family begin(struct kms_exchange *x, const char *name, const char *type,
			   const char *help)
{
	kms_buf_addf(&x->body, "# HELP kmemscope_%s %s\n# TYPE kmemscope_%s %s\n", name, help, name,
		     type);
	return (struct family){&x->body, name};
}

/* A label's value: what would end it is escaped, what would harm a terminal is replaced. */
static void add_label(struct kms_buf *text, const char *name, const char *value)
{
	struct kms_buf plain;

	kms_buf_init(&plain, LABEL_BYTES);
	kms_buf_add_printable(&plain, value, strnlen(value, LABEL_BYTES / 4));
	kms_buf_addf(text, "%s=\"", name);
	for (const char *c = kms_buf_text(&plain); *c; c++) {
		if (*c == '"' || *c == '\\')
			kms_buf_add_char(text, '\\');
		kms_buf_add_char(text, *c);
	}
	kms_buf_add_char(text, '"');
	kms_buf_deinit(&plain);
}

static void add(const struct family *family, uint64_t value)
{
	kms_buf_addf(family->text, "kmemscope_%s %" PRIu64 "\n", family->name, value);
}

static void add_double(const struct family *family, double value)
{
	kms_buf_addf(family->text, "kmemscope_%s %.10g\n", family->name, value);
}

static void add_one(const struct family *family, const char *label, const char *is, uint64_t value)
{
	kms_buf_addf(family->text, "kmemscope_%s{", family->name);
	add_label(family->text, label, is);
	kms_buf_addf(family->text, "} %" PRIu64 "\n", value);
}

/* One figure. */
static void gauge(struct kms_exchange *x, const char *name, const char *help, uint64_t value)
{
	struct family family = begin(x, name, "gauge", help);

	add(&family, value);
}

static void write_run(struct kms_exchange *x)
{
	uint64_t states[KMS_STATE_CORRUPT + 1] = {0};
	struct family family = begin(x, "build_info", "gauge", "Version of kmemscope.");

	add_one(&family, "version", x->server->version, 1);
	for (size_t i = 0; i < x->snapshot->n_targets; i++)
		if (x->snapshot->target[i].state <= KMS_STATE_CORRUPT)
			states[x->snapshot->target[i].state]++;
	family = begin(x, "targets", "gauge", "Processes and guests of the run.");
	for (uint32_t state = KMS_STATE_RUNNING; state <= KMS_STATE_CORRUPT; state++)
		add_one(&family, "state", kms_state_name(state), states[state]);
}

static void write_memory(struct kms_exchange *x, const struct kms_view_stats *stats,
			 bool peak_known)
{
	gauge(x, "target_live_bytes", "Requested bytes of live blocks.", stats->live_bytes);
	gauge(x, "target_live_objects", "Live blocks.", stats->live_objects);
	if (peak_known)
		gauge(x, "target_peak_bytes", "Highest number of live bytes so far.",
		      stats->peak_bytes);
}

/* A figure of every cache. */
static const struct cache_figure {
	const char *name, *type, *help;
	size_t offset; /* in struct kms_view_cache, of a uint64_t */
	const char *state;
} figures[] = {
	{"target_allocs_total",         "counter", "Allocations.",                        offsetof(struct kms_view_cache, allocs),
	 NULL																     },
	{"target_frees_total",          "counter", "Frees.",                              offsetof(struct kms_view_cache, frees),           NULL  },
	{"target_alloc_failures_total", "counter", "Allocations that failed.",
	 offsetof(struct kms_view_cache,										  failed),          NULL  },
	{"target_slab_pages",           "gauge",   "Pages of a cache's slabs.",
	 offsetof(struct kms_view_cache,										  pages),           NULL  },
	{"target_slab_objects",         "gauge",   "Blocks of a cache by what they are.",
	 offsetof(struct kms_view_cache,										  objects_live),    "live"},
	{"target_slab_objects",         "gauge",   NULL,                                  offsetof(struct kms_view_cache, objects_cached),
	 "cached"																 },
	{"target_slab_objects",         "gauge",   NULL,                                  offsetof(struct kms_view_cache, objects_guarded),
	 "guarded"																},
};

static void write_cache_figure(struct kms_exchange *x, const struct cache_figure *figure,
			       const struct kms_view_cache *rows, size_t n_rows)
{
	uint64_t value;

	if (figure->help)
		(void)begin(x, figure->name, figure->type, figure->help);
	for (size_t i = 0; i < n_rows && i < CACHES_MAX; i++) {
		memcpy(&value, (const char *)&rows[i] + figure->offset, sizeof(value));
		kms_buf_addf(&x->body, "kmemscope_%s{", figure->name);
		add_label(&x->body, "cache", rows[i].name);
		if (figure->state) {
			kms_buf_add_char(&x->body, ',');
			add_label(&x->body, "state", figure->state);
		}
		kms_buf_addf(&x->body, "} %" PRIu64 "\n", value);
	}
}

static void write_caches(struct kms_exchange *x)
{
	struct kms_view_cache *rows;
	size_t n_rows;

	if (kms_sum_caches(x->snapshot, x->query.target, &rows, &n_rows) < 0)
		return; /* the other figures are still right */
	for (size_t i = 0; i < sizeof(figures) / sizeof(figures[0]); i++)
		write_cache_figure(x, &figures[i], rows, n_rows);
	free(rows);
}

static void write_guard(struct kms_exchange *x)
{
	struct kms_guard_sum sum;
	struct family family;

	kms_sum_guard(x->snapshot, x->query.target, &sum);
	family = begin(x, "target_guard_depth", "gauge",
		       "Depth of the guard FIFO as asked for and in effect, and what it holds.");
	add_one(&family, "kind", "requested", sum.s.depth_requested);
	add_one(&family, "kind", "effective", sum.s.depth);
	add_one(&family, "kind", "used", sum.s.used);
	gauge(x, "target_guard_kva_pages",
	      "Pages of address space behind freed blocks that are "
	      "guarded.",
	      sum.s.pages);
}

static void write_findings(struct kms_exchange *x)
{
	const struct kms_snapshot *s = x->snapshot;
	uint64_t faults[KMS_FAULT_KINDS] = {0};
	struct family family = begin(x, "target_faults_total", "counter", "Memory bugs by kind.");
	uint64_t suspects = 0;
	uint64_t bytes = 0;

	for (size_t i = 0; i < s->n_faults; i++)
		if (s->fault[i].raw.kind < KMS_FAULT_KINDS &&
		    (!x->query.target || s->fault[i].target == x->query.target))
			faults[s->fault[i].raw.kind]++;
	for (unsigned int i = 1; i < KMS_FAULT_KINDS; i++)
		add_one(&family, "kind", fault_names[i], faults[i]);
	for (size_t i = 0; i < s->n_leaks; i++) {
		if ((x->query.target && s->leak[i].target != x->query.target) ||
		    !kms_is_suspect(&s->leak[i]))
			continue;
		suspects++;
		bytes += s->leak[i].bytes;
	}
	gauge(x, "target_leak_suspects", "Sites that seem to leak.", suspects);
	gauge(x, "target_leak_suspect_bytes", "Live bytes of those sites.", bytes);
}

/* What the database has not yet taken over from its log. */
static uint64_t wal_bytes(const char *file)
{
	char path[PATH_MAX];
	struct stat st;
	int n = file ? snprintf(path, sizeof(path), "%s-wal", file) : -1;

	return n > 0 && n < PATH_MAX && stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
}

static void write_tracer(struct kms_exchange *x, const struct kms_view_stats *stats)
{
	struct family family = begin(x, "ring_lost_events_total", "counter",
				     "Events that the tracer did not get.");

	add(&family, stats->lost);
	family = begin(x, "ring_fill_ratio", "gauge", "How full the fullest ring is, 0 to 1.");
	add_double(&family, stats->ring_fill);
	gauge(x, "db_bytes", "Size of the trace.", stats->db_bytes);
	gauge(x, "db_wal_bytes", "Size of its log.", wal_bytes(x->snapshot->file));
	family = begin(x, "ingest_lag_seconds", "gauge", "How far the figures are behind.");
	add_double(&family, (double)stats->lag_us / 1e6);
}

void kms_res_metrics(struct kms_exchange *x)
{
	struct kms_view_stats stats;
	bool peak_known;

	x->out->content_type = "text/plain; version=0.0.4; charset=utf-8";
	kms_sum_stats(x->snapshot, x->query.target, &stats, &peak_known);
	write_run(x);
	write_memory(x, &stats, peak_known);
	write_caches(x);
	write_guard(x);
	write_findings(x);
	write_tracer(x, &stats);
}
