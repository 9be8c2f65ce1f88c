/* SPDX-License-Identifier: BSD-2-Clause */
/* The first four lines and the last one. See top.h. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tui/top.h"

enum {
	CLOCK_COLUMNS = 8,
	NAME_LEAST = 3,
	TEXT_BYTES = 256,
};

static const cJSON *json_of(const struct kms_top *top, enum kms_feed_document document)
{
	return top->doc[document] ? top->doc[document]->json : NULL;
}

/* The one that is shown, or the first that runs, or the first; and how many there are. */
static const cJSON *shown_target(const struct kms_top *top, uint64_t *total)
{
	const cJSON *targets = json_of(top, KMS_FEED_TARGETS);
	const cJSON *item = kms_json_first(kms_json_member(targets, "items"));

	const cJSON *first = item;

	*total = kms_json_number(targets, "total");
	for (; item; item = item->next)
		if (top->target ? kms_json_number(item, "id") == top->target
				: strcmp(kms_json_text(item, "state"), "running") == 0)
			return item;
	return top->target ? NULL : first;
}

/* How many of the targets that are shown are in a state. */
static int in_state(const struct kms_top *top, const char *state, int *others)
{
	const cJSON *targets = json_of(top, KMS_FEED_TARGETS);
	const cJSON *item = kms_json_first(kms_json_member(targets, "items"));
	int n = 0;

	*others = 0;
	for (; item; item = item->next) {
		if (top->target && kms_json_number(item, "id") != top->target)
			continue;
		if (strcmp(kms_json_text(item, "state"), state) == 0)
			n++;
		else
			++*others;
	}
	return n;
}

/* The word for what is going on; *urgent: the line is to stand out. */
static const char *state_word(const struct kms_top *top, bool *urgent)
{
	const cJSON *snapshot = kms_json_member(json_of(top, KMS_FEED_STATS), "snapshot");
	int others;

	*urgent = true;
	if (top->state == KMS_FEED_LOST || *kms_json_text(snapshot, "tracer_lost"))
		return "LOST";
	if (in_state(top, "ring_corrupt", &others) > 0)
		return "CORRUPT";
	if (in_state(top, "stopped", &others) > 0)
		return "STOPPED";
	if (in_state(top, "lost", &others) > 0 && others == 0)
		return "LOST";
	if (top->state == KMS_FEED_ENDED ||
	    (in_state(top, "exited", &others) > 0 && others == 0 && top->state != KMS_FEED_FILE))
		return "EXITED";
	if (in_state(top, "detached", &others) > 0 && others == 0 && top->state != KMS_FEED_FILE)
		return "DETACHED";
	*urgent = false;
	if (top->frozen)
		return "FROZEN";
	if (top->state == KMS_FEED_FILE)
		return "FILE";
	return snapshot ? "LIVE" : "WAIT";
}

/* "name/pid target 2" or "name/pid +3" in a width: the name gives way. */
static void identity_text(const struct kms_top *top, char *text, size_t bytes, int columns)
{
	char pid[64] = "";
	uint64_t total;
	const cJSON *target = shown_target(top, &total);
	struct kms_buf name;
	int left;

	if (!target) {
		snprintf(text, bytes, top->target ? "target %" PRIu32 " is not there" : "-",
			 top->target);
		return;
	}
	left = snprintf(pid, sizeof(pid), "/%" PRIu64, kms_json_number(target, "pid"));
	if (!kms_json_number(target, "pid"))
		left = 0;
	if (total > 1 && !top->target)
		snprintf(pid + left, sizeof(pid) - (size_t)left, " +%" PRIu64, total - 1);
	else if (total > 1)
		snprintf(pid + left, sizeof(pid) - (size_t)left, " target %" PRIu32, top->target);
	else
		pid[left] = '\0';
	left = columns - (int)strlen(pid);
	kms_buf_init(&name, TEXT_BYTES);
	kms_screen_cut(&name, kms_json_text(target, "name"), strlen(kms_json_text(target, "name")),
		       left > NAME_LEAST ? left : NAME_LEAST);
	snprintf(text, bytes, "%s%s", kms_buf_text(&name), pid);
	kms_buf_deinit(&name);
}

/* What the file's size is in the first line: of all targets, so not beside the figures of one. */
static struct kms_fmt file_text(const struct kms_top *top, const cJSON *stats)
{
	struct kms_fmt size = kms_fmt_size(
		kms_json_number(kms_json_member(stats, "tracer"), "db_bytes"), KMS_UNITS_SHORT);
	struct kms_fmt text = {""};

	if (!top->target)
		snprintf(text.text, sizeof(text.text), "   db %.20s", size.text);
	return text;
}

/* The wall clock of the data: "12:00:01". */
static void clock_text(const struct kms_top *top, const cJSON *snapshot, char text[16])
{
	const char *when = kms_json_text(snapshot, "time");
	struct tm parts = {0};
	time_t seconds;

	text[0] = '\0';
	if (!strptime(when, "%Y-%m-%dT%H:%M:%S", &parts))
		return;
	if (top->options.local_time) {
		seconds = timegm(&parts);
		(void)localtime_r(&seconds, &parts);
	}
	(void)strftime(text, 16, "%H:%M:%S", &parts);
}

static void draw_identity(struct kms_top *top, struct kms_screen *screen)
{
	const cJSON *stats = json_of(top, KMS_FEED_STATS);
	const cJSON *snapshot = kms_json_member(stats, "snapshot");
	const cJSON *ring = kms_json_member(stats, "ring");
	uint64_t lost = kms_json_number(ring, "lost");
	uint64_t seconds = kms_json_number(snapshot, "time_ns") / 1000000000;
	char figures[TEXT_BYTES];
	char name[TEXT_BYTES + 64];
	char when[16];
	bool urgent;
	const char *word = state_word(top, &urgent);
	int width = screen->width;
	int x;

	snprintf(figures, sizeof(figures),
		 "  %s%s   ring %.0f%%  lost %s%s%s  +%02" PRIu64 ":%02" PRIu64 ":%02" PRIu64,
		 lost && !urgent ? "LOST" : word, lost && urgent ? " LOST" : "",
		 100 * kms_json_fraction(ring, "fill"), kms_fmt_rate(lost).text,
		 kms_json_flag(ring, "stale") ? " STALE" : "", file_text(top, stats).text,
		 seconds / 3600, seconds / 60 % 60, seconds % 60);
	x = kms_screen_put(screen, 0, 0, width, KMS_INK_HEAD, "kmemscope ");
	identity_text(top, name, sizeof(name),
		      width - x - (int)strlen(figures) - CLOCK_COLUMNS - 1);
	x += kms_screen_put(screen, x, 0, width - x - (int)strlen(figures) - CLOCK_COLUMNS - 1,
			    KMS_INK_HEAD, name);
	kms_screen_put(screen, x, 0, width - x, lost ? KMS_INK_BAD : KMS_INK_PLAIN, figures);
	clock_text(top, snapshot, when);
	kms_screen_put(screen, width - CLOCK_COLUMNS, 0, CLOCK_COLUMNS, KMS_INK_DIM, when);
	if (urgent || lost)
		kms_screen_mark(screen, 0, 0, width, KMS_INK_REVERSE);
}

/* Of the document that is kept up to date: the list in its view, elsewhere its totals alone. */
static uint64_t count_suspects(const struct kms_top *top)
{
	bool listed = top->tab == KMS_TAB_LEAKS && json_of(top, KMS_FEED_LEAKS);

	return kms_json_number(json_of(top, listed ? KMS_FEED_LEAKS : KMS_FEED_SUSPECTS),
			       "suspects");
}

static struct kms_fmt size_of(const struct kms_top *top, const cJSON *object, const char *name)
{
	return kms_fmt_size(kms_json_number(object, name), top->units);
}

/* Slots of the guard FIFO: rounded where what stands behind them would be cut off. Returns the columns. */
static int draw_guard(struct kms_screen *screen, const cJSON *guard, int x, int room)
{
	uint64_t used = kms_json_number(guard, "used");
	uint64_t depth = kms_json_number(guard, "depth");
	char text[128];
	int n;

	if (!depth && !used)
		return kms_screen_put(screen, x, 1, room, KMS_INK_PLAIN, "  guard off");
	n = snprintf(text, sizeof(text), "  guard %" PRIu64 "/%" PRIu64, used, depth);
	if (n > room)
		snprintf(text, sizeof(text), "  guard %s/%s", kms_fmt_rate(used).text,
			 kms_fmt_rate(depth).text);
	return kms_screen_put(screen, x, 1, room, KMS_INK_PLAIN, text);
}

static void draw_figures(struct kms_top *top, struct kms_screen *screen)
{
	const cJSON *stats = json_of(top, KMS_FEED_STATS);
	const cJSON *guard = kms_json_member(stats, "guard");
	uint64_t suspects = count_suspects(top);
	uint64_t faults = kms_json_number(stats, "faults");
	int width = screen->width;
	char leaks[48];
	char text[48];
	int n;
	int x;

	if (!stats) {
		kms_screen_put(screen, 0, 1, width, KMS_INK_DIM,
			       top->doc[KMS_FEED_STATS] ? top->doc[KMS_FEED_STATS]->error
							: "waiting for data");
		return;
	}
	x = kms_screen_print(screen, 0, 1, width, KMS_INK_PLAIN,
			     "live %s  peak %s  alloc %s/s  free %s/s",
			     size_of(top, stats, "live_bytes").text,
			     cJSON_IsNull(kms_json_member(stats, "peak_bytes"))
				     ? "-"
				     : size_of(top, stats, "peak_bytes").text,
			     kms_fmt_rate(kms_json_number(stats, "alloc_rate")).text,
			     kms_fmt_rate(kms_json_number(stats, "free_rate")).text);
	n = snprintf(leaks, sizeof(leaks), "  leaks %" PRIu64 "%s", suspects, suspects ? "!" : "");
	x += draw_guard(screen, guard, x, width - x - n);
	x += kms_screen_put(screen, x, 1, width - x, suspects ? KMS_INK_BAD : KMS_INK_PLAIN, leaks);
	n = snprintf(text, sizeof(text), "  faults %" PRIu64 "%s", faults, faults ? "!" : "");
	if (n <= width - x) /* else the tab of that name says it */
		kms_screen_put(screen, x, 1, n, faults ? KMS_INK_BAD : KMS_INK_PLAIN, text);
}

/* Values of the last two minutes, one for each column of the graph; below 0: not known. */
static void bucket(const struct kms_graph *graph, double *values, int n, double *low, double *high)
{
	const uint64_t span_ns = (uint64_t)KMS_GRAPH_SECONDS * 1000000000;
	uint64_t end_ns = graph->n ? graph->point[graph->n - 1].time_ns : 0;
	double last = -1;
	uint64_t ago_ns;
	int at;

	for (int i = 0; i < n; i++)
		values[i] = -1;
	*low = *high = -1;
	for (size_t i = 0; i < graph->n; i++) {
		ago_ns = end_ns - graph->point[i].time_ns;
		if (ago_ns >= span_ns)
			continue;
		at = n - 1 - (int)((double)ago_ns / (double)span_ns * n);
		if (graph->point[i].bytes > values[at])
			values[at] = graph->point[i].bytes;
		if (*low < 0 || graph->point[i].bytes < *low)
			*low = graph->point[i].bytes;
		if (graph->point[i].bytes > *high)
			*high = graph->point[i].bytes;
	}
	for (int i = 0; i < n; i++) { /* between two answers nothing is known to have changed */
		if (values[i] < 0)
			values[i] = last;
		last = values[i];
	}
}

static void draw_graph(struct kms_top *top, struct kms_screen *screen)
{
	static const char title[] = "[heap 120 s] ";
	char limits[128];
	double *values;
	double low;
	double high;
	int width;
	int n;

	values = calloc((size_t)2 * (size_t)screen->width + 2, sizeof(*values));
	if (!values)
		return;
	bucket(&top->graph, values, 1, &low, &high);
	snprintf(limits, sizeof(limits), "  max %s min %s",
		 kms_fmt_size(high > 0 ? (uint64_t)high : 0, top->units).text,
		 kms_fmt_size(low > 0 ? (uint64_t)low : 0, top->units).text);
	width = screen->width - (int)strlen(title) - (int)strlen(limits);
	n = kms_graph_points(top->options.glyphs, width);
	bucket(&top->graph, values, n, &low, &high);
	kms_screen_put(screen, 0, 2, screen->width, KMS_INK_DIM, title);
	kms_graph_draw(screen, (struct kms_strip){(int)strlen(title), 2, width},
		       top->options.glyphs, values, low, high);
	kms_screen_put(screen, screen->width - (int)strlen(limits), 2, (int)strlen(limits),
		       KMS_INK_DIM, limits);
	free(values);
}

static bool wants_attention(const struct kms_top *top, enum kms_tab tab)
{
	const cJSON *stats = json_of(top, KMS_FEED_STATS);
	const cJSON *guard = kms_json_member(stats, "guard");

	switch (tab) {
	case KMS_TAB_LEAKS:
		return count_suspects(top) > 0;
	case KMS_TAB_GUARD:
		return kms_json_flag(guard, "pending") || kms_json_number(guard, "unguarded") > 0;
	case KMS_TAB_FAULTS:
		return kms_json_number(stats, "faults") > 0;
	default:
		return false;
	}
}

static int tab_text(const struct kms_top *top, int tab, char text[32])
{
	return snprintf(text, 32, "%d %s%s", tab + 1, kms_tab_lists[tab].name,
			wants_attention(top, (enum kms_tab)tab) ? "!" : "");
}

int kms_header_tab_at(const struct kms_top *top, int x)
{
	char text[32];
	int at = 0;
	int n;

	for (int i = 0; i < KMS_TABS; i++) {
		n = tab_text(top, i, text);
		if (x >= at && x < at + n)
			return i;
		at += n + 2;
	}
	return -1;
}

static void draw_tabs(struct kms_top *top, struct kms_screen *screen)
{
	const struct kms_list *list = kms_top_list(top); /* NULL: of a page */
	char text[32];
	char status[TEXT_BYTES];
	int x = 0;
	int n;

	for (int i = 0; i < KMS_TABS; i++) {
		uint8_t ink = wants_attention(top, (enum kms_tab)i) ? KMS_INK_BAD : KMS_INK_HEAD;

		(void)tab_text(top, i, text);
		if (i == (int)top->tab)
			ink |= KMS_INK_REVERSE;
		x += kms_screen_put(screen, x, 3, screen->width - x, ink, text) + 2;
	}
	if (!list)
		return;
	n = snprintf(status, sizeof(status), "%s%s%s%s %zu/%zu",
		     list->grouping == KMS_GROUP_MERGED ? "merged " : "",
		     list->grouping == KMS_GROUP_TREE ? "tree " : "",
		     list->filter_text[0] ? "filter:" : "", list->filter_text,
		     list->n_rows ? list->selected + 1 : 0, list->n_rows);
	if (list->n_more)
		n += snprintf(status + n, sizeof(status) - (size_t)n, "+%zu", list->n_more);
	if (n > screen->width - x)
		n = screen->width - x;
	kms_screen_put(screen, screen->width - n, 3, n, KMS_INK_DIM, status);
}

void kms_draw_header(struct kms_top *top, struct kms_screen *screen)
{
	draw_identity(top, screen);
	draw_figures(top, screen);
	draw_graph(top, screen);
	draw_tabs(top, screen);
}

static const struct {
	const char *key, *label;
	uint32_t code;
} bar[] = {
	{"F1",  "Help",   KMS_KEY_F1    },
        {"F2",  "Opts",   KMS_KEY_F1 + 1},
	{"F3",  "Find",   KMS_KEY_F1 + 2},
        {"F4",  "Filter", KMS_KEY_F1 + 3},
	{"F5",  "Tree",   KMS_KEY_F1 + 4},
        {"F6",  "Sort",   KMS_KEY_F1 + 5},
	{"F7",  "Snap",   KMS_KEY_F1 + 6},
        {"F8",  "Diff",   KMS_KEY_F1 + 7},
	{"F9",  "db>",    KMS_KEY_F1 + 8},
        {"F10", "Quit",   KMS_KEY_F1 + 9},
};

#define BAR_KEYS (sizeof(bar) / sizeof(bar[0]))

uint32_t kms_bar_key_at(int x)
{
	int at = 0;
	int n;

	for (size_t i = 0; i < BAR_KEYS; i++) {
		n = (int)(strlen(bar[i].key) + strlen(bar[i].label));
		if (x >= at && x < at + n)
			return bar[i].code;
		at += n + 1;
	}
	return 0;
}

static void draw_keys(struct kms_screen *screen, int y)
{
	int x = 0;

	for (size_t i = 0; i < BAR_KEYS; i++) {
		x += kms_screen_put(screen, x, y, screen->width - x, KMS_INK_HEAD, bar[i].key);
		x += kms_screen_put(screen, x, y, screen->width - x, KMS_INK_BAR, bar[i].label) + 1;
	}
	kms_screen_put(screen, x + 1, y, screen->width - x - 1, KMS_INK_DIM, "?:keys");
}

/* A line that is edited, scrolled so that the cursor is seen. */
static void draw_line(struct kms_top *top, struct kms_screen *screen, int y, const char *prompt)
{
	struct kms_buf text;
	int x = kms_screen_put(screen, 0, y, screen->width, KMS_INK_HEAD, prompt);
	int room = screen->width - x - 1;
	int from = 0;
	int columns = 0;

	for (;; from++) { /* the first character that is shown */
		kms_buf_init(&text, KMS_LINE_BYTES);
		for (int i = from; i < top->line.cursor; i++)
			kms_buf_add_utf8(&text, top->line.c[i]);
		columns = kms_screen_columns(kms_buf_text(&text));
		if (columns <= room)
			break;
		kms_buf_deinit(&text);
	}
	for (int i = top->line.cursor; i < top->line.n; i++)
		kms_buf_add_utf8(&text, top->line.c[i]);
	kms_screen_put(screen, x, y, screen->width - x, KMS_INK_PLAIN, kms_buf_text(&text));
	kms_buf_deinit(&text);
	top->cursor_x = x + columns;
	top->cursor_y = y;
}

void kms_draw_bar(struct kms_top *top, struct kms_screen *screen)
{
	int y = screen->height - 1;
	char prompt[160];

	top->cursor_x = top->cursor_y = -1;
	if (top->mode == KMS_MODE_DB && top->line.searching)
		snprintf(prompt, sizeof(prompt), "search \"%s\": ", top->line.pattern);
	else
		snprintf(prompt, sizeof(prompt), "%s",
			 top->mode == KMS_MODE_DB
				 ? "db> "
				 : (top->mode == KMS_MODE_SEARCH ? "find: " : "filter: "));
	if (top->mode == KMS_MODE_DB || top->mode == KMS_MODE_SEARCH ||
	    top->mode == KMS_MODE_FILTER)
		draw_line(top, screen, y, prompt);
	else if (!top->message[0])
		draw_keys(screen, y);
	if (top->message[0] && top->cursor_y < 0)
		kms_screen_put(screen, 0, y, screen->width, KMS_INK_WARN, top->message);
	else if (top->message[0])
		kms_screen_put(screen, 0, y - 1, screen->width, KMS_INK_WARN, top->message);
}
