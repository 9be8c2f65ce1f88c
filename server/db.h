/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The db prompt: a line in ddb(4)'s language goes in, text comes out. One interpreter for the screen,
 * the command line, the page and the API (POST /api/v1/db).
 *
 * db_lex.c reads words, db_expr.c expressions, db.c a line; db_table.c has the commands, one group in
 * each further file. Errors do not unwind: the first one is kept, ends the line's input, and a command
 * that sees it returns.
 */
#ifndef KMS_SERVER_DDB_H
#define KMS_SERVER_DDB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "schema/snapshot.h"
#include "server/db_lex.h"
#include "server/stacks.h"

enum {
	KMS_DDB_LINE_BYTES = 1024, /* with its NUL; a longer line is refused */
	KMS_DDB_OUTPUT_BYTES = 256 << 10,
	KMS_DDB_PAGE_BYTES = 4096, /* target memory is read by pages */
	KMS_DDB_FORMAT_BYTES = 16,
	KMS_DDB_ROWS = 40, /* of a list, without a count */
	KMS_DDB_PROMPT_BYTES = 24,
	KMS_DDB_LINE_MS = 2000, /* what goes on for longer ends, and says how to go on */
};

/* Variables of the prompt itself, $name. */
enum kms_ddb_var {
	KMS_DDB_RADIX,
	KMS_DDB_MAXOFF,
	KMS_DDB_MAXWIDTH,
	KMS_DDB_TABSTOPS,
	KMS_DDB_LINES,
	KMS_DDB_VARS,
};

struct kms_ddb_command;

/** What a prompt remembers from line to line. By kms_ddb_state_init(); owns nothing. */
struct kms_ddb_state {
	uint64_t dot;                       /* . */
	uint64_t next;                      /* + */
	uint64_t prev;                      /* .. */
	uint64_t ditto;                     /* ": the last address given */
	const struct kms_ddb_command *last; /* what an empty line repeats; NULL nothing */
	int64_t last_count;                 /* -1 none */
	uint64_t var[KMS_DDB_VARS];
	char examine[KMS_DDB_FORMAT_BYTES]; /* the last format of x */
	char print;                         /* of p */
	uint32_t target;                    /* chosen; 0 none */
};

/** A page of target memory that this line has read. */
struct kms_ddb_page {
	uint32_t target;
	bool valid;
	uint64_t base;
	size_t n; /* bytes that are there */
	uint8_t bytes[KMS_DDB_PAGE_BYTES];
};

/**
 * A line on its way.
 *
 * Shape: the caller fills the first block; kms_ddb_run() the rest. All is borrowed for the line.
 */
struct kms_ddb {
	const struct kms_view *view;
	const struct kms_snapshot *snapshot;
	struct kms_stacks *stacks;
	struct kms_ddb_state *state;
	const char *who; /* for the audit */
	bool read_only;  /* commands that change something are refused */
	uint32_t target; /* for this line only; 0: the one of the state */
	uint64_t end_ns; /* CLOCK_MONOTONIC; 0: KMS_DDB_LINE_MS from now */
	struct kms_buf *out;

	const struct kms_ddb_command *command;
	struct kms_ddb_lex lex;
	uint64_t addr; /* given, or dot */
	bool have_addr;
	int64_t count; /* -1 none */
	char modif[KMS_DDB_NAME_BYTES];
	bool keeps_next; /* the command has set next itself */
	bool leave;      /* the prompt is to be left */
	struct kms_ddb_page page;
};

enum kms_ddb_flag {
	KMS_DDB_OWN = 1,       /* reads its arguments itself */
	KMS_DDB_MORE = 2,      /* further expressions follow the standard ones */
	KMS_DDB_SET_DOT = 4,   /* dot becomes prev: the last item shown or written */
	KMS_DDB_NO_REPEAT = 8, /* an empty line does not repeat it */
	KMS_DDB_CHANGES = 16,  /* refused when read only */
	KMS_DDB_LIVE = 32,     /* refused for a finished trace */
	KMS_DDB_ALIAS = 64,    /* not listed by help */
	KMS_DDB_REFUSED = 128, /* ddb has it, we do not: help says why */
	KMS_DDB_SHOW = 256,    /* a word of the second table follows */
	KMS_DDB_ID = 512, /* what it is given is a number of something, no address: dot stays */
};

/** A row of the tables. The tables end with a row without name. */
struct kms_ddb_command {
	const char *name;
	const char *args; /* for help */
	const char *help; /* one line */
	uint32_t flags;
	void (*run)(struct kms_ddb *db);
};

extern const struct kms_ddb_command kms_ddb_commands[];
extern const struct kms_ddb_command kms_ddb_shows[]; /* what may follow `show` */

/** A prompt that has seen nothing yet. */
void kms_ddb_state_init(struct kms_ddb_state *state);

/**
 * Runs one line.
 *
 * Shape:  @line is NUL-terminated. What the prompt prints goes to db->out; 0, or -EINVAL and the
 *         error's one line, without line feed, in db->lex.error.
 * Locks:  blocks as the view's functions do, and waits for a target's answer (KMS_DDB_ACK_MS)
 */
int kms_ddb_run(struct kms_ddb *db, const char *line);

/** Whether the line has had its time (db->end_ns). */
bool kms_ddb_is_late(const struct kms_ddb *db);

/** The prompt as it stands now: "db> ", or "db{2}> " with a target chosen. */
void kms_ddb_prompt(const struct kms_ddb_state *state, char prompt[KMS_DDB_PROMPT_BYTES]);

/** The first error of the line, ddb's text first, then what would be right. Later ones are dropped. */
void kms_ddb_fail(struct kms_ddb *db, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/** The same from a failure of the view. */
void kms_ddb_fail_err(struct kms_ddb *db, const char *what, const struct kms_err *err);

static inline bool kms_ddb_failed(const struct kms_ddb *db)
{
	return db->lex.error[0] != '\0';
}

/* --- db_expr.c */

/** Reads an expression if one stands here. False: none, or an error (kms_ddb_failed()). */
bool kms_ddb_expression(struct kms_ddb *db, uint64_t *value);

/** Reads "/modifier" if it stands here, for commands of KMS_DDB_OWN. */
void kms_ddb_modifier(struct kms_ddb *db);

/** Reads ",count" if it stands here; else db->count is -1. */
void kms_ddb_count(struct kms_ddb *db);

/** Adds a foreign name, made printable and padded to @width columns; NULL is "?". */
void kms_ddb_add_name(const struct kms_ddb *db, const char *name, size_t width);

/** A foreign name made printable, into @text. */
const char *kms_ddb_printable(const char *name, char *text, size_t text_bytes);

/* --- db_table.c */

/** How a name was found in a table. */
enum kms_ddb_found {
	KMS_DDB_FOUND,
	KMS_DDB_UNKNOWN,
	KMS_DDB_AMBIGUOUS,
};

/** An exact name wins, else a unique prefix. */
enum kms_ddb_found kms_ddb_find(const struct kms_ddb_command *table, const char *name,
				const struct kms_ddb_command **row);

/** Prints the names of a table that begin with @prefix, in columns. */
void kms_ddb_list(struct kms_ddb *db, const struct kms_ddb_command *table, const char *prefix);

/* --- db_vars.c */

/** A variable of the targets: a row of schema/variables.h with its size. */
struct kms_ddb_variable {
	const char *name;
	const char *help;
	uint64_t min, max;
	unsigned int index;
	unsigned int bytes; /* 4 or 8 */
};

/** Variable @index; NULL behind the last. Static. */
const struct kms_ddb_variable *kms_ddb_variable(unsigned int index);

/**
 * Addresses of variables: they lie in no process, so they have addresses that no process can have.
 * Sixteen bytes each, in order.
 */
#define KMS_DDB_VARIABLE_BASE UINT64_C(0x6b6d656d00000000) /* not canonical, so no memory's */

enum {
	KMS_DDB_VARIABLE_STRIDE = 16,
};

/** The variable that an address lies in; @offset from its begin. NULL: none. */
const struct kms_ddb_variable *kms_ddb_variable_at(uint64_t address, uint64_t *offset);

/** A number in the current radix, without a prefix. */
struct kms_ddb_text {
	char text[72];
};

struct kms_ddb_text kms_ddb_number(const struct kms_ddb *db, uint64_t value);

/** Value of $name; false: unknown (an error is set). */
bool kms_ddb_var_get(struct kms_ddb *db, const char *name, uint64_t *value);

/* --- db_symbol.c */

/** The guest whose kernel's symbols are meant; 0: the line is about none that lives. */
uint32_t kms_ddb_kernel(const struct kms_ddb *db);

/**
 * Address of a symbol: "kmem_guard_depth", "kmem:kmem_guard_depth", or one of a guest's kernel.
 *
 * False: there is none; @near is the kernel's name nearest to it, or "".
 */
bool kms_ddb_symbol(const struct kms_ddb *db, const char *name, uint64_t *address,
		    char near[KMS_VIEW_SYMBOL_BYTES]);

/** A variable's name, or @other ("": none), whichever is nearer to @name, for an error; NULL: neither is. */
const char *kms_ddb_nearest(const char *name, const char *other);

/** "kmem:kmem_guard_depth+0x4", "jiffies+0x4", or the bare number. */
struct kms_ddb_text kms_ddb_place(const struct kms_ddb *db, uint64_t address);

/* --- db_target.c */

/** The target that this line is about: chosen, else 0. */
uint32_t kms_ddb_chosen(const struct kms_ddb *db);

/** The row of a target; NULL: there is none. */
const struct kms_view_target *kms_ddb_target(const struct kms_ddb *db, uint32_t id);

/**
 * The one target of a command that works on one: the chosen one, the only one that lives, or the only
 * one. False: an error is set that lists them.
 */
bool kms_ddb_one_target(struct kms_ddb *db, uint32_t *target);

/** The cache of the block at an address of that target. NULL: none is known, or an error is set. */
const char *kms_ddb_cache_at(struct kms_ddb *db, uint64_t address, uint32_t *target);

/**
 * The next target that a command without a choice works on, after @index (begin with -1): the chosen one
 * only, else all that live, else all. NULL: no more.
 */
const struct kms_view_target *kms_ddb_next_target(const struct kms_ddb *db, long *index);

/** Whether @ids matches the choice: 0 chosen means any. */
bool kms_ddb_is_meant(const struct kms_ddb *db, uint32_t target);

/* --- db_memory.c */

/** Reads @size bytes (1 to 8), little endian, at an address of the target, or of a variable. */
bool kms_ddb_read(struct kms_ddb *db, uint64_t address, unsigned int size, uint64_t *value);

/* --- db_stack.c */

/** A trace line per frame, as ddb prints them; at most @max. */
void kms_ddb_add_stack(struct kms_ddb *db, uint64_t stack_id, int64_t max);

/** The first frame outside the allocator, "-" if there is none. */
void kms_ddb_add_caller(struct kms_ddb *db, uint64_t stack_id);

/** The fault with this id; NULL: there is none (an error is set). */
const struct kms_view_fault *kms_ddb_fault(struct kms_ddb *db, uint64_t id);

#endif
