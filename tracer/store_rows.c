/* SPDX-License-Identifier: BSD-2-Clause */
#include "tracer/store_rows.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum {
	FIRST_ROOM = 4096,
	KEEP_ROOM = 1 << 20,
};

static const char *const texts[STORE_STMT_COUNT] = {
	[STORE_META] = "INSERT OR REPLACE INTO meta(key, value) VALUES(?,?)",
	/* kind comes with the snapshot and stays */
	/* NOLINTNEXTLINE(bugprone-suspicious-missing-comma): one text */
	[STORE_TARGET] =
		/* NOLINTNEXTLINE(bugprone-suspicious-missing-comma): one text */
	"INSERT INTO targets(id, name, kind, pid, state, started, ended, exit_status, parent,"
	" command, image, slot, region_start) VALUES(?1,?2,'process',?3,?4,?5,?6,?7,?8,?9,?10,?11,"
	"?12) ON CONFLICT(id) DO UPDATE SET name=?2, pid=?3, state=?4, started=?5, ended=?6,"
	" exit_status=?7, parent=?8, command=?9, image=?10, slot=?11, region_start=?12",
	[STORE_TARGET_KIND] = "UPDATE targets SET kind=?2 WHERE id=?1 AND kind<>?2",
	[STORE_RING] = "INSERT OR REPLACE INTO rings VALUES(?,?,?,?,?)",
	[STORE_CHUNK] = "INSERT OR REPLACE INTO chunks VALUES(?,?,?,?,?,?,?,?,?,?,?,?)",
	[STORE_CHUNK_DATA] = "INSERT OR REPLACE INTO chunk_data VALUES(?,?)",
	[STORE_CHUNK_DELETE] = "DELETE FROM chunks WHERE id <= ?",
	[STORE_CHUNK_DATA_DELETE] = "DELETE FROM chunk_data WHERE id <= ?",
	[STORE_OPEN_BLOCK] = "INSERT OR REPLACE INTO open_blocks VALUES(?,?,?,?)",
	[STORE_OPEN_BLOCK_DELETE] = "DELETE FROM open_blocks WHERE ordinal = ?",
	[STORE_PAGE] = "INSERT OR REPLACE INTO region_pages VALUES(?,?,?,?,?,?)",
	[STORE_PAGE_READ] = "SELECT data FROM region_pages WHERE id = ?",
	[STORE_SLOT] = "INSERT OR REPLACE INTO slot_copies VALUES(?,?,?)",
	[STORE_MODULE] = "INSERT OR REPLACE INTO modules VALUES(?,?,?,?,?,?,?,?,?)",
	[STORE_THREAD] = "INSERT OR REPLACE INTO threads VALUES(?,?,?,?,?)",
	[STORE_CACHE_NAME] = "INSERT OR REPLACE INTO cache_names VALUES(?,?,?,?,?,?)",
	[STORE_SPAN] = "INSERT OR REPLACE INTO spans VALUES(?,?,?,?,?,?,?,NULL)",
	[STORE_SPAN_END] = "UPDATE spans SET t1_ns = ?2 WHERE id = ?1",
	[STORE_SYMBOL] = "INSERT OR REPLACE INTO symbols VALUES(?,?,?,?,?,?,?,?)",
	[STORE_STACK] = "INSERT OR REPLACE INTO stacks VALUES(?,?,?)",
	[STORE_STATS] = "INSERT INTO stats VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
	[STORE_CACHE] = "INSERT INTO caches VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
	[STORE_GUARD] = "INSERT INTO guard VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
	[STORE_LEAK] = "INSERT INTO leak_rows VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
	[STORE_LEAK_CACHE] = "INSERT INTO leak_caches VALUES(?,?,?,?,?)",
	[STORE_FAULT] = "INSERT OR REPLACE INTO fault_rows VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
	[STORE_OWNER] = "INSERT OR REPLACE INTO fault_owners VALUES(?,?,?,?,?,?,?,?)",
	[STORE_SAMPLE] = "INSERT OR REPLACE INTO samples VALUES(?,?,?,?,?,?,?,?,?,?,?)",
	[STORE_TARGET_SAMPLE] =
		"INSERT OR REPLACE INTO target_samples VALUES(?,?,?,?,?,?,?,?,?,?,?,?)",
	[STORE_TARGET_SAMPLE_DELETE] = "DELETE FROM target_samples WHERE time_ns < ?",
	[STORE_MARK] = "INSERT OR REPLACE INTO marks VALUES(?,?,?,?)",
	[STORE_AUDIT] = "INSERT OR REPLACE INTO audit VALUES(?,?,?,?,?,?,?)",
	[STORE_MARK_POINT] = "INSERT INTO mark_points VALUES(?,?,?,?)",
	[STORE_MARK_SITE] = "INSERT INTO mark_sites VALUES(?,?,?,?,?,?)",
};

int store_prepare(sqlite3 *db, sqlite3_stmt *stmt[STORE_STMT_COUNT], struct kms_err *err)
{
	for (unsigned i = 0; i < STORE_STMT_COUNT; i++) {
		int rc = sqlite3_prepare_v3(db, texts[i], -1, SQLITE_PREPARE_PERSISTENT, &stmt[i],
					    NULL);

		if (rc != SQLITE_OK)
			return kms_db_err(err, db, rc, texts[i]);
	}
	return 0;
}

void store_unprepare(sqlite3_stmt *stmt[STORE_STMT_COUNT])
{
	for (unsigned i = 0; i < STORE_STMT_COUNT; i++) {
		(void)sqlite3_finalize(stmt[i]); /* says again what the last step said */
		stmt[i] = NULL;
	}
}

/* A row in memory: this, then its values, then their bytes, then padding to 8. */
struct row {
	uint32_t bytes; /* all of it */
	uint16_t stmt;
	uint16_t n;
};

static size_t padded(size_t bytes)
{
	return (bytes + 7) & ~(size_t)7;
}

/* Text is kept with its NUL. */
static size_t extra_bytes(const struct kms_value *value)
{
	if (value->type == KMS_VALUE_BLOB)
		return padded(value->n_bytes);
	if (value->type == KMS_VALUE_TEXT && value->bytes)
		return padded(strlen(value->bytes) + 1);
	return 0;
}

static int reserve(struct store_rows *rows, size_t bytes)
{
	size_t room = rows->room ? rows->room : FIRST_ROOM;
	uint8_t *memory;

	while (room < rows->n_bytes + bytes)
		room *= 2;
	if (room == rows->room)
		return 0;
	memory = realloc(rows->bytes, room);
	if (!memory)
		return -ENOMEM;
	rows->bytes = memory;
	rows->room = room;
	return 0;
}

int store_rows_add(struct store_rows *rows, enum store_stmt stmt, const struct kms_value *value,
		   unsigned n)
{
	size_t bytes = sizeof(struct row) + n * sizeof(*value);
	struct row row = {.stmt = (uint16_t)stmt, .n = (uint16_t)n};
	uint8_t *at;

	for (unsigned i = 0; i < n; i++)
		bytes += extra_bytes(&value[i]);
	if (rows->n_bytes + bytes > STORE_ROWS_BYTES_MAX) {
		rows->refused++;
		return -ENOSPC;
	}
	if (reserve(rows, bytes) < 0)
		return -ENOMEM;
	row.bytes = (uint32_t)bytes;
	at = rows->bytes + rows->n_bytes;
	memcpy(at, &row, sizeof(row));
	memcpy(at + sizeof(row), value, n * sizeof(*value));
	at += sizeof(row) + n * sizeof(*value);
	for (unsigned i = 0; i < n; i++) {
		size_t extra = extra_bytes(&value[i]);

		if (extra && value[i].type == KMS_VALUE_BLOB)
			memcpy(at, value[i].bytes, value[i].n_bytes);
		else if (extra)
			memcpy(at, value[i].bytes, strlen(value[i].bytes) + 1);
		at += extra;
	}
	rows->n_bytes += bytes;
	return 0;
}

enum {
	VALUES_MAX = 32,
};

static int write_row(const struct row *row, const uint8_t *body,
		     sqlite3_stmt *stmt[STORE_STMT_COUNT])
{
	struct kms_value value[VALUES_MAX];
	const uint8_t *extra = body + row->n * sizeof(*value);

	memcpy(value, body, row->n * sizeof(*value));
	for (unsigned i = 0; i < row->n; i++) {
		/* the memory may have moved since; what a pointer was still tells NULL */
		size_t bytes = value[i].type == KMS_VALUE_BLOB ? padded(value[i].n_bytes) : 0;

		if (value[i].type == KMS_VALUE_TEXT && value[i].bytes)
			bytes = padded(strlen((const char *)extra) + 1);
		if (bytes)
			value[i].bytes = extra;
		extra += bytes;
	}
	return kms_db_run(stmt[row->stmt], value, row->n);
}

int store_rows_write(const struct store_rows *rows, sqlite3_stmt *stmt[STORE_STMT_COUNT])
{
	int rc = SQLITE_DONE;
	struct row row;

	for (size_t at = 0; rc == SQLITE_DONE && at < rows->n_bytes; at += row.bytes) {
		memcpy(&row, rows->bytes + at, sizeof(row));
		rc = write_row(&row, rows->bytes + at + sizeof(row), stmt);
	}
	return rc;
}

void store_rows_clear(struct store_rows *rows)
{
	rows->n_bytes = 0;
	if (rows->room > KEEP_ROOM)
		store_rows_free(rows);
}

void store_rows_free(struct store_rows *rows)
{
	free(rows->bytes);
	rows->bytes = NULL;
	rows->n_bytes = rows->room = 0;
}
