/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A screen as a grid of cells, drawn in memory: what a terminal, a test or a text file then shows.
 * Knows nothing of terminals.
 */
#ifndef KMS_TUI_SCREEN_H
#define KMS_TUI_SCREEN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

/** What a piece of the screen is, not what colour it has. */
enum kms_ink {
	KMS_INK_PLAIN,
	KMS_INK_HEAD,   /* headings, names */
	KMS_INK_DIM,    /* less important */
	KMS_INK_GOOD,   /* healthy */
	KMS_INK_WARN,   /* look at it */
	KMS_INK_BAD,    /* findings, loss */
	KMS_INK_ACCENT, /* figures that change */
	KMS_INK_LOW,    /* graphs and bars: little, */
	KMS_INK_MID,    /* more, */
	KMS_INK_HIGH,   /* much */
	KMS_INK_BAR,    /* the line of function keys, table headings */
	KMS_INKS,
};

/** Flags beside the ink. */
enum {
	KMS_INK_REVERSE = 0x40,
	KMS_INK_BOLD = 0x80,
	KMS_INK_MASK = 0x3f,
};

/** One column of one line. */
struct kms_cell {
	uint32_t c;    /* Unicode; 0: the right half of the character before it */
	uint8_t ink;   /* enum kms_ink and flags */
	uint8_t width; /* columns: 1 or 2; 0 where c is 0 */
};

/** A stretch of a line. */
struct kms_strip {
	int x, y, width;
};

/**
 * The grid.
 *
 * Shape:  cell has width * height cells, line by line
 */
struct kms_screen {
	int width, height;
	bool ascii; /* what is not ASCII is drawn as ? */
	struct kms_cell *cell;
};

/** An empty screen of no size. */
void kms_screen_init(struct kms_screen *screen);
void kms_screen_deinit(struct kms_screen *screen);

/** Gives it a size and clears it. Sizes are brought into 1 to 1000. -ENOMEM: it has no size then. */
int kms_screen_resize(struct kms_screen *screen, int width, int height);

/** Blanks everywhere. */
void kms_screen_clear(struct kms_screen *screen);

/** A rectangle of one character; what lies outside of the screen is left out. */
void kms_screen_fill(struct kms_screen *screen, int x, int y, int width, uint8_t ink, uint32_t c);

/**
 * Writes foreign text, made harmless, into at most @width columns from x, y on.
 *
 * What does not fit is cut; characters without a width are left out, those that could move the cursor
 * become U+FFFD. Returns the columns used. Source: wcwidth(3) of the current locale.
 */
int kms_screen_put(struct kms_screen *screen, int x, int y, int width, uint8_t ink,
		   const char *text);

/** Formatted text of our own; else as kms_screen_put(). */
int kms_screen_print(struct kms_screen *screen, int x, int y, int width, uint8_t ink,
		     const char *fmt, ...) __attribute__((format(printf, 6, 7)));

/** A field as wide as its strip: aligned, filled up with blanks, "~" at its end if it was cut. */
void kms_screen_field(struct kms_screen *screen, struct kms_strip strip, uint8_t ink, bool right,
		      const char *text);

/** Sets flags (KMS_INK_REVERSE, ...) on a stretch of a line. */
void kms_screen_mark(struct kms_screen *screen, int x, int y, int width, uint8_t flags);

/** Columns that a text takes. */
int kms_screen_columns(const char *text);
int kms_screen_columns_of(const char *text, size_t bytes);

/** Adds as much of a text as fits into @columns, the last of which is "~" if that is not all. */
void kms_screen_cut(struct kms_buf *out, const char *text, size_t bytes, int columns);

/** The cell at x, y, which must lie on the screen. */
const struct kms_cell *kms_screen_at(const struct kms_screen *screen, int x, int y);

/** The whole as text, blanks at the ends of lines left out, a line feed behind each line. */
void kms_screen_text(const struct kms_screen *screen, struct kms_buf *text);

/** Adds a character as UTF-8. */
void kms_buf_add_utf8(struct kms_buf *buf, uint32_t c);

#endif
