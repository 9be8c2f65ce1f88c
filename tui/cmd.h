/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The functions behind the rows of the command table (commands.c). Each returns an exit status; values
 * is the struct that the row's options fill.
 */
#ifndef KMS_TUI_CMD_H
#define KMS_TUI_CMD_H

#include "tui/cli.h"

typedef int kms_cmd_fn(struct kms_cli *cli, void *values, char **args, int n_args);

kms_cmd_fn kms_cmd_leaks, kms_cmd_faults, kms_cmd_caches, kms_cmd_guard, kms_cmd_stats;
kms_cmd_fn kms_cmd_targets, kms_cmd_sites, kms_cmd_stacks, kms_cmd_events;
kms_cmd_fn kms_cmd_whatis, kms_cmd_history, kms_cmd_mark, kms_cmd_diff;
kms_cmd_fn kms_cmd_status, kms_cmd_version, kms_cmd_help, kms_cmd_later;

/* Rows of the commands with options of their own. */
extern const struct kms_command kms_command_attach, kms_command_run, kms_command_daemon,
	kms_command_demo, kms_command_sql, kms_command_db, kms_command_top;

#endif
