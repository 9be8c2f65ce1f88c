/* SPDX-License-Identifier: BSD-2-Clause */
/* One level down from a list: opening, closing, and the detail beside it. See top.h. */
#include <ctype.h>
#include <inttypes.h>
#include <string.h>

#include "tui/level_show.h"
#include "tui/top.h"
#include "tui/view.h"

enum {
	BLOCK_ROWS = 300,
	LAST_EVICTIONS = 8, /* on the guard's own page; Enter shows more */
};

static const struct kms_level_kind *const tab_levels[KMS_TABS] = {
	[KMS_TAB_SLABS] = &kms_level_cache,  [KMS_TAB_SITES] = &kms_level_site,
	[KMS_TAB_LEAKS] = &kms_level_leak,   [KMS_TAB_GUARD] = &kms_level_guard,
	[KMS_TAB_FAULTS] = &kms_level_fault, [KMS_TAB_EVENTS] = &kms_level_event,
};

const struct kms_level_kind *kms_tab_level(enum kms_tab tab)
{
	return tab_levels[tab];
}

/* Joins a path, ids made harmless for a URL, and ?target= where the row has one. */
static void make_path(char path[KMS_FEED_PATH_BYTES], const char *before, const char *id,
		      const char *after, const cJSON *row)
{
	uint64_t target = kms_json_number(row, "target");
	struct kms_buf out;

	kms_buf_init(&out, KMS_FEED_PATH_BYTES - 1);
	kms_buf_add_str(&out, before);
	for (; *id; id++) {
		if (isalnum((unsigned char)*id) || strchr("-._~", *id))
			kms_buf_add_char(&out, *id);
		else
			kms_buf_addf(&out, "%%%02x", (unsigned char)*id);
	}
	kms_buf_add_str(&out, after);
	if (target)
		kms_buf_addf(&out, "%ctarget=%" PRIu64, strchr(kms_buf_text(&out), '?') ? '&' : '?',
			     target);
	path[0] = '\0';
	if (kms_buf_status(&out) == 0)
		memcpy(path, kms_buf_text(&out), out.used_bytes + 1);
	kms_buf_deinit(&out);
}

static void slabs_path(const cJSON *row, char path[KMS_FEED_PATH_BYTES])
{
	make_path(path, "/api/v1/caches/", kms_json_text(row, "name"), "/slabs?limit=300", row);
}

static void blocks_path(const cJSON *row, char path[KMS_FEED_PATH_BYTES])
{
	uint64_t stack_id = kms_json_number(row, "stack_id");
	/* all caches of the stack; where it is not known the cache is what a leak goes by */
	const char *cache = stack_id ? "" : kms_json_text(row, "cache");
	char after[64];

	snprintf(after, sizeof(after), "%ssite=%" PRIu64 "&limit=%d", *cache ? "&" : "", stack_id,
		 BLOCK_ROWS);
	make_path(path, *cache ? "/api/v1/blocks?cache=" : "/api/v1/blocks?", cache, after, row);
}

/* Blocks that left the FIFO, the last first. */
static void evicted_path(const cJSON *row, int rows, char path[KMS_FEED_PATH_BYTES])
{
	char before[64];

	snprintf(before, sizeof(before), "/api/v1/events?kind=evict&order=desc&limit=%d", rows);
	make_path(path, before, "", "", row);
}

static void evictions_path(const cJSON *row, char path[KMS_FEED_PATH_BYTES])
{
	evicted_path(row, BLOCK_ROWS, path);
}

static void last_evictions_path(const cJSON *row, char path[KMS_FEED_PATH_BYTES])
{
	evicted_path(row, LAST_EVICTIONS, path);
}

static void fault_path(const cJSON *row, char path[KMS_FEED_PATH_BYTES])
{
	snprintf(path, KMS_FEED_PATH_BYTES, "/api/v1/faults/%" PRIu64, kms_json_number(row, "id"));
}

static void stack_path(const cJSON *row, char path[KMS_FEED_PATH_BYTES])
{
	uint64_t id = kms_json_number(row, "stack_id");

	path[0] = '\0';
	if (id)
		snprintf(path, KMS_FEED_PATH_BYTES, "/api/v1/stacks/%" PRIu64, id);
}

/* The block that a fault is about, or the address itself. */
static void history_path(const cJSON *row, char path[KMS_FEED_PATH_BYTES])
{
	const char *address = kms_json_text(row, "block");

	if (!*address || strcmp(address, "0x0") == 0)
		address = kms_json_text(row, "address");
	make_path(path, "/api/v1/history/", address, "", row);
}

const struct kms_level_kind kms_level_history = {
	.name = "History", .show = kms_show_history_page, .path = history_path};
const struct kms_level_kind kms_level_blocks = {.name = "Blocks",
						.list = &kms_list_blocks,
						.path = blocks_path,
						.next = &kms_level_history};
const struct kms_level_kind kms_level_cache = {.name = "Cache",
					       .show = kms_show_cache_page,
					       .path = slabs_path,
					       .gone = "there is no such cache now"};
const struct kms_level_kind kms_level_site = {.name = "Site",
					      .show = kms_show_site_page,
					      .next = &kms_level_blocks,
					      .gone = "no block from here lives now"};
const struct kms_level_kind kms_level_leak = {.name = "Leak",
					      .show = kms_show_leak_page,
					      .next = &kms_level_blocks,
					      .gone = "no block from here lives now"};
const struct kms_level_kind kms_level_evictions = {.name = "Evictions",
						   .list = &kms_list_evictions,
						   .path = evictions_path,
						   .next = &kms_level_history};
const struct kms_level_kind kms_level_guard = {.name = "Guard",
					       .show = kms_show_guard_page,
					       .path = last_evictions_path,
					       .next = &kms_level_evictions,
					       .gone = "the target has no guard now"};
const struct kms_level_kind kms_level_fault = {.name = "Fault",
					       .show = kms_show_fault_page,
					       .path = fault_path,
					       .next = &kms_level_history};
const struct kms_level_kind kms_level_event = {.name = "Event",
					       .show = kms_show_event_page,
					       .path = stack_path,
					       .next = &kms_level_history};
const struct kms_level_kind kms_level_targets = {.name = "Targets", .list = &kms_list_targets};
const struct kms_level_kind kms_level_help = {.name = "Keys", .show = kms_show_help_page};

void kms_level_deinit(struct kms_level *level)
{
	cJSON_Delete(level->row);
	kms_doc_release(level->doc);
	if (level->kind && level->kind->list)
		kms_list_deinit(&level->list);
	kms_page_deinit(&level->page);
	memset(level, 0, sizeof(*level));
}

void kms_level_fill(struct kms_level *level)
{
	const cJSON *document = level->doc ? level->doc->json : NULL;
	struct kms_text text;

	if (level->kind->list) {
		(void)kms_list_load(&level->list, document);
		return;
	}
	kms_page_text(&text);
	kms_level_show_fate(&text, level);
	level->kind->show(&text, level, document);
	if (level->doc && !document) {
		kms_text_addf(&text, "\n");
		kms_text_name(&text, level->doc->error);
	}
	kms_page_set(&level->page, &text);
}

void kms_level_set_doc(struct kms_level *level, const struct kms_doc *doc)
{
	if (doc)
		__atomic_add_fetch(&((struct kms_doc *)doc)->refs, 1, __ATOMIC_RELAXED);
	kms_doc_release(level->doc);
	level->doc = doc;
	kms_level_fill(level);
}

static void open_level(struct kms_level *level, const struct kms_level_kind *kind, const cJSON *row)
{
	memset(level, 0, sizeof(*level));
	level->kind = kind;
	level->row = row ? cJSON_Duplicate(row, true) : NULL;
	if (kind->path && row)
		kind->path(row, level->path);
	if (kind->list)
		kms_list_init(&level->list, kind->list);
	snprintf(level->title, sizeof(level->title), "%s", kind->name);
	if (!kind->list)
		kms_level_fill(level);
}

void kms_top_push(struct kms_top *top, const struct kms_level_kind *kind, const cJSON *row)
{
	if (top->n_levels == KMS_TOP_LEVELS) {
		kms_top_say(top, "no deeper: Esc goes back");
		return;
	}
	open_level(&top->level[top->n_levels++], kind, row);
	if (row && top->n_levels == 1)
		kms_list_key(top->list[top->tab].kind, row, top->level[0].key);
	kms_top_refresh_level(top);
	if (kind == &kms_level_targets && top->doc[KMS_FEED_TARGETS])
		(void)kms_list_load(&kms_top_level(top)->list, top->doc[KMS_FEED_TARGETS]->json);
}

void kms_top_pop(struct kms_top *top)
{
	if (top->n_levels)
		kms_level_deinit(&top->level[--top->n_levels]);
}

void kms_top_enter(struct kms_top *top)
{
	struct kms_level *level = kms_top_level(top);
	struct kms_list *list = kms_top_list(top);
	const cJSON *row = list ? kms_list_selected(list) : NULL;

	if (!level && row)
		kms_top_push(top, tab_levels[top->tab], row);
	else if (level && level->kind == &kms_level_targets && row)
		kms_top_choose_target(top, (uint32_t)kms_json_number(row, "id"));
	else if (level && level->kind->next && (list ? row : level->row))
		kms_top_push(top, level->kind->next, list ? row : level->row);
}

void kms_top_refresh_pane(struct kms_top *top)
{
	struct kms_list *list = &top->list[top->tab];
	const cJSON *row = kms_list_selected(list);
	const struct kms_level_kind *kind = tab_levels[top->tab];
	const struct kms_doc *doc = NULL;
	struct kms_page page = top->pane.page;
	char path[KMS_FEED_PATH_BYTES] = "";
	bool same;

	if (!row) {
		kms_level_deinit(&top->pane);
		return;
	}
	if (kind->path)
		kind->path(row, path);
	same = top->pane.kind == kind && strcmp(path, top->pane.path) == 0;
	if (same) { /* the same thing, newer: the document stays until there is a newer one */
		doc = top->pane.doc;
		top->pane.doc = NULL;
		memset(&top->pane.page, 0, sizeof(page));
	}
	kms_level_deinit(&top->pane);
	top->pane.kind = kind;
	top->pane.row = cJSON_Duplicate(row, true);
	memcpy(top->pane.path, path, sizeof(path));
	if (same) {
		top->pane.doc = doc;
		top->pane.page = page;
	}
	kms_level_fill(&top->pane);
}
