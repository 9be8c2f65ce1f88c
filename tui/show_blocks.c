/* SPDX-License-Identifier: BSD-2-Clause */
/* Addresses, their owners, marks and differences as text. */
#include <inttypes.h>
#include <string.h>

#include "base/fmt.h"
#include "tui/view.h"

static void add_stack(struct kms_text *text, const char *what, const cJSON *stack)
{
	if (!kms_json_first(stack))
		return;
	kms_text_style(text, KMS_STYLE_DIM, "   %s:\n", what);
	kms_text_stack(text, stack, 0, 6);
}

/* "live block", "freed block in the guard FIFO": states as people say them. */
static const char *block_words(const char *state)
{
	static const char *const words[][2] = {
		{"live",       "a live block"                           },
		{"free",       "a freed block"                          },
		{"cached",     "a freed block"                          },
		{"quarantine", "a freed block in the guard FIFO"        },
		{"spent",      "a freed block that was hit"             },
		{"never",      "a place of a slab that had no block yet"},
	};

	for (size_t i = 0; i < sizeof(words) / sizeof(words[0]); i++)
		if (strcmp(words[i][0], state) == 0)
			return words[i][1];
	return "a block";
}

static void add_place(struct kms_text *text, const cJSON *block)
{
	const cJSON *slab = kms_json_member(block, "slab");
	uint64_t pages = kms_json_number(slab, "pages");

	kms_text_addf(text, "   at %s", kms_json_text(block, "address"));
	if (*kms_json_text(block, "cache")) {
		kms_text_addf(text, " of ");
		kms_text_name(text, kms_json_text(block, "cache"));
	}
	if (pages)
		kms_text_addf(text, ", slab %s of %" PRIu64 " page%s",
			      kms_json_text(slab, "address"), pages, kms_plural(pages));
	kms_text_addf(text, ", target %" PRIu64 "\n", kms_json_number(block, "target"));
}

static void add_times(struct kms_text *text, const cJSON *block)
{
	uint64_t allocated = kms_json_number(block, "time_ns");
	uint64_t freed = kms_json_number(block, "free_time_ns");

	if (allocated)
		kms_text_addf(text, "   allocated at %s by thread %" PRIu64,
			      kms_fmt_ns(allocated).text, kms_json_number(block, "thread"));
	if (allocated && cJSON_IsNumber(kms_json_member(block, "age_us")))
		kms_text_addf(text, ", %s ago",
			      kms_fmt_ns(kms_json_number(block, "age_us") * 1000).text);
	if (freed)
		kms_text_addf(text, "%sfreed at %s", allocated ? ", " : "   ",
			      kms_fmt_ns(freed).text);
	if (allocated || freed)
		kms_text_addf(text, "\n");
}

static void add_block(struct kms_text *text, const char *asked, const cJSON *block)
{
	uint64_t size = kms_json_number(block, "size");
	uint64_t offset = kms_json_number(block, "offset");

	kms_text_style(text, KMS_STYLE_HEAD, "%s is ", asked);
	if (offset)
		kms_text_style(text, KMS_STYLE_HEAD, "%" PRIu64 " byte%s into ", offset,
			       kms_plural(offset));
	kms_text_style(text, KMS_STYLE_HEAD, "%s", block_words(kms_json_text(block, "state")));
	if (size)
		kms_text_addf(text, " of %" PRIu64 " byte%s", size, kms_plural(size));
	if (size && offset >= size)
		kms_text_style(text, KMS_STYLE_BAD, ", behind its end");
	kms_text_addf(text, "\n");
	add_place(text, block);
	add_times(text, block);
	add_stack(text, "allocated by", kms_json_member(block, "alloc_stack"));
	add_stack(text, "freed by", kms_json_member(block, "free_stack"));
}

void kms_show_whatis(struct kms_text *text, const cJSON *document,
		     const struct kms_view_values *values)
{
	const char *asked = kms_json_text(document, "asked");
	const cJSON *block = kms_json_first(kms_json_member(document, "items"));

	(void)values;
	if (!block)
		kms_text_addf(text, "%s: no block was seen there\n", asked);
	for (; block; block = block->next)
		add_block(text, asked, block);
}

static void add_owner(struct kms_text *text, const cJSON *owner, int number)
{
	uint64_t size = kms_json_number(owner, "size");
	uint64_t freed = kms_json_number(owner, "free_time_ns");

	kms_text_style(text, KMS_STYLE_DIM, "%d. ", number);
	kms_text_style(text, KMS_STYLE_HEAD, "%" PRIu64 " byte%s", size, kms_plural(size));
	kms_text_addf(text, ", allocated at %s by thread %" PRIu64,
		      kms_fmt_ns(kms_json_number(owner, "alloc_time_ns")).text,
		      kms_json_number(owner, "thread"));
	if (freed)
		kms_text_addf(text, ", freed at %s", kms_fmt_ns(freed).text);
	else
		kms_text_addf(text, ", still live");
	kms_text_style(text, KMS_STYLE_DIM, "  target %" PRIu64 "\n",
		       kms_json_number(owner, "target"));
	add_stack(text, "allocated by", kms_json_member(owner, "alloc_stack"));
	add_stack(text, "freed by", kms_json_member(owner, "free_stack"));
}

void kms_show_history(struct kms_text *text, const cJSON *document,
		      const struct kms_view_values *values)
{
	uint64_t total = kms_json_number(document, "total");
	const cJSON *owner = kms_json_first(kms_json_member(document, "items"));
	uint64_t shown = 0;

	(void)values;
	kms_text_style(text, KMS_STYLE_HEAD, "%s had %s owner%s%s\n",
		       kms_json_text(document, "address"), total ? kms_fmt_count(total).text : "no",
		       kms_plural(total), total > 1 ? ", newest first" : "");
	for (; owner; owner = owner->next)
		add_owner(text, owner, (int)++shown);
	if (shown < total)
		kms_text_addf(text, "%s more: --limit N shows them\n",
			      kms_fmt_count(total - shown).text);
	if (kms_json_flag(document, "incomplete"))
		kms_text_addf(text, "(incomplete: events are missing)\n");
}

void kms_show_mark(struct kms_text *text, const cJSON *document,
		   const struct kms_view_values *values)
{
	(void)values;
	kms_text_addf(text, "mark %" PRIu64 ", ", kms_json_number(document, "id"));
	kms_text_name(text, kms_json_text(document, "name"));
	kms_text_addf(text, ", at %s\n", kms_fmt_ns(kms_json_number(document, "time_ns")).text);
}

/* A number with its sign. */
static int64_t signed_number(const cJSON *object, const char *name)
{
	const cJSON *member = kms_json_member(object, name);

	return cJSON_IsNumber(member) ? (int64_t)member->valuedouble : 0;
}

static void add_gain(struct kms_table *table, const struct kms_text *text, const cJSON *row)
{
	int64_t bytes = signed_number(row, "bytes");
	int others = cJSON_GetArraySize(kms_json_member(row, "caches")) - 1;

	kms_table_cell(table, "%c%s", bytes < 0 ? '-' : '+',
		       kms_fmt_bytes((uint64_t)(bytes < 0 ? -bytes : bytes)).text);
	kms_table_cell(table, "%+" PRId64, signed_number(row, "count"));
	kms_table_cell(table, "%" PRIu64, kms_json_number(row, "target"));
	if (others > 0)
		kms_table_cell(table, "%s +%d", kms_json_text(row, "cache"), others);
	else
		kms_table_cell(table, "%s", kms_json_text(row, "cache"));
	kms_table_cell(table, "%" PRIu64, kms_json_number(row, "stack_id"));
	kms_table_frame(table, text, kms_stack_caller(kms_json_member(row, "stack")));
}

static void add_end(struct kms_text *text, const cJSON *mark, const char *otherwise)
{
	if (!cJSON_IsObject(mark)) {
		kms_text_addf(text, "%s", otherwise);
		return;
	}
	kms_text_name(text, kms_json_text(mark, "name"));
	kms_text_addf(text, " (%s)", kms_fmt_ns(kms_json_number(mark, "time_ns")).text);
}

void kms_show_diff(struct kms_text *text, const cJSON *document,
		   const struct kms_view_values *values)
{
	static const char *const heads[] = {">BYTES", ">BLOCKS",      ">TARGET", "CACHE",
					    ">STACK", "ALLOCATED IN", NULL};
	int64_t bytes = signed_number(document, "total_bytes");
	uint64_t total = kms_json_number(document, "total");
	struct kms_table table;
	uint64_t shown = 0;

	(void)values;
	kms_text_style(text, KMS_STYLE_HEAD, "%c%s in %+" PRId64 " blocks", bytes < 0 ? '-' : '+',
		       kms_fmt_bytes((uint64_t)(bytes < 0 ? -bytes : bytes)).text,
		       signed_number(document, "total_count"));
	kms_text_addf(text, " from ");
	add_end(text, kms_json_member(document, "a"), "the begin");
	kms_text_addf(text, " to ");
	add_end(text, kms_json_member(document, "b"), "now");
	kms_text_addf(text, "\n");
	kms_table_init(&table, heads);
	for (const cJSON *row = kms_json_first(kms_json_member(document, "items")); row;
	     row = row->next, shown++)
		add_gain(&table, text, row);
	kms_table_print(&table, text, 0);
	if (shown < total)
		kms_text_addf(text, "%s more: --limit N shows them\n",
			      kms_fmt_count(total - shown).text);
}
