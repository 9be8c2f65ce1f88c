/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The command line: what every command gets, and what a command is.
 */
#ifndef KMS_TUI_CLI_H
#define KMS_TUI_CLI_H

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"
#include "tui/hooks.h"
#include "tui/options.h"

/** Exit statuses of every command but run. */
enum kms_exit {
	KMS_EXIT_OK = 0,
	KMS_EXIT_FAILED = 1,
	KMS_EXIT_USAGE = 2,
	KMS_EXIT_FINDINGS = 3,
	KMS_EXIT_TARGET_LOST = 4,
	KMS_EXIT_EVENTS_LOST = 5,
};

struct kms_command;

/** One call of the program. */
struct kms_cli {
	const struct kms_hooks *hooks;
	const struct kms_command *command; /* NULL before it is known */
	FILE *out;
	FILE *err;
	bool out_is_terminal;
	bool color; /* of out */
};

/** A sub-command: a row of the table in commands.c. */
struct kms_command {
	const char *name;
	const char *summary;           /* one line; NULL: left out of help */
	const char *args;              /* "[SESSION|FILE.kms]" */
	const char *more;              /* further lines of its help; may be NULL */
	int min_args, max_args;        /* max -1: any number */
	bool stop_at_argument;         /* what follows the first argument is not ours */
	int usage_status;              /* exit status of a usage error */
	const struct kms_opt *options; /* NULL: all arguments are passed on as they are */
	size_t values_bytes;           /* of the struct that the options fill */
	int (*run)(struct kms_cli *cli, void *values, char **args, int n_args);
};

/** The table; ends with NULL. */
extern const struct kms_command *const kms_commands[];

/** Runs the program; returns its exit status. */
int kms_cli_main(const struct kms_hooks *hooks, int argc, char **argv);

/** "kmemscope leaks: TEXT" on stderr, control characters replaced. */
void kms_cli_error(const struct kms_cli *cli, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/** Says err and returns status: `return kms_cli_fail(cli, &err, KMS_EXIT_FAILED)`. */
int kms_cli_fail(const struct kms_cli *cli, const struct kms_err *err, int status);

/** Writes to the command's output. A failure stays with the stream and is told at the end. */
void kms_cli_write(FILE *to, const char *bytes, size_t n);

/** Prints how a command is used, from its table. */
void kms_cli_usage(const struct kms_cli *cli, const struct kms_command *command, FILE *to);

/** Prints the list of commands. */
void kms_cli_overview(const struct kms_cli *cli, FILE *to);

/** Finds a command by name; NULL: none. */
const struct kms_command *kms_cli_find(const char *name);

#endif
