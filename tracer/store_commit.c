/* SPDX-License-Identifier: BSD-2-Clause */
/* One transaction with all that is staged, and the checkpoint after it. */
#include <errno.h>
#include <time.h>

#include "base/clock.h"
#include "tracer/store_impl.h"

struct totals {
	uint64_t produced, stored, lost;
};

static struct totals sum_events(const struct kms_store *store)
{
	struct totals t = {0};

	for (size_t i = 0; i < store->n_rings; i++) {
		const struct store_ring *r = &store->ring[i];

		t.produced += store_ring_produced(r);
		t.lost += r->prior_lost + r->lost;
		t.stored += r->stored;
	}
	return t;
}

static int64_t wall_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail */
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

static int write_meta(struct kms_store *store, bool finished)
{
	struct totals t = sum_events(store);

	const struct {
		const char *key;
		int64_t value;
	} rows[] = {
		{"last_commit_wall_ns", wall_ns()                   },
		{"produced",            (int64_t)t.produced         },
		{"stored",              (int64_t)t.stored           },
		{"lost",                (int64_t)t.lost             },
		{"dropped",             (int64_t)store->dropped     },
		{"removed",             (int64_t)store->removed     },
		{"next_ordinal",        (int64_t)store->next_ordinal},
	};

	int rc = SQLITE_DONE;

	for (size_t i = 0; rc == SQLITE_DONE && i < sizeof(rows) / sizeof(*rows); i++)
		rc = KMS_RUN(store->stmt[STORE_META], KMS_TEXT(rows[i].key),
			     KMS_INT(rows[i].value));
	if (rc == SQLITE_DONE && finished)
		rc = KMS_RUN(store->stmt[STORE_META], KMS_TEXT("state"), KMS_TEXT("finished"));
	return rc;
}

static int write_mark(struct kms_store *store, const struct kms_store_mark *mark)
{
	int rc = KMS_RUN(store->stmt[STORE_MARK_POINT], KMS_INT(mark->id), KMS_INT(mark->time_ns),
			 KMS_INT(mark->wall_ns), KMS_TEXT(mark->name));

	for (size_t i = 0; rc == SQLITE_DONE && i < mark->n_held; i++) {
		const struct kms_held *held = &mark->held[i];

		rc = KMS_RUN(store->stmt[STORE_MARK_SITE], KMS_INT(mark->id), KMS_INT(held->target),
			     KMS_INT(held->stack_id), KMS_TEXT(held->cache), KMS_INT(held->bytes),
			     KMS_INT(held->count));
	}
	return rc;
}

static int write_all(struct kms_store *store, const struct kms_snapshot *snapshot, bool finished,
		     bool slots)
{
	enum store_leave_out without = store->leave_out;
	int rc = SQLITE_DONE;

	if (without < STORE_WITHOUT_TABLES)
		rc = store_write_pages(store);
	if (rc == SQLITE_DONE && without < STORE_WITHOUT_TABLES)
		rc = store_rows_write(&store->rows, store->stmt);
	if (rc == SQLITE_DONE && without < STORE_WITHOUT_EVENTS)
		rc = store_write_blocks(store);
	if (rc == SQLITE_DONE && without < STORE_WITHOUT_FIGURES)
		rc = store_write_targets(store, slots);
	if (rc == SQLITE_DONE && snapshot)
		rc = store_write_snapshot(store, snapshot);
	if (rc == SQLITE_DONE && store->mark)
		rc = write_mark(store, store->mark);
	if (rc == SQLITE_DONE)
		rc = store_retain(store);
	if (rc == SQLITE_DONE)
		rc = write_meta(store, finished);
	return rc;
}

/* Called by the one connection that writes, and only between its transactions. */
static void checkpoint(struct kms_store *store)
{
	if ((int64_t)store->wal_pages * KMS_STORE_PAGE_BYTES < KMS_STORE_WAL_BYTES)
		return;
	/* What readers keep from being copied, or a disk error, shows at the next one. */
	(void)sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

static void update_figures(struct kms_store *store)
{
	int64_t pages = 0;

	if (kms_db_int(store->db, "PRAGMA page_count", &pages, NULL) == 0)
		atomic_store(&store->db_bytes, (uint64_t)pages * KMS_STORE_PAGE_BYTES);
	atomic_store(&store->stored, sum_events(store).stored);
}

static int exec(struct kms_store *store, const char *sql)
{
	return sqlite3_exec(store->db, sql, NULL, NULL, NULL);
}

int store_flush(struct kms_store *store, const struct kms_snapshot *snapshot, bool finished,
		struct kms_err *err)
{
	uint64_t now = kms_clock_now(kms_clock_system());
	bool slots = finished || snapshot || now - store->last_slots_ns >= KMS_STORE_SLOT_NS;
	int rc = exec(store, "BEGIN IMMEDIATE");

	store->last_commit_ns = now; /* whatever comes of it: no hurry after a failure */
	if (rc == SQLITE_OK)
		rc = write_all(store, snapshot, finished, slots);
	if (rc == SQLITE_OK || rc == SQLITE_DONE)
		rc = exec(store, "COMMIT");
	if (rc != SQLITE_OK) {
		int result = kms_db_err(err, store->db, rc, "cannot write trace");

		kms_err_subject(err, store->path);
		(void)exec(store, "ROLLBACK"); /* fails where SQLite already has */
		/* The file cannot be written and memory must end somewhere. */
		store_drop_staged(store, KMS_STORE_STAGED_BYTES);
		/* The log's room can be used again once what is in it is where it belongs. */
		if (result == -ENOSPC)
			(void)sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_PASSIVE,
							NULL, NULL);
		return result;
	}
	store_pages_written(store);
	store_rows_clear(&store->rows);
	store_blocks_written(store);
	store_targets_written(store, slots);
	if (slots)
		store->last_slots_ns = now;
	store->changed = false;
	update_figures(store);
	checkpoint(store);
	return 0;
}
