/* SPDX-License-Identifier: BSD-2-Clause */
/* Statistics and the guard FIFO as text. */
#include <inttypes.h>
#include <string.h>

#include "base/fmt.h"
#include "tui/view.h"

enum {
	LABEL_COLUMNS = 12,
};

static void add_label(struct kms_text *text, const char *label)
{
	kms_text_style(text, KMS_STYLE_HEAD, "%-*s", LABEL_COLUMNS, label);
}

static struct kms_fmt count_of(const cJSON *object, const char *name)
{
	return kms_fmt_count(kms_json_number(object, name));
}

static struct kms_fmt bytes_of(const cJSON *object, const char *name)
{
	return kms_fmt_bytes(kms_json_number(object, name));
}

/* How long it ran, whether it is over, who is missing. */
static void add_run(struct kms_text *text, const cJSON *document)
{
	const cJSON *snapshot = kms_json_member(document, "snapshot");
	const cJSON *state;
	const char *separator = "";

	add_label(text, "run");
	kms_text_addf(text, "%s%s", kms_fmt_ns(kms_json_number(snapshot, "time_ns")).text,
		      kms_json_flag(snapshot, "finished") ? ", finished" : "");
	if (kms_json_member(document, "targets")) {
		kms_text_addf(text, "; targets: ");
		for (state = kms_json_first(kms_json_member(document, "targets")); state;
		     state = state->next) {
			if (state->valuedouble <= 0)
				continue;
			kms_text_addf(text, "%s%.0f %s", separator, state->valuedouble,
				      state->string);
			separator = ", ";
		}
		if (!*separator)
			kms_text_addf(text, "none");
	} else {
		kms_text_addf(text, "; target %" PRIu64, kms_json_number(document, "target"));
	}
	kms_text_addf(text, "\n");
	if (*kms_json_text(snapshot, "tracer_lost")) {
		add_label(text, "tracer");
		kms_text_name(text, kms_json_text(snapshot, "tracer_lost"));
		kms_text_addf(text, "\n");
	}
	add_label(text, "trace");
	kms_text_path(text, kms_json_text(snapshot, "file"));
	kms_text_addf(text, " (%s)\n",
		      bytes_of(kms_json_member(document, "tracer"), "db_bytes").text);
}

static void add_memory(struct kms_text *text, const cJSON *document)
{
	uint64_t faults = kms_json_number(document, "faults");

	add_label(text, "live");
	kms_text_addf(text, "%s in %s blocks", bytes_of(document, "live_bytes").text,
		      count_of(document, "live_objects").text);
	if (!cJSON_IsNull(kms_json_member(document, "peak_bytes")))
		kms_text_addf(text, "; peak %s", bytes_of(document, "peak_bytes").text);
	kms_text_addf(text, "\n");
	add_label(text, "allocs");
	kms_text_addf(text, "%s (%s/s), %s failed\n", count_of(document, "allocs").text,
		      kms_fmt_rate(kms_json_number(document, "alloc_rate")).text,
		      count_of(document, "failed").text);
	add_label(text, "frees");
	kms_text_addf(text, "%s (%s/s)\n", count_of(document, "frees").text,
		      kms_fmt_rate(kms_json_number(document, "free_rate")).text);
	add_label(text, "faults");
	kms_text_style(text, faults ? KMS_STYLE_BAD : KMS_STYLE_PLAIN, "%s",
		       kms_fmt_count(faults).text);
	kms_text_addf(text, "\n");
}

static void add_events(struct kms_text *text, const cJSON *document)
{
	const cJSON *ring = kms_json_member(document, "ring");
	const cJSON *kind;
	uint64_t lost = kms_json_number(ring, "lost");
	const char *separator = "";

	add_label(text, "events");
	kms_text_addf(text, "%s stored, ", count_of(ring, "stored").text);
	kms_text_style(text, lost ? KMS_STYLE_BAD : KMS_STYLE_PLAIN, "%s lost",
		       lost ? kms_fmt_count(lost).text : "none");
	if (kms_json_flag(ring, "stale"))
		kms_text_style(text, KMS_STYLE_BAD,
			       "; what lives is as of before, until the program's next call");
	kms_text_addf(text, "\n");
	if (kms_json_member(document, "events")) {
		add_label(text, "");
		for (kind = kms_json_first(kms_json_member(document, "events")); kind;
		     kind = kind->next) {
			if (!cJSON_IsNumber(kind) || kind->valuedouble <= 0)
				continue;
			kms_text_addf(text, "%s%s %s", separator, kind->string,
				      kms_fmt_count((uint64_t)kind->valuedouble).text);
			separator = ", ";
		}
		kms_text_addf(text, "\n");
	}
	add_label(text, "ring");
	kms_text_addf(text, "%.0f%% full; the program waited %s times for the tracer, %s in all\n",
		      100 * kms_json_fraction(ring, "fill"), count_of(ring, "waits").text,
		      kms_fmt_ns(kms_json_number(ring, "waited_us") * 1000).text);
}

static void add_guard_line(struct kms_text *text, const cJSON *guard)
{
	add_label(text, "guard");
	if (kms_json_number(guard, "depth") == 0 && kms_json_number(guard, "used") == 0)
		kms_text_addf(text, "off\n");
	else
		kms_text_addf(text, "%s of %s slots used, %s evictions\n",
			      count_of(guard, "used").text, count_of(guard, "depth").text,
			      count_of(guard, "evictions").text);
}

void kms_show_stats(struct kms_text *text, const cJSON *document,
		    const struct kms_view_values *values)
{
	const cJSON *cost = kms_json_member(document, "cost");
	const cJSON *tracer = kms_json_member(document, "tracer");

	(void)values;
	add_run(text, document);
	add_memory(text, document);
	add_events(text, document);
	add_guard_line(text, kms_json_member(document, "guard"));
	if (kms_json_fraction(cost, "ns_per_event") > 0) {
		add_label(text, "cost");
		kms_text_addf(text, "%.1f ns per event\n", kms_json_fraction(cost, "ns_per_event"));
	}
	if (!kms_json_flag(kms_json_member(document, "snapshot"), "finished")) {
		add_label(text, "behind");
		kms_text_addf(text, "%s\n",
			      kms_fmt_ns(kms_json_number(tracer, "lag_us") * 1000).text);
	}
}

static void add_depth(struct kms_text *text, const cJSON *document)
{
	uint64_t depth = kms_json_number(document, "depth");

	add_label(text, "depth");
	if (depth == 0)
		kms_text_addf(text, "0: the guard is off");
	else
		kms_text_addf(text, "%s slots", kms_fmt_count(depth).text);
	kms_text_addf(text, " (asked for %s%s)\n", count_of(document, "depth_requested").text,
		      kms_json_flag(document, "pending") ? ", pending" : "");
}

static void add_window(struct kms_text *text, const cJSON *document)
{
	const char *limit = kms_json_text(document, "limited_by");

	add_label(text, "window");
	if (kms_json_number(document, "used") == 0)
		kms_text_addf(text, "nothing is held\n");
	else
		kms_text_addf(text, "a use after free is caught for %s frees (%s) after the free\n",
			      count_of(document, "window_frees").text,
			      kms_fmt_ns(kms_json_number(document, "oldest_age_us") * 1000).text);
	add_label(text, "evictions");
	kms_text_addf(text, "%s of %s frees", count_of(document, "evictions").text,
		      count_of(document, "frees").text);
	if (*limit && strcmp(limit, "none") != 0)
		kms_text_addf(text, ", limited by: %s", limit);
	kms_text_addf(text, "\n");
}

/* Never on, and nobody asked for it. */
static bool is_off(const cJSON *document)
{
	return !kms_json_number(document, "depth") &&
	       !kms_json_number(document, "depth_requested") &&
	       !kms_json_number(document, "frees") && !kms_json_number(document, "live");
}

/* One row for each target, where there are several. */
static void add_targets(struct kms_text *text, const cJSON *items)
{
	static const char *const heads[] = {">TARGET",    ">DEPTH",     ">USED",    ">BYTES",
					    ">LIVE",      ">FREES",     ">EVICTED", ">WINDOW",
					    ">UNGUARDED", "LIMITED BY", "BACK END", NULL};
	struct kms_table table;
	const cJSON *guard;

	kms_table_init(&table, heads);
	for (guard = kms_json_first(items); guard; guard = guard->next) {
		kms_table_cell(&table, "%" PRIu64, kms_json_number(guard, "target"));
		kms_table_cell(&table, "%" PRIu64, kms_json_number(guard, "depth"));
		kms_table_cell(&table, "%" PRIu64, kms_json_number(guard, "used"));
		kms_table_cell(&table, "%s", bytes_of(guard, "bytes").text);
		kms_table_cell(&table, "%" PRIu64, kms_json_number(guard, "live"));
		kms_table_cell(&table, "%" PRIu64, kms_json_number(guard, "frees"));
		kms_table_cell(&table, "%" PRIu64, kms_json_number(guard, "evictions"));
		kms_table_cell(&table, "%" PRIu64, kms_json_number(guard, "window_frees"));
		kms_table_cell(&table, "%" PRIu64, kms_json_number(guard, "unguarded"));
		kms_table_cell(&table, "%s", kms_json_text(guard, "limited_by"));
		kms_table_cell(&table, "%s", kms_json_text(guard, "backend"));
	}
	kms_text_addf(text, "\n");
	kms_table_print(&table, text, 0);
}

void kms_show_guard(struct kms_text *text, const cJSON *document,
		    const struct kms_view_values *values)
{
	const cJSON *items = kms_json_member(document, "items");

	(void)values;
	if (is_off(document)) {
		kms_text_addf(text,
			      "the guard is off: `kmemscope run --guard-depth N` turns it on\n");
		return;
	}
	add_depth(text, document);
	add_label(text, "held");
	kms_text_addf(text,
		      "%s freed blocks, %s of address space in %s pages; %s guarded blocks live\n",
		      count_of(document, "used").text, bytes_of(document, "bytes").text,
		      count_of(document, "pages").text, count_of(document, "live").text);
	add_window(text, document);
	add_label(text, "unguarded");
	kms_text_addf(text, "%s allocations had to go without\n",
		      count_of(document, "unguarded").text);
	add_label(text, "back end");
	kms_text_name(text, kms_json_text(document, "backend"));
	kms_text_addf(text, "; %s of %s map entries in use\n", count_of(document, "maps_used").text,
		      count_of(document, "maps_max").text);
	if (cJSON_GetArraySize(items) > 1)
		add_targets(text, items);
}
