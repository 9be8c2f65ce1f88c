/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdlib.h>

#include "bench/ingest/ingest.h"
#include "tracer/block.h"
#include "tracer/file_connect.h"
#include "tracer/scan.h"
#include "tracer/trace.h"

/* An open trace. */
struct reading {
	sqlite3 *db;
	struct kms_trace *trace;
	struct ingest_time begin;
};

static struct reading begin_reading(const char *path)
{
	struct reading r = {.begin = ingest_now()};
	struct kms_err err = KMS_ERR_INIT;

	if (kms_file_connect(path, &r.db, &err) < 0 || kms_trace_create(r.db, &r.trace, &err) < 0 ||
	    kms_trace_refresh(r.trace, &err) < 0)
		ingest_fail(path, err.text);
	return r;
}

static struct ingest_result end_reading(struct reading *r, uint64_t events)
{
	struct ingest_time end = ingest_now();

	kms_trace_destroy(r->trace);
	(void)sqlite3_close(r->db); /* no statement is left */
	return (struct ingest_result){
		.cpu_s = end.cpu_s - r->begin.cpu_s,
		.wall_s = end.wall_s - r->begin.wall_s,
		.events = events,
	};
}

static uint64_t read_chunk(struct kms_trace *trace, int64_t id, struct kms_chunk_block *dir,
			   struct kms_event *event)
{
	struct kms_err err = KMS_ERR_INIT;
	uint64_t events = 0;
	size_t n, n_events;

	if (kms_trace_dir(trace, id, dir, &n, &err) < 0)
		ingest_fail("chunk", err.text);
	for (size_t i = 0; i < n; i++) {
		const struct kms_block *block;

		if (kms_trace_block(trace, id, i, dir[i].ordinal, &block, &err) < 0 ||
		    kms_block_decode(block, event, KMS_SEQ_PER_BLOCK, &n_events) < 0)
			ingest_fail("block", err.text);
		events += n_events;
	}
	return events;
}

struct ingest_result ingest_read(const char *path)
{
	struct kms_chunk_block *dir = malloc(KMS_CHUNK_BLOCKS_MAX * sizeof(*dir));
	struct kms_event *event = malloc(KMS_SEQ_PER_BLOCK * sizeof(*event));
	struct reading r = begin_reading(path);
	uint64_t events = 0;
	size_t n;
	const struct kms_trace_chunk *chunk = kms_trace_chunks(r.trace, &n);

	if (!dir || !event)
		ingest_fail(path, "out of memory");
	for (size_t i = 0; i < n; i++)
		events += read_chunk(r.trace, chunk[i].id, dir, event);
	free(dir);
	free(event);
	return end_reading(&r, events);
}

struct ingest_result ingest_history(const char *path, uint64_t address)
{
	struct kms_scan_query query = KMS_SCAN_ALL;
	struct reading r = begin_reading(path);
	struct kms_err err = KMS_ERR_INIT;
	const struct kms_scan_event *event;
	struct kms_scan_work work;
	struct kms_scan *scan;
	struct ingest_result result;
	uint64_t events = 0;

	query.address = address;
	query.has_address = true;
	if (kms_scan_open(r.trace, &query, &scan, &err) < 0)
		ingest_fail(path, err.text);
	while (kms_scan_next(scan, &event, &err) == 0 && event)
		events++;
	kms_scan_work(scan, &work);
	kms_scan_close(scan);
	result = end_reading(&r, events);
	result.bytes = work.chunks ? work.chunks_read * 1000000 / work.chunks : 0;
	return result;
}
