/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The store's statements, and rows that wait for the next commit. Private to store*.c.
 */
#ifndef KMS_TRACER_STORE_ROWS_H
#define KMS_TRACER_STORE_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "tracer/db.h"

/** Statements of the store; their texts are in store_rows.c. */
enum store_stmt {
	STORE_META,
	STORE_TARGET,
	STORE_TARGET_KIND,
	STORE_RING,
	STORE_CHUNK,
	STORE_CHUNK_DATA,
	STORE_CHUNK_DELETE,
	STORE_CHUNK_DATA_DELETE,
	STORE_OPEN_BLOCK,
	STORE_OPEN_BLOCK_DELETE,
	STORE_PAGE,
	STORE_PAGE_READ,
	STORE_SLOT,
	STORE_MODULE,
	STORE_THREAD,
	STORE_CACHE_NAME,
	STORE_SPAN,
	STORE_SPAN_END,
	STORE_SYMBOL,
	STORE_STACK,
	STORE_STATS,
	STORE_CACHE,
	STORE_GUARD,
	STORE_LEAK,
	STORE_LEAK_CACHE,
	STORE_FAULT,
	STORE_OWNER,
	STORE_SAMPLE,
	STORE_TARGET_SAMPLE,
	STORE_TARGET_SAMPLE_DELETE,
	STORE_MARK,
	STORE_AUDIT,
	STORE_MARK_POINT,
	STORE_MARK_SITE,
	STORE_STMT_COUNT,
};

/** Rows to be written, in order. All zero is none. */
struct store_rows {
	uint8_t *bytes;
	size_t n_bytes, room;
	uint64_t refused; /* rows that found STORE_ROWS_BYTES_MAX used up */
};

enum {
	STORE_ROWS_BYTES_MAX = 64 << 20,
};

/** Prepares every statement. */
int store_prepare(sqlite3 *db, sqlite3_stmt *stmt[STORE_STMT_COUNT], struct kms_err *err);
void store_unprepare(sqlite3_stmt *stmt[STORE_STMT_COUNT]);

/**
 * Copies a row. Statements run again give the same result, so that a failed transaction can be
 * repeated.
 * Errors: -ENOMEM; -ENOSPC: too many wait, the row is dropped and counted
 */
int store_rows_add(struct store_rows *rows, enum store_stmt stmt, const struct kms_value *value,
		   unsigned n);

#define STORE_ROW(rows, stmt, ...)                                                                 \
	store_rows_add((rows), (stmt), (const struct kms_value[]){__VA_ARGS__},                    \
		       sizeof((const struct kms_value[]){__VA_ARGS__}) / sizeof(struct kms_value))

/** Runs them all; returns SQLite's result. They stay. */
int store_rows_write(const struct store_rows *rows, sqlite3_stmt *stmt[STORE_STMT_COUNT]);
/** They are in the file. */
void store_rows_clear(struct store_rows *rows);
void store_rows_free(struct store_rows *rows);

#endif
