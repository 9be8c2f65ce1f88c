/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reading edited lines from a terminal that stays a line at a time: the editor of line.h with the terminal's
 * keys, no screen. For the db prompt of the command line.
 */
#ifndef KMS_TUI_TTY_LINE_H
#define KMS_TUI_TTY_LINE_H

#include <limits.h>
#include <stdio.h>

#include "tui/line.h"

/** Lines from stdin, echoed on @to; both are terminals. History as the screen's prompt has it. */
struct kms_tty {
	FILE *to;
	struct kms_line_history history;
	char path[PATH_MAX]; /* of the history; "" it cannot be kept */
	struct kms_line line;
};

/** Begins, and reads the history. The terminal is not touched yet. */
void kms_tty_init(struct kms_tty *tty, FILE *to);

/** Writes the history and frees it. */
void kms_tty_deinit(struct kms_tty *tty);

/**
 * Reads one line, without its end. The terminal is raw meanwhile and as before afterwards; ^C drops the
 * line and begins another. Of @prompt what is not printable ASCII is shown as ?.
 *
 * Errors: -ENODATA: end of input (^D on an empty line, or the terminal has gone)
 */
int kms_tty_read(struct kms_tty *tty, const char *prompt, char text[KMS_LINE_BYTES]);

#endif
