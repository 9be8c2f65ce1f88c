/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * The reader of a trace over tables with arbitrary rows. The input is a list of rows: a byte for the
 * table, a byte for the count of values, then each value as a type byte and its bytes (integer: 8,
 * blob: u16 length and bytes). They are inserted into an empty trace in memory, and everything is
 * read that there is to read.
 */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/test/fuzz_entry.h"
#include "tracer/db.h"
#include "tracer/scan.h"
#include "tracer/trace.h"
#include "tracer/vtab.h"

enum {
	VALUES = 13,
	EVENTS_MAX = 20000, /* read of one input */
	BLOB = 1,           /* type bytes: an integer is any other */
};

static const char *const tables[] = {
	"INSERT INTO targets VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?)",
	"INSERT INTO chunks VALUES(?,?,?,?,?,?,?,?,?,?,?,?)",
	"INSERT INTO chunk_data VALUES(?,?)",
	"INSERT INTO open_blocks VALUES(?,?,?,?)",
	"INSERT INTO region_pages VALUES(?,?,?,?,?,?)",
	"INSERT INTO spans VALUES(?,?,?,?,?,?,?,?)",
	"INSERT INTO meta VALUES(?,?)",
};

/* What is left of the input. */
struct input {
	const uint8_t *at, *end;
};

static uint64_t take(struct input *in, size_t bytes)
{
	uint64_t value = 0;

	for (size_t i = 0; i < bytes && in->at < in->end; i++)
		value |= (uint64_t)*in->at++ << (8 * i);
	return value;
}

static struct kms_value take_value(struct input *in)
{
	struct kms_value value = KMS_INT(0);
	size_t n;

	if (take(in, 1) != BLOB) {
		value.integer = (int64_t)take(in, 8);
		return value;
	}
	n = take(in, 2);
	if (n > (size_t)(in->end - in->at))
		n = (size_t)(in->end - in->at);
	value = (struct kms_value)KMS_BLOB(in->at, n);
	in->at += n;
	return value;
}

static void insert_row(sqlite3 *db, struct input *in)
{
	const char *sql = tables[take(in, 1) % (sizeof(tables) / sizeof(*tables))];
	unsigned n = (unsigned)take(in, 1) % (VALUES + 1);
	struct kms_value value[VALUES];
	sqlite3_stmt *stmt;

	for (unsigned i = 0; i < n; i++)
		value[i] = take_value(in);
	if (sqlite3_prepare_v2(db, sql, -1, &stmt, NULL) != SQLITE_OK)
		abort();
	if (n <= (unsigned)sqlite3_bind_parameter_count(stmt))
		(void)kms_db_run(stmt, value, n); /* rows that break a constraint are left out */
	(void)sqlite3_finalize(stmt);
}

static void read_events(struct kms_trace *trace, const struct kms_scan_query *query)
{
	const struct kms_scan_event *e = NULL;
	struct kms_scan *scan;

	if (kms_scan_open(trace, query, &scan, NULL) < 0)
		return;
	for (unsigned i = 0; i < EVENTS_MAX; i++) {
		if (kms_scan_next(scan, &e, NULL) < 0 || !e)
			break;
		assert((query->kinds >> e->event.kind & 1) && e->event.seq >= query->seq_min);
		(void)kms_scan_cache(scan);
	}
	kms_scan_close(scan);
}

static void read_tables(struct kms_trace *trace)
{
	char text[128];

	for (uint32_t image = 0; image < 3; image++)
		for (uint32_t index = 0; index < 2000; index += 7) {
			(void)kms_trace_entry(trace, image, KMS_SEC_NODE, index);
			(void)kms_trace_string(trace, image, index, text, sizeof(text));
			(void)kms_trace_tid(trace, image, index);
			(void)kms_trace_cache_name(trace, image, index);
		}
}

static void read_all(sqlite3 *db)
{
	struct kms_scan_query query = KMS_SCAN_ALL;
	struct kms_trace *trace;

	assert(kms_trace_create(db, &trace, NULL) == 0);
	if (kms_trace_refresh(trace, NULL) == 0) {
		read_events(trace, &query);
		query.descending = true;
		query.has_address = true;
		query.address = 0x7f0000001000;
		query.has_site = true;
		query.site = UINT64_C(1) << 32 | 5;
		query.kinds = 1u << KMS_EVENT_ALLOC;
		read_events(trace, &query);
		read_tables(trace);
	}
	kms_trace_destroy(trace);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n)
{
	static sqlite3 *db; /* an empty trace: what an input adds is taken back */
	struct input in = {bytes, bytes + n};

	if (!db) {
		assert(sqlite3_open(":memory:", &db) == SQLITE_OK);
		assert(kms_schema_migrate(db, 0, NULL) == 0);
		assert(kms_vtab_register(db) == SQLITE_OK);
	}
	assert(kms_db_exec(db, "BEGIN", NULL) == 0);
	while (in.at < in.end)
		insert_row(db, &in);
	read_all(db);
	assert(kms_db_exec(db, "ROLLBACK", NULL) == 0);
	return 0;
}
