/* SPDX-License-Identifier: BSD-2-Clause */
/* The commands of the prompt: ddb's, mdb's, ours. A new one is a row here and a function in its group's file. */
#include <string.h>

#include "server/db.h"
#include "server/db_run.h"

#define SHOW_ARGS "WORD ..."

/* Rows, each with what its kind needs. */
#define ROW(name, args, help, flags, run)                                                          \
	{                                                                                          \
		name, args, help, flags, run                                                       \
	}
#define ALIAS(name, flags, run)                                                                    \
	{                                                                                          \
		name, "", "", (flags) | KMS_DDB_ALIAS, run                                         \
	}
#define REFUSED(name, why)                                                                         \
	{                                                                                          \
		name, "", why, KMS_DDB_REFUSED | KMS_DDB_ALIAS, NULL                               \
	}

#define WRITES (KMS_DDB_CHANGES | KMS_DDB_LIVE)

/*
 * Aliases are there for prefixes too: what ddb's users abbreviate (t, h) must mean what it means
 * there, although our own commands begin with the same letters.
 */
const struct kms_ddb_command kms_ddb_commands[] = {
	ROW("bufctl", "[/v] ADDR", "the record of a block: when, which thread, from where", 0,
	    kms_ddb_cmd_bufctl),
	ROW("continue", "", "lets what stands still go on; short: c", WRITES, kms_ddb_cmd_continue),
	ROW("diff", "A B", "what each site gained between two marks", KMS_DDB_OWN,
	    kms_ddb_cmd_diff),
	ROW("examine", "[/bhlqLaxzduorcsm] ADDR[,N]", "memory of the target; short: x",
	    KMS_DDB_SET_DOT, kms_ddb_cmd_examine),
	ROW("findleaks", "[/v] [,N]", "leak suspects, grouped by cache and stack", 0,
	    kms_ddb_cmd_findleaks),
	ROW("help", "[COMMAND]", "this list, or one command", KMS_DDB_OWN | KMS_DDB_NO_REPEAT,
	    kms_ddb_cmd_help),
	ROW("history", "ADDR[,N]", "every owner an address had, newest first", 0,
	    kms_ddb_cmd_history),
	ROW("kmausers", "[/e] [CACHE]", "who holds memory, by stack; /e: small ones too",
	    KMS_DDB_OWN, kms_ddb_cmd_kmausers),
	ROW("mark", "[NAME]", "puts a mark, to compare with later; alone: lists them", KMS_DDB_OWN,
	    kms_ddb_cmd_mark),
	ROW("print", "[/axzduorc] EXPR", "a value; short: p", 0, kms_ddb_cmd_print),
	ROW("ps", "", "the targets", 0, kms_ddb_cmd_ps),
	ROW("quit", "", "goes on, and leaves the prompt; also exit", KMS_DDB_NO_REPEAT,
	    kms_ddb_cmd_quit),
	ROW("search", "[/bhlq] ADDR VALUE [MASK] [,N]", "where a value stands in memory",
	    KMS_DDB_OWN, kms_ddb_cmd_search),
	ROW("set", "[$NAME [=] EXPR]", "a variable of the prompt; alone: lists them",
	    KMS_DDB_OWN | KMS_DDB_NO_REPEAT, kms_ddb_cmd_set),
	ROW("show", SHOW_ARGS, "what there is to show: `show` lists it", KMS_DDB_SHOW, NULL),
	ROW("stop", "[TARGET]", "stops a target, or all", KMS_DDB_ID | WRITES, kms_ddb_cmd_stop),
	ROW("target", "[N]",
	    "chooses a target for what follows; 0: none; alone: which one is chosen",
	    KMS_DDB_ID | KMS_DDB_NO_REPEAT, kms_ddb_cmd_target),
	ROW("trace", "[/f FAULT] [,N]",
	    "the stack of the fault where the target stands, or of fault N", KMS_DDB_ID,
	    kms_ddb_cmd_trace),
	ROW("verify", "[CACHE]", "checks every block of every cache now", KMS_DDB_OWN | WRITES,
	    kms_ddb_cmd_verify),
	ROW("vmstat", "[-m] [-C] [-v] [-W]",
	    "pools of a NetBSD guest, and their caches (-C), in vmstat's columns", KMS_DDB_OWN,
	    kms_ddb_cmd_vmstat),
	ROW("whatis", "ADDR", "which block an address is in", 0, kms_ddb_cmd_whatis),
	ROW("write", "[/bhlqBHLQ] NAME VALUE ...", "sets a variable of the targets; short: w",
	    KMS_DDB_MORE | KMS_DDB_SET_DOT | WRITES, kms_ddb_cmd_write),
	ALIAS("bt", KMS_DDB_ID, kms_ddb_cmd_trace),
	ALIAS("c", WRITES, kms_ddb_cmd_continue),
	ALIAS("exit", KMS_DDB_NO_REPEAT, kms_ddb_cmd_quit),
	ALIAS("h", KMS_DDB_OWN | KMS_DDB_NO_REPEAT, kms_ddb_cmd_help),
	ALIAS("p", 0, kms_ddb_cmd_print),
	ALIAS("t", KMS_DDB_ID, kms_ddb_cmd_trace),
	ALIAS("w", KMS_DDB_MORE | KMS_DDB_SET_DOT | WRITES, kms_ddb_cmd_write),
	ALIAS("x", KMS_DDB_SET_DOT, kms_ddb_cmd_examine),
	REFUSED("break", "a process has no breakpoints here; `w kmem_panic 1` stops it at a fault"),
	REFUSED("call", "no function of a target is called from outside"),
	REFUSED("delete", "there are no breakpoints to delete"),
	REFUSED("dmesg", "a process has no message buffer; `show faults` has the reports"),
	REFUSED("kill", "ends no process; the shell's kill does"),
	REFUSED("machine", "processes have no CPUs to choose; `target N` chooses a target"),
	REFUSED("match", "single steps are a debugger's"),
	REFUSED("next", "single steps are a debugger's"),
	REFUSED("reboot", "this is a process; quit leaves the prompt"),
	REFUSED("s", "single steps are a debugger's"),
	REFUSED("sifting", "only the names of `show variables` are symbols here"),
	REFUSED("step", "single steps are a debugger's"),
	REFUSED("sync", "this is a process; quit leaves the prompt"),
	REFUSED("until", "single steps are a debugger's"),
	REFUSED("watch", "no watchpoints; the guard catches every access to a freed block"),
	{0},
};

const struct kms_ddb_command kms_ddb_shows[] = {
	ROW("event", "[ADDR[,N]]", "counts of events by kind, or the newest ones of an address", 0,
	    kms_ddb_show_event),
	ROW("faults", "[FAULT] [,N]", "memory bugs seen, or the report of one", KMS_DDB_ID,
	    kms_ddb_show_faults),
	ROW("guard", "", "the guard FIFO of each target", 0, kms_ddb_show_guard),
	ROW("kfence", "[/v] [ADDR][,N]",
	    "KFENCE of a Linux kernel: its pool; /v: with whole stacks", 0, kms_ddb_show_kfence),
	ROW("kmastat", "", "caches, in mdb's columns", 0, kms_ddb_show_kmastat),
	ROW("kmem", "", "figures of the run", 0, kms_ddb_show_kmem),
	ROW("leaks", "[/v] [,N]", "leak suspects with their evidence", 0, kms_ddb_show_leaks),
	ROW("pool", "[/p] CACHE|ADDR", "one cache", KMS_DDB_OWN, kms_ddb_show_pool),
	ROW("pools", "[/p]", "all caches, by name: show all pools", KMS_DDB_OWN,
	    kms_ddb_show_pools),
	ROW("slab", "CACHE[,N]|ADDR",
	    "each slab of a cache, or the one of an address, block by block", KMS_DDB_OWN,
	    kms_ddb_show_slab),
	ROW("variables", "", "names that w can set, and their values", 0, kms_ddb_show_variables),
	ALIAS("po", KMS_DDB_OWN, kms_ddb_show_pool),
	REFUSED("registers", "are not read: a process may run; trace shows where a fault was"),
	REFUSED("map", "address spaces are the kernel's; see /proc/PID/maps"),
	REFUSED("uvmexp", "page queues are the kernel's; show kmem has the allocator's figures"),
	{0},
};

enum kms_ddb_found kms_ddb_find(const struct kms_ddb_command *table, const char *name,
				const struct kms_ddb_command **row)
{
	size_t n = strlen(name);
	size_t hits = 0;

	for (; table->name; table++) {
		if (strncmp(table->name, name, n) != 0)
			continue;
		*row = table;
		if (table->name[n] == '\0')
			return KMS_DDB_FOUND;
		hits++;
	}
	if (hits == 1)
		return KMS_DDB_FOUND;
	*row = NULL;
	return hits ? KMS_DDB_AMBIGUOUS : KMS_DDB_UNKNOWN;
}

void kms_ddb_list(struct kms_ddb *db, const struct kms_ddb_command *table, const char *prefix)
{
	for (; table->name; table++)
		if (!(table->flags & KMS_DDB_ALIAS) &&
		    strncmp(table->name, prefix, strlen(prefix)) == 0)
			kms_buf_addf(db->out, "%-10s %-28s %s\n", table->name, table->args,
				     table->help);
}

/* One command, and why it is not there if it is not. */
static void help_row(struct kms_ddb *db, const struct kms_ddb_command *row)
{
	const char *name = row->name;

	if (row->flags & KMS_DDB_REFUSED) {
		kms_buf_addf(db->out, "%s: %s\n", name, row->help);
		return;
	}
	for (const struct kms_ddb_command *full = kms_ddb_commands; full->name; full++)
		if (row->run && full->run == row->run && !(full->flags & KMS_DDB_ALIAS))
			row = full;
	kms_buf_addf(db->out, "%s %s\n\t%s\n", row->name, row->args, row->help);
	if (row->flags & KMS_DDB_SHOW)
		kms_ddb_list(db, kms_ddb_shows, "");
}

void kms_ddb_cmd_help(struct kms_ddb *db)
{
	const struct kms_ddb_command *row;
	char name[KMS_DDB_NAME_BYTES];
	char shown[KMS_DDB_NAME_BYTES];

	if (!kms_ddb_lex_word(&db->lex, name, sizeof(name))) {
		kms_buf_add_str(db->out, "command[/modifier] [address] [,count]; numbers are "
					 "hexadecimal, 0t30000 is decimal;\na unique prefix is "
					 "enough; an empty line repeats.\n\n");
		kms_ddb_list(db, kms_ddb_commands, "");
	} else if (kms_ddb_find(kms_ddb_commands, name, &row) == KMS_DDB_FOUND) {
		help_row(db, row);
	} else {
		kms_ddb_printable(name, shown, sizeof(shown));
		kms_ddb_fail(db, "No such command: %s; `help` lists what there is", shown);
	}
}
