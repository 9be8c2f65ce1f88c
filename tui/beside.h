/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The screen beside a program that it starts: `run --top`, and `demo` in a terminal.
 *
 * The command's own work, which waits for the program, is done by a child in a process group of its
 * own; so ^C and ^Z are the screen's. The program must not write into the screen: of its standard
 * streams those that are the terminal are exchanged, input for nothing, output for a file. Streams
 * that lead elsewhere stay. Neither side needs the other: if the screen is killed, the program goes
 * on under trace.
 */
#ifndef KMS_TUI_BESIDE_H
#define KMS_TUI_BESIDE_H

#include <limits.h>

#include "tui/cli.h"

/** What to do. Filled by the caller; borrowed for the call. */
struct kms_beside {
	struct kms_cli *cli;
	/** In the child: the work, to its end; returns its exit status. Calls kms_beside_started(). */
	int (*work)(void *arg);
	void *arg;
	char output[PATH_MAX]; /* file for what the program writes; "" : it is made from the pid */
	bool ends_with_screen; /* who leaves the screen ends the program too */

	int info_fd; /* the child's: where the screen hears of the start */
};

/** Whether the screen can be shown: says why not. 0, or an exit status. */
int kms_beside_check(const struct kms_cli *cli);

/**
 * Does the work with the screen beside it. What the work says comes when the screen is left.
 * Returns the work's exit status.
 *
 * Locks:  the caller has one thread
 */
int kms_beside_run(struct kms_beside *beside);

/** In the child: the program runs, and can be asked. */
void kms_beside_started(const struct kms_beside *beside, const struct kms_run_info *info);

#endif
