/* SPDX-License-Identifier: BSD-2-Clause */
/* The screen without a terminal: documents and keys in, frames and wishes out. */
#include <errno.h>
#include <locale.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "base/test/unit.h"
#include "tui/feed_impl.h"
#include "tui/top.h"

static const char stats[] =
	"{\"snapshot\":{\"time_ns\":5000000000,\"time\":\"2026-01-02T03:04:05Z\",\"file\":\"x\"},"
	"\"live_bytes\":2048,\"peak_bytes\":4096,\"alloc_rate\":84100,\"free_rate\":7,\"faults\":1,"
	"\"ring\":{\"fill\":0.03,\"lost\":0},\"guard\":{\"depth\":30208,\"used\":1204},"
	"\"tracer\":{\"db_bytes\":1048576}}";
static const char lossy[] =
	"{\"snapshot\":{\"time_ns\":6000000000},\"live_bytes\":0,\"ring\":{\"lost\":12345}}";
static const char running[] =
	"{\"total\":1,\"items\":[{\"id\":1,\"name\":\"nb\\u001b[31m\",\"pid\":42,\"state\":\"running\"}]}";
static const char stopped[] =
	"{\"total\":1,\"items\":[{\"id\":1,\"name\":\"nb\",\"pid\":42,\"state\":\"stopped\"}]}";
static const char caches[] =
	"{\"total\":2,\"items\":[{\"name\":\"kmem-64\",\"target\":1,\"alloc_rate\":2},"
	"{\"name\":\"kmem-8\",\"target\":1,\"alloc_rate\":1}]}";
static const char suspects[] = "{\"suspects\":3}";
static const char leaks[] =
	"{\"total\":1,\"suspects\":1,\"items\":[{\"id\":\"ab\",\"target\":1,\"score\":90,\"suspect\":true,"
	"\"bytes\":10,\"count\":1,\"stack_id\":77,\"cache\":\"kmem-16\",\"stack\":[{\"function\":\"leaky\","
	"\"file\":\"a/b.c\",\"line\":3}]}]}";

static struct kms_doc *document(const char *json, const char *path)
{
	struct kms_doc *doc = calloc(1, sizeof(*doc));

	assert_non_null(doc);
	doc->refs = 1;
	doc->json = json ? cJSON_Parse(json) : NULL;
	assert_true(!json || doc->json);
	snprintf(doc->path, sizeof(doc->path), "%s", path);
	snprintf(doc->error, sizeof(doc->error), "%s", json ? "" : "it refused");
	return doc;
}

static void give(struct kms_top *top, enum kms_feed_document which, const char *json)
{
	kms_top_take(top, which, document(json, ""));
}

static void begin(struct kms_top *top)
{
	const struct kms_top_options options = {.glyphs = KMS_GLYPHS_ASCII, .interval_ms = 200};

	assert_int_equal(kms_top_init(top, &options), 0);
	top->width = 80;
	top->height = 24;
	give(top, KMS_FEED_STATS, stats);
	give(top, KMS_FEED_TARGETS, running);
	give(top, KMS_FEED_CACHES, caches);
	give(top, KMS_FEED_SUSPECTS, suspects);
}

static void key(struct kms_top *top, uint32_t code)
{
	const struct kms_input input = {.key = code};

	kms_top_key(top, &input);
}

static void type(struct kms_top *top, const char *text)
{
	for (; *text; text++)
		key(top, (unsigned char)*text);
}

/* A frame's line; freed by the next call. */
static const char *line_of(struct kms_top *top, int width, int height, int y)
{
	static struct kms_buf text;
	struct kms_screen screen;
	const char *line;

	kms_buf_deinit(&text);
	kms_buf_init(&text, 1 << 20);
	kms_screen_init(&screen);
	assert_int_equal(kms_screen_resize(&screen, width, height), 0);
	kms_top_draw(top, &screen);
	kms_screen_text(&screen, &text);
	kms_screen_deinit(&screen);
	line = kms_buf_text(&text);
	for (; y > 0; y--)
		line = strchr(line, '\n') + 1;
	*strchr(line, '\n') = '\0';
	return line;
}

static bool is_reversed(struct kms_top *top, int y)
{
	struct kms_screen screen;
	bool reversed = true;

	kms_screen_init(&screen);
	assert_int_equal(kms_screen_resize(&screen, 80, 24), 0);
	kms_top_draw(top, &screen);
	for (int x = 0; x < 80; x++)
		reversed &= (kms_screen_at(&screen, x, y)->ink & KMS_INK_REVERSE) != 0;
	kms_screen_deinit(&screen);
	return reversed;
}

static void the_header_is_the_contract(void **state)
{
	struct kms_top top;

	(void)state;
	begin(&top);
	assert_string_equal(line_of(&top, 80, 24, 0),
			    "kmemscope nb\xef\xbf\xbd[31m/42  LIVE   ring 3%  lost 0   db 1.0M  "
			    "+00:00:05       03:04:05");
	assert_string_equal(line_of(&top, 80, 24, 1),
			    "live 2.0K  peak 4.0K  alloc 84.1k/s  free 7/s  guard 1204/30208  "
			    "leaks 3!");
	assert_non_null(strstr(line_of(&top, 80, 24, 3),
			       "1 Slabs  2 Sites  3 Leaks!  4 Guard  5 Faults!  6 Events"));
	assert_non_null(strstr(line_of(&top, 80, 24, 5), ">kmem-64"));
	assert_string_equal(line_of(&top, 80, 24, 23),
			    "F1Help F2Opts F3Find F4Filter F5Tree F6Sort F7Snap F8Diff F9db> "
			    "F10Quit  ?:keys");
	assert_false(is_reversed(&top, 0));
	kms_top_deinit(&top);
}

static void what_is_wrong_turns_the_first_line_and_says_so(void **state)
{
	struct kms_top top;

	(void)state;
	begin(&top);
	give(&top, KMS_FEED_TARGETS, stopped);
	assert_non_null(strstr(line_of(&top, 80, 24, 0), "  STOPPED  "));
	assert_true(is_reversed(&top, 0));
	give(&top, KMS_FEED_STATS, lossy);
	assert_non_null(strstr(line_of(&top, 80, 24, 0), "STOPPED LOST"));
	give(&top, KMS_FEED_TARGETS, running);
	assert_non_null(strstr(line_of(&top, 80, 24, 0), "  LOST  "));
	kms_top_state(&top, KMS_FEED_ENDED, "gone");
	assert_non_null(strstr(line_of(&top, 80, 24, 0), "EXITED LOST"));
	/* no answer does not replace one: the last data stay */
	give(&top, KMS_FEED_CACHES, NULL);
	assert_non_null(strstr(line_of(&top, 80, 24, 5), ">kmem-64"));
	kms_top_deinit(&top);
}

static void small_screens_hold_one_line(void **state)
{
	struct kms_top top;

	(void)state;
	begin(&top);
	assert_non_null(strstr(line_of(&top, 79, 24, 12), "need 80x24, have 79x24"));
	assert_non_null(strstr(line_of(&top, 80, 23, 11), "need 80x24, have 80x23"));
	assert_string_equal(line_of(&top, 20, 5, 2), "       80x24");
	for (int width = 1; width < 200; width += 7)
		for (int height = 1; height < 60; height += 5)
			assert_non_null(line_of(&top, width, height, height - 1));
	kms_top_deinit(&top);
}

static void every_key_in_every_view_leaves_a_screen(void **state)
{
	struct kms_top top;

	(void)state;
	begin(&top);
	give(&top, KMS_FEED_LEAKS, leaks);
	for (uint32_t tab = '1'; tab <= '6'; tab++) {
		for (uint32_t code = 1; code < 127; code++) {
			key(&top, tab);
			key(&top, code);
			assert_non_null(line_of(&top, 140, 45, 44));
			for (int i = 0; i < 3; i++)
				key(&top, KMS_KEY_ESC);
			assert_int_equal(top.mode, KMS_MODE_BROWSE);
			top.quit = false;
			top.out[0] = '\0';
		}
		for (uint32_t code = KMS_KEY_UP; code <= KMS_KEY_PASTE_END; code++) {
			key(&top, code);
			assert_non_null(line_of(&top, 80, 24, 23));
		}
		for (int i = 0; i < 12; i++)
			key(&top, KMS_KEY_ESC);
		assert_int_equal(top.n_levels, 0);
		top.quit = false;
	}
	kms_top_deinit(&top);
}

static void a_frozen_picture_stays(void **state)
{
	struct kms_top top;

	(void)state;
	begin(&top);
	key(&top, 'Z');
	give(&top, KMS_FEED_STATS, lossy);
	assert_non_null(strstr(line_of(&top, 80, 24, 0), "FROZEN"));
	assert_non_null(strstr(line_of(&top, 80, 24, 1), "live 2.0K"));
	key(&top, 'Z');
	give(&top, KMS_FEED_STATS, lossy);
	assert_non_null(strstr(line_of(&top, 80, 24, 1), "live 0"));
	kms_top_deinit(&top);
}

static void lines_of_the_prompt_go_out_once(void **state)
{
	static struct kms_line_history history;
	struct kms_feed_output output = {.line = (char *)"p 1",
					 .output = (char *)"a\x1b[2J\n\tb\n"};
	struct kms_top top;

	(void)state;
	begin(&top);
	top.history = &history;
	type(&top, ":p 1");
	assert_string_equal(line_of(&top, 80, 24, 23), "db> p 1");
	assert_int_equal(top.cursor_x, 7);
	key(&top, KMS_KEY_ENTER);
	assert_string_equal(top.out, "p 1");
	assert_int_equal(history.n, 1);
	top.out[0] = '\0';
	key(&top, KMS_KEY_ENTER); /* nothing typed, nothing asked */
	assert_string_equal(top.out, "");
	kms_top_answer(&top, &output);
	assert_null(strchr(kms_buf_text(&top.log), '\x1b'));
	assert_non_null(strstr(kms_buf_text(&top.log), "db> p 1\na"));
	key(&top, KMS_KEY_ALT | '4'); /* Esc and a key, quickly */
	assert_int_equal(top.mode, KMS_MODE_BROWSE);
	assert_int_equal(top.tab, KMS_TAB_GUARD);
	type(&top, "+");
	assert_string_equal(line_of(&top, 80, 24, 23), "db> w kmem_guard_depth 0t");
	kms_top_deinit(&top);
	kms_line_history_deinit(&history);
}

static void function_keys_work_while_a_line_is_typed(void **state)
{
	struct kms_top top;

	(void)state;
	begin(&top);
	type(&top, ":p 1");
	key(&top, KMS_KEY_F1 + 7);
	assert_string_equal(line_of(&top, 80, 24, 23), "db> diff");
	key(&top, KMS_KEY_F1 + 8);
	assert_int_equal(top.mode, KMS_MODE_BROWSE);
	type(&top, "/kmem-8");
	key(&top, KMS_KEY_F1 + 3); /* the filter instead, and what was found stays */
	assert_int_equal(top.mode, KMS_MODE_FILTER);
	assert_int_equal(top.list[KMS_TAB_SLABS].selected, 1);
	key(&top, KMS_KEY_F1 + 9);
	assert_int_equal(top.mode, KMS_MODE_BROWSE);
	assert_false(top.quit);
	type(&top, ":");
	key(&top, KMS_KEY_F1);
	assert_int_equal(top.n_levels, 1);
	assert_string_equal(top.out, "");
	kms_top_deinit(&top);
}

static void the_cursor_does_not_hide_that_a_row_stands_out(void **state)
{
	struct kms_top top;

	(void)state;
	begin(&top);
	give(&top, KMS_FEED_LEAKS, leaks);
	key(&top, '3');
	assert_non_null(strstr(line_of(&top, 80, 24, 5), ">!leaky b.c:3"));
	kms_top_deinit(&top);
}

static void what_is_not_known_is_not_0(void **state)
{
	struct kms_top top;

	(void)state;
	begin(&top);
	give(&top, KMS_FEED_LEAKS, leaks);
	key(&top, '3');
	assert_non_null(strstr(line_of(&top, 80, 24, 5), " 1       -        - kmem-16"));
	kms_top_deinit(&top);
}

static void each_view_begins_with_its_first_columns(void **state)
{
	struct kms_top top;

	(void)state;
	begin(&top);
	for (int i = 0; i < 4; i++)
		key(&top, KMS_KEY_RIGHT);
	assert_null(strstr(line_of(&top, 80, 24, 4), "OBJSZ"));
	type(&top, "21");
	assert_non_null(strstr(line_of(&top, 80, 24, 4), "OBJSZ"));
	kms_top_deinit(&top);
}

static const char two[] =
	"{\"total\":2,\"items\":["
	"{\"id\":1,\"name\":\"a\",\"pid\":41,\"state\":\"exited\",\"live_bytes\":1},"
	"{\"id\":2,\"name\":\"a-name-that-is-far-too-long-for-the-first-line\",\"pid\":42,"
	"\"state\":\"running\",\"live_bytes\":4096,\"peak_bytes\":8192}]}";
static const char stats_of_two[] =
	"{\"snapshot\":{\"time_ns\":7000000000},\"live_bytes\":4096,\"peak_bytes\":8192}";

static void give_of(struct kms_top *top, enum kms_feed_document which, const char *json,
		    const char *path)
{
	kms_top_take(top, which, document(json, path));
}

static void what_is_shown_of_one_target_is_of_that_target_alone(void **state)
{
	char path[KMS_FEED_PATH_BYTES];
	struct kms_feed_want want;
	struct kms_top top;

	(void)state;
	begin(&top);
	give(&top, KMS_FEED_TARGETS, two);
	give(&top, KMS_FEED_TIMELINE,
	     "{\"time_ns\":[1],\"series\":{\"live_bytes\":{\"last\":[9000000]}}}");
	assert_int_equal(top.list[KMS_TAB_SLABS].grouping, KMS_GROUP_MERGED);
	type(&top, "T");
	assert_non_null(strstr(line_of(&top, 80, 24, 6), ">a-name"));
	assert_non_null(strstr(line_of(&top, 80, 24, 6), " 4.0K "));
	key(&top, KMS_KEY_ENTER);
	assert_int_equal(top.target, 2);
	assert_int_equal(top.n_levels, 0);
	assert_string_equal(line_of(&top, 80, 24, 1), "waiting for data");
	assert_non_null(strstr(line_of(&top, 80, 24, 5), "waiting for data"));
	kms_top_want(&top, &want);
	assert_int_equal(want.target, 2);
	assert_false(want.sum);
	assert_true(want.documents >> KMS_FEED_TIMELINE & 1);
	assert_true(kms_feed_path(&want, KMS_FEED_TIMELINE, path));
	assert_string_equal(path, "/api/v1/timeline?target=2");

	give(&top, KMS_FEED_STATS, stats); /* asked for before: of all */
	assert_null(top.doc[KMS_FEED_STATS]);
	give(&top, KMS_FEED_TIMELINE, "{}");
	assert_int_equal(top.graph.n, 0);
	give_of(&top, KMS_FEED_STATS, stats_of_two, "/api/v1/stats?target=2");
	assert_int_equal(top.graph.n, 1);
	give_of(&top, KMS_FEED_TIMELINE,
		"{\"time_ns\":[1,2],\"series\":{\"live_bytes\":{\"last\":[2048,2048]}}}", path);
	assert_int_equal(top.graph.n, 3); /* its past stands before what came since */
	assert_int_equal(top.graph.point[0].bytes, 2048);
	assert_non_null(strstr(line_of(&top, 80, 24, 1), "live 4.0K  peak 8.0K "));
	assert_non_null(strstr(line_of(&top, 80, 24, 2), "max 4.0K min 2.0K"));
	assert_non_null(strstr(line_of(&top, 80, 24, 0), "~/42 target 2  LIVE   ring 0%"));
	assert_null(strstr(line_of(&top, 80, 24, 0), "  db "));
	type(&top, ":");
	assert_non_null(strstr(line_of(&top, 80, 24, 15), "db> prompt of target 2"));
	key(&top, KMS_KEY_ESC);
	assert_int_equal(top.target, 2);
	key(&top, KMS_KEY_ESC);
	assert_int_equal(top.target, 0);
	assert_int_equal(top.list[KMS_TAB_SLABS].grouping, KMS_GROUP_MERGED);
	assert_int_equal(top.graph.n, 0);
	kms_top_want(&top, &want);
	assert_true(want.documents >> KMS_FEED_TIMELINE & 1);
	kms_top_deinit(&top);
}

static void rows_that_were_split_stay_split(void **state)
{
	struct kms_top top;

	(void)state;
	begin(&top);
	give(&top, KMS_FEED_TARGETS, two);
	type(&top, "m");
	assert_int_equal(top.list[KMS_TAB_SLABS].grouping, KMS_GROUP_NONE);
	give(&top, KMS_FEED_TARGETS, two);
	assert_int_equal(top.list[KMS_TAB_SLABS].grouping, KMS_GROUP_NONE);
	kms_top_deinit(&top);
}

static const char *page_of(struct kms_top *top)
{
	return kms_buf_text(&kms_top_level(top)->page.text);
}

static void a_page_has_the_figures_of_the_moment_and_says_when_its_row_is_gone(void **state)
{
	static const char row[] =
		"{\"snapshot\":{\"time_ns\":61000000000},\"total\":%d,\"items\":[%s]}";
	static const char grown[] =
		"{\"id\":\"ab\",\"target\":1,\"bytes\":4096,\"count\":77,\"stack_id\":77}";
	static const char other[] =
		"{\"id\":\"ab\",\"target\":2,\"bytes\":1,\"count\":1,\"stack_id\":77}";
	char text[400];
	struct kms_top top;

	(void)state;
	begin(&top);
	give(&top, KMS_FEED_LEAKS, leaks);
	key(&top, '3');
	key(&top, KMS_KEY_ENTER);
	assert_non_null(strstr(page_of(&top), "10 B"));
	snprintf(text, sizeof(text), row, 1, grown);
	give(&top, KMS_FEED_LEAKS, text);
	assert_non_null(strstr(page_of(&top), "4.0 KiB"));
	assert_non_null(strstr(page_of(&top), "77 block"));
	assert_null(strstr(page_of(&top), "GONE"));
	snprintf(text, sizeof(text), row, 1, other); /* the same leak of another target */
	give(&top, KMS_FEED_LEAKS, text);
	assert_non_null(strstr(page_of(&top), "GONE"));
	assert_non_null(strstr(page_of(&top), "so at +00:01:01"));
	assert_non_null(strstr(page_of(&top), "77 block"));
	snprintf(text, sizeof(text), row, 999, other); /* it may be among those not sent */
	give(&top, KMS_FEED_LEAKS, text);
	assert_null(strstr(page_of(&top), "GONE"));
	assert_non_null(strstr(page_of(&top), "no longer among the rows"));
	snprintf(text, sizeof(text), row, 1, grown);
	give(&top, KMS_FEED_LEAKS, text);
	assert_null(strstr(page_of(&top), "so at"));
	kms_top_deinit(&top);
}

static void a_filter_does_not_take_a_page_s_row_away(void **state)
{
	struct kms_top top;

	(void)state;
	begin(&top);
	give(&top, KMS_FEED_LEAKS, leaks);
	key(&top, '3');
	type(&top, "\\count<5");
	key(&top, KMS_KEY_ENTER);
	key(&top, KMS_KEY_ENTER);
	assert_int_equal(top.n_levels, 1);
	give(&top, KMS_FEED_LEAKS,
	     "{\"total\":1,\"items\":[{\"id\":\"ab\",\"target\":1,\"count\":9,\"stack_id\":77}]}");
	assert_int_equal(top.list[KMS_TAB_LEAKS].n_rows, 0);
	assert_non_null(strstr(page_of(&top), "9 block"));
	assert_int_equal(top.level[0].fate, KMS_LEVEL_LISTED);
	kms_top_deinit(&top);
}

static void the_guards_page_has_what_left_the_fifo_last(void **state)
{
	static const char evicted[] =
		"{\"items\":[{\"seq\":9,\"time_ns\":2500000000,\"kind\":\"evict\","
		"\"address\":\"0x7f00\",\"size\":48,\"target\":2}]}";
	struct kms_feed_want want;
	struct kms_top top;

	(void)state;
	begin(&top);
	type(&top, "4");
	give(&top, KMS_FEED_GUARD, "{\"items\":[{\"target\":2,\"depth\":512,\"evictions\":1}]}");
	key(&top, KMS_KEY_ENTER);
	kms_top_want(&top, &want);
	assert_string_equal(want.page, "/api/v1/events?kind=evict&order=desc&limit=8&target=2");
	assert_non_null(strstr(page_of(&top), "waiting for data"));
	give_of(&top, KMS_FEED_PAGE, "{\"items\":[]}", want.page);
	assert_non_null(strstr(page_of(&top), "none is recorded"));
	give_of(&top, KMS_FEED_PAGE, evicted, want.page);
	assert_non_null(strstr(page_of(&top), "2.500000 s  0x7f00  48 bytes"));
	key(&top, KMS_KEY_ENTER); /* to the whole list, and from a row of it to the address */
	kms_top_want(&top, &want);
	assert_string_equal(want.page, "/api/v1/events?kind=evict&order=desc&limit=300&target=2");
	give_of(&top, KMS_FEED_PAGE, evicted, want.page);
	key(&top, KMS_KEY_ENTER);
	kms_top_want(&top, &want);
	assert_string_equal(want.page, "/api/v1/history/0x7f00?target=2");
	kms_top_deinit(&top);
}

static void click(struct kms_top *top, int x, int y)
{
	const struct kms_input input = {.key = KMS_KEY_CLICK, .x = x, .y = y};

	kms_top_key(top, &input);
}

static void the_mouse_sorts_selects_opens_and_chooses(void **state)
{
	struct kms_top top;

	(void)state;
	begin(&top);
	(void)line_of(&top, 80, 24, 0);
	click(&top, 2, 4);
	assert_non_null(strstr(line_of(&top, 80, 24, 4), "CACHE^"));
	click(&top, 2, 4);
	assert_non_null(strstr(line_of(&top, 80, 24, 4), "CACHEv"));
	click(&top, 2, 6);
	assert_int_equal(top.list[KMS_TAB_SLABS].selected, 1);
	assert_int_equal(top.n_levels, 0);
	click(&top, 2, 6);
	assert_int_equal(top.n_levels, 1);
	(void)line_of(&top, 80, 24, 0);
	click(&top, 2, 4); /* of a page: nothing */
	key(&top, KMS_KEY_ESC);
	type(&top, "s");
	(void)line_of(&top, 80, 24, 0);
	click(&top, top.menu_x + 3, top.menu_y + 1);
	assert_int_equal(top.mode, KMS_MODE_BROWSE);
	assert_int_equal(top.list[KMS_TAB_SLABS].sort, 1);
	type(&top, "s");
	click(&top, 0, 20);
	assert_int_equal(top.mode, KMS_MODE_BROWSE);
	(void)line_of(&top, 140, 45, 0);
	click(&top, 139, 5); /* the pane */
	assert_int_equal(top.list[KMS_TAB_SLABS].selected, 1);
	click(&top, 50, 3); /* no view there */
	for (int x = -1; x < 200; x += 3)
		for (int y = -1; y < 60; y += 3)
			click(&top, x, y);
	kms_top_deinit(&top);
}

static void a_heading_without_room_keeps_its_mark(void **state)
{
	struct kms_top top;

	(void)state;
	begin(&top);
	type(&top, "su");
	assert_non_null(strstr(line_of(&top, 80, 24, 4), " USEv "));
	type(&top, "I");
	assert_non_null(strstr(line_of(&top, 80, 24, 4), " USE^ "));
	kms_top_deinit(&top);
}

static void pasted_text_is_no_row_of_commands(void **state)
{
	struct kms_top top;

	(void)state;
	begin(&top);
	key(&top, KMS_KEY_PASTE_BEGIN);
	type(&top, "Q:4qZ");
	key(&top, KMS_KEY_ENTER);
	key(&top, KMS_KEY_PASTE_END);
	assert_false(top.quit);
	assert_int_equal(top.tab, KMS_TAB_SLABS);
	key(&top, ':');
	key(&top, KMS_KEY_PASTE_BEGIN);
	type(&top, "p");
	key(&top, KMS_KEY_ENTER);
	type(&top, "2");
	key(&top, KMS_KEY_PASTE_END);
	assert_string_equal(top.out, "");
	assert_string_equal(line_of(&top, 80, 24, 23), "db> p 2");
	kms_top_deinit(&top);
}

static void what_is_shown_is_what_is_asked_for(void **state)
{
	struct kms_feed_want want;
	struct kms_top top;

	(void)state;
	begin(&top);
	kms_top_want(&top, &want);
	assert_true(want.documents >> KMS_FEED_CACHES & 1);
	assert_false(want.documents >> KMS_FEED_LEAKS & 1);
	give(&top, KMS_FEED_LEAKS, leaks);
	key(&top, '3');
	key(&top, KMS_KEY_ENTER); /* the leak */
	assert_non_null(strstr(line_of(&top, 80, 24, 4), "Leaks > Leak"));
	key(&top, KMS_KEY_ENTER); /* its blocks */
	kms_top_want(&top, &want);
	assert_true(want.documents >> KMS_FEED_PAGE & 1);
	assert_string_equal(want.page, "/api/v1/blocks?site=77&limit=300&target=1");
	kms_top_take(&top, KMS_FEED_PAGE,
		     document("{\"items\":[{\"address\":\"0x7f00\",\"target\":1}]}", want.page));
	key(&top, KMS_KEY_ENTER); /* the address */
	kms_top_want(&top, &want);
	assert_string_equal(want.page, "/api/v1/history/0x7f00?target=1");
	kms_top_take(&top, KMS_FEED_PAGE, document(NULL, want.page));
	assert_non_null(strstr(line_of(&top, 80, 24, 7), "it refused"));
	/* an answer to another question does not get in */
	kms_top_take(&top, KMS_FEED_PAGE, document("{\"address\":\"0x1\"}", "/api/v1/other"));
	assert_non_null(strstr(line_of(&top, 80, 24, 7), "it refused"));
	key(&top, 'T');
	key(&top, KMS_KEY_ENTER);
	kms_top_want(&top, &want);
	assert_int_equal(want.target, 1);
	kms_top_deinit(&top);
}

static void names_are_encoded_in_paths(void **state)
{
	struct kms_feed_want want;
	struct kms_top top;

	(void)state;
	begin(&top);
	give(&top, KMS_FEED_CACHES,
	     "{\"total\":1,\"items\":[{\"name\":\"a/../b?x=1#\\u001b\",\"target\":2}]}");
	key(&top, KMS_KEY_ENTER);
	kms_top_want(&top, &want);
	assert_string_equal(want.page,
			    "/api/v1/caches/a%2f..%2fb%3fx%3d1%23%1b/slabs?limit=300&target=2");
	kms_top_deinit(&top);
}

/* A trace file that answers everything with the same figures. */
static int open_file(const char *path, void **out, struct kms_err *err)
{
	(void)err;
	assert_string_equal(path, "run.kms");
	*out = (void *)stats;
	return 0;
}

static int ask_file(void *file, const struct kms_ask *ask, struct kms_reply *reply,
		    struct kms_err *err)
{
	(void)file;
	(void)ask;
	(void)err;
	reply->status = 200;
	reply->body = strdup(stats);
	reply->body_bytes = strlen(stats);
	return reply->body ? 0 : -ENOMEM;
}

static void close_file(void *file)
{
	assert_ptr_equal(file, stats);
}

static void a_session_that_ended_before_it_was_asked_is_shown_from_its_file(void **state)
{
	const struct kms_hooks hooks = {
		.file_open = open_file, .file_ask = ask_file, .file_close = close_file};
	const struct kms_source source = {.kind = KMS_SOURCE_SESSION,
					  .name = "gone",
					  .path = "/nonexistent/api.sock",
					  .file = "run.kms"};
	const struct kms_feed_want want = {.documents = 1u << KMS_FEED_STATS, .interval_ms = 10};
	const struct kms_doc *doc;
	struct kms_feed *feed;
	char reason[KMS_ERR_TEXT_BYTES];

	(void)state;
	assert_int_equal(kms_feed_create(&hooks, &source, &feed, NULL), 0);
	kms_feed_want(feed, &want);
	while (!(doc = kms_feed_take(feed, KMS_FEED_STATS)) || !doc->json) {
		struct pollfd p = {.fd = kms_feed_fd(feed), .events = POLLIN};

		kms_doc_release(doc);
		assert_int_equal(poll(&p, 1, 60000), 1);
		kms_feed_seen(feed);
	}
	kms_doc_release(doc);
	assert_int_equal(kms_feed_state(feed, reason), KMS_FEED_ENDED);
	kms_feed_destroy(feed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_header_is_the_contract),
		cmocka_unit_test(what_is_wrong_turns_the_first_line_and_says_so),
		cmocka_unit_test(small_screens_hold_one_line),
		cmocka_unit_test(every_key_in_every_view_leaves_a_screen),
		cmocka_unit_test(a_frozen_picture_stays),
		cmocka_unit_test(lines_of_the_prompt_go_out_once),
		cmocka_unit_test(function_keys_work_while_a_line_is_typed),
		cmocka_unit_test(the_cursor_does_not_hide_that_a_row_stands_out),
		cmocka_unit_test(what_is_not_known_is_not_0),
		cmocka_unit_test(each_view_begins_with_its_first_columns),
		cmocka_unit_test(what_is_shown_of_one_target_is_of_that_target_alone),
		cmocka_unit_test(rows_that_were_split_stay_split),
		cmocka_unit_test(
			a_page_has_the_figures_of_the_moment_and_says_when_its_row_is_gone),
		cmocka_unit_test(a_filter_does_not_take_a_page_s_row_away),
		cmocka_unit_test(the_guards_page_has_what_left_the_fifo_last),
		cmocka_unit_test(the_mouse_sorts_selects_opens_and_chooses),
		cmocka_unit_test(a_heading_without_room_keeps_its_mark),
		cmocka_unit_test(pasted_text_is_no_row_of_commands),
		cmocka_unit_test(what_is_shown_is_what_is_asked_for),
		cmocka_unit_test(names_are_encoded_in_paths),
		cmocka_unit_test(a_session_that_ended_before_it_was_asked_is_shown_from_its_file),
	};

	setlocale(LC_ALL, "C.UTF-8");
	return cmocka_run_group_tests(tests, NULL, NULL);
}
