/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A line editor with Emacs keys and a history. Pure: gets keys, holds text; draws and reads nothing.
 */
#ifndef KMS_TUI_LINE_H
#define KMS_TUI_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum {
	KMS_LINE_CHARS = 500, /* longest line */
	KMS_LINE_BYTES = 4 * KMS_LINE_CHARS + 1,
	KMS_HISTORY_LINES = 500,
};

/** What an editing key does. */
enum kms_line_key {
	KMS_LINE_LEFT,
	KMS_LINE_RIGHT,
	KMS_LINE_WORD_LEFT,
	KMS_LINE_WORD_RIGHT,
	KMS_LINE_HOME,
	KMS_LINE_END,
	KMS_LINE_BACKSPACE,
	KMS_LINE_DELETE,
	KMS_LINE_KILL_WORD,       /* to the end of the word */
	KMS_LINE_KILL_WORD_LEFT,  /* to the begin of the word */
	KMS_LINE_KILL_BLANK_LEFT, /* to the blank before */
	KMS_LINE_KILL_END,
	KMS_LINE_KILL_BEGIN,
	KMS_LINE_YANK,
	KMS_LINE_SWAP,
	KMS_LINE_OLDER,
	KMS_LINE_NEWER,
};

/** Lines entered before, oldest first. */
struct kms_line_history {
	char *line[KMS_HISTORY_LINES];
	size_t n;
};

/** The line being edited; all zero is an empty one. */
struct kms_line {
	uint32_t c[KMS_LINE_CHARS];
	int n;
	int cursor;
	uint32_t killed[KMS_LINE_CHARS];
	int n_killed;
	struct kms_line_history *history; /* borrowed; may be NULL */
	size_t at;                        /* in the history; history->n: the line itself */
	char kept[KMS_LINE_BYTES];        /* the line itself while an older one is shown */
	bool searching;                   /* ^R */
	char pattern[128];                /* what is searched for */
};

/** Replaces the text; the cursor is at its end. */
void kms_line_set(struct kms_line *line, const char *text);

/** Begins an empty line that goes through @history. */
void kms_line_begin(struct kms_line *line, struct kms_line_history *history, const char *text);

/** Inserts a character where the cursor is; what is no text is left out. */
void kms_line_insert(struct kms_line *line, uint32_t c);

/** An editing key. */
void kms_line_edit(struct kms_line *line, enum kms_line_key key);

/** The text as UTF-8. */
void kms_line_text(const struct kms_line *line, char text[KMS_LINE_BYTES]);

/** Begins the search backwards in the history (^R), or goes on to the next older line that fits. */
void kms_line_search(struct kms_line *line);

/** A character of the search; 0 takes the last one away. The line becomes the newest that fits. */
void kms_line_search_add(struct kms_line *line, uint32_t c);

/** Ends the search; the line found stays. */
void kms_line_search_end(struct kms_line *line);

/** Adds a line, unless it is empty or the last one again. Memory that is missing leaves it out. */
void kms_line_history_add(struct kms_line_history *history, const char *text);
void kms_line_history_deinit(struct kms_line_history *history);

/** Reads a file of lines; none is no failure. */
int kms_line_history_load(struct kms_line_history *history, const char *path, struct kms_err *err);

/** Writes it, mode 0600, in one step (a new file that takes the old one's place). */
int kms_line_history_save(const struct kms_line_history *history, const char *path,
			  struct kms_err *err);

/**
 * The place of the history: $XDG_STATE_HOME/kmemscope/history, else under ~/.local/state. Makes the
 * folder, 0700. -ENOENT: there is no home.
 */
int kms_line_history_path(char *path, size_t bytes, struct kms_err *err);

#endif
