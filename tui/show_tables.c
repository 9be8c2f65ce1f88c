/* SPDX-License-Identifier: BSD-2-Clause */
/* Caches, targets, sites and one stack as text. */
#include <inttypes.h>
#include <string.h>

#include "base/fmt.h"
#include "tui/view.h"

static void add_rest(struct kms_text *text, const cJSON *document)
{
	uint64_t total = kms_json_number(document, "total");
	uint64_t shown = (uint64_t)cJSON_GetArraySize(kms_json_member(document, "items"));

	if (shown < total)
		kms_text_addf(text, "%s more: --limit N shows them\n",
			      kms_fmt_count(total - shown).text);
}

/* A cache that nothing was ever allocated from says nothing. */
static bool is_used(const cJSON *cache)
{
	return kms_json_number(cache, "allocs") || kms_json_number(cache, "objects_total") ||
	       kms_json_number(cache, "failed");
}

static void add_cache(struct kms_table *table, const cJSON *cache)
{
	kms_table_cell(table, "%s", kms_json_text(cache, "name"));
	kms_table_cell(table, "%" PRIu64, kms_json_number(cache, "object_size"));
	kms_table_cell(table, "%" PRIu64, kms_json_number(cache, "objects_live"));
	kms_table_cell(table, "%" PRIu64, kms_json_number(cache, "objects_cached"));
	kms_table_cell(table, "%" PRIu64, kms_json_number(cache, "objects_guarded"));
	kms_table_cell(table, "%" PRIu64, kms_json_number(cache, "objects_total"));
	kms_table_cell(table, "%.0f%%", 100 * kms_json_fraction(cache, "utilization"));
	kms_table_cell(table, "%" PRIu64, kms_json_number(cache, "slabs"));
	kms_table_cell(table, "%" PRIu64, kms_json_number(cache, "pages"));
	kms_table_cell(table, "%s", kms_fmt_bytes(kms_json_number(cache, "live_bytes")).text);
	kms_table_cell(table, "%s", kms_fmt_bytes(kms_json_number(cache, "waste_bytes")).text);
	kms_table_cell(table, "%s", kms_fmt_count(kms_json_number(cache, "allocs")).text);
	kms_table_cell(table, "%s", kms_fmt_rate(kms_json_number(cache, "alloc_rate")).text);
	kms_table_cell(table, "%s", kms_fmt_rate(kms_json_number(cache, "free_rate")).text);
}

void kms_show_caches(struct kms_text *text, const cJSON *document,
		     const struct kms_view_values *values)
{
	static const char *const heads[] = {"CACHE",  ">OBJSZ",  ">INUSE",   ">CACHED", ">GUARDED",
					    ">TOTAL", ">USE%",   ">SLABS",   ">PAGES",  ">LIVE",
					    ">WASTE", ">ALLOCS", ">ALLOC/s", ">FREE/s", NULL};
	struct kms_table table;
	const cJSON *cache;
	size_t hidden = 0;

	kms_table_init(&table, heads);
	for (cache = kms_json_first(kms_json_member(document, "items")); cache;
	     cache = cache->next) {
		if (values->all || is_used(cache))
			add_cache(&table, cache);
		else
			hidden++;
	}
	kms_table_print(&table, text, 0);
	if (hidden)
		kms_text_style(text, KMS_STYLE_DIM, "%zu unused cache%s: --all shows them\n",
			       hidden, kms_plural(hidden));
	add_rest(text, document);
}

/* "exited 3", "signal 9", "running" */
static void add_state(struct kms_table *table, const cJSON *target)
{
	const cJSON *code = kms_json_member(target, "exit_code");
	const cJSON *signal = kms_json_member(target, "exit_signal");
	const char *state = kms_json_text(target, "state");

	if (cJSON_IsNumber(signal))
		kms_table_cell(table, "%s, signal %.0f", state, signal->valuedouble);
	else if (cJSON_IsNumber(code))
		kms_table_cell(table, "%s, status %.0f", state, code->valuedouble);
	else
		kms_table_cell(table, "%s", state);
}

void kms_show_targets(struct kms_text *text, const cJSON *document,
		      const struct kms_view_values *values)
{
	static const char *const heads[] = {">TARGET", ">PID",    ">PARENT", "STATE",
					    "STARTED", "COMMAND", NULL};
	struct kms_table table;
	const cJSON *target;

	(void)values;
	kms_table_init(&table, heads);
	for (target = kms_json_first(kms_json_member(document, "items")); target;
	     target = target->next) {
		kms_table_cell(&table, "%" PRIu64, kms_json_number(target, "id"));
		kms_table_cell(&table, "%" PRIu64, kms_json_number(target, "pid"));
		if (kms_json_number(target, "parent"))
			kms_table_cell(&table, "%" PRIu64, kms_json_number(target, "parent"));
		else
			kms_table_cell(&table, "-");
		add_state(&table, target);
		kms_table_cell(&table, "%.23s", kms_json_text(target, "started"));
		kms_table_cell(&table, "%s",
			       *kms_json_text(target, "command") ? kms_json_text(target, "command")
								 : kms_json_text(target, "name"));
	}
	kms_table_print(&table, text, 0);
	add_rest(text, document);
}

void kms_show_sites(struct kms_text *text, const cJSON *document,
		    const struct kms_view_values *values)
{
	static const char *const heads[] = {">LIVE",   ">BLOCKS", ">ALLOCS",      ">FREES",
					    ">TARGET", ">STACK",  "ALLOCATED IN", NULL};
	struct kms_table table;
	const cJSON *site;

	(void)values;
	kms_table_init(&table, heads);
	for (site = kms_json_first(kms_json_member(document, "items")); site; site = site->next) {
		kms_table_cell(&table, "%s",
			       kms_fmt_bytes(kms_json_number(site, "live_bytes")).text);
		kms_table_cell(&table, "%s",
			       kms_fmt_count(kms_json_number(site, "live_objects")).text);
		kms_table_cell(&table, "%s", kms_fmt_count(kms_json_number(site, "allocs")).text);
		kms_table_cell(&table, "%s", kms_fmt_count(kms_json_number(site, "frees")).text);
		kms_table_cell(&table, "%" PRIu64, kms_json_number(site, "target"));
		kms_table_cell(&table, "%" PRIu64, kms_json_number(site, "stack_id"));
		kms_table_frame(&table, text, kms_stack_caller(kms_json_member(site, "stack")));
	}
	kms_table_print(&table, text, 0);
	add_rest(text, document);
}

void kms_show_stack(struct kms_text *text, const cJSON *document,
		    const struct kms_view_values *values)
{
	(void)values;
	kms_text_stack(text, kms_json_member(document, "stack"), 0, 0);
	if (kms_json_flag(document, "cut"))
		kms_text_addf(text, "(outer frames not recorded)\n");
}
