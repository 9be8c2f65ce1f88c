/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The terminal of stdin while keys are read from it: as it was again afterwards, whatever ends the
 * program meanwhile but SIGKILL.
 */
#ifndef KMS_TUI_TTY_MODE_H
#define KMS_TUI_TTY_MODE_H

#include <termios.h>

/**
 * Sets @mode in the place of @before, the one that is there now. Until kms_tty_mode_end() a SIGTERM, SIGHUP,
 * SIGINT or SIGQUIT, where it is not ignored, first puts @before back and then does what it did before; so
 * does exit(3).
 *
 * Locks:  one thread; one begin at a time
 * Errors: those of tcsetattr(3); nothing has changed then
 */
int kms_tty_mode_begin(const struct termios *before, const struct termios *mode);

/** Puts the mode back, and the signals. Nothing where it did not begin. */
void kms_tty_mode_end(void);

#endif
