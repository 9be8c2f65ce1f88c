/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/file_connect.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "tracer/db.h"
#include "tracer/trace_lock.h"
#include "tracer/vtab.h"

enum {
	BUSY_MS = 2000,
	URI_BYTES = 3 * 4096 + 64,
	LENGTH_MAX = 256 << 20, /* of one value; chunks are a few hundred KiB */
};

/*
 * Looks at the name only. Opening the file, and closing it again, would drop the locks of every
 * SQLite connection that this process has on it: the writer may be one of them.
 */
static int check_file(const char *path, struct kms_err *err)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return kms_err_sys(err, -errno, "cannot open trace", path);
	/* SQLite would wait where somebody put a FIFO */
	return S_ISREG(st.st_mode)
		       ? 0
		       : kms_err_set(err, -EINVAL, "not a kmemscope trace: no regular file");
}

/* The path as a URI, for the one parameter that has no flag. */
static char *immutable_uri(const char *path)
{
	struct kms_buf uri;

	kms_buf_init(&uri, URI_BYTES);
	kms_buf_add_str(&uri, "file:");
	for (const char *c = path; *c; c++) {
		if (strchr("%?#", *c))
			kms_buf_addf(&uri, "%%%02x", (unsigned char)*c);
		else
			kms_buf_add_char(&uri, *c);
	}
	kms_buf_add_str(&uri, "?immutable=1");
	if (kms_buf_status(&uri) < 0) {
		kms_buf_deinit(&uri);
		return NULL;
	}
	return kms_buf_take(&uri);
}

static int open_db(const char *name, int flags, sqlite3 **db, struct kms_err *err)
{
	int rc =
		sqlite3_open_v2(name, db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | flags, NULL);
	int result = 0;

	if (rc != SQLITE_OK)
		result = kms_db_err(err, *db, rc, "cannot open trace");
	if (!result) {
		(void)sqlite3_busy_timeout(*db, BUSY_MS);                  /* cannot fail */
		(void)sqlite3_limit(*db, SQLITE_LIMIT_LENGTH, LENGTH_MAX); /* returns the old one */
		(void)sqlite3_limit(*db, SQLITE_LIMIT_ATTACHED, 0);
		result = kms_db_distrust(*db, err);
	}
	return result;
}

static int use(sqlite3 *db, struct kms_err *err)
{
	int result = kms_schema_check(db, err);
	int rc;

	if (result < 0)
		return result;
	rc = kms_vtab_register(db);
	return rc == SQLITE_OK ? 0 : kms_db_err(err, db, rc, "cannot open trace");
}

static int try_open(const char *name, int flags, sqlite3 **out, struct kms_err *err)
{
	sqlite3 *db = NULL;
	int result = open_db(name, flags, &db, err);

	if (!result)
		result = use(db, err);
	if (result == -EBADMSG && sqlite3_errcode(db) == SQLITE_NOTADB)
		result = kms_err_set(err, -EINVAL, "not a kmemscope trace");
	if (result < 0)
		(void)sqlite3_close(db); /* no statement is left */
	else
		*out = db;
	return result;
}

/* A log left behind in a folder where we may not write cannot be read: without it then. */
static bool may_ignore_log(const char *path, int result)
{
	return (result == -ENOENT || result == -EROFS || result == -EACCES || result == -EPERM) &&
	       !kms_trace_is_locked(path, NULL);
}

int kms_file_connect(const char *path, sqlite3 **out, struct kms_err *err)
{
	int result = check_file(path, err);

	if (!result) {
		result = try_open(path, 0, out, err);
		if (result < 0 && may_ignore_log(path, result)) {
			KMS_AUTO_FREE char *uri = immutable_uri(path);

			result = uri ? try_open(uri, SQLITE_OPEN_URI, out, err)
				     : kms_err_set(err, -ENOMEM, "out of memory");
		}
	}
	if (result < 0)
		kms_err_subject(err, path);
	else
		kms_err_clear(err); /* of the first try */
	return result;
}
