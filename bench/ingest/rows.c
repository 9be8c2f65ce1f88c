/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/ingest/ingest.h"
#include "tracer/block.h"
#include "tracer/db.h"

enum {
	TRANSACTION_ROWS = 10000,
};

static void exec(sqlite3 *db, const char *sql)
{
	struct kms_err err = KMS_ERR_INIT;

	if (kms_db_exec(db, sql, &err) < 0)
		ingest_fail("rows", err.text);
}

static void insert(sqlite3_stmt *stmt, uint64_t seq, const struct kms_event *e)
{
	int rc = KMS_RUN(stmt, KMS_INT(seq), KMS_INT(e->time_ns), KMS_INT(e->kind),
			 KMS_INT(e->address), KMS_INT(e->size), KMS_INT(e->thread),
			 KMS_INT(e->stack), KMS_INT(e->flags));

	if (rc != SQLITE_DONE)
		ingest_fail("rows", sqlite3_errstr(rc));
}

static uint64_t insert_all(sqlite3 *db, const struct ingest_blocks *in, uint64_t max_events)
{
	struct kms_event *event = malloc(KMS_SEQ_PER_BLOCK * sizeof(*event));
	sqlite3_stmt *stmt;
	uint64_t done = 0;
	size_t n;

	if (!event || sqlite3_prepare_v2(db, "INSERT INTO events VALUES(?,?,?,?,?,?,?,?)", -1,
					 &stmt, NULL) != SQLITE_OK)
		ingest_fail("rows", "cannot prepare");
	exec(db, "BEGIN");
	for (size_t i = 0; i < in->n && done < max_events; i++) {
		if (kms_block_decode(&in->block[i], event, KMS_SEQ_PER_BLOCK, &n) < 0)
			ingest_fail("rows", "a block is malformed");
		for (size_t k = 0; k < n; k++) {
			insert(stmt, done++, &event[k]);
			if (done % TRANSACTION_ROWS == 0)
				exec(db, "COMMIT; BEGIN");
		}
	}
	exec(db, "COMMIT");
	(void)sqlite3_finalize(stmt); /* said what it had to say */
	free(event);
	return done;
}

struct ingest_result ingest_rows(const struct ingest_blocks *in, const char *path,
				 uint64_t max_events)
{
	struct ingest_result r = {0};
	struct ingest_time begin, end;
	struct stat st;
	sqlite3 *db;

	(void)unlink(path);
	begin = ingest_now();
	if (sqlite3_open(path, &db) != SQLITE_OK)
		ingest_fail(path, "cannot open");
	exec(db, "PRAGMA page_size=8192; PRAGMA journal_mode=wal; PRAGMA synchronous=normal; "
		 "CREATE TABLE events(seq INTEGER PRIMARY KEY, time_ns INTEGER, kind INTEGER, "
		 "address INTEGER, size INTEGER, thread INTEGER, stack INTEGER, flags INTEGER)");
	r.events = insert_all(db, in, max_events);
	if (sqlite3_close(db) != SQLITE_OK)
		ingest_fail(path, "cannot close");
	end = ingest_now();
	r.cpu_s = end.cpu_s - begin.cpu_s;
	r.wall_s = end.wall_s - begin.wall_s;
	if (stat(path, &st) == 0)
		r.bytes = (uint64_t)st.st_size;
	(void)unlink(path);
	return r;
}
