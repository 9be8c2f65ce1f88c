/* SPDX-License-Identifier: BSD-2-Clause */
/* Pages about one cache, site, leak, guard, fault, event or address: see level_show.h. */
#include "tui/level_show.h"

#include <inttypes.h>
#include <string.h>

#include "tui/slab_map.h"
#include "tui/view.h"

static const struct kms_view_values no_values;

static uint64_t number(const cJSON *row, const char *name)
{
	return kms_json_number(row, name);
}

static struct kms_fmt count(const cJSON *row, const char *name)
{
	return kms_fmt_count(kms_json_number(row, name));
}

static struct kms_fmt bytes(const cJSON *row, const char *name)
{
	return kms_fmt_bytes(kms_json_number(row, name));
}

static void add_target(struct kms_text *text, const cJSON *row)
{
	if (number(row, "target"))
		kms_text_addf(text, "target %" PRIu64 "\n", number(row, "target"));
	else
		kms_text_addf(text, "all targets\n");
}

void kms_show_cache_page(struct kms_text *text, const struct kms_level *level,
			 const cJSON *document)
{
	const cJSON *row = level->row;

	kms_text_on(text, KMS_STYLE_HEAD);
	kms_text_name(text, kms_json_text(row, "name"));
	kms_text_off(text);
	kms_text_addf(text, "  objects of %s bytes, ", count(row, "object_size").text);
	add_target(text, row);
	kms_text_addf(text, "in use   %s of %s (%.0f %%)\n", count(row, "objects_live").text,
		      count(row, "objects_total").text, 100 * kms_column_use(row));
	kms_text_addf(text, "cached   %s, guarded %s\n", count(row, "objects_cached").text,
		      count(row, "objects_guarded").text);
	kms_text_addf(text, "slabs    %s, %s pages\n", count(row, "slabs").text,
		      count(row, "pages").text);
	kms_text_addf(text, "memory   %s live, %s wasted, %.0f %% of the pages used\n",
		      bytes(row, "live_bytes").text, bytes(row, "waste_bytes").text,
		      100 * kms_json_fraction(row, "utilization"));
	kms_text_addf(text, "calls    %s allocations, %s frees, %s failed\n",
		      count(row, "allocs").text, count(row, "frees").text,
		      count(row, "failed").text);
	kms_text_addf(text, "rate     %s/s and %s/s\n",
		      kms_fmt_rate(number(row, "alloc_rate")).text,
		      kms_fmt_rate(number(row, "free_rate")).text);
	if (document)
		kms_slab_map(text, document);
}

void kms_show_site_page(struct kms_text *text, const struct kms_level *level, const cJSON *document)
{
	const cJSON *row = level->row;

	(void)document;
	kms_text_style(text, KMS_STYLE_HEAD, "%s", bytes(row, "live_bytes").text);
	kms_text_addf(text, " in %s blocks, ", count(row, "live_objects").text);
	add_target(text, row);
	kms_text_addf(text, "%s allocations, %s frees so far; stack %" PRIu64 "\n\n",
		      count(row, "allocs").text, count(row, "frees").text, number(row, "stack_id"));
	kms_text_stack(text, kms_json_member(row, "stack"), 0, 0);
	kms_text_style(text, KMS_STYLE_DIM, "\nEnter: its live blocks\n");
}

void kms_show_leak_page(struct kms_text *text, const struct kms_level *level, const cJSON *document)
{
	const cJSON *age = kms_json_member(level->row, "age_p50_us");

	(void)document;
	kms_show_leak(text, level->row, &no_values);
	kms_text_addf(
		text, "\n%s allocations so far; median age %s\n", count(level->row, "allocs").text,
		cJSON_IsNumber(age) ? kms_fmt_age(number(level->row, "age_p50_us")).text : "-");
	kms_text_style(text, KMS_STYLE_DIM, "\nEnter: its live blocks\n");
}

/* What left the FIFO last: a use of it after its free is not caught any more. */
static void add_evictions(struct kms_text *text, const cJSON *document)
{
	const cJSON *event = kms_json_first(kms_json_member(document, "items"));

	kms_text_style(text, KMS_STYLE_HEAD, "\nlast evictions\n");
	if (!event)
		kms_text_addf(text, document ? "none is recorded\n" : "waiting for data\n");
	for (; event; event = event->next) {
		kms_text_addf(text, "%12.6f s  ", kms_json_fraction(event, "time_ns") / 1e9);
		kms_text_name(text, kms_json_text(event, "address"));
		kms_text_addf(text, "  %s bytes\n", count(event, "size").text);
	}
	kms_text_style(text, KMS_STYLE_DIM,
		       "Enter: more of them; there Enter shows who had the address\n");
}

void kms_show_guard_page(struct kms_text *text, const struct kms_level *level,
			 const cJSON *document)
{
	const cJSON *row = level->row;

	kms_text_style(text, KMS_STYLE_HEAD, "guard FIFO of target %" PRIu64 "\n",
		       number(row, "target"));
	kms_text_addf(text, "asked    %s slots%s\n", count(row, "depth_requested").text,
		      kms_json_flag(row, "pending") ? ", not yet taken up" : "");
	kms_text_addf(text, "depth    %s slots in effect\n", count(row, "depth").text);
	kms_text_addf(text, "used     %s freed blocks: %s, %s pages\n", count(row, "used").text,
		      bytes(row, "bytes").text, count(row, "pages").text);
	kms_text_addf(text, "window   a use after free is caught for %s frees",
		      count(row, "window_frees").text);
	if (cJSON_IsNumber(kms_json_member(row, "oldest_age_us")))
		kms_text_addf(text, ", %s so far", kms_fmt_age(number(row, "oldest_age_us")).text);
	kms_text_addf(text, "\n");
	kms_text_addf(text, "evicted  %s of %s guarded frees; limited by ",
		      count(row, "evictions").text, count(row, "frees").text);
	kms_text_name(text, kms_json_text(row, "limited_by"));
	kms_text_addf(text, "\nlive     %s guarded blocks, %s that should be guarded are not\n",
		      count(row, "live").text, count(row, "unguarded").text);
	kms_text_addf(text, "back end ");
	kms_text_name(text, kms_json_text(row, "backend"));
	kms_text_addf(text, ", %s of %s map entries\n", count(row, "maps_used").text,
		      count(row, "maps_max").text);
	add_evictions(text, document);
	kms_text_style(text, KMS_STYLE_DIM, "\n+ sets the depth: w kmem_guard_depth 0t30000\n");
}

void kms_show_fault_page(struct kms_text *text, const struct kms_level *level,
			 const cJSON *document)
{
	/* The list's own row has the report as well; the document has every owner. */
	kms_show_fault(text, document ? document : level->row, &no_values);
	kms_text_style(text, KMS_STYLE_DIM, "\nEnter: history of the address\n");
}

void kms_show_event_page(struct kms_text *text, const struct kms_level *level,
			 const cJSON *document)
{
	const cJSON *row = level->row;
	const cJSON *flag;

	kms_text_on(text, KMS_STYLE_HEAD);
	kms_text_name(text, kms_json_text(row, "kind"));
	kms_text_off(text);
	kms_text_addf(text, " of %s bytes at ", count(row, "size").text);
	kms_text_name(text, kms_json_text(row, "address"));
	kms_text_addf(text, "\ncache    ");
	kms_text_name(text, kms_json_text(row, "cache"));
	kms_text_addf(text, "\ntime     %.6f s, event %" PRIu64 "\n",
		      kms_json_fraction(row, "time_ns") / 1e9, number(row, "seq"));
	kms_text_addf(text, "thread   %" PRIu64 " of target %" PRIu64 "\nflags   ",
		      number(row, "thread"), number(row, "target"));
	for (flag = kms_json_first(kms_json_member(row, "flags")); flag; flag = flag->next) {
		kms_text_addf(text, " ");
		kms_text_name(text, cJSON_IsString(flag) ? flag->valuestring : "");
	}
	kms_text_addf(text, "\n\n");
	if (document)
		kms_show_stack(text, document, &no_values);
	else
		kms_text_style(text, KMS_STYLE_DIM, "stack %" PRIu64 "\n", number(row, "stack_id"));
	kms_text_style(text, KMS_STYLE_DIM, "\nEnter or x: history of the address\n");
}

void kms_show_history_page(struct kms_text *text, const struct kms_level *level,
			   const cJSON *document)
{
	if (document) {
		kms_show_history(text, document, &no_values);
		return;
	}
	kms_text_style(text, KMS_STYLE_HEAD, "history of ");
	kms_text_name(text, kms_json_text(level->row, "address"));
	kms_text_addf(text, "\n");
	if (!level->doc)
		kms_text_style(text, KMS_STYLE_DIM, "waiting for data\n");
}

void kms_show_help_page(struct kms_text *text, const struct kms_level *level, const cJSON *document)
{
	(void)level;
	(void)document;
	kms_keys_help(text);
}
