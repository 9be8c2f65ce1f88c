/* SPDX-License-Identifier: BSD-2-Clause */
/* Migrations, and the check of a file's schema against them: see db.h. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "tracer/db.h"

/* Embedded by the build from schema/sql/. */
extern const char kms_sql_001_init[];
extern const char kms_sql_002_marks[];
extern const char kms_sql_003_leak_caches[];
extern const char kms_sql_004_target_samples[];

/* Steps by the version they lead to, from 1. */
static const char *const steps[] = {kms_sql_001_init, kms_sql_002_marks, kms_sql_003_leak_caches,
				    kms_sql_004_target_samples};

enum {
	SCHEMA_VERSION = sizeof(steps) / sizeof(*steps),
};

int kms_schema_version(void)
{
	return SCHEMA_VERSION;
}

static int migrate_step(sqlite3 *db, int to, struct kms_err *err)
{
	char pragma[96];
	int result = kms_db_exec(db, "BEGIN IMMEDIATE", err);

	if (result < 0)
		return result;
	(void)snprintf(pragma, sizeof(pragma), "PRAGMA application_id=%d; PRAGMA user_version=%d",
		       KMS_APPLICATION_ID, to); /* fits */
	result = kms_db_exec(db, steps[to - 1], err);
	if (!result)
		result = kms_db_exec(db, pragma, err);
	if (!result)
		result = kms_db_exec(db, "COMMIT", err);
	if (result < 0)
		(void)kms_db_exec(db, "ROLLBACK", NULL); /* fails where SQLite already has */
	return result;
}

int kms_schema_migrate(sqlite3 *db, int from, struct kms_err *err)
{
	int result = 0;

	for (int to = from + 1; !result && to <= SCHEMA_VERSION; to++) {
		result = migrate_step(db, to, err);
		if (result < 0)
			kms_err_context(err, "schema version %d", to);
	}
	return result;
}

static int check_numbers(sqlite3 *db, int *version, struct kms_err *err)
{
	int64_t application = 0, user = 0;
	int result = kms_db_int(db, "PRAGMA application_id", &application, err);

	if (!result)
		result = kms_db_int(db, "PRAGMA user_version", &user, err);
	if (result < 0)
		return result == -EBADMSG ? kms_err_set(err, -EINVAL, "not a kmemscope trace")
					  : result;
	if (application != KMS_APPLICATION_ID || user < 1)
		return kms_err_set(err, -EINVAL, "not a kmemscope trace");
	if (user > SCHEMA_VERSION)
		return kms_err_set(err, -EPROTO,
				   "trace format %lld is newer than this program's (%d): "
				   "use a newer kmemscope",
				   (long long)user, SCHEMA_VERSION);
	*version = (int)user;
	return 0;
}

/* The schema as this build makes it, in memory. */
static int model_open(int version, sqlite3 **out, struct kms_err *err)
{
	sqlite3 *db = NULL;
	int result;

	if (sqlite3_open(":memory:", &db) != SQLITE_OK) {
		(void)sqlite3_close(db);
		return kms_err_set(err, -ENOMEM, "out of memory");
	}
	for (int i = 0; i < version; i++) {
		result = kms_db_exec(db, steps[i], err);
		if (result < 0) {
			(void)sqlite3_close(db);
			return result;
		}
	}
	*out = db;
	return 0;
}

static const char *text_or_empty(sqlite3_stmt *stmt, int column)
{
	const char *text = (const char *)sqlite3_column_text(stmt, column);

	return text ? text : "";
}

/* One object of the file: ours and unchanged, or none of our business? */
static int check_object(sqlite3_stmt *object, sqlite3_stmt *same, bool *ours, struct kms_err *err)
{
	const char *type = text_or_empty(object, 0);
	const char *name = text_or_empty(object, 1);
	const char *sql = text_or_empty(object, 2);
	int result = 0;

	*ours = false;
	if (strcmp(type, "trigger") == 0 || sqlite3_strnicmp(sql, "create virtual", 14) == 0)
		return kms_err_set(err, -EBADMSG, "trace has a %s that does not belong in it: %s",
				   strcmp(type, "trigger") == 0 ? type : "virtual table", name);
	/* shadows the virtual table that readers bring along */
	if (sqlite3_stricmp(name, "events") == 0)
		return kms_err_set(err, -EBADMSG, "trace has a %s named events", type);
	if (sqlite3_bind_text(same, 1, name, -1, SQLITE_TRANSIENT) != SQLITE_OK)
		return kms_err_set(err, -ENOMEM, "out of memory");
	if (sqlite3_step(same) == SQLITE_ROW) {
		*ours = true;
		if (strcmp(text_or_empty(same, 0), sql) != 0 ||
		    strcmp(text_or_empty(same, 1), type) != 0)
			result = kms_err_set(err, -EBADMSG, "%s %s of the trace was changed", type,
					     name);
	}
	(void)sqlite3_reset(same); /* a select of a database in memory */
	return result;
}

static int check_objects(sqlite3_stmt *object, sqlite3_stmt *same, int64_t *n_ours,
			 struct kms_err *err)
{
	int rc, result = 0;

	*n_ours = 0;
	while (!result && (rc = sqlite3_step(object)) == SQLITE_ROW) {
		bool ours;

		result = check_object(object, same, &ours, err);
		*n_ours += ours;
	}
	if (!result && rc != SQLITE_DONE)
		result = kms_db_err(err, sqlite3_db_handle(object), rc, "schema");
	return result;
}

#define OBJECTS "FROM sqlite_master WHERE name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"

static int check_against(sqlite3 *db, sqlite3 *model, struct kms_err *err)
{
	sqlite3_stmt *object = NULL, *same = NULL;
	int64_t n_ours = 0, n_model = 0;
	int rc = sqlite3_prepare_v2(db, "SELECT type, name, sql " OBJECTS, -1, &object, NULL);
	int result;

	if (rc == SQLITE_OK)
		rc = sqlite3_prepare_v2(
			model, "SELECT sql, type FROM sqlite_master WHERE name = ?1 COLLATE NOCASE",
			-1, &same, NULL);
	if (rc == SQLITE_OK)
		result = check_objects(object, same, &n_ours, err);
	else
		result = kms_db_err(err, object ? model : db, rc, "schema");
	(void)sqlite3_finalize(object); /* say again what was said */
	(void)sqlite3_finalize(same);
	if (!result)
		result = kms_db_int(model, "SELECT count(*) " OBJECTS, &n_model, err);
	if (!result && n_ours != n_model)
		result = kms_err_set(err, -EBADMSG, "tables of the trace are missing");
	return result;
}

int kms_schema_check(sqlite3 *db, struct kms_err *err)
{
	sqlite3 *model = NULL;
	int version = 0;
	int result = check_numbers(db, &version, err);

	if (!result)
		result = model_open(version, &model, err);
	if (result < 0)
		return result;
	result = check_against(db, model, err);
	(void)sqlite3_close(model); /* in memory, all statements finalised */
	return result;
}

int kms_db_distrust(sqlite3 *db, struct kms_err *err)
{
	/* DEFENSIVE: no writable_schema, no shadow tables; TRUSTED_SCHEMA off: no function in a view or
	 * index that could do more than compute */
	int rc = sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
	if (rc != SQLITE_OK)
		return kms_db_err(err, db, rc, "settings");
	return kms_db_exec(db,
			   "PRAGMA cell_size_check=1; PRAGMA query_only=1; "
			   "PRAGMA temp_store=memory; PRAGMA cache_size=-8192",
			   err);
}
