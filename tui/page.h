/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Text in the screen that can be scrolled and searched: reports, stacks, help. Pure.
 */
#ifndef KMS_TUI_PAGE_H
#define KMS_TUI_PAGE_H

#include "tui/screen.h"
#include "tui/text.h"

/** A line as it is shown: long ones are broken at blanks, or shortened (page_fit.h). */
struct kms_page_line {
	size_t begin, bytes;
};

/** Lines of text. All zero is an empty page. */
struct kms_page {
	struct kms_buf text;  /* with the styles of tui/text.h in it */
	struct kms_buf shown; /* the same in lines of the width */
	struct kms_page_line *line;
	size_t n_lines, room;
	int width; /* of shown; 0: there is none yet */
	size_t top;
	size_t found; /* line that was found last, plus 1; 0 none */
};

/** Where a page is drawn. */
struct kms_page_look {
	int x, y, width, height;
};

void kms_page_deinit(struct kms_page *page);

/** Takes a text over, which is empty then. Where one looks at stays. */
void kms_page_set(struct kms_page *page, struct kms_text *text);

/** Goes @by lines on. */
void kms_page_scroll(struct kms_page *page, long by, int height);

/** Looks for a text from line @from on and in direction @step, and brings it into sight. */
bool kms_page_find(struct kms_page *page, const char *word, size_t from, int step);

void kms_page_draw(struct kms_page *page, struct kms_screen *screen,
		   const struct kms_page_look *look);

/** A text for a page: styles on, paths as they are. */
void kms_page_text(struct kms_text *text);

#endif
