/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The keys: one table says what each does and what help says about it. See top.h.
 */
#include <string.h>

#include "tui/top.h"

enum {
	LEAST_INTERVAL_MS = 100,
	MOST_INTERVAL_MS = 10000,
};

static struct kms_page *shown_page(struct kms_top *top)
{
	struct kms_level *level = kms_top_level(top);

	return level && !level->kind->list ? &level->page : NULL;
}

static void move(struct kms_top *top, long by)
{
	struct kms_page *page = shown_page(top);

	if (page) {
		kms_page_scroll(page, by, top->list_height);
		return;
	}
	kms_list_move(kms_top_list(top), by);
	if (!top->n_levels)
		kms_top_refresh_pane(top);
}

static void act_up(struct kms_top *top)
{
	move(top, -1);
}

static void act_down(struct kms_top *top)
{
	move(top, 1);
}

static void act_page_up(struct kms_top *top)
{
	move(top, -(long)top->list_height);
}

static void act_page_down(struct kms_top *top)
{
	move(top, top->list_height);
}

static void act_first(struct kms_top *top)
{
	move(top, -1000000);
}

static void act_last(struct kms_top *top)
{
	move(top, 1000000);
}

static void act_left(struct kms_top *top)
{
	struct kms_list *list = kms_top_list(top);

	if (list && list->left > 0)
		list->left--;
}

static void act_right(struct kms_top *top)
{
	struct kms_list *list = kms_top_list(top);

	if (list && list->left + 3 < list->kind->n_columns)
		list->left++;
}

static void show_tab(struct kms_top *top, int tab)
{
	while (top->n_levels)
		kms_top_pop(top);
	top->tab = (enum kms_tab)tab;
	top->list[tab].left = 0; /* a view begins with its first columns */
	kms_top_reload(top);
}

static void act_next_tab(struct kms_top *top)
{
	show_tab(top, ((int)top->tab + 1) % KMS_TABS);
}

static void act_previous_tab(struct kms_top *top)
{
	show_tab(top, ((int)top->tab + KMS_TABS - 1) % KMS_TABS);
}

/* One step back: from a page, then from one target to all. */
static void act_back(struct kms_top *top)
{
	if (top->n_levels)
		kms_top_pop(top);
	else if (top->target)
		kms_top_choose_target(top, 0);
}

static void act_quit(struct kms_top *top)
{
	if (top->n_levels)
		kms_top_pop(top);
	else
		top->quit = true;
}

static void act_quit_now(struct kms_top *top)
{
	top->quit = true;
}

static void act_help(struct kms_top *top)
{
	if (!top->n_levels || kms_top_level(top)->kind != &kms_level_help)
		kms_top_push(top, &kms_level_help, NULL);
}

static void begin_line(struct kms_top *top, enum kms_mode mode, const char *text)
{
	top->mode = mode;
	kms_line_begin(&top->line, NULL, text);
}

static void act_search(struct kms_top *top)
{
	const struct kms_page *page = shown_page(top);

	top->before_search = page ? page->top : kms_top_list(top)->selected;
	begin_line(top, KMS_MODE_SEARCH, "");
}

static void find_again(struct kms_top *top, int step)
{
	struct kms_page *page = shown_page(top);
	struct kms_list *list = kms_top_list(top);
	size_t from;
	bool found;

	if (!top->search[0]) {
		kms_top_say(top, "nothing was searched for; / does");
		return;
	}
	from = page ? (page->found ? page->found - 1 : page->top) : list->selected;
	from += step > 0 ? 1 : SIZE_MAX; /* one back, round the corner */
	found = page ? kms_page_find(page, top->search, from, step)
		     : kms_list_find(list, top->search, from, step);
	if (!found)
		kms_top_say(top, "not found: %s", top->search);
	else if (!page && !top->n_levels)
		kms_top_refresh_pane(top);
}

static void act_find_next(struct kms_top *top)
{
	find_again(top, 1);
}

static void act_find_previous(struct kms_top *top)
{
	find_again(top, -1);
}

static void act_filter(struct kms_top *top)
{
	struct kms_list *list = kms_top_list(top);

	if (!list) {
		kms_top_say(top, "a page has no filter; / searches in it");
		return;
	}
	memcpy(top->before_filter, list->filter_text, sizeof(top->before_filter));
	begin_line(top, KMS_MODE_FILTER, list->filter_text);
}

static void act_tree(struct kms_top *top)
{
	struct kms_list *list = &top->list[top->tab];

	if (top->n_levels || !list->kind->group) {
		kms_top_say(top, "nothing to group here");
		return;
	}
	list->grouping = list->grouping == KMS_GROUP_TREE ? KMS_GROUP_NONE : KMS_GROUP_TREE;
	kms_top_reload(top);
}

static void act_merge(struct kms_top *top)
{
	struct kms_list *list = &top->list[top->tab];

	if (top->n_levels || !list->kind->group) {
		kms_top_say(top, "nothing to merge here");
		return;
	}
	list->grouping = list->grouping == KMS_GROUP_MERGED ? KMS_GROUP_NONE : KMS_GROUP_MERGED;
	kms_top_reload(top);
}

static void resort(struct kms_top *top)
{
	struct kms_level *level = kms_top_level(top);

	if (level)
		kms_level_fill(level);
	else
		kms_top_reload(top);
}

static void open_menu(struct kms_top *top, enum kms_menu_kind kind)
{
	top->menu.kind = kind;
	top->menu.selected = kind == KMS_MENU_SORT ? kms_top_list(top)->sort : 0;
	top->mode = KMS_MODE_MENU;
}

static void act_sort(struct kms_top *top)
{
	if (kms_top_list(top))
		open_menu(top, KMS_MENU_SORT);
	else
		kms_top_say(top, "a page is not sorted");
}

static void act_options(struct kms_top *top)
{
	open_menu(top, KMS_MENU_OPTIONS);
}

/* The column may be one that has no room: so it is said which it is. */
static void sort_by_neighbour(struct kms_top *top, size_t step)
{
	struct kms_list *list = kms_top_list(top);

	if (!list)
		return;
	list->sort = (list->sort + step) % list->kind->n_columns;
	list->inverted = false;
	resort(top);
	kms_top_say(top, "sorted by %s", list->kind->columns[list->sort].head);
}

/* The same column again turns the order round. */
static void sort_by(struct kms_top *top, size_t column)
{
	struct kms_list *list = kms_top_list(top);

	if (column >= list->kind->n_columns)
		return;
	kms_list_sort(list, column);
	resort(top);
}

static void act_sort_next(struct kms_top *top)
{
	sort_by_neighbour(top, 1);
}

static void act_sort_previous(struct kms_top *top)
{
	struct kms_list *list = kms_top_list(top);

	sort_by_neighbour(top, list ? list->kind->n_columns - 1 : 0);
}

static void act_invert(struct kms_top *top)
{
	struct kms_list *list = kms_top_list(top);

	if (!list)
		return;
	list->inverted = !list->inverted;
	resort(top);
}

static void act_freeze(struct kms_top *top)
{
	top->frozen = !top->frozen;
	kms_top_say(top,
		    top->frozen ? "frozen: recording goes on; Z goes on showing it" : "live again");
}

static void act_follow(struct kms_top *top)
{
	struct kms_list *list = kms_top_list(top);

	if (!list)
		return;
	list->follow = !list->follow;
	kms_list_move(list, 0); /* remembers which */
	kms_top_say(top, list->follow ? "the selection follows its row"
				      : "the selection stays in its place");
}

static void act_units(struct kms_top *top)
{
	static const char *const words[] = {"short sizes", "exact bytes", "pages"};

	top->units = (enum kms_units)(((int)top->units + 1) % KMS_UNITS);
	kms_top_say(top, "sizes: %s", words[top->units]);
}

static void set_interval(struct kms_top *top, long by_ms)
{
	long ms = (long)top->options.interval_ms + by_ms;

	if (ms < LEAST_INTERVAL_MS)
		ms = LEAST_INTERVAL_MS;
	if (ms > MOST_INTERVAL_MS)
		ms = MOST_INTERVAL_MS;
	top->options.interval_ms = (unsigned)ms;
	kms_top_say(top, "a new picture every %.1f s", (double)ms / 1000);
}

/* In the guard's view, where there is a depth to set, + sets it. */
static void act_slower(struct kms_top *top)
{
	if (top->tab == KMS_TAB_GUARD)
		kms_top_prompt(top, "w kmem_guard_depth 0t");
	else
		set_interval(top, top->options.interval_ms >= 1000 ? 500 : 100);
}

static void act_faster(struct kms_top *top)
{
	set_interval(top, top->options.interval_ms > 1000 ? -500 : -100);
}

static void act_targets(struct kms_top *top)
{
	if (!top->n_levels || kms_top_level(top)->kind != &kms_level_targets)
		kms_top_push(top, &kms_level_targets, NULL);
}

static void act_all_targets(struct kms_top *top)
{
	kms_top_choose_target(top, 0);
}

static void act_history(struct kms_top *top)
{
	struct kms_level *level = kms_top_level(top);
	struct kms_list *list = kms_top_list(top);
	const cJSON *row = list ? kms_list_selected(list) : level->row;

	if (row && kms_row_member(row, "address"))
		kms_top_push(top, &kms_level_history, row);
	else
		kms_top_say(top, "there is no address here");
}

static void act_snapshot(struct kms_top *top)
{
	kms_top_prompt(top, "mark ");
}

static void act_diff(struct kms_top *top)
{
	kms_top_prompt(top, "diff ");
}

static void act_prompt(struct kms_top *top)
{
	kms_top_prompt(top, "");
}

static void act_redraw(struct kms_top *top)
{
	top->redraw = true;
}

/* A row: up to four keys, how they are called, what they do. Without help: a second name. */
static const struct binding {
	uint32_t key[4];
	const char *shown, *help;
	void (*act)(struct kms_top *top);
} bindings[] = {
	{{'?', KMS_KEY_F1},                  "? F1",        "this page",						   act_help         },
	{{'q', KMS_KEY_F1 + 9},              "q F10",       "back; from a view: quit",                                     act_quit         },
	{{'Q'},			      "Q Ctrl-C",    "quit",							act_quit_now     },
	{{KMS_KEY_ESC, KMS_KEY_BACKSPACE},
	 "Esc Backspace",				   "back; from a view of one target: to all",
	 act_back															   },
	{{KMS_KEY_ENTER},                    "Enter",       "the selected row in full, one level down",                    kms_top_enter    },
	{{KMS_KEY_UP, 'k', KMS_CTRL('p')},   "Up k",        "row or line up",                                              act_up           },
	{{KMS_KEY_DOWN, 'j', KMS_CTRL('n')}, "Down j",      "row or line down",                                            act_down         },
	{{KMS_KEY_PAGE_UP, KMS_CTRL('b')},   "PgUp Ctrl-B", "page up",                                                     act_page_up      },
	{{KMS_KEY_PAGE_DOWN, KMS_CTRL('f')}, "PgDn Ctrl-F", "page down",                                                   act_page_down    },
	{{KMS_KEY_HOME, 'g'},                "Home g",      "first row",                                                   act_first        },
	{{KMS_KEY_END, 'G'},                 "End G",       "last row; in Events: stay with the newest",                   act_last         },
	{{KMS_KEY_LEFT, 'h'},                "Left h",      "columns to the left",                                         act_left         },
	{{KMS_KEY_RIGHT, 'l'},               "Right l",     "columns to the right",                                        act_right        },
	{{KMS_KEY_TAB},                      "Tab 1..6",    "next view, or the view of that number",                       act_next_tab     },
	{{KMS_KEY_BACK_TAB},                 "Shift-Tab",   "previous view",                                               act_previous_tab },
	{{'/', KMS_KEY_F1 + 2},              "/ F3",        "search while typing",                                         act_search       },
	{{'n'},			      "n",           "next that was searched for",                                  act_find_next    },
	{{'N'},			      "N",           "previous that was searched for",                              act_find_previous},
	{{'\\', KMS_KEY_F1 + 3},
	 "\\ F4",					   "filter: words, a|b, !not, cache:kmem site:fs size>4K age>5s",
	 act_filter															 },
	{{'s', KMS_KEY_F1 + 5},              "s F6",        "menu: sort by",                                               act_sort         },
	{{'>', '.'},			 ">",           "sort by the next column",                                     act_sort_next    },
	{{'<', ','},			 "<",           "sort by the previous column",                                 act_sort_previous},
	{{'I'},			      "I",           "turn the order round",                                        act_invert       },
	{{'t', KMS_KEY_F1 + 4},              "t F5",        "tree: rows below what they have in common",                   act_tree         },
	{{'m'},			      "m",           "merge rows of one name or site, or split them by target",     act_merge        },
	{{'T'},			      "T",           "list of targets; Enter chooses one",                          act_targets      },
	{{'0'},			      "0",           "all targets",						 act_all_targets  },
	{{'F'},			      "F",           "the selection follows its row when the order changes",        act_follow       },
	{{'Z', 'P'},			 "Z P",         "freeze the picture; recording goes on",                       act_freeze       },
	{{'b'},			      "b",           "units of sizes: short, bytes, pages",                         act_units        },
	{{'+', '='},			 "+",           "longer interval; in Guard: set the depth",                    act_slower       },
	{{'-'},			      "-",           "shorter interval",					    act_faster       },
	{{'x'},			      "x",           "history of the row's address",                                act_history      },
	{{':', KMS_KEY_F1 + 8},              ": F9",        "the db> prompt",                                              act_prompt       },
	{{KMS_KEY_F1 + 6},                   "F7",          "mark this moment (db> mark NAME)",                            act_snapshot     },
	{{KMS_KEY_F1 + 7},                   "F8",          "what grew since a mark (db> diff)",                           act_diff         },
	{{KMS_KEY_F1 + 1},                   "F2",          "options",						     act_options      },
	{{KMS_CTRL('l')},                    "Ctrl-L",      "draw anew",						   act_redraw       },
};

#define BINDINGS (sizeof(bindings) / sizeof(bindings[0]))

void kms_keys_help(struct kms_text *text)
{
	kms_text_style(text, KMS_STYLE_HEAD, "Keys\n");
	for (size_t i = 0; i < BINDINGS; i++)
		kms_text_addf(text, "  %-15s %s\n", bindings[i].shown, bindings[i].help);
	kms_text_style(text, KMS_STYLE_HEAD,
		       "\n"
		       "In a line\n");
	kms_text_addf(text, "  %-15s %s\n  %-15s %s\n  %-15s %s\n  %-15s %s\n", "Esc Ctrl-G",
		      "leave it", "Up Down", "older and newer lines (Ctrl-R searches)", "Tab",
		      "complete", "Ctrl-A E K U W Y", "begin, end, kill, yank; Alt-B F D: words");
	kms_text_style(text, KMS_STYLE_HEAD,
		       "\n"
		       "On the screen\n");
	kms_text_addf(
		text,
		"  ! behind a view   it needs a look: suspects, faults, a depth not yet in "
		"effect\n"
		"  > and =           the selected row; = follows it\n"
		"  ! before a row    a leak suspect\n"
		"  v and ^           the column that is sorted by, largest or smallest first\n"
		"  merged, tree      rows of one name together; numbers are their sums\n");
}

static bool is_bound(const struct binding *binding, uint32_t key)
{
	for (size_t i = 0; i < 4 && binding->key[i]; i++)
		if (binding->key[i] == key)
			return true;
	return false;
}

void kms_top_press(struct kms_top *top, uint32_t key)
{
	for (size_t i = 0; i < BINDINGS; i++) {
		if (!is_bound(&bindings[i], key))
			continue;
		bindings[i].act(top);
		return;
	}
}

static void click(struct kms_top *top, const struct kms_input *input)
{
	/* the pane beside the list has nothing to click on */
	struct kms_list *list = input->x < top->look.width ? kms_top_list(top) : NULL;
	int tab = kms_header_tab_at(top, input->x);
	size_t row;

	if (input->y == KMS_HEADER_LINES - 1 && tab >= 0) {
		show_tab(top, tab);
	} else if (input->y == top->height - 1) {
		kms_top_press(top, kms_bar_key_at(input->x));
	} else if (list && input->y == top->list_y - 1) {
		sort_by(top, kms_list_column_at(list, &top->look, input->x));
	} else if (list && input->y >= top->list_y && input->y < top->list_y + top->list_height) {
		row = list->top + (size_t)(input->y - top->list_y);
		if (row >= list->n_rows)
			return;
		if (row == list->selected)
			kms_top_enter(top);
		else
			move(top, (long)row - (long)list->selected);
	}
}

static void browse(struct kms_top *top, const struct kms_input *input)
{
	if (input->key >= '1' && input->key < '1' + KMS_TABS)
		show_tab(top, (int)input->key - '1');
	else if (input->key == KMS_KEY_CLICK)
		click(top, input);
	else if (input->key == KMS_KEY_WHEEL_UP)
		move(top, -3);
	else if (input->key == KMS_KEY_WHEEL_DOWN)
		move(top, 3);
	else
		kms_top_press(top, input->key);
}

static void take_key(struct kms_top *top, const struct kms_input *input)
{
	if (top->mode == KMS_MODE_MENU)
		kms_menu_key(top, input);
	else if (top->mode != KMS_MODE_BROWSE)
		kms_top_line_key(top, input);
	else if (!top->pasting) /* a text pasted by mistake is no row of commands */
		browse(top, input);
}

void kms_top_key(struct kms_top *top, const struct kms_input *input)
{
	const struct kms_input escape = {.key = KMS_KEY_ESC};
	struct kms_input key = *input;

	if (key.key == KMS_KEY_NONE || key.key == KMS_KEY_RESIZE)
		return;
	top->message[0] = '\0';
	if (key.key == KMS_KEY_PASTE_BEGIN || key.key == KMS_KEY_PASTE_END) {
		top->pasting = key.key == KMS_KEY_PASTE_BEGIN;
		return;
	}
	if (key.key & KMS_KEY_ALT && !kms_line_has_key(top, key.key)) {
		/* Esc and another key, quickly one after the other */
		take_key(top, &escape);
		key.key &= ~(uint32_t)KMS_KEY_ALT;
	}
	take_key(top, &key);
}
