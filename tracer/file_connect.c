/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/file_connect.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/fmt.h"
#include "tracer/db.h"
#include "tracer/trace_lock.h"
#include "tracer/vtab.h"

enum {
	BUSY_MS = 2000,
	URI_BYTES = 3 * 4096 + 64,
	LENGTH_MAX = 256 << 20, /* of one value; chunks are a few hundred KiB */
	/* of SQLite's file format */
	HEAD_BYTES = 100,
	HEAD_PAGE_BYTES = 16, /* where the size of a page stands, big-endian; 1 is 64 KiB */
	HEAD_PAGES = 28,      /* and how many there are */
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

static uint64_t be(const uint8_t *bytes, size_t n)
{
	uint64_t value = 0;

	for (size_t i = 0; i < n; i++)
		value = value << 8 | bytes[i];
	return value;
}

/*
 * How long the file is, and how long its first page says that it should be; false: it does not say. Through
 * SQLite's own descriptor, because of the locks.
 */
static bool file_sizes(sqlite3 *db, uint64_t *is_bytes, uint64_t *should_bytes)
{
	uint8_t head[HEAD_BYTES] = {0};
	sqlite3_file *file = NULL;
	sqlite3_int64 bytes = 0;
	uint64_t page_bytes;

	if (sqlite3_file_control(db, "main", SQLITE_FCNTL_FILE_POINTER, &file) != SQLITE_OK ||
	    !file || !file->pMethods || file->pMethods->xFileSize(file, &bytes) != SQLITE_OK)
		return false;
	(void)file->pMethods->xRead(file, head, sizeof(head), 0); /* what is not there stays 0 */
	page_bytes = be(head + HEAD_PAGE_BYTES, 2);
	*is_bytes = (uint64_t)bytes;
	*should_bytes = be(head + HEAD_PAGES, 4) * (page_bytes == 1 ? 65536 : page_bytes);
	return true;
}

/* Pages that are missing are the usual damage: a copy that did not come to its end. */
static int say_damage(sqlite3 *db, struct kms_err *err)
{
	uint64_t is_bytes, should_bytes;

	if (!file_sizes(db, &is_bytes, &should_bytes) || is_bytes >= should_bytes)
		return -EBADMSG; /* as it was said */
	return kms_err_set(err, -EBADMSG,
			   "the trace is cut short, %s of %s bytes are here: copy it again, whole; "
			   "what is here cannot be read without the rest",
			   kms_fmt_count(is_bytes).text, kms_fmt_count(should_bytes).text);
}

static int try_open(const char *name, int flags, sqlite3 **out, struct kms_err *err)
{
	sqlite3 *db = NULL;
	int result = open_db(name, flags, &db, err);

	if (!result)
		result = use(db, err);
	if (result == -EBADMSG && sqlite3_errcode(db) == SQLITE_NOTADB)
		result = kms_err_set(err, -EINVAL, "not a kmemscope trace");
	if (result == -EBADMSG && (sqlite3_errcode(db) & 0xff) == SQLITE_CORRUPT)
		result = say_damage(db, err);
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
