/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Lines of reports that a break at a blank would spoil: frames of a stack and rows of a dump. Pure.
 */
#ifndef KMS_TUI_PAGE_FIT_H
#define KMS_TUI_PAGE_FIT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"

/**
 * Adds a line that is wider than @width so that it fits: of a frame the folders are shortened, then
 * the function, and file and line stay; a row of a dump becomes rows of 8 or 4 bytes.
 *
 * Shape:  line without its end, printable; what is added has "\n" behind each line
 * Returns false for any other line: nothing was added
 */
bool kms_page_fit(struct kms_buf *out, const char *line, size_t bytes, int width);

#endif
