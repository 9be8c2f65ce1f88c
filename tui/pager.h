/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Answers of the db prompt, by pages on a terminal.
 */
#ifndef KMS_TUI_PAGER_H
#define KMS_TUI_PAGER_H

#include <stdio.h>

/**
 * Writes the lines of @output, then @error (NULL: none) as a line. What is no text on a terminal becomes ?.
 *
 * Shape: with @lines above 0 it stops after that many less one and asks "--db_more--" on stdin, which is
 *        a terminal: space another page, return another line, q the end of this answer
 */
void kms_page(FILE *to, const char *output, const char *error, int lines);

#endif
