/* SPDX-License-Identifier: BSD-2-Clause */
/* One line of the prompt: which command, what it is given, what an empty line means. See db.h. */
#include "server/db.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

void kms_ddb_state_init(struct kms_ddb_state *state)
{
	*state = (struct kms_ddb_state){
		.last_count = -1,
		.var = {[KMS_DDB_RADIX] = 16,
			[KMS_DDB_MAXOFF] = 0x100000, /* ddb's */
			[KMS_DDB_MAXWIDTH] = 80,
			[KMS_DDB_TABSTOPS] = 8,
			[KMS_DDB_LINES] = 24},
		.examine = "x",
		.print = 'x',
	};
}

void kms_ddb_prompt(const struct kms_ddb_state *state, char prompt[KMS_DDB_PROMPT_BYTES])
{
	if (state->target)
		snprintf(prompt, KMS_DDB_PROMPT_BYTES, "db{%" PRIu32 "}> ", state->target);
	else
		snprintf(prompt, KMS_DDB_PROMPT_BYTES, "db> ");
}

bool kms_ddb_is_late(const struct kms_ddb *db)
{
	return kms_clock_now(kms_clock_system()) >= db->end_ns;
}

void kms_ddb_fail(struct kms_ddb *db, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	kms_ddb_lex_failv(&db->lex, fmt, args);
	va_end(args);
}

void kms_ddb_fail_err(struct kms_ddb *db, const char *what, const struct kms_err *err)
{
	char shown[KMS_ERR_TEXT_BYTES];

	kms_ddb_printable(err->text[0] ? err->text : "failed", shown, sizeof(shown));
	kms_ddb_fail(db, "%s: %s", what, shown);
}

static void not_found(struct kms_ddb *db, enum kms_ddb_found found, const char *list)
{
	char shown[KMS_DDB_NAME_BYTES];

	kms_ddb_printable(db->lex.name, shown, sizeof(shown));
	if (found == KMS_DDB_UNKNOWN)
		kms_ddb_fail(db, "No such command: %s; `%s` lists what there is", shown, list);
	else
		kms_ddb_fail(db, "Ambiguous command: %s; `%s` lists what there is", shown, list);
}

/* The word after `show`; nothing there: the list of them. `all` is noise. */
static const struct kms_ddb_command *find_show(struct kms_ddb *db)
{
	const struct kms_ddb_command *row = NULL;
	enum kms_ddb_found found;
	enum kms_ddb_token token = kms_ddb_lex_next(&db->lex);

	if (token == KMS_DDB_IDENT && strcmp(db->lex.name, "all") == 0)
		token = kms_ddb_lex_next(&db->lex);
	if (token != KMS_DDB_IDENT) {
		if (!kms_ddb_failed(db))
			kms_ddb_list(db, kms_ddb_shows, "");
		return NULL;
	}
	found = kms_ddb_find(kms_ddb_shows, db->lex.name, &row);
	if (found != KMS_DDB_FOUND)
		not_found(db, found, "show");
	return row;
}

static const struct kms_ddb_command *find_command(struct kms_ddb *db)
{
	const struct kms_ddb_command *row = NULL;
	enum kms_ddb_found found = kms_ddb_find(kms_ddb_commands, db->lex.name, &row);

	if (found != KMS_DDB_FOUND) {
		not_found(db, found, "help");
		return NULL;
	}
	return row->flags & KMS_DDB_SHOW ? find_show(db) : row;
}

/* [/modifier] [address] [,count]; what stands behind is skipped, as in ddb, unless the command wants it. */
static void read_standard(struct kms_ddb *db, uint32_t flags)
{
	struct kms_ddb_state *state = db->state;

	kms_ddb_modifier(db);
	db->have_addr = kms_ddb_expression(db, &db->addr);
	if (!db->have_addr)
		db->addr = state->dot;
	else if (!(flags & KMS_DDB_ID))
		state->dot = state->ditto = db->addr;
	kms_ddb_count(db);
	while (!(flags & KMS_DDB_MORE) && kms_ddb_lex_next(&db->lex) != KMS_DDB_EOL)
		;
}

/* An empty line, or ",N": the last command once more, where it stopped. */
static const struct kms_ddb_command *repeat(struct kms_ddb *db, enum kms_ddb_token first)
{
	db->addr = db->state->next;
	db->have_addr = false;
	db->count = db->state->last_count;
	db->modif[0] = '\0';
	if (first == KMS_DDB_COMMA) {
		kms_ddb_lex_unread(&db->lex);
		kms_ddb_count(db);
	}
	return db->state->last;
}

static const struct kms_ddb_command *read_command(struct kms_ddb *db)
{
	const struct kms_ddb_command *command;
	enum kms_ddb_token first = kms_ddb_lex_next(&db->lex);

	if (kms_ddb_failed(db))
		return NULL;
	if (first == KMS_DDB_EOL || first == KMS_DDB_COMMA)
		return repeat(db, first);
	if (first == KMS_DDB_BANG)
		snprintf(db->lex.name, sizeof(db->lex.name), "call"); /* its other name */
	else if (first != KMS_DDB_IDENT) {
		kms_ddb_fail(db, "?: a line begins with a command; `help` lists them");
		return NULL;
	}
	command = find_command(db);
	if (command && !(command->flags & (KMS_DDB_OWN | KMS_DDB_REFUSED)))
		read_standard(db, command->flags);
	return kms_ddb_failed(db) ? NULL : command;
}

/* Whether the command may run here at all. */
static bool may_run(struct kms_ddb *db)
{
	const struct kms_ddb_command *command = db->command;

	if (command->flags & KMS_DDB_REFUSED)
		kms_ddb_fail(db, "%s: %s", command->name, command->help);
	else if (command->flags & KMS_DDB_CHANGES && db->read_only)
		kms_ddb_fail(db,
			     "%s: this connection may read only; it takes a token that may write",
			     command->name);
	else if (command->flags & KMS_DDB_LIVE && db->snapshot->finished)
		kms_ddb_fail(db, "%s: this is a finished trace; it works while the program runs",
			     command->name);
	return !kms_ddb_failed(db);
}

/* Where the next line begins: behind what was shown or written, else where this one was. */
static void move_dot(struct kms_ddb *db)
{
	struct kms_ddb_state *state = db->state;

	if (db->command->flags & KMS_DDB_SET_DOT)
		state->dot = state->prev;
	else if (!db->keeps_next)
		state->next = state->dot;
}

static void remember(struct kms_ddb *db)
{
	bool repeats = !(db->command->flags & KMS_DDB_NO_REPEAT);

	db->state->last = repeats ? db->command : NULL;
	db->state->last_count = db->count;
}

/* A line feed behind the last piece, as ddb gives before its prompt. */
static void end_line(struct kms_ddb *db)
{
	const struct kms_buf *out = db->out;

	if (out->used_bytes && out->text[out->used_bytes - 1] != '\n' && kms_buf_status(out) == 0)
		kms_buf_add_char(db->out, '\n');
	if (kms_buf_status(out) == -E2BIG)
		kms_ddb_fail(db,
			     "the answer is longer than %d KiB and ends here; ask for less with "
			     ",COUNT",
			     KMS_DDB_OUTPUT_BYTES >> 10);
	else if (kms_buf_status(out) < 0)
		kms_ddb_fail(db, "out of memory");
}

/* "?" is help here; ddb, which has no such command, would only say "?". */
static bool is_question(const char *line)
{
	return line[strspn(line, " \t")] == '?';
}

int kms_ddb_run(struct kms_ddb *db, const char *line)
{
	char question[KMS_DDB_LINE_BYTES + 8];

	if (is_question(line)) {
		snprintf(question, sizeof(question), "help %s", line + strspn(line, " \t") + 1);
		line = question;
	}
	kms_ddb_lex_init(&db->lex, line, (uint32_t)db->state->var[KMS_DDB_RADIX]);
	if (!db->end_ns)
		db->end_ns =
			kms_clock_now(kms_clock_system()) + UINT64_C(1000000) * KMS_DDB_LINE_MS;
	db->count = -1;
	db->modif[0] = '\0';
	db->addr = db->state->dot;
	db->have_addr = db->keeps_next = db->leave = db->page.valid = false;
	if (strlen(line) >= KMS_DDB_LINE_BYTES)
		kms_ddb_fail(db, "String too long: a line has at most %d bytes",
			     KMS_DDB_LINE_BYTES - 1);
	db->command = read_command(db);
	if (db->command) {
		remember(db);
		if (may_run(db))
			db->command->run(db);
		if (!kms_ddb_failed(db))
			move_dot(db);
	}
	end_line(db);
	return kms_ddb_failed(db) ? -EINVAL : 0;
}
