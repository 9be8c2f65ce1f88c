/* SPDX-License-Identifier: BSD-2-Clause */
/* Words of a prompt line: see db_lex.h. */
#include "server/db_lex.h"

#include <stdio.h>
#include <string.h>

#include "base/fmt.h"

/* Characters that are a token by themselves. */
static const struct {
	char c;
	enum kms_ddb_token token;
} singles[] = {
	{'+', KMS_DDB_PLUS   },
        {'-', KMS_DDB_MINUS  },
        {'*', KMS_DDB_STAR   },
        {'/', KMS_DDB_SLASH  },
	{'%', KMS_DDB_PERCENT},
        {'#', KMS_DDB_HASH   },
        {'(', KMS_DDB_OPEN   },
        {')', KMS_DDB_CLOSE  },
	{',', KMS_DDB_COMMA  },
        {'=', KMS_DDB_EQUAL  },
        {'"', KMS_DDB_DITTO  },
        {'!', KMS_DDB_BANG   },
};

void kms_ddb_lex_init(struct kms_ddb_lex *lex, const char *text, uint32_t radix)
{
	memset(lex, 0, sizeof(*lex));
	lex->text = text;
	lex->radix = radix;
}

void kms_ddb_lex_fail(struct kms_ddb_lex *lex, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	kms_ddb_lex_failv(lex, fmt, args);
	va_end(args);
}

void kms_ddb_lex_failv(struct kms_ddb_lex *lex, const char *fmt, va_list args)
{
	if (!lex->error[0])
		vsnprintf(lex->error, sizeof(lex->error), fmt, args);
}

/* Without the C library's tables: a locale must not change what a letter is. */
static bool is_letter(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

bool kms_ddb_lex_hex(const char *name, uint64_t *number)
{
	uint64_t value = 0;

	for (const char *c = name; *c; c++) {
		if (kms_hex_digit(*c) == KMS_NO_DIGIT)
			return false;
		value = value << 4 | (uint64_t)kms_hex_digit(*c);
	}
	*number = value;
	return *name != '\0';
}

/* Adds a character to the name being read; ddb's limit is ours. */
static void add_to_name(struct kms_ddb_lex *lex, size_t *n, char c)
{
	if (*n + 1 >= sizeof(lex->name)) {
		kms_ddb_lex_fail(lex, "String too long: a name has at most %zu characters",
				 sizeof(lex->name) - 1);
		return;
	}
	lex->name[(*n)++] = c;
	lex->name[*n] = '\0';
}

/* A dot within a name, as compilers make them: foo.cold, buffer.3. */
static bool is_inner_dot(const struct kms_ddb_lex *lex, size_t n)
{
	const char *dot = lex->text + lex->at;

	return n > 0 && *dot == '.' && (is_letter(dot[1]) || is_digit(dot[1]));
}

/* Letters, digits, _ and :, a dot within, and whatever a backslash stands before. */
static void read_name(struct kms_ddb_lex *lex)
{
	size_t n = 0;
	char c;

	lex->name[0] = '\0';
	for (; !lex->error[0]; lex->at++) {
		c = lex->text[lex->at];
		if (c == '\\' && lex->text[lex->at + 1])
			c = lex->text[++lex->at];
		else if (!is_letter(c) && !is_digit(c) && c != ':' && !is_inner_dot(lex, n))
			break;
		add_to_name(lex, &n, c);
	}
}

/* The radix that a number's beginning names; skips what names it. */
static uint32_t number_radix(struct kms_ddb_lex *lex, bool *named)
{
	char mark = (char)(lex->text[lex->at] == '0' ? lex->text[lex->at + 1] : '\0');
	uint32_t radix = lex->radix;

	*named = true;
	if (mark == 'x' || mark == 'X')
		radix = 16;
	else if (mark == 't' || mark == 'T')
		radix = 10;
	else if (mark == 'o' || mark == 'O')
		radix = 8;
	else
		*named = false;
	lex->at += *named ? 2 : 0;
	return radix;
}

static enum kms_ddb_token read_number(struct kms_ddb_lex *lex)
{
	size_t begin = lex->at;
	bool named;
	uint32_t radix = number_radix(lex, &named);
	char c;

	lex->number = 0;
	for (; kms_hex_digit(lex->text[lex->at]) < (int)radix; lex->at++)
		lex->number = lex->number * radix + (uint64_t)kms_hex_digit(lex->text[lex->at]);
	c = lex->text[lex->at];
	snprintf(lex->name, sizeof(lex->name), "%.*s",
		 (int)(lex->at - begin < 60 ? lex->at - begin : 60), lex->text + begin);
	if (is_letter(c) || is_digit(c)) {
		kms_ddb_lex_fail(lex,
				 "Bad character in number: %c behind %s; numbers are of radix %u, "
				 "0x, 0t and 0o name another",
				 c, lex->name, radix);
		return KMS_DDB_EOL;
	}
	return KMS_DDB_NUMBER;
}

static enum kms_ddb_token read_variable(struct kms_ddb_lex *lex)
{
	lex->at++;
	read_name(lex);
	if (!lex->name[0])
		kms_ddb_lex_fail(lex, "Unknown variable: $ needs a name; `set` lists them");
	return KMS_DDB_VARIABLE;
}

/* One and two characters of the same kind: . and .., < < and > >. */
static enum kms_ddb_token read_double(struct kms_ddb_lex *lex, char c)
{
	bool twice = lex->text[lex->at + 1] == c;

	lex->at += twice ? 2 : 1;
	if (c == '.')
		return twice ? KMS_DDB_DOTDOT : KMS_DDB_DOT;
	if (!twice)
		kms_ddb_lex_fail(lex, "Bad character: %c; << and >> are operators", c);
	return c == '<' ? KMS_DDB_SHIFT_LEFT : KMS_DDB_SHIFT_RIGHT;
}

static enum kms_ddb_token read_single(struct kms_ddb_lex *lex, char c)
{
	for (size_t i = 0; i < sizeof(singles) / sizeof(singles[0]); i++) {
		if (singles[i].c != c)
			continue;
		lex->at++;
		return singles[i].token;
	}
	if (c >= ' ' && c <= '~')
		kms_ddb_lex_fail(lex, "Bad character: %c", c);
	else
		kms_ddb_lex_fail(lex, "Bad character: byte 0x%02x", (unsigned char)c);
	return KMS_DDB_EOL;
}

static void skip_blanks(struct kms_ddb_lex *lex)
{
	while (lex->text[lex->at] == ' ' || lex->text[lex->at] == '\t')
		lex->at++;
}

static enum kms_ddb_token read_token(struct kms_ddb_lex *lex)
{
	char c;

	skip_blanks(lex);
	lex->token_at = lex->at;
	c = lex->text[lex->at];
	if (c == '\0' || c == '\n' || c == '\r')
		return KMS_DDB_EOL;
	if (is_digit(c))
		return read_number(lex);
	if (c == '.' || c == '<' || c == '>')
		return read_double(lex, c);
	if (c == '$')
		return read_variable(lex);
	if (!is_letter(c) && !(c == '\\' && lex->text[lex->at + 1]))
		return read_single(lex, c);
	read_name(lex);
	return KMS_DDB_IDENT;
}

enum kms_ddb_token kms_ddb_lex_next(struct kms_ddb_lex *lex)
{
	if (!lex->pushed && !lex->error[0])
		lex->token = read_token(lex);
	lex->pushed = false;
	if (lex->error[0])
		lex->token = KMS_DDB_EOL;
	return lex->token;
}

void kms_ddb_lex_unread(struct kms_ddb_lex *lex)
{
	lex->pushed = true;
}

bool kms_ddb_lex_word(struct kms_ddb_lex *lex, char *word, size_t word_bytes)
{
	size_t n;

	skip_blanks(lex);
	n = strcspn(lex->text + lex->at, " \t\r\n,");
	if (n == 0)
		return false;
	if (n >= word_bytes) {
		kms_ddb_lex_fail(lex, "String too long: a name has at most %zu characters",
				 word_bytes - 1);
		return false;
	}
	memcpy(word, lex->text + lex->at, n);
	word[n] = '\0';
	lex->at += n;
	return true;
}

char kms_ddb_lex_peek(const struct kms_ddb_lex *lex)
{
	const char *rest = lex->text + lex->at;

	return rest[strspn(rest, " \t\r\n")];
}

bool kms_ddb_lex_at_end(const struct kms_ddb_lex *lex)
{
	return (!lex->pushed || lex->token == KMS_DDB_EOL) && kms_ddb_lex_peek(lex) == '\0';
}
