/* SPDX-License-Identifier: BSD-2-Clause */
/* The functions behind the rows of the prompt's tables (db_table.c), by file. */
#ifndef KMS_SERVER_DDB_RUN_H
#define KMS_SERVER_DDB_RUN_H

struct kms_ddb;

typedef void kms_ddb_fn(struct kms_ddb *db);

kms_ddb_fn kms_ddb_cmd_help;                                                /* db_table.c */
kms_ddb_fn kms_ddb_cmd_set, kms_ddb_show_variables;                         /* db_vars.c */
kms_ddb_fn kms_ddb_cmd_examine, kms_ddb_cmd_print, kms_ddb_cmd_search;      /* db_examine.c */
kms_ddb_fn kms_ddb_cmd_write, kms_ddb_cmd_verify;                           /* db_write.c */
kms_ddb_fn kms_ddb_cmd_continue, kms_ddb_cmd_stop, kms_ddb_cmd_quit;        /* db_target.c */
kms_ddb_fn kms_ddb_cmd_target, kms_ddb_cmd_ps;                              /* db_target.c */
kms_ddb_fn kms_ddb_cmd_mark, kms_ddb_cmd_diff;                              /* db_marks.c */
kms_ddb_fn kms_ddb_cmd_trace, kms_ddb_show_faults;                          /* db_stack.c */
kms_ddb_fn kms_ddb_cmd_whatis, kms_ddb_cmd_history, kms_ddb_cmd_bufctl;     /* db_blocks.c */
kms_ddb_fn kms_ddb_show_event;                                              /* db_blocks.c */
kms_ddb_fn kms_ddb_cmd_findleaks, kms_ddb_cmd_kmausers, kms_ddb_show_leaks; /* db_leaks.c */
kms_ddb_fn kms_ddb_show_kmastat, kms_ddb_show_pool, kms_ddb_show_pools;     /* db_pools.c */
kms_ddb_fn kms_ddb_cmd_vmstat;                                              /* db_netbsd.c */
kms_ddb_fn kms_ddb_show_guard, kms_ddb_show_kmem;                           /* db_show.c */
kms_ddb_fn kms_ddb_show_kfence, kms_ddb_show_slab;                          /* db_kfence.c */

#endif
