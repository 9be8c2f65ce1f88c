/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Making the file: whose place it may take, and how. A new trace is made complete beside the old one
 * (FILE.new) and then renamed, so that nothing is lost before there is something better.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"
#include "tracer/store_impl.h"
#include "tracer/trace_lock.h"

enum {
	LINKS_MAX = 40, /* as the kernel's */
	DEFAULT_COMMIT_NS = 250 * 1000 * 1000,
	DEFAULT_LEVEL = 1,
	HEADER_BYTES = 100, /* of an SQLite file */
	USER_VERSION_AT = 60,
	APPLICATION_ID_AT = 68,
};

#define DEFAULT_RETENTION_BYTES (UINT64_C(2) << 30)

static int refuse(struct kms_err *err, const char *path, const char *why)
{
	(void)kms_err_set(err, -EEXIST,
			  "output file exists and is %s: remove it or name another file", why);
	kms_err_subject(err, path);
	return -EEXIST;
}

static uint32_t version_of(const unsigned char *head)
{
	const unsigned char *at = head + USER_VERSION_AT;

	return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* Reads the header by itself: nothing of a foreign file should come near SQLite. */
static int check_header(const char *path, struct kms_err *err)
{
	unsigned char head[HEADER_BYTES];
	KMS_AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n;

	if (fd < 0)
		return kms_err_sys(err, -errno, "cannot read output file", path);
	n = kms_pread_full(fd, head, sizeof(head), 0);
	if (n < 0)
		return kms_err_sys(err, (int)n, "cannot read output file", path);
	if (n == 0)
		return 0; /* made by the caller, as by mktemp(1) */
	if (n < HEADER_BYTES || memcmp(head, "SQLite format 3", 16) != 0 ||
	    memcmp(head + APPLICATION_ID_AT, "KMSC", 4) != 0)
		return refuse(err, path, "not a kmemscope trace");
	if (version_of(head) > (uint32_t)kms_schema_version())
		return refuse(err, path, "a trace of a newer version");
	return 0;
}

/* Before a lock file is put beside it: what a trace can never be made of. */
static int check_kind(const char *path, struct kms_err *err)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return errno == ENOENT ? 0 : kms_err_sys(err, -errno, "cannot make trace", path);
	if (S_ISDIR(st.st_mode))
		return refuse(err, path, "a folder");
	return S_ISREG(st.st_mode) ? 0 : refuse(err, path, "no regular file");
}

/* With the lock, so that nobody writes it; in particular not this process, whose locks on the file
 * closing it would drop. */
static int check_place(const char *path, struct kms_err *err)
{
	struct stat st;

	if (stat(path, &st) < 0 && errno == ENOENT)
		return 0;
	return check_header(path, err);
}

static void path_with(char out[PATH_MAX], const char *path, const char *suffix)
{
	(void)snprintf(out, PATH_MAX, "%s%s", path, suffix); /* length was checked */
}

static int open_db(const char *path, int flags, sqlite3 **db, struct kms_err *err)
{
	int rc = sqlite3_open_v2(path, db, flags, NULL);
	int result = 0;

	if (rc != SQLITE_OK) {
		result = kms_db_err(err, *db, rc, "cannot open trace");
		kms_err_subject(err, path);
		(void)sqlite3_close(*db); /* never used */
		*db = NULL;
	}
	return result;
}

static uint64_t wall_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail */
	return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

static int write_first_meta(sqlite3 *db, const struct kms_store_config *config, struct kms_err *err)
{
	sqlite3_stmt *stmt;
	uint64_t now = wall_ns();
	int rc =
		sqlite3_prepare_v2(db, "INSERT INTO meta(key, value) VALUES(?,?)", -1, &stmt, NULL);

	if (rc == SQLITE_OK)
		rc = KMS_RUN(stmt, KMS_TEXT("state"), KMS_TEXT("running"));
	if (rc == SQLITE_DONE)
		rc = KMS_RUN(stmt, KMS_TEXT("tracer_pid"), KMS_INT(getpid()));
	if (rc == SQLITE_DONE)
		rc = KMS_RUN(stmt, KMS_TEXT("created_wall_ns"), KMS_INT(now));
	if (rc == SQLITE_DONE)
		rc = KMS_RUN(stmt, KMS_TEXT("last_commit_wall_ns"), KMS_INT(now));
	if (rc == SQLITE_DONE)
		rc = KMS_RUN(stmt, KMS_TEXT("command"),
			     KMS_TEXT(config->command ? config->command : ""));
	if (rc == SQLITE_DONE && config->continues)
		rc = KMS_RUN(stmt, KMS_TEXT("continues"), KMS_TEXT(config->continues));
	(void)sqlite3_finalize(stmt); /* says again what step said */
	return rc == SQLITE_DONE ? 0 : kms_db_err(err, db, rc, "cannot write trace");
}

static int fill_new(sqlite3 *db, const struct kms_store_config *config, struct kms_err *err)
{
	char pragmas[128];
	int result;

	/* No journal and no waiting for the disk: until it is renamed nobody needs this file, and after
	 * a crash of the machine an empty one is no loss. */
	(void)snprintf(pragmas, sizeof(pragmas),
		       "PRAGMA page_size=%d; PRAGMA journal_mode=off; PRAGMA synchronous=off",
		       KMS_STORE_PAGE_BYTES); /* fits */
	result = kms_db_exec(db, pragmas, err);
	if (!result)
		result = kms_schema_migrate(db, 0, err);
	if (!result)
		result = write_first_meta(db, config, err);
	/* Here, so that nothing is left to be written, and to fail, once the old trace has gone. */
	if (!result)
		result = kms_db_exec(db, "PRAGMA journal_mode=wal", err);
	return result;
}

static int make_new(const char *path, const struct kms_store_config *config, struct kms_err *err)
{
	sqlite3 *db = NULL;
	int result;

	(void)unlink(path); /* of a tracer that was killed here; open says if it is still there */
	result = open_db(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, &db, err);
	if (result < 0)
		return result;
	result = fill_new(db, config, err);
	if (sqlite3_close(db) != SQLITE_OK && !result)
		result = kms_err_sys(err, -EIO, "cannot write trace", path);
	return result;
}

static int replace(const char *path, const struct kms_store_config *config, struct kms_err *err)
{
	char made[PATH_MAX], beside[PATH_MAX];
	int result;

	path_with(made, path, ".new");
	result = make_new(made, config, err);
	if (!result) {
		/* A log must not outlive its file. */
		path_with(beside, path, "-wal");
		(void)unlink(beside);
		path_with(beside, path, "-shm");
		(void)unlink(beside);
		if (rename(made, path) < 0)
			result = kms_err_sys(err, -errno, "cannot make trace", path);
	}
	if (result < 0)
		(void)unlink(made);
	return result;
}

static int on_wal(void *arg, sqlite3 *db, const char *name, int pages)
{
	struct kms_store *store = arg;

	(void)db;
	(void)name;
	store->wal_pages = pages;
	return SQLITE_OK;
}

static int connect(struct kms_store *store, struct kms_err *err)
{
	int result =
		open_db(store->path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, &store->db, err);

	if (result < 0)
		return result;
	/* FAST: what is deleted is overwritten where that costs no extra write. */
	result = kms_db_exec(store->db,
			     "PRAGMA journal_mode=wal; PRAGMA synchronous=normal; "
			     "PRAGMA wal_autocheckpoint=0; PRAGMA journal_size_limit=67108864; "
			     "PRAGMA secure_delete=fast; PRAGMA temp_store=memory; "
			     "PRAGMA cache_size=-16384; PRAGMA busy_timeout=2000",
			     err);
	if (!result)
		result = store_prepare(store->db, store->stmt, err);
	if (!result)
		(void)sqlite3_wal_hook(store->db, on_wal, store); /* there was none */
	return result;
}

/* A symbolic link stays one, also one that points to nothing yet: what it names is made. */
static int follow_links(struct kms_store *store, struct kms_err *err)
{
	char to[PATH_MAX];
	ssize_t n;

	for (unsigned links = 0; (n = readlink(store->path, to, sizeof(to) - 1)) > 0; links++) {
		char *slash = strrchr(store->path, '/');
		int dir_bytes = slash && to[0] != '/' ? (int)(slash + 1 - store->path) : 0;

		to[n] = '\0';
		if (links == LINKS_MAX)
			return kms_err_sys(err, -ELOOP, "cannot make trace", store->path);
		if (dir_bytes + n + (ssize_t)sizeof(".lock") > PATH_MAX)
			return kms_err_sys(err, -ENAMETOOLONG, "cannot make trace", store->path);
		memcpy(store->path + dir_bytes, to, (size_t)n + 1);
	}
	return 0;
}

static int store_alloc(const struct kms_store_config *config, struct kms_store **out,
		       struct kms_err *err)
{
	struct kms_store *store;
	size_t length = strlen(config->path);

	if (length + sizeof(".lock") > PATH_MAX || !length)
		return kms_err_sys(err, length ? -ENAMETOOLONG : -ENOENT, "cannot make trace",
				   config->path);
	store = calloc(1, sizeof(*store));
	if (!store)
		return kms_err_set(err, -ENOMEM, "out of memory");
	memcpy(store->path, config->path, length + 1);
	store->lock_fd = store->spare_fd = -1;
	store->config = *config;
	store->config.path = store->path;
	store->config.command = store->config.continues = NULL; /* were the caller's */
	if (!store->config.commit_ns)
		store->config.commit_ns = DEFAULT_COMMIT_NS;
	if (!store->config.retention_bytes)
		store->config.retention_bytes = DEFAULT_RETENTION_BYTES;
	if (!store->config.zstd_level)
		store->config.zstd_level = DEFAULT_LEVEL;
	store->staged_end = &store->staged;
	store->next_chunk = store->next_span = store->next_symbol = store->next_audit = 1;
	store->next_ordinal = 1;
	store->changed = true;
	*out = store;
	return 0;
}

static int store_start(struct kms_store *store, const struct kms_store_config *config,
		       struct kms_err *err)
{
	int result = kms_chunk_writer_create(store->config.zstd_level, &store->writer);

	if (result < 0)
		return kms_err_set(err, result, "cannot start compression");
	store->events = malloc(KMS_SEQ_PER_BLOCK * sizeof(*store->events));
	if (!store->events)
		return kms_err_set(err, -ENOMEM, "out of memory");
	result = follow_links(store, err);
	if (!result)
		result = check_kind(store->path, err);
	if (!result)
		result = kms_trace_lock(store->path, &store->lock_fd, err);
	if (!result)
		result = check_place(store->path, err);
	if (!result)
		result = replace(store->path, config, err);
	if (!result)
		result = connect(store, err);
	if (!result)
		store_spare_take(store);
	return result;
}

int kms_store_create(const struct kms_store_config *config, struct kms_store **out,
		     struct kms_err *err)
{
	struct kms_store *store = NULL;
	int result = store_alloc(config, &store, err);

	if (result < 0 || !store)
		return result;
	result = store_start(store, config, err);
	if (result < 0) {
		if (err && !err->subject[0]) {
			kms_err_context(err, "cannot make trace");
			kms_err_subject(err, store->path);
		}
		store_destroy(store);
		return result;
	}
	*out = store;
	return 0;
}

void store_destroy(struct kms_store *store)
{
	store_spare_release(store);
	store_unprepare(store->stmt);
	(void)sqlite3_close(store->db); /* NULL is allowed; all statements are finalised */
	kms_trace_unlock(store->path, store->lock_fd);
	kms_chunk_writer_destroy(store->writer);
	store_blocks_free(store);
	store_pages_free(store);
	store_targets_free(store);
	store_rows_free(&store->rows);
	kms_u64map_deinit(&store->spans);
	kms_u64map_deinit(&store->symbols);
	kms_u64map_deinit(&store->stacks);
	free(store->events);
	free(store);
}
