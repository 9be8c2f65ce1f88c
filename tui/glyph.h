/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Bars and one-line graphs in three tiers of characters. Pure.
 */
#ifndef KMS_TUI_GLYPH_H
#define KMS_TUI_GLYPH_H

#include "tui/screen.h"

/** From what terminals and fonts show best to what all of them show. */
enum kms_glyphs {
	KMS_GLYPHS_ASCII,
	KMS_GLYPHS_BLOCK,
	KMS_GLYPHS_BRAILLE,
};

/** Names of enum kms_glyphs for an option: "ascii|block|braille". */
#define KMS_GLYPHS_CHOICES "ascii|block|braille"

/**
 * A graph of one line: values[0] is the leftmost. Values are shown between @low and @high.
 *
 * Shape:  n is kms_graph_points(glyphs, strip.width); a value below 0 is "not known" and left blank.
 */
void kms_graph_draw(struct kms_screen *screen, struct kms_strip strip, enum kms_glyphs glyphs,
		    const double *values, double low, double high);

/** Values that a graph of so many columns shows: two a column in braille, else one. */
int kms_graph_points(enum kms_glyphs glyphs, int width);

/** A bar as long as its strip, filled to @part (0 to 1), the rest as "-". */
void kms_bar_draw(struct kms_screen *screen, struct kms_strip strip, enum kms_glyphs glyphs,
		  double part, uint8_t ink);

#endif
