/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Names that have a value: variables of the targets, which are the prompt's symbols, and variables of
 * the prompt itself ($radix).
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "schema/variables.h"
#include "server/db.h"
#include "server/db_run.h"

/*
 * An int is what fits one, as kmem_guard_depth does; what counts bytes has 64 bits. The last three are
 * pushed like buttons: any value will do, and `w` without a size must be enough.
 */
#define IS_INT(id, max)                                                                            \
	((KMS_VAR_##id >= KMS_VAR_VERIFY && KMS_VAR_##id <= KMS_VAR_CONTINUE) ||                   \
	 ((uint64_t)(max) <= INT32_MAX && KMS_VAR_##id != KMS_VAR_RING_BYTES))

#define VARIABLE_ROW(id, name, def, min, max, help)                                                \
	{                                                                                          \
		name,                                                                              \
		help,                                                                              \
		min,                                                                               \
		IS_INT(id, max) && (uint64_t)(max) > INT32_MAX ? INT32_MAX : (uint64_t)(max),      \
		KMS_VAR_##id,                                                                      \
		IS_INT(id, max) ? 4 : 8},

static const struct kms_ddb_variable variables[KMS_VARIABLE_COUNT] = {KMS_VARIABLES(VARIABLE_ROW)};

const struct kms_ddb_variable *kms_ddb_variable(unsigned int index)
{
	return index < KMS_VARIABLE_COUNT ? &variables[index] : NULL;
}

const struct kms_ddb_variable *kms_ddb_variable_at(uint64_t address, uint64_t *offset)
{
	uint64_t from = address - KMS_DDB_VARIABLE_BASE;

	if (from >= (uint64_t)KMS_VARIABLE_COUNT * KMS_DDB_VARIABLE_STRIDE)
		return NULL;
	*offset = from % KMS_DDB_VARIABLE_STRIDE;
	return &variables[from / KMS_DDB_VARIABLE_STRIDE];
}

struct kms_ddb_text kms_ddb_number(const struct kms_ddb *db, uint64_t value)
{
	struct kms_ddb_text out;

	switch (db->state->var[KMS_DDB_RADIX]) {
	case 10:
		snprintf(out.text, sizeof(out.text), "%" PRId64, (int64_t)value);
		break;
	case 8:
		snprintf(out.text, sizeof(out.text), "%" PRIo64, value);
		break;
	default:
		snprintf(out.text, sizeof(out.text), "%" PRIx64, value);
		break;
	}
	return out;
}

/* Variables of the prompt: name, smallest and largest value. */
static const struct {
	const char *name;
	uint64_t min, max;
	const char *help;
} prompt_vars[KMS_DDB_VARS] = {
	[KMS_DDB_RADIX] = {"radix",    8,  16,         "of numbers without prefix: 8, 10 or 16"    },
	[KMS_DDB_MAXOFF] = {"maxoff",   0,  UINT64_MAX, "largest offset from a symbol that names it"},
	[KMS_DDB_MAXWIDTH] = {"maxwidth", 16, 1000,       "columns of a line of x"                    },
	[KMS_DDB_TABSTOPS] = {"tabstops", 1,  64,         "columns between tab stops"                 },
	[KMS_DDB_LINES] = {"lines",    0,  100000,     "lines of a page on a terminal; 0 no pages" },
};

static int find_var(struct kms_ddb *db, const char *name)
{
	char shown[KMS_DDB_NAME_BYTES];

	for (int i = 0; i < KMS_DDB_VARS; i++)
		if (strcmp(prompt_vars[i].name, name) == 0)
			return i;
	kms_ddb_printable(name, shown, sizeof(shown));
	kms_ddb_fail(db, "Unknown variable: $%s; `set` lists them", shown);
	return -1;
}

bool kms_ddb_var_get(struct kms_ddb *db, const char *name, uint64_t *value)
{
	int i = find_var(db, name);

	if (i >= 0)
		*value = db->state->var[i];
	return i >= 0;
}

static void list_vars(struct kms_ddb *db)
{
	for (int i = 0; i < KMS_DDB_VARS; i++)
		kms_buf_addf(db->out, "$%-10s %-8s %s\n", prompt_vars[i].name,
			     kms_ddb_number(db, db->state->var[i]).text, prompt_vars[i].help);
}

static void set_var(struct kms_ddb *db, int i, uint64_t value)
{
	if (value < prompt_vars[i].min || value > prompt_vars[i].max ||
	    (i == KMS_DDB_RADIX && value != 8 && value != 10 && value != 16))
		kms_ddb_fail(db,
			     "$%s: 0t%" PRIu64 " is out of range: 0t%" PRIu64 " to 0t%" PRIu64
			     " (%s)",
			     prompt_vars[i].name, value, prompt_vars[i].min, prompt_vars[i].max,
			     prompt_vars[i].help);
	else
		db->state->var[i] = value;
}

void kms_ddb_cmd_set(struct kms_ddb *db)
{
	uint64_t value = 0;
	int i;

	if (kms_ddb_lex_at_end(&db->lex)) {
		list_vars(db);
		return;
	}
	if (kms_ddb_lex_next(&db->lex) != KMS_DDB_VARIABLE) {
		kms_ddb_fail(db, "Unknown variable: set $NAME = VALUE; `set` lists them");
		return;
	}
	i = find_var(db, db->lex.name);
	if (i < 0)
		return;
	if (kms_ddb_lex_next(&db->lex) != KMS_DDB_EQUAL)
		kms_ddb_lex_unread(&db->lex);
	if (!kms_ddb_expression(db, &value))
		kms_ddb_fail(db, "No value: set $%s = VALUE", prompt_vars[i].name);
	else if (kms_ddb_lex_next(&db->lex) != KMS_DDB_EOL)
		kms_ddb_fail(db, "?: one value for one variable");
	else
		set_var(db, i, value);
}

/* A variable of one target: name, value in effect, what is not yet in effect, what it is. */
static void show_variable(struct kms_ddb *db, const struct kms_ddb_variable *v, uint32_t target)
{
	const struct kms_view *view = db->view;
	struct kms_err err = KMS_ERR_INIT;
	uint64_t requested;
	uint64_t effective;
	bool pending;
	int rc = view->ops->variable_get(view->ctx, target, v->index, &requested, &effective,
					 &pending, &err);

	if (rc == -ENOTSUP)
		return; /* a foreign kernel, which has few of them */
	if (rc < 0) {
		kms_ddb_fail_err(db, v->name, &err);
		return;
	}
	kms_buf_addf(db->out, "%-32s %16s", v->name, kms_ddb_number(db, effective).text);
	if (requested != effective || pending)
		kms_buf_addf(db->out, " (asked for %s%s)", kms_ddb_number(db, requested).text,
			     pending ? ", pending" : "");
	kms_buf_addf(db->out, "  %s\n", v->help);
}

static void show_names(struct kms_ddb *db)
{
	for (unsigned int i = 0; i < KMS_VARIABLE_COUNT; i++)
		kms_buf_addf(db->out, "%-32s %s\n", variables[i].name, variables[i].help);
}

void kms_ddb_show_variables(struct kms_ddb *db)
{
	const struct kms_view_target *target;
	long index = -1;

	if (db->snapshot->finished || !db->view->ops->variable_get) {
		show_names(db);
		return;
	}
	while ((target = kms_ddb_next_target(db, &index))) {
		kms_buf_addf(db->out, "target %" PRIu32 "\n", target->id);
		for (unsigned int i = 0; i < KMS_VARIABLE_COUNT && !kms_ddb_failed(db); i++)
			show_variable(db, &variables[i], target->id);
	}
}
