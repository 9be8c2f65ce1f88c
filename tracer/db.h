/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * SQLite as the store and its readers use it: errors as errno, statements with typed values, the
 * schema and its check.
 */
#ifndef KMS_TRACER_DB_H
#define KMS_TRACER_DB_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "tracer/sqlite.h"

/** "KMSC": PRAGMA application_id of every trace. */
#define KMS_APPLICATION_ID 0x4b4d5343

/** A value to bind. Shape: text and blobs are borrowed until the statement was run. */
struct kms_value {
	enum { KMS_VALUE_NULL, KMS_VALUE_INT, KMS_VALUE_REAL, KMS_VALUE_TEXT, KMS_VALUE_BLOB } type;

	int64_t integer;
	double real;
	const void *bytes;
	size_t n_bytes;
};

/* Literals for tables of values. KMS_TEXT(NULL) is NULL. */
#define KMS_INT(x)                                                                                 \
	{                                                                                          \
		.type = KMS_VALUE_INT, .integer = (int64_t)(x)                                     \
	}
#define KMS_REAL(x)                                                                                \
	{                                                                                          \
		.type = KMS_VALUE_REAL, .real = (x)                                                \
	}
#define KMS_TEXT(x)                                                                                \
	{                                                                                          \
		.type = KMS_VALUE_TEXT, .bytes = (x)                                               \
	}
#define KMS_BLOB(p, n)                                                                             \
	{                                                                                          \
		.type = KMS_VALUE_BLOB, .bytes = (p), .n_bytes = (n)                               \
	}

/** The errno, negative, that stands for an SQLite result. 0 for OK, ROW and DONE. */
int kms_db_errno(int rc);

/** What went wrong, for people: SQLite's words, but for a damaged page, of which it says nothing more. Borrowed. */
const char *kms_db_words(sqlite3 *db, int rc);

/** Records a failure of @db: "<what>: <SQLite's message>"; returns the negative errno. */
int kms_db_err(struct kms_err *err, sqlite3 *db, int rc, const char *what);

/** Runs statements that return nothing. */
int kms_db_exec(sqlite3 *db, const char *sql, struct kms_err *err);

/** Reads one integer. Errors: -ENODATA: no row */
int kms_db_int(sqlite3 *db, const char *sql, int64_t *out, struct kms_err *err);

/** Binds n values; returns SQLite's result. */
int kms_db_bind(sqlite3_stmt *stmt, const struct kms_value *value, unsigned n);

/** Binds, runs to the end, resets. Returns SQLite's result: SQLITE_DONE if all went well. */
int kms_db_run(sqlite3_stmt *stmt, const struct kms_value *value, unsigned n);

/** kms_db_run() with an array literal: KMS_RUN(stmt, KMS_INT(1), KMS_TEXT("a")). */
#define KMS_RUN(stmt, ...)                                                                         \
	kms_db_run((stmt), (const struct kms_value[]){__VA_ARGS__},                                \
		   sizeof((const struct kms_value[]){__VA_ARGS__}) / sizeof(struct kms_value))

/** The schema number that this build writes. */
int kms_schema_version(void);

/**
 * Brings a file from version @from (0: empty) to this build's, a transaction for each step.
 *
 * Errors: what SQLite says; the file then is as of the last step that went well
 */
int kms_schema_migrate(sqlite3 *db, int from, struct kms_err *err);

/**
 * Is this a trace that this build reads, and is everything in it what it claims to be?
 *
 * Source: application_id and user_version; each object with one of our names must have our text, and
 *         there must be no trigger and no virtual table. Further tables, views and indexes are let be.
 * Errors: -EINVAL: not a trace; -EPROTO: made by a newer version; -EBADMSG: the schema was changed
 */
int kms_schema_check(sqlite3 *db, struct kms_err *err);

/** Settings of a connection that reads a file of unknown origin. */
int kms_db_distrust(sqlite3 *db, struct kms_err *err);

#endif
