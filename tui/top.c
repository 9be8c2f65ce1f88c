/* SPDX-License-Identifier: BSD-2-Clause */
/* The screen's state: see top.h. */
#include "tui/top.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
	LOG_LIMIT_BYTES = 1 << 20,
	LOG_KEPT_BYTES = 512 << 10,
};

static const enum kms_feed_document tab_documents[KMS_TABS] = {
	[KMS_TAB_SLABS] = KMS_FEED_CACHES,  [KMS_TAB_SITES] = KMS_FEED_SITES,
	[KMS_TAB_LEAKS] = KMS_FEED_LEAKS,   [KMS_TAB_GUARD] = KMS_FEED_GUARD,
	[KMS_TAB_FAULTS] = KMS_FEED_FAULTS, [KMS_TAB_EVENTS] = KMS_FEED_EVENTS,
};

enum kms_feed_document kms_tab_document(enum kms_tab tab)
{
	return tab_documents[tab];
}

int kms_top_init(struct kms_top *top, const struct kms_top_options *options)
{
	memset(top, 0, sizeof(*top));
	top->options = *options;
	top->cursor_x = top->cursor_y = -1;
	kms_buf_init(&top->log, LOG_LIMIT_BYTES);
	for (int i = 0; i < KMS_TABS; i++)
		kms_list_init(&top->list[i], &kms_tab_lists[i]);
	return 0;
}

void kms_top_deinit(struct kms_top *top)
{
	while (top->n_levels)
		kms_top_pop(top);
	kms_level_deinit(&top->pane);
	for (int i = 0; i < KMS_TABS; i++)
		kms_list_deinit(&top->list[i]);
	for (int i = 0; i < KMS_FEED_DOCUMENTS; i++)
		kms_doc_release(top->doc[i]);
	kms_page_deinit(&top->log_page);
	kms_buf_deinit(&top->log);
	free(top->graph.point);
	memset(top, 0, sizeof(*top));
}

struct kms_level *kms_top_level(struct kms_top *top)
{
	return top->n_levels ? &top->level[top->n_levels - 1] : NULL;
}

struct kms_list *kms_top_list(struct kms_top *top)
{
	struct kms_level *level = kms_top_level(top);

	if (!level)
		return &top->list[top->tab];
	return level->kind->list ? &level->list : NULL;
}

void kms_top_say(struct kms_top *top, const char *fmt, ...)
{
	struct kms_buf text;
	va_list args;

	kms_buf_init(&text, sizeof(top->message) - 1);
	va_start(args, fmt);
	kms_buf_addv(&text, fmt, args);
	va_end(args);
	memcpy(top->message, kms_buf_text(&text), text.used_bytes + 1);
	kms_buf_deinit(&text);
}

static const cJSON *json_of(const struct kms_top *top, enum kms_feed_document document)
{
	return top->doc[document] ? top->doc[document]->json : NULL;
}

void kms_top_reload(struct kms_top *top)
{
	(void)kms_list_load(&top->list[top->tab], json_of(top, tab_documents[top->tab]));
	kms_top_refresh_pane(top);
	kms_top_refresh_level(top);
}

static void add_moment(struct kms_top *top)
{
	const cJSON *stats = json_of(top, KMS_FEED_STATS);

	if (stats)
		kms_graph_add(&top->graph,
			      kms_json_number(kms_json_member(stats, "snapshot"), "time_ns"),
			      kms_json_fraction(stats, "live_bytes"));
}

/* A newer answer for the level that asked for it. */
static void give_level(struct kms_level *level, const struct kms_doc *doc)
{
	if (level && doc && level->path[0] && strcmp(level->path, doc->path) == 0 &&
	    level->doc != doc)
		kms_level_set_doc(level, doc);
}

void kms_top_take(struct kms_top *top, enum kms_feed_document document, const struct kms_doc *doc)
{
	bool stays = !doc || doc == top->doc[document];

	/* While the prompt's answers must be seen, a picture that is frozen stays as it is. An answer
	 * without a document does not replace one: the last data stays. */
	if (!stays && (top->frozen || (!doc->json && top->doc[document] &&
				       document != KMS_FEED_PAGE && document != KMS_FEED_PANE)))
		stays = true;
	if (!stays && !kms_top_is_meant(top, document, doc))
		stays = true;
	if (stays) {
		kms_doc_release(doc);
		return;
	}
	kms_doc_release(top->doc[document]);
	top->doc[document] = doc;
	if (document == KMS_FEED_STATS)
		add_moment(top);
	if (document == KMS_FEED_TIMELINE)
		kms_graph_timeline(&top->graph, doc->json);
	if (document == KMS_FEED_TARGETS)
		kms_top_group(top);
	if (document == KMS_FEED_PAGE)
		give_level(kms_top_level(top), doc);
	if (document == KMS_FEED_PANE)
		give_level(&top->pane, doc);
	if (document == tab_documents[top->tab])
		kms_top_reload(top);
	for (size_t i = 0; document == KMS_FEED_TARGETS && i < top->n_levels; i++)
		if (top->level[i].kind == &kms_level_targets)
			(void)kms_list_load(&top->level[i].list, doc->json);
}

static void drop_old_log(struct kms_top *top)
{
	struct kms_buf kept;
	const char *text = kms_buf_text(&top->log);

	if (top->log.used_bytes < LOG_KEPT_BYTES)
		return;
	kms_buf_init(&kept, LOG_LIMIT_BYTES);
	text = strchr(text + top->log.used_bytes / 2, '\n');
	kms_buf_add_str(&kept, text ? text + 1 : "");
	kms_buf_deinit(&top->log);
	top->log = kept;
}

/* Foreign lines, each made printable. */
static void add_lines(struct kms_buf *log, const char *text)
{
	size_t n;

	for (; *text; text += n + (text[n] == '\n')) {
		n = strcspn(text, "\n");
		for (size_t i = 0; i < n;) { /* tabs are blanks here */
			size_t part = strcspn(text + i, "\t\n");

			kms_buf_add_printable(log, text + i, part);
			i += part;
			if (i < n) {
				kms_buf_add_str(log, "    ");
				i++;
			}
		}
		kms_buf_add_char(log, '\n');
	}
}

void kms_top_answer(struct kms_top *top, const struct kms_feed_output *output)
{
	struct kms_text text;

	drop_old_log(top);
	kms_buf_add_str(&top->log, "db> ");
	add_lines(&top->log, output->line ? output->line : "");
	add_lines(&top->log, output->output ? output->output : "out of memory");
	kms_page_text(&text);
	kms_buf_add(&text.buf, kms_buf_text(&top->log), top->log.used_bytes);
	kms_page_set(&top->log_page, &text);
	top->log_page.top = top->log_page.n_lines; /* its end is shown */
	if (top->waiting)
		top->waiting--;
	if (top->mode != KMS_MODE_DB && output->failed)
		kms_top_say(top, "%s", output->output ? output->output : "out of memory");
}

void kms_top_state(struct kms_top *top, enum kms_feed_state state, const char *reason)
{
	top->state = state;
	snprintf(top->reason, sizeof(top->reason), "%s", reason);
}

void kms_top_prompt(struct kms_top *top, const char *text)
{
	top->mode = KMS_MODE_DB;
	kms_line_begin(&top->line, top->history, text);
}

static void want_document(struct kms_feed_want *want, enum kms_feed_document document)
{
	want->documents |= UINT32_C(1) << document;
}

void kms_top_want(const struct kms_top *top, struct kms_feed_want *want)
{
	const struct kms_level *level = top->n_levels ? &top->level[top->n_levels - 1] : NULL;

	memset(want, 0, sizeof(*want));
	want->target = top->target;
	want->interval_ms = top->options.interval_ms;
	want->sum = !top->target && top->list[KMS_TAB_SLABS].grouping == KMS_GROUP_MERGED;
	want_document(want, KMS_FEED_STATS);
	want_document(want, KMS_FEED_TARGETS);
	want_document(want, KMS_FEED_TIMELINE);
	if (top->tab != KMS_TAB_LEAKS)
		want_document(want, KMS_FEED_SUSPECTS);
	want_document(want, tab_documents[top->tab]);
	if (level && level->path[0]) {
		want_document(want, KMS_FEED_PAGE);
		memcpy(want->page, level->path, strlen(level->path));
	}
	if (!level && top->pane.path[0] &&
	    (top->width >= KMS_TOP_WIDE || top->height >= KMS_TOP_TALL)) {
		want_document(want, KMS_FEED_PANE);
		memcpy(want->pane, top->pane.path, strlen(top->pane.path));
	}
}
