/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The terminal: keys in, a grid of cells out. One thread only, and one terminal in a process.
 *
 * While it is open, standard error is kept in memory, so that no library's message ruins the screen;
 * kms_term_close() prints it.
 */
#ifndef KMS_TUI_TERM_H
#define KMS_TUI_TERM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "tui/glyph.h"
#include "tui/screen.h"

/** Keys that are no characters, above all of Unicode. */
enum kms_key {
	KMS_KEY_NONE = 0,
	KMS_KEY_ENTER = '\r',
	KMS_KEY_TAB = '\t',
	KMS_KEY_ESC = 27,
	KMS_KEY_UP = 0x110000,
	KMS_KEY_DOWN,
	KMS_KEY_LEFT,
	KMS_KEY_RIGHT,
	KMS_KEY_PAGE_UP,
	KMS_KEY_PAGE_DOWN,
	KMS_KEY_HOME,
	KMS_KEY_END,
	KMS_KEY_DELETE,
	KMS_KEY_BACKSPACE,
	KMS_KEY_BACK_TAB,
	KMS_KEY_F1, /* to F12 */
	KMS_KEY_F12 = KMS_KEY_F1 + 11,
	KMS_KEY_RESIZE,
	KMS_KEY_CLICK,
	KMS_KEY_WHEEL_UP,
	KMS_KEY_WHEEL_DOWN,
	KMS_KEY_PASTE_BEGIN,
	KMS_KEY_PASTE_END,
	KMS_KEY_ALT = 0x200000, /* flag: with Alt, or behind Esc */
};

/** The key that Ctrl and a letter make. */
#define KMS_CTRL(letter) ((letter)&0x1f)

/** A key, and where the mouse was. */
struct kms_input {
	uint32_t key;
	int x, y;
};

enum kms_color_choice {
	KMS_COLOR_AUTO,
	KMS_COLOR_NEVER,
	KMS_COLOR_ALWAYS,
};

struct kms_term_options {
	bool colors;
	bool mouse;
};

struct kms_term;

/**
 * Whether standard input and output are a terminal that is worth a try. Errors as kms_term_open().
 */
int kms_term_check(struct kms_err *err);

/**
 * Takes the terminal of standard input and output.
 *
 * Owner:  the caller ends it with kms_term_close(). Whatever ends the process by a signal puts the
 *         terminal back as it was; SIGKILL cannot.
 * Errors: -ENOTTY: no terminal; -ENOTSUP: one that cannot do it (TERM unknown, or dumb); -ENOMEM
 */
int kms_term_open(const struct kms_term_options *options, struct kms_term **out,
		  struct kms_err *err);

/** Gives it back and prints what came to standard error meanwhile. NULL is allowed. */
void kms_term_close(struct kms_term *term);

/** To poll for keys. */
int kms_term_fd(const struct kms_term *term);

/** Columns and lines. */
void kms_term_size(const struct kms_term *term, int *width, int *height);

/** The next key; false: none waits. Never waits. */
bool kms_term_read(struct kms_term *term, struct kms_input *input);

/** Shows a grid; sends only what changed. The cursor is hidden where cursor_x is below 0. */
void kms_term_draw(struct kms_term *term, const struct kms_screen *screen, int cursor_x,
		   int cursor_y);

/** Forgets what the terminal shows: the next draw sends everything. */
void kms_term_redraw(struct kms_term *term);

/** The signal that asks us to end (SIGINT, SIGTERM, SIGHUP), once; 0 none. */
int kms_term_signal(struct kms_term *term);

/** The tier of characters that the terminal and its locale are known to show. */
enum kms_glyphs kms_term_glyphs(void);

/** Whether colours are wanted: --color, then NO_COLOR, then CLICOLOR_FORCE, then the terminal. */
bool kms_term_wants_color(enum kms_color_choice choice);

#endif
