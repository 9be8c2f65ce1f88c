/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The end of a trace, also on a disk that has no room left: what the file says last (that it is
 * finished, how many events there were and how many of them it has) matters more than the last
 * events. So some room is kept from the start, by a file without a name that nobody else can use; and
 * what still does not fit is given up piece by piece, the largest first.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "tracer/store_impl.h"

enum {
	SPARE_BYTES = 1 << 20, /* the last picture of a large program, and its way into the file */
	SPARE_PART = 4,        /* of what is free, if that is little */
};

void store_spare_take(struct kms_store *store)
{
	char path[PATH_MAX];
	struct statvfs fs;
	off_t bytes = SPARE_BYTES;
	int fd;

	if (snprintf(path, sizeof(path), "%s.spare", store->path) >= (int)sizeof(path))
		return;
	fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return;
	(void)unlink(path); /* whoever kills us frees it */
	if (fstatvfs(fd, &fs) == 0 &&
	    (uint64_t)fs.f_bavail * fs.f_frsize / SPARE_PART < SPARE_BYTES)
		bytes = (off_t)((uint64_t)fs.f_bavail * fs.f_frsize / SPARE_PART);
	/* where this is not to be had the end is as uncertain as the rest */
	if (bytes == 0 || fallocate(fd, 0, 0, bytes) < 0) {
		(void)close(fd); /* nothing is in it */
		return;
	}
	store->spare_fd = fd;
}

void store_spare_release(struct kms_store *store)
{
	if (store->spare_fd >= 0)
		(void)close(store->spare_fd); /* nothing is in it */
	store->spare_fd = -1;
}

/* A finished trace is one file: no log beside it, readable from where nothing can be written. */
static void leave_wal(struct kms_store *store)
{
	/* Fails while somebody reads; then the log stays, which readers know how to use. The change of
	 * mode is a transaction; with its journal in memory no journal can be left behind, which a
	 * reader would have to roll back and may not. It need not reach the disk at once: a file that
	 * still says WAL is as good. */
	(void)sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
	store_unprepare(store->stmt);
	(void)kms_db_exec(
		store->db,
		"PRAGMA busy_timeout=0; PRAGMA synchronous=off; PRAGMA journal_mode=memory", NULL);
}

/* Writes that the run is over with as much of the rest as there is room for. */
static int write_less(struct kms_store *store, const struct kms_snapshot *last)
{
	int result;

	store_drop_staged(store, 0);
	store->leave_out = STORE_WITHOUT_EVENTS;
	result = store_flush(store, last, true, NULL);
	if (result < 0) {
		store->leave_out = STORE_WITHOUT_TABLES;
		result = store_flush(store, last, true, NULL);
	}
	if (result < 0) {
		store->leave_out = STORE_WITHOUT_FIGURES;
		result = store_flush(store, NULL, true, NULL);
	}
	return result;
}

/* Everything, or what there is room for. 0: everything. *is_over: the file says that it is finished */
static int write_last(struct kms_store *store, const struct kms_snapshot *last, bool complete,
		      bool *is_over, struct kms_err *err)
{
	int result = store_flush(store, last, complete, NULL);

	*is_over = result == 0 && complete;
	if (result == 0)
		return 0;
	store_spare_release(store);
	/* what is in the log goes where it belongs, so that its room can be used again */
	(void)sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	result = store_flush(store, last, complete, err); /* the last word: worth a second try */
	*is_over = result == 0 && complete;
	if (result < 0 && complete)
		*is_over = write_less(store, last) == 0;
	return result;
}

int kms_store_finish(struct kms_store *store, const struct kms_snapshot *last, struct kms_err *err)
{
	int result, later;
	bool is_over;

	if (!store)
		return 0;
	result = store_finish_blocks(store, err);
	later = store_make_chunk(store, true, result ? NULL : err);
	result = result ? result : later;
	later = write_last(store, last, result == 0, &is_over, result ? NULL : err);
	result = result ? result : later;
	store_spare_release(store);
	if (is_over)
		leave_wal(store);
	store_destroy(store);
	return result;
}

int kms_store_close(struct kms_store *store, struct kms_err *err)
{
	return kms_store_finish(store, NULL, err);
}
