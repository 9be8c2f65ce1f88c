/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Words of a prompt line, as ddb(4) reads them: numbers are hexadecimal unless $radix says otherwise,
 * 0x, 0o and 0t name their radix, a leading 0 alone means nothing.
 */
#ifndef KMS_SERVER_DDB_LEX_H
#define KMS_SERVER_DDB_LEX_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	KMS_DDB_NAME_BYTES = 121, /* an identifier and its NUL: 120 is ddb's own limit */
	KMS_DDB_ERROR_BYTES = 512,
};

enum kms_ddb_token {
	KMS_DDB_EOL, /* also after an error */
	KMS_DDB_NUMBER,
	KMS_DDB_IDENT,
	KMS_DDB_VARIABLE, /* $name */
	KMS_DDB_DOT,
	KMS_DDB_DOTDOT,
	KMS_DDB_DITTO, /* " */
	KMS_DDB_PLUS,
	KMS_DDB_MINUS,
	KMS_DDB_STAR,
	KMS_DDB_SLASH,
	KMS_DDB_PERCENT,
	KMS_DDB_HASH,
	KMS_DDB_OPEN,
	KMS_DDB_CLOSE,
	KMS_DDB_COMMA,
	KMS_DDB_EQUAL,
	KMS_DDB_BANG,
	KMS_DDB_SHIFT_LEFT,
	KMS_DDB_SHIFT_RIGHT,
};

/**
 * A line and how far it is read.
 *
 * Owner: on the caller's stack; text is borrowed.
 */
struct kms_ddb_lex {
	const char *text;
	size_t at;
	uint32_t radix;
	size_t token_at; /* where the last token begins */
	bool pushed;     /* token is to be given once more */
	enum kms_ddb_token token;
	uint64_t number; /* of KMS_DDB_NUMBER, modulo 2^64 */
	char name
		[KMS_DDB_NAME_BYTES]; /* of KMS_DDB_IDENT, KMS_DDB_VARIABLE and KMS_DDB_NUMBER, as typed */
	char error[KMS_DDB_ERROR_BYTES]; /* the first one; "" none */
};

/** Begins to read @text, a NUL-terminated line; @radix is 8, 10 or 16. */
void kms_ddb_lex_init(struct kms_ddb_lex *lex, const char *text, uint32_t radix);

/** The next token. After an error, and at the end, KMS_DDB_EOL for ever. */
enum kms_ddb_token kms_ddb_lex_next(struct kms_ddb_lex *lex);

/** Gives the last token back, to be read once more. */
void kms_ddb_lex_unread(struct kms_ddb_lex *lex);

/**
 * Reads what stands up to the next blank or comma as it is, for names that are no identifiers
 * (malloc-48). False: nothing is left, or it does not fit. No token may have been given back.
 */
bool kms_ddb_lex_word(struct kms_ddb_lex *lex, char *word, size_t word_bytes);

/** The next character that is no blank, '\0' at the end. No token may have been given back. */
char kms_ddb_lex_peek(const struct kms_ddb_lex *lex);

/** Whether nothing but blanks is left. */
bool kms_ddb_lex_at_end(const struct kms_ddb_lex *lex);

/** Reads hexadecimal digits that began as an identifier ("deadbeef"); false if it is none. */
bool kms_ddb_lex_hex(const char *name, uint64_t *number);

/** Records an error, unless there is one already: the line ends here. */
void kms_ddb_lex_fail(struct kms_ddb_lex *lex, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void kms_ddb_lex_failv(struct kms_ddb_lex *lex, const char *fmt, va_list args)
	__attribute__((format(printf, 2, 0)));

#endif
