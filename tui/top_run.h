/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The screen at work: terminal, feed and state, and the loop that joins them.
 */
#ifndef KMS_TUI_TOP_RUN_H
#define KMS_TUI_TOP_RUN_H

#include "tui/cli.h"
#include "tui/source.h"
#include "tui/term.h"
#include "tui/views.h"

/** How the screen is shown. */
struct kms_top_config {
	enum kms_color_choice color;
	int glyphs; /* enum kms_glyphs; -1: what the terminal shows */
	bool ascii;
	bool mouse;
	unsigned interval_ms;
	uint32_t target; /* 0 all */
	enum kms_tab tab;
	int width, height; /* of one frame as text; 0: the terminal's, or 80x24 */
};

/** What is used where nothing else was asked for. */
struct kms_top_config kms_top_defaults(void);

/**
 * Shows a source until the user quits. Returns an exit status; what went wrong is said.
 *
 * Locks:  the caller has one thread; while it runs there are two.
 */
int kms_top_run(struct kms_cli *cli, const struct kms_source *source,
		const struct kms_top_config *config);

/** Prints one frame as text. Returns an exit status. */
int kms_top_once(struct kms_cli *cli, const struct kms_source *source,
		 const struct kms_top_config *config);

/** Prints the bodies behind the screen as one object. Returns an exit status. */
int kms_top_json(struct kms_cli *cli, const struct kms_source *source,
		 const struct kms_top_config *config);

#endif
