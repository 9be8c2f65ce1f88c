/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/db.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>

static const struct {
	int rc; /* primary result code */
	int code;
} errnos[] = {
	{SQLITE_PERM,       -EPERM  },
        {SQLITE_BUSY,       -EBUSY  },
        {SQLITE_LOCKED,     -EBUSY  },
	{SQLITE_NOMEM,      -ENOMEM },
        {SQLITE_READONLY,   -EROFS  },
        {SQLITE_INTERRUPT,  -EINTR  },
	{SQLITE_IOERR,      -EIO    },
        {SQLITE_CORRUPT,    -EBADMSG},
        {SQLITE_FULL,       -ENOSPC },
	{SQLITE_CANTOPEN,   -ENOENT },
        {SQLITE_TOOBIG,     -E2BIG  },
        {SQLITE_MISMATCH,   -EBADMSG},
	{SQLITE_NOTADB,     -EBADMSG},
        {SQLITE_AUTH,       -EACCES },
        {SQLITE_RANGE,      -EINVAL },
	{SQLITE_CONSTRAINT, -EEXIST },
        {SQLITE_ERROR,      -EINVAL },
};

int kms_db_errno(int rc)
{
	if (rc == SQLITE_OK || rc == SQLITE_ROW || rc == SQLITE_DONE)
		return 0;
	for (size_t i = 0; i < sizeof(errnos) / sizeof(*errnos); i++)
		if (errnos[i].rc == (rc & 0xff))
			return errnos[i].code;
	return -EIO;
}

static bool is_corrupt(int rc)
{
	return (rc & 0xff) == SQLITE_CORRUPT;
}

const char *kms_db_words(sqlite3 *db, int rc)
{
	const char *words =
		db && sqlite3_errcode(db) != SQLITE_OK ? sqlite3_errmsg(db) : sqlite3_errstr(rc);

	/* our own tables may have said which part it is */
	return is_corrupt(rc) && strcmp(words, sqlite3_errstr(SQLITE_CORRUPT)) == 0
		       ? "the trace is damaged; use another copy of it"
		       : words;
}

int kms_db_err(struct kms_err *err, sqlite3 *db, int rc, const char *what)
{
	int code = kms_db_errno(rc);
	int system = db ? sqlite3_system_errno(db) : 0;

	/* The system's word is more exact where it was a system call that failed. */
	if (system && ((rc & 0xff) == SQLITE_CANTOPEN || (rc & 0xff) == SQLITE_IOERR))
		return kms_err_sys(err, -system, what, NULL);
	if (is_corrupt(rc)) /* it is all the same what was tried */
		return kms_err_set(err, code, "%s", kms_db_words(db, rc));
	return kms_err_set(err, code, "%s: %s", what, kms_db_words(db, rc));
}

int kms_db_exec(sqlite3 *db, const char *sql, struct kms_err *err)
{
	int rc = sqlite3_exec(db, sql, NULL, NULL, NULL);

	return rc == SQLITE_OK ? 0 : kms_db_err(err, db, rc, "SQL");
}

int kms_db_int(sqlite3 *db, const char *sql, int64_t *out, struct kms_err *err)
{
	sqlite3_stmt *stmt;
	int rc = sqlite3_prepare_v2(db, sql, -1, &stmt, NULL);

	if (rc != SQLITE_OK)
		return kms_db_err(err, db, rc, sql);
	rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW)
		*out = sqlite3_column_int64(stmt, 0);
	(void)sqlite3_finalize(stmt); /* says again what step said */
	if (rc == SQLITE_ROW)
		return 0;
	return rc == SQLITE_DONE ? kms_err_set(err, -ENODATA, "%s: no row", sql)
				 : kms_db_err(err, db, rc, sql);
}

static int bind_one(sqlite3_stmt *stmt, int at, const struct kms_value *v)
{
	switch (v->type) {
	case KMS_VALUE_INT:
		return sqlite3_bind_int64(stmt, at, v->integer);
	case KMS_VALUE_REAL:
		return sqlite3_bind_double(stmt, at, v->real);
	case KMS_VALUE_TEXT:
		return sqlite3_bind_text(stmt, at, v->bytes, -1, SQLITE_STATIC);
	case KMS_VALUE_BLOB:
		/* a NULL pointer would bind NULL, not an empty blob */
		return sqlite3_bind_blob64(stmt, at, v->bytes ? v->bytes : "", v->n_bytes,
					   SQLITE_STATIC);
	default:
		return sqlite3_bind_null(stmt, at);
	}
}

int kms_db_bind(sqlite3_stmt *stmt, const struct kms_value *value, unsigned n)
{
	int rc = SQLITE_OK;

	for (unsigned i = 0; rc == SQLITE_OK && i < n; i++)
		rc = bind_one(stmt, (int)i + 1, &value[i]);
	return rc;
}

int kms_db_run(sqlite3_stmt *stmt, const struct kms_value *value, unsigned n)
{
	int rc;

	if (!stmt)
		return SQLITE_MISUSE;
	rc = kms_db_bind(stmt, value, n);
	if (rc == SQLITE_OK)
		do
			rc = sqlite3_step(stmt);
		while (rc == SQLITE_ROW);
	(void)sqlite3_reset(stmt); /* says again what step said */
	return rc;
}
