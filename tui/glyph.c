/* SPDX-License-Identifier: BSD-2-Clause */
/* Bars and graphs: see glyph.h. */
#include "tui/glyph.h"

enum {
	BLOCK_LEVELS = 8,
	BRAILLE_LEVELS = 4,
	LOWEST_BLOCK = 0x2581, /* the lower eighth; the others follow */
	FULL_BLOCK = 0x2588,
	BRAILLE = 0x2800,
};

static const char ascii_levels[] = ".:-=+*#%@";

enum {
	ASCII_LEVELS = sizeof(ascii_levels) - 1,
};

/* 1 to levels; the lowest value is one, so that it can be told from "not known". */
static int level_of(double value, double low, double high, int levels)
{
	double part = high > low ? (value - low) / (high - low) : 0;
	int level = 1 + (int)(part * (levels - 1) + 0.5);

	if (level < 1)
		return 1;
	return level > levels ? levels : level;
}

static uint8_t ink_of(int level, int levels)
{
	if (level * 3 <= levels)
		return KMS_INK_LOW;
	return level * 3 <= levels * 2 ? KMS_INK_MID : KMS_INK_HIGH;
}

int kms_graph_points(enum kms_glyphs glyphs, int width)
{
	return glyphs == KMS_GLYPHS_BRAILLE ? 2 * width : width;
}

/* Dots of a column of braille, filled from below: left 7 3 2 1, right 8 6 5 4. */
static uint32_t braille_dots(int left, int right)
{
	static const uint8_t left_dots[] = {0, 0x40, 0x44, 0x46, 0x47};
	static const uint8_t right_dots[] = {0, 0x80, 0xa0, 0xb0, 0xb8};

	return (uint32_t)left_dots[left] | right_dots[right];
}

static void draw_braille(struct kms_screen *screen, int x, int y, const double pair[2], double low,
			 double high)
{
	int level[2];
	uint32_t dots;

	for (int i = 0; i < 2; i++)
		level[i] = pair[i] < 0 ? 0 : level_of(pair[i], low, high, BRAILLE_LEVELS);
	dots = braille_dots(level[0], level[1]);
	if (dots) /* an empty pattern is shown as dots by some fonts */
		kms_screen_fill(screen, x, y, 1,
				ink_of(level[0] > level[1] ? level[0] : level[1], BRAILLE_LEVELS),
				BRAILLE + dots);
}

void kms_graph_draw(struct kms_screen *screen, struct kms_strip strip, enum kms_glyphs glyphs,
		    const double *values, double low, double high)
{
	int levels = glyphs == KMS_GLYPHS_ASCII ? ASCII_LEVELS : BLOCK_LEVELS;
	int level;

	for (int i = 0; i < strip.width; i++) {
		if (glyphs == KMS_GLYPHS_BRAILLE) {
			draw_braille(screen, strip.x + i, strip.y, values + (ptrdiff_t)2 * i, low,
				     high);
			continue;
		}
		if (values[i] < 0)
			continue;
		level = level_of(values[i], low, high, levels);
		kms_screen_fill(screen, strip.x + i, strip.y, 1, ink_of(level, levels),
				glyphs == KMS_GLYPHS_ASCII ? (uint32_t)ascii_levels[level - 1]
							   : (uint32_t)(LOWEST_BLOCK + level - 1));
	}
}

void kms_bar_draw(struct kms_screen *screen, struct kms_strip strip, enum kms_glyphs glyphs,
		  double part, uint8_t ink)
{
	int full;

	if (!(part > 0)) /* not a number, too */
		part = 0;
	full = (int)((part > 1 ? 1 : part) * strip.width + 0.5);
	if (full == 0 && part > 0 && strip.width > 0)
		full = 1; /* something is not nothing */
	kms_screen_fill(screen, strip.x, strip.y, full, ink,
			glyphs == KMS_GLYPHS_ASCII ? '#' : (uint32_t)FULL_BLOCK);
	kms_screen_fill(screen, strip.x + full, strip.y, strip.width - full, KMS_INK_DIM,
			glyphs == KMS_GLYPHS_ASCII ? '-' : 0xb7);
}
