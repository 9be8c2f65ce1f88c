/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The screen: what it shows and what keys do to it. Pure: documents and keys in; a grid, wishes for
 * documents and lines for the db prompt out. Knows neither the terminal nor the API's socket, so that
 * tests drive it as the program does.
 */
#ifndef KMS_TUI_TOP_H
#define KMS_TUI_TOP_H

#include <stdbool.h>
#include <stdint.h>

#include "tui/feed.h"
#include "tui/line.h"
#include "tui/list.h"
#include "tui/page.h"
#include "tui/term.h"
#include "tui/views.h"

enum {
	KMS_TOP_WIDTH = 80, /* the least that the screen needs */
	KMS_TOP_HEIGHT = 24,
	KMS_TOP_WIDE = 120, /* from here on the detail is beside the list */
	KMS_TOP_TALL = 40,  /* and from here on below it */
	KMS_TOP_LEVELS = 8,
	KMS_GRAPH_SECONDS = 120,
	KMS_GRAPH_POINTS = 2400, /* 20 a second */
};

enum kms_mode {
	KMS_MODE_BROWSE,
	KMS_MODE_DB, /* the lines at the bottom are the prompt */
	KMS_MODE_SEARCH,
	KMS_MODE_FILTER,
	KMS_MODE_MENU,
};

struct kms_top;
struct kms_level;

/** What is one level down from a list; static. A page has show, a list has list. */
struct kms_level_kind {
	const char *name;
	const struct kms_list_kind *list;
	/** Writes the page from the row and the document of level->path, which may be NULL yet. */
	void (*show)(struct kms_text *text, const struct kms_level *level, const cJSON *document);
	/** The path of its document from the row; "" none. NULL: there is none. */
	void (*path)(const cJSON *row, char path[KMS_FEED_PATH_BYTES]);
	/** Where Enter leads from here; NULL: nowhere. */
	const struct kms_level_kind *next;
	/** What it means that its row is in the view's list no more; NULL: a fact, which stays true. */
	const char *gone;
};

/** What has become of the row that a page is about. */
enum kms_level_fate {
	KMS_LEVEL_LISTED,
	KMS_LEVEL_UNLISTED, /* the list does not go that far, or its filter leaves it out */
	KMS_LEVEL_GONE,
};

/** A page or list above a view. */
struct kms_level {
	const struct kms_level_kind *kind;
	char title[96];
	char path[KMS_FEED_PATH_BYTES];
	cJSON *row; /* copy of the row it is about, as it was last listed; owned */
	char key[KMS_LIST_KEY_BYTES]; /* of that row in the view's list */
	uint64_t row_time_ns;         /* of the run, when it was last listed; 0 not known */
	enum kms_level_fate fate;
	const struct kms_doc *doc;
	struct kms_list list;
	struct kms_page page;
};

extern const struct kms_level_kind kms_level_cache, kms_level_site, kms_level_leak, kms_level_guard,
	kms_level_fault, kms_level_event, kms_level_blocks, kms_level_history, kms_level_targets,
	kms_level_evictions, kms_level_help;

/** A moment of the graph. */
struct kms_graph_point {
	uint64_t time_ns; /* of the run */
	double bytes;
};

struct kms_graph {
	struct kms_graph_point *point; /* oldest first, KMS_GRAPH_POINTS at most */
	size_t n;
};

enum kms_menu_kind {
	KMS_MENU_SORT,
	KMS_MENU_OPTIONS,
};

struct kms_menu {
	enum kms_menu_kind kind;
	size_t n;
	size_t selected;
};

struct kms_top_options {
	enum kms_glyphs glyphs;
	bool ascii;
	bool local_time; /* the clock is the terminal's; else UTC */
	unsigned interval_ms;
};

/** The screen's state. Filled by kms_top_init(); others read. */
struct kms_top {
	struct kms_top_options options;
	const struct kms_doc *doc[KMS_FEED_DOCUMENTS];
	enum kms_feed_state state;
	char reason[KMS_ERR_TEXT_BYTES];
	enum kms_tab tab;
	struct kms_list list[KMS_TABS];
	struct kms_level level[KMS_TOP_LEVELS];
	size_t n_levels;
	struct kms_level pane; /* the detail of the selected row */
	struct kms_graph graph;
	enum kms_units units;
	uint32_t target; /* 0 all */
	bool frozen;
	bool grouped; /* caches were merged because there are several targets; m may have split them */
	enum kms_mode mode;
	struct kms_line line;
	struct kms_line_history *history; /* of the prompt; borrowed, may be NULL */
	struct kms_menu menu;
	char search[128];
	char before_filter[256]; /* for Esc */
	size_t before_search;
	struct kms_buf log; /* of the prompt */
	struct kms_page log_page;
	unsigned waiting; /* lines without an answer */
	char message[200];
	char out[KMS_LINE_BYTES]; /* a line for the prompt; "" none. The caller empties it. */
	bool pasting;
	bool quit;
	bool redraw; /* the terminal is to be drawn anew. The caller resets it. */
	int width, height, list_height;
	int list_y;
	struct kms_list_look look; /* of the list that keys move in, as it was drawn last */
	int menu_x, menu_y;        /* of the menu's first line */
	int cursor_x, cursor_y;    /* -1: hidden */
};

/** -ENOMEM. Ended by kms_top_deinit() also then. */
int kms_top_init(struct kms_top *top, const struct kms_top_options *options);
void kms_top_deinit(struct kms_top *top);

/** Takes a newer answer over (the reference, too); NULL: none. */
void kms_top_take(struct kms_top *top, enum kms_feed_document document, const struct kms_doc *doc);

/** An answer of the prompt; borrowed. */
void kms_top_answer(struct kms_top *top, const struct kms_feed_output *output);

/** Says whether the source answers. */
void kms_top_state(struct kms_top *top, enum kms_feed_state state, const char *reason);

/** A key. */
void kms_top_key(struct kms_top *top, const struct kms_input *input);

/** Does what a key does while no line is edited. */
void kms_top_press(struct kms_top *top, uint32_t key);

/** What is to be asked for. */
void kms_top_want(const struct kms_top *top, struct kms_feed_want *want);

/** Draws all into the grid, whose size counts. */
void kms_top_draw(struct kms_top *top, struct kms_screen *screen);

/* ---- between the files of the screen ---- */

/** The list that keys move in: of the topmost level, or of the view; NULL: there is a page. */
struct kms_list *kms_top_list(struct kms_top *top);

/** The topmost level; NULL: the view itself. */
struct kms_level *kms_top_level(struct kms_top *top);

/** Opens a level above. row is copied. */
void kms_top_push(struct kms_top *top, const struct kms_level_kind *kind, const cJSON *row);
void kms_top_pop(struct kms_top *top);

/** Opens what Enter opens: the detail of the selected row. */
void kms_top_enter(struct kms_top *top);

/** The level that a row of a view leads to. */
const struct kms_level_kind *kms_tab_level(enum kms_tab tab);

/** Shows one target, 0 all; what is shown of others goes away until there is something of it. */
void kms_top_choose_target(struct kms_top *top, uint32_t target);

/** Whether an answer is of the target that is shown. */
bool kms_top_is_meant(const struct kms_top *top, enum kms_feed_document document,
		      const struct kms_doc *doc);

/** Merges caches of several targets at first, and never those of one. */
void kms_top_group(struct kms_top *top);

/** Brings the page above a view up to date with the view's list. */
void kms_top_refresh_level(struct kms_top *top);

/** Writes what a page's reader must know of its row's fate; nothing while it is listed. */
void kms_level_show_fate(struct kms_text *text, const struct kms_level *level);

/** Makes a level's page or list from its row and document. */
void kms_level_fill(struct kms_level *level);
void kms_level_set_doc(struct kms_level *level, const struct kms_doc *doc);
void kms_level_deinit(struct kms_level *level);

/** The detail of the selected row, for the pane. */
void kms_top_refresh_pane(struct kms_top *top);

/** Sorts, filters and groups the view's list anew. */
void kms_top_reload(struct kms_top *top);

/** Writes the message that stands in the last line until the next key. */
void kms_top_say(struct kms_top *top, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** The prompt with a text in it. */
void kms_top_prompt(struct kms_top *top, const char *text);

/** Documents of a view. */
enum kms_feed_document kms_tab_document(enum kms_tab tab);

/** Lines of a menu. */
size_t kms_menu_lines(const struct kms_top *top);
void kms_menu_text(const struct kms_top *top, size_t index, char *text, size_t bytes);
void kms_menu_choose(struct kms_top *top, size_t index);
void kms_menu_key(struct kms_top *top, const struct kms_input *input);

enum {
	KMS_MENU_WIDTH = 34,
};

/** A key while a line is edited. */
void kms_top_line_key(struct kms_top *top, const struct kms_input *input);

/** Whether a line is edited and the key is one of its editor's. */
bool kms_line_has_key(const struct kms_top *top, uint32_t key);

/** Completes the word before the cursor of the prompt; several: says them. */
void kms_top_complete(struct kms_top *top);

/** The page of keys, from the table of keys. */
void kms_keys_help(struct kms_text *text);

/** Parts of the screen. */
void kms_draw_header(struct kms_top *top, struct kms_screen *screen);
void kms_draw_bar(struct kms_top *top, struct kms_screen *screen);
void kms_draw_guard(const struct kms_top *top, struct kms_screen *screen, int y);

enum {
	KMS_HEADER_LINES = 4,
	KMS_GUARD_LINES = 6, /* above the guard's list */
};

/** Which view the tab line has at a column; -1 none. For the mouse. */
int kms_header_tab_at(const struct kms_top *top, int x);

/** The key that the last line has at a column; 0 none. */
uint32_t kms_bar_key_at(int x);

/** Puts a moment into the graph. */
void kms_graph_add(struct kms_graph *graph, uint64_t time_ns, double bytes);
void kms_graph_timeline(struct kms_graph *graph, const cJSON *document);

#endif
