/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Expressions of the prompt, 64 bits, two's complement. From loose to tight: << >>, then + -, then
 * * / % #, then unary - and * (the 8 bytes at an address). The right operand of * / % # is a term: ddb
 * takes no sign there.
 */
#include <inttypes.h>
#include <string.h>

#include "server/db.h"

enum {
	MAX_NESTING = 64, /* parentheses and unary operators: the C stack is ours */
};

/* NOLINTBEGIN(misc-no-recursion): to MAX_NESTING */
static bool read_shift(struct kms_ddb *db, unsigned int depth, uint64_t *value);

static void syntax_error(struct kms_ddb *db, const char *what)
{
	kms_ddb_fail(db, "Syntax error: %s", what);
}

/* A name is a symbol first, and a number if all of it are hexadecimal digits. */
static void symbol_value(struct kms_ddb *db, uint64_t *value)
{
	const char *name = db->lex.name;
	const char *near;
	char shown[KMS_DDB_NAME_BYTES], other[KMS_VIEW_SYMBOL_BYTES], text[KMS_VIEW_SYMBOL_BYTES];

	if (kms_ddb_symbol(db, name, value, other) ||
	    (db->lex.radix == 16 && kms_ddb_lex_hex(name, value)))
		return;
	near = kms_ddb_nearest(name, other);
	kms_ddb_printable(name, shown, sizeof(shown));
	if (near)
		kms_ddb_fail(db, "Symbol not found: %s; did you mean %s?", shown,
			     kms_ddb_printable(near, text, sizeof(text)));
	else if (kms_ddb_kernel(db))
		kms_ddb_fail(db, "Symbol not found: %s; nothing in the guest's kernel is near it",
			     shown);
	else
		kms_ddb_fail(db, "Symbol not found: %s; `show variables` lists the names there are",
			     shown);
}

static bool read_parenthesis(struct kms_ddb *db, unsigned int depth, uint64_t *value)
{
	if (!read_shift(db, depth, value))
		syntax_error(db, "an expression must follow (");
	else if (kms_ddb_lex_next(&db->lex) != KMS_DDB_CLOSE)
		syntax_error(db, ") is missing");
	return true;
}

/* A term if one stands here. An error counts as one: the caller looks at kms_ddb_failed(). */
static bool read_term(struct kms_ddb *db, unsigned int depth, uint64_t *value)
{
	const struct kms_ddb_state *state = db->state;

	*value = 0;
	switch (kms_ddb_lex_next(&db->lex)) {
	case KMS_DDB_IDENT:
		symbol_value(db, value);
		return true;
	case KMS_DDB_NUMBER:
		*value = db->lex.number;
		return true;
	case KMS_DDB_DOT:
		*value = state->dot;
		return true;
	case KMS_DDB_DOTDOT:
		*value = state->prev;
		return true;
	case KMS_DDB_PLUS:
		*value = state->next;
		return true;
	case KMS_DDB_DITTO:
		*value = state->ditto;
		return true;
	case KMS_DDB_VARIABLE:
		(void)kms_ddb_var_get(db, db->lex.name, value);
		return true;
	case KMS_DDB_OPEN:
		return read_parenthesis(db, depth + 1, value);
	default:
		kms_ddb_lex_unread(&db->lex);
		return false;
	}
}

static bool read_unary(struct kms_ddb *db, unsigned int depth, uint64_t *value)
{
	enum kms_ddb_token token = kms_ddb_lex_next(&db->lex);
	uint64_t operand = 0;

	if (depth > MAX_NESTING) {
		syntax_error(db, "too deeply nested");
		return true;
	}
	if (token != KMS_DDB_MINUS && token != KMS_DDB_STAR) {
		kms_ddb_lex_unread(&db->lex);
		return read_term(db, depth, value);
	}
	if (!read_unary(db, depth + 1, &operand))
		syntax_error(db,
			     token == KMS_DDB_MINUS ? "nothing follows -" : "nothing follows *");
	if (token == KMS_DDB_MINUS)
		*value = 0 - operand;
	else if (!kms_ddb_failed(db))
		(void)kms_ddb_read(db, operand, 8, value);
	return true;
}

/* Division as two's complement has it; the one that overflows gives its operand back. */
static int64_t divide(int64_t a, int64_t b)
{
	return b == -1 ? (int64_t)(0 - (uint64_t)a) : a / b;
}

static uint64_t multiply(struct kms_ddb *db, enum kms_ddb_token operator, uint64_t a, uint64_t b)
{
	int64_t divisor = (int64_t)b;

	if (operator== KMS_DDB_STAR)
		return a * b;
	if (divisor == 0) {
		kms_ddb_fail(db, "Divide by 0");
		return 0;
	}
	if (operator== KMS_DDB_SLASH)
		return (uint64_t)divide((int64_t)a, divisor);
	if (operator== KMS_DDB_PERCENT)
		return divisor == -1 ? 0 : (uint64_t)((int64_t)a % divisor);
	return (uint64_t)divide((int64_t)(a + b - 1), divisor) * b; /* #: up to a multiple */
}

static bool read_product(struct kms_ddb *db, unsigned int depth, uint64_t *value)
{
	enum kms_ddb_token token;
	uint64_t right = 0;

	if (!read_unary(db, depth, value))
		return false;
	for (;;) {
		token = kms_ddb_lex_next(&db->lex);
		if (token != KMS_DDB_STAR && token != KMS_DDB_SLASH && token != KMS_DDB_PERCENT &&
		    token != KMS_DDB_HASH)
			break;
		if (!read_term(db, depth, &right))
			syntax_error(db, "a number or name must follow * / % or #; a sign needs "
					 "parentheses");
		else if (!kms_ddb_failed(db))
			*value = multiply(db, token, *value, right);
	}
	kms_ddb_lex_unread(&db->lex);
	return true;
}

static bool read_sum(struct kms_ddb *db, unsigned int depth, uint64_t *value)
{
	enum kms_ddb_token token;
	uint64_t right = 0;

	if (!read_product(db, depth, value))
		return false;
	for (;;) {
		token = kms_ddb_lex_next(&db->lex);
		if (token != KMS_DDB_PLUS && token != KMS_DDB_MINUS)
			break;
		if (!read_product(db, depth, &right))
			syntax_error(db, "a number or name must follow + or -");
		*value = token == KMS_DDB_PLUS ? *value + right : *value - right;
	}
	kms_ddb_lex_unread(&db->lex);
	return true;
}

/* What a shift by 64 and more leaves is nothing. */
static uint64_t shift(struct kms_ddb *db, enum kms_ddb_token operator, uint64_t a, uint64_t by)
{
	if ((int64_t)by < 0)
		kms_ddb_fail(db, "Negative shift amount");
	if (by > 63)
		return 0;
	return operator== KMS_DDB_SHIFT_LEFT ? a << by : a>> by;
}

static bool read_shift(struct kms_ddb *db, unsigned int depth, uint64_t *value)
{
	enum kms_ddb_token token;
	uint64_t right = 0;

	if (!read_sum(db, depth, value))
		return false;
	for (;;) {
		token = kms_ddb_lex_next(&db->lex);
		if (token != KMS_DDB_SHIFT_LEFT && token != KMS_DDB_SHIFT_RIGHT)
			break;
		if (!read_sum(db, depth, &right))
			syntax_error(db, "a number or name must follow << or >>");
		else
			*value = shift(db, token, *value, right);
	}
	kms_ddb_lex_unread(&db->lex);
	return true;
}

/* NOLINTEND(misc-no-recursion) */

bool kms_ddb_expression(struct kms_ddb *db, uint64_t *value)
{
	bool there = read_shift(db, 0, value);

	return there && !kms_ddb_failed(db);
}

void kms_ddb_modifier(struct kms_ddb *db)
{
	db->modif[0] = '\0';
	if (kms_ddb_lex_peek(&db->lex) != '/')
		return;
	(void)kms_ddb_lex_next(&db->lex);
	if (kms_ddb_lex_next(&db->lex) == KMS_DDB_IDENT)
		memcpy(db->modif, db->lex.name, sizeof(db->modif));
	else
		kms_ddb_fail(db, "Bad modifier: letters must follow /");
}

void kms_ddb_count(struct kms_ddb *db)
{
	uint64_t count;

	db->count = -1;
	if (kms_ddb_lex_next(&db->lex) != KMS_DDB_COMMA) {
		kms_ddb_lex_unread(&db->lex);
		return;
	}
	if (kms_ddb_expression(db, &count))
		db->count = (int64_t)count;
	else
		kms_ddb_fail(db, "Count missing: a number must follow ,");
}

void kms_ddb_add_name(const struct kms_ddb *db, const char *name, size_t width)
{
	size_t n = name ? strlen(name) : 1;

	kms_buf_add_printable(db->out, name ? name : "?", n);
	kms_buf_addf(db->out, "%*s", n < width ? (int)(width - n) : 0, "");
}

const char *kms_ddb_printable(const char *name, char *text, size_t text_bytes)
{
	struct kms_buf out;

	kms_buf_init(&out, text_bytes - 1);
	kms_buf_add_printable(&out, name, strlen(name));
	memcpy(text, kms_buf_text(&out), out.used_bytes);
	text[out.used_bytes] = '\0';
	kms_buf_deinit(&out);
	return text;
}
