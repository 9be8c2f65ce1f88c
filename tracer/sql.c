/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/sql.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tracer/db.h"
#include "tracer/file_connect.h"

/* PRAGMAs that only tell; without an argument, or with the name of a table. */
static const char *const pragmas[] = {
	"application_id", "collation_list",   "compile_options", "database_list", "data_version",
	"encoding",       "foreign_key_list", "freelist_count",  "function_list", "index_info",
	"index_list",     "index_xinfo",      "integrity_check", "journal_mode",  "module_list",
	"page_count",     "page_size",        "pragma_list",     "quick_check",   "schema_version",
	"table_info",     "table_list",       "table_xinfo",     "user_version",
};

static bool tells_only(const char *pragma, const char *argument)
{
	if (strcmp(pragma, "journal_mode") == 0 && argument)
		return false;
	for (size_t i = 0; i < sizeof(pragmas) / sizeof(*pragmas); i++)
		if (sqlite3_stricmp(pragma, pragmas[i]) == 0)
			return true;
	return false;
}

static int authorize(void *arg, int action, const char *a, const char *b, const char *database,
		     const char *trigger)
{
	(void)arg;
	(void)database;
	(void)trigger;
	switch (action) {
	case SQLITE_SELECT:
	case SQLITE_READ:
	case SQLITE_RECURSIVE:
	case SQLITE_TRANSACTION:
	case SQLITE_SAVEPOINT:
		return SQLITE_OK;
	case SQLITE_UPDATE:
		/* how virtual tables (events, json_each) declare their columns; doing it is refused */
		return a && sqlite3_stricmp(a, "sqlite_master") == 0 ? SQLITE_OK : SQLITE_DENY;
	case SQLITE_FUNCTION:
		return b && sqlite3_stricmp(b, "load_extension") == 0 ? SQLITE_DENY : SQLITE_OK;
	case SQLITE_PRAGMA:
		return a && tells_only(a, b) ? SQLITE_OK : SQLITE_DENY;
	default:
		return SQLITE_DENY;
	}
}

/* Columns of a statement, and the text of a row of it. */
struct columns {
	size_t n;
	const char **name;
	const char **value;
	char **blob; /* text made for a blob, NULL none */
};

static void columns_free(struct columns *c)
{
	for (size_t i = 0; c->blob && i < c->n; i++)
		sqlite3_free(c->blob[i]);
	free(c->name);
	free(c->value);
	free(c->blob);
}

static int columns_init(struct columns *c, sqlite3_stmt *stmt)
{
	c->n = (size_t)sqlite3_column_count(stmt);
	c->name = calloc(c->n + 1, sizeof(char *));
	c->value = calloc(c->n + 1, sizeof(char *));
	c->blob = calloc(c->n + 1, sizeof(char *));
	if (!c->name || !c->value || !c->blob)
		return -ENOMEM;
	for (size_t i = 0; i < c->n; i++) {
		c->name[i] = sqlite3_column_name(stmt, (int)i);
		if (!c->name[i])
			return -ENOMEM;
	}
	return 0;
}

static char *blob_text(sqlite3_stmt *stmt, int column)
{
	const unsigned char *blob = sqlite3_column_blob(stmt, column);
	size_t n = (size_t)sqlite3_column_bytes(stmt, column);
	char *text = sqlite3_malloc64(2 * n + 4);

	if (!text)
		return NULL;
	text[0] = 'x';
	text[1] = '\'';
	for (size_t i = 0; i < n; i++)
		(void)snprintf(text + 2 + 2 * i, 3, "%02x", blob[i]); /* fits */
	text[2 + 2 * n] = '\'';
	text[3 + 2 * n] = '\0';
	return text;
}

static int read_row(struct columns *c, sqlite3_stmt *stmt)
{
	for (size_t i = 0; i < c->n; i++) {
		int type = sqlite3_column_type(stmt, (int)i);

		sqlite3_free(c->blob[i]);
		c->blob[i] = type == SQLITE_BLOB ? blob_text(stmt, (int)i) : NULL;
		c->value[i] = type == SQLITE_BLOB ? c->blob[i]
						  : (const char *)sqlite3_column_text(stmt, (int)i);
		if (!c->value[i] && type != SQLITE_NULL)
			return -ENOMEM;
	}
	return 0;
}

static int run_rows(sqlite3 *db, sqlite3_stmt *stmt, struct columns *c,
		    const struct kms_query_sink *sink, struct kms_err *err)
{
	int rc;

	while ((rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		if (read_row(c, stmt) < 0)
			return kms_err_set(err, -ENOMEM, "out of memory");
		if (sink->row(sink->arg, c->n, c->name, c->value))
			return kms_err_set(err, -ECANCELED, "the query was ended");
	}
	if (rc == SQLITE_DONE)
		return 0;
	/* SQLite's words alone: they are about the query */
	return kms_err_set(err, kms_db_errno(rc), "%s", kms_db_words(db, rc));
}

static int run_statement(sqlite3 *db, sqlite3_stmt *stmt, const struct kms_query_sink *sink,
			 struct kms_err *err)
{
	struct columns columns = {0};
	int result = columns_init(&columns, stmt);

	if (result < 0)
		(void)kms_err_set(err, result, "out of memory");
	else
		result = run_rows(db, stmt, &columns, sink, err);
	columns_free(&columns);
	return result;
}

static int run_all(sqlite3 *db, const char *query, const struct kms_query_sink *sink,
		   struct kms_err *err)
{
	int result = 0;

	while (!result && *query) {
		sqlite3_stmt *stmt = NULL;
		int rc = sqlite3_prepare_v2(db, query, -1, &stmt, &query);

		if (rc == SQLITE_AUTH)
			result = kms_err_set(err, -EACCES, "a trace can only be read: %s",
					     sqlite3_errmsg(db));
		else if (rc != SQLITE_OK)
			result = kms_err_set(err, kms_db_errno(rc), "%s", kms_db_words(db, rc));
		else if (stmt) /* not a comment */
			result = run_statement(db, stmt, sink, err);
		(void)sqlite3_finalize(stmt); /* says again what step said */
	}
	return result;
}

int kms_file_sql(const char *path, const char *query, const struct kms_query_sink *sink,
		 struct kms_err *err)
{
	sqlite3 *db;
	int result = kms_file_connect(path, &db, err);

	if (result < 0)
		return result;
	if (sqlite3_set_authorizer(db, authorize, NULL) != SQLITE_OK)
		result = kms_err_set(err, -ENOMEM, "out of memory");
	if (!result)
		result = run_all(db, query, sink, err);
	if (result == -EBADMSG) /* it is about the file, not the query */
		kms_err_subject(err, path);
	(void)sqlite3_close(db); /* no statement is left */
	return result;
}
