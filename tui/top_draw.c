/* SPDX-License-Identifier: BSD-2-Clause */
/* The whole screen put together. See top.h. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "tui/top.h"

enum {
	PROMPT_LINES = 12,
	PANE_LEAST = 44,
	PANE_MOST = 90,
};

/* The middle of the screen, and the part of it beside or below the list. */
struct body {
	int y, height;
	int list_width, list_height;
	struct kms_page_look pane; /* width 0: none */
};

static const cJSON *json_of(const struct kms_top *top, enum kms_feed_document document)
{
	return top->doc[document] ? top->doc[document]->json : NULL;
}

static bool has_many_targets(const struct kms_top *top)
{
	return kms_json_number(json_of(top, KMS_FEED_TARGETS), "total") > 1 && !top->target;
}

void kms_draw_guard(const struct kms_top *top, struct kms_screen *screen, int y)
{
	const cJSON *guard = json_of(top, KMS_FEED_GUARD);
	uint64_t depth = kms_json_number(guard, "depth");
	uint64_t used = kms_json_number(guard, "used");
	double part = depth ? (double)used / (double)depth : 0;
	int width = screen->width;
	int x;

	x = kms_screen_print(screen, 0, y, width, KMS_INK_HEAD,
			     "depth  asked %" PRIu64 "   in effect %" PRIu64 "%s",
			     kms_json_number(guard, "depth_requested"), depth,
			     depth ? "" : " (off)");
	if (kms_json_flag(guard, "pending"))
		x += kms_screen_put(screen, x, y, width - x, KMS_INK_WARN, "   PENDING");
	kms_screen_put(screen, x, y, width - x, KMS_INK_DIM, "   + sets it");
	x = kms_screen_print(screen, 0, y + 1, width, KMS_INK_PLAIN, "used   %" PRIu64 " (%.0f%%) ",
			     used, 100 * part);
	kms_bar_draw(screen, (struct kms_strip){x, y + 1, 40}, top->options.glyphs, part,
		     KMS_INK_MID);
	kms_screen_print(screen, 0, y + 2, width, KMS_INK_PLAIN,
			 "pages  %" PRIu64
			 " held: %s of address space; 2 x depth would be %" PRIu64,
			 kms_json_number(guard, "pages"),
			 kms_fmt_bytes(kms_json_number(guard, "bytes")).text, 2 * depth);
	x = kms_screen_print(screen, 0, y + 3, width, KMS_INK_PLAIN,
			     "window a use after free is caught for %" PRIu64 " frees",
			     kms_json_number(guard, "window_frees"));
	if (cJSON_IsNumber(kms_json_member(guard, "oldest_age_us")))
		kms_screen_print(screen, x, y + 3, width - x, KMS_INK_PLAIN,
				 ", %" PRIu64 " ms so far",
				 kms_json_number(guard, "oldest_age_us") / 1000);
	kms_screen_print(screen, 0, y + 4, width, KMS_INK_PLAIN,
			 "out    %" PRIu64 " evictions, limited by %.12s; %" PRIu64
			 " unguarded; back end %.16s",
			 kms_json_number(guard, "evictions"), kms_json_text(guard, "limited_by"),
			 kms_json_number(guard, "unguarded"), kms_json_text(guard, "backend"));
}

static void lay_out(const struct kms_top *top, const struct kms_screen *screen, struct body *body)
{
	int bottom = screen->height - 1;

	if (top->mode == KMS_MODE_DB)
		bottom -= PROMPT_LINES < screen->height / 3 ? PROMPT_LINES : screen->height / 3;
	memset(body, 0, sizeof(*body));
	body->y = KMS_HEADER_LINES;
	body->height = bottom - body->y;
	body->list_width = screen->width;
	body->list_height = body->height;
	if (screen->width >= KMS_TOP_WIDE) {
		int width = screen->width * 2 / 5;

		width = width < PANE_LEAST ? PANE_LEAST : (width > PANE_MOST ? PANE_MOST : width);
		body->list_width -= width + 1;
		body->pane =
			(struct kms_page_look){body->list_width + 1, body->y, width, body->height};
	} else if (screen->height >= KMS_TOP_TALL && body->height > 20) {
		body->list_height = body->height * 3 / 5;
		body->pane =
			(struct kms_page_look){0, body->y + body->list_height + 1, screen->width,
					       body->height - body->list_height - 1};
	}
}

static void draw_pane(struct kms_top *top, struct kms_screen *screen, const struct body *body)
{
	if (body->pane.x > 0)
		for (int i = 0; i < body->height; i++)
			kms_screen_put(screen, body->pane.x - 1, body->y + i, 1, KMS_INK_DIM, "|");
	else
		kms_screen_fill(screen, 0, body->pane.y - 1, screen->width, KMS_INK_DIM, '-');
	kms_page_draw(&top->pane.page, screen, &body->pane);
}

static void draw_error(const struct kms_doc *doc, struct kms_screen *screen, int y)
{
	if (doc && !doc->json)
		kms_screen_put(screen, 1, y, screen->width - 1, KMS_INK_BAD, doc->error);
}

static void draw_view(struct kms_top *top, struct kms_screen *screen, const struct body *body)
{
	struct kms_list_look look = {
		.y = body->y,
		.width = body->list_width,
		.height = body->list_height,
		.units = top->units,
		.glyphs = top->options.glyphs,
		.targets = has_many_targets(top),
	};

	if (top->tab == KMS_TAB_GUARD) {
		kms_draw_guard(top, screen, body->y);
		look.y += KMS_GUARD_LINES;
		look.height -= KMS_GUARD_LINES;
	}
	top->look = look;
	top->list_y = look.y + 1;
	top->list_height = look.height - 1;
	kms_list_draw(&top->list[top->tab], screen, &look);
	draw_error(top->doc[kms_tab_document(top->tab)], screen, look.y + 1);
	if (body->pane.width) {
		struct body pane = *body;

		if (top->tab == KMS_TAB_GUARD && pane.pane.x > 0) { /* its gauge is above both */
			pane.y += KMS_GUARD_LINES;
			pane.height -= KMS_GUARD_LINES;
			pane.pane.y += KMS_GUARD_LINES;
			pane.pane.height -= KMS_GUARD_LINES;
		}
		draw_pane(top, screen, &pane);
	}
}

/* "Leaks > Leak > Blocks" */
static void draw_crumbs(struct kms_top *top, struct kms_screen *screen, int y)
{
	int x;

	kms_screen_fill(screen, 0, y, screen->width, KMS_INK_BAR, ' ');
	x = kms_screen_put(screen, 0, y, screen->width, KMS_INK_BAR, kms_tab_lists[top->tab].name);
	for (size_t i = 0; i < top->n_levels; i++)
		x += kms_screen_print(screen, x, y, screen->width - x, KMS_INK_BAR, " > %s",
				      top->level[i].title);
	kms_screen_put(screen, x, y, screen->width - x, KMS_INK_BAR, "   Esc: back");
}

static void draw_level(struct kms_top *top, struct kms_screen *screen, const struct body *body)
{
	struct kms_level *level = kms_top_level(top);
	const struct kms_list_look look = {
		.y = body->y + 1,
		.width = screen->width,
		.height = body->height - 1,
		.units = top->units,
		.glyphs = top->options.glyphs,
		.targets = true,
	};

	top->look = look;
	draw_crumbs(top, screen, body->y);
	top->list_y = look.y + (level->kind->list ? 1 : 0);
	top->list_height = body->height - (level->kind->list ? 2 : 1);
	if (level->kind->list) {
		kms_list_draw(&level->list, screen, &look);
		draw_error(level->doc, screen, look.y + 1);
		return;
	}
	kms_page_draw(&level->page, screen,
		      &(struct kms_page_look){0, body->y + 1, screen->width, body->height - 1});
}

/* What the prompt said, above its line. */
static void draw_log(struct kms_top *top, struct kms_screen *screen, int y)
{
	const struct kms_page_look look = {0, y + 1, screen->width, screen->height - y - 2};

	char of[32] = "";

	if (top->target)
		snprintf(of, sizeof(of), " of target %" PRIu32, top->target);
	kms_screen_fill(screen, 0, y, screen->width, KMS_INK_BAR, ' ');
	kms_screen_print(
		screen, 0, y, screen->width, KMS_INK_BAR,
		"db> prompt%s%s   Esc: leave  Tab: complete  PgUp PgDn: scroll  help: commands", of,
		top->waiting ? ", asking" : "");
	kms_page_draw(&top->log_page, screen, &look);
}

static void draw_menu(struct kms_top *top, struct kms_screen *screen)
{
	char text[80];
	size_t n = kms_menu_lines(top);
	const int width = KMS_MENU_WIDTH;
	int x = (screen->width - width) / 2;
	int y = KMS_HEADER_LINES + 1;

	top->menu_x = x;
	top->menu_y = y + 1;
	kms_screen_fill(screen, x, y, width, KMS_INK_BAR, ' ');
	kms_screen_put(screen, x + 1, y, width - 2, KMS_INK_BAR,
		       top->menu.kind == KMS_MENU_SORT ? "Sort by" : "Options");
	for (size_t i = 0; i < n && y + 1 + (int)i < screen->height - 1; i++) {
		kms_menu_text(top, i, text, sizeof(text));
		kms_screen_fill(screen, x, y + 1 + (int)i, width, KMS_INK_PLAIN, ' ');
		kms_screen_put(screen, x, y + 1 + (int)i, 1, KMS_INK_DIM, "|");
		kms_screen_put(screen, x + width - 1, y + 1 + (int)i, 1, KMS_INK_DIM, "|");
		kms_screen_put(screen, x + 2, y + 1 + (int)i, width - 4, KMS_INK_PLAIN, text);
		if (i == top->menu.selected)
			kms_screen_mark(screen, x + 1, y + 1 + (int)i, width - 2, KMS_INK_REVERSE);
	}
}

static void draw_too_small(struct kms_top *top, struct kms_screen *screen)
{
	char text[64];
	int n = snprintf(text, sizeof(text), "need %dx%d, have %dx%d", KMS_TOP_WIDTH,
			 KMS_TOP_HEIGHT, screen->width, screen->height);
	int x;

	if (n > screen->width)
		n = snprintf(text, sizeof(text), "%dx%d", KMS_TOP_WIDTH, KMS_TOP_HEIGHT);
	x = (screen->width - n) / 2;

	top->cursor_x = top->cursor_y = -1;
	kms_screen_put(screen, x > 0 ? x : 0, screen->height / 2, n, KMS_INK_PLAIN, text);
}

void kms_top_draw(struct kms_top *top, struct kms_screen *screen)
{
	struct body body;

	top->width = screen->width;
	top->height = screen->height;
	screen->ascii = top->options.ascii;
	kms_screen_clear(screen);
	if (screen->width < KMS_TOP_WIDTH || screen->height < KMS_TOP_HEIGHT) {
		draw_too_small(top, screen);
		return;
	}
	lay_out(top, screen, &body);
	kms_draw_header(top, screen);
	if (top->n_levels)
		draw_level(top, screen, &body);
	else
		draw_view(top, screen, &body);
	if (top->mode == KMS_MODE_DB)
		draw_log(top, screen, body.y + body.height);
	kms_draw_bar(top, screen);
	if (top->mode == KMS_MODE_MENU)
		draw_menu(top, screen);
}
