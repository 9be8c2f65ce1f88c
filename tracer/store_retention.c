/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Retention: when the file outgrows its limit the oldest chunks go. Rings, sites and all other
 * totals stay. The pages become free and are used again, so the file grows no further.
 */
#include "tracer/store_impl.h"

enum {
	/* So much more than needed goes at once, that the next time is some way off: 1/n of the limit. */
	SLACK_PART = 16,
};

static int read_int(struct kms_store *store, const char *sql, int64_t *out)
{
	sqlite3_stmt *stmt;
	int rc = sqlite3_prepare_v2(store->db, sql, -1, &stmt, NULL);

	if (rc != SQLITE_OK)
		return rc;
	rc = sqlite3_step(stmt);
	if (rc == SQLITE_ROW)
		*out = sqlite3_column_int64(stmt, 0);
	(void)sqlite3_finalize(stmt); /* says again what step said */
	return rc == SQLITE_ROW ? SQLITE_DONE : rc;
}

/* The newest chunk that has to go for @bytes to become free. */
static int find_last(struct kms_store *store, int64_t bytes, int64_t *last, int64_t *events)
{
	sqlite3_stmt *stmt;
	int rc = sqlite3_prepare_v2(store->db,
				    "SELECT c.id, c.events, length(c.dir) + length(c.pages) + "
				    "length(c.stacks) + length(d.data) FROM chunks c "
				    "JOIN chunk_data d USING(id) ORDER BY c.id",
				    -1, &stmt, NULL);

	*last = *events = 0;
	if (rc != SQLITE_OK)
		return rc;
	while (bytes > 0 && (rc = sqlite3_step(stmt)) == SQLITE_ROW) {
		*last = sqlite3_column_int64(stmt, 0);
		*events += sqlite3_column_int64(stmt, 1);
		bytes -= sqlite3_column_int64(stmt, 2);
	}
	(void)sqlite3_finalize(stmt); /* says again what step said */
	return rc == SQLITE_ROW ? SQLITE_DONE : rc;
}

static int forget_spans(struct kms_store *store)
{
	int rc = sqlite3_exec(store->db,
			      "DELETE FROM spans WHERE t1_ns < (SELECT min(t0_ns) FROM chunks)",
			      NULL, NULL, NULL);

	return rc == SQLITE_OK ? SQLITE_DONE : rc;
}

int store_retain(struct kms_store *store)
{
	int64_t limit = (int64_t)store->config.retention_bytes;
	int64_t pages = 0, unused = 0, last, events, excess;
	int rc = read_int(store, "PRAGMA page_count", &pages);

	if (rc == SQLITE_DONE && pages * KMS_STORE_PAGE_BYTES > limit)
		rc = read_int(store, "PRAGMA freelist_count", &unused);
	excess = (pages - unused) * KMS_STORE_PAGE_BYTES - limit;
	if (rc != SQLITE_DONE || excess <= 0)
		return rc;
	rc = find_last(store, excess + limit / SLACK_PART, &last, &events);
	if (rc != SQLITE_DONE || !last)
		return rc;
	rc = KMS_RUN(store->stmt[STORE_CHUNK_DELETE], KMS_INT(last));
	if (rc == SQLITE_DONE)
		rc = KMS_RUN(store->stmt[STORE_CHUNK_DATA_DELETE], KMS_INT(last));
	if (rc == SQLITE_DONE)
		rc = forget_spans(store);
	if (rc == SQLITE_DONE)
		store->removed += (uint64_t)events;
	return rc;
}
