/* SPDX-License-Identifier: BSD-2-Clause */
/* What the parts of bench_ingest share. */
#ifndef KMS_BENCH_INGEST_H
#define KMS_BENCH_INGEST_H

#include <stddef.h>
#include <stdint.h>

#include "schema/region.h"

/** Blocks of a ring as a target left them. */
struct ingest_blocks {
	const char *name;
	struct kms_block *block;
	size_t n;
	uint64_t events;
	uint64_t record_bytes; /* used ones */
};

/** One way to keep events: what it took. */
struct ingest_result {
	double cpu_s;  /* of this process, all threads */
	double wall_s; /* until everything is in the file */
	uint64_t events;
	uint64_t bytes; /* of the file */
};

/** Seconds of CPU of this process, and of the wall clock. */
struct ingest_time {
	double cpu_s, wall_s;
};

struct ingest_time ingest_now(void);

/** Prints what went wrong and ends the program. */
_Noreturn void ingest_fail(const char *what, const char *why);

/** Fills @out with @n blocks of a named workload (tracer/test/workload.h). -1: no such name */
int ingest_make(const char *name, size_t n, uint64_t seed, struct ingest_blocks *out);

/** Fills @out with the blocks of a trace, at most @n. Ends the program if it cannot be read. */
void ingest_load(const char *path, size_t n, struct ingest_blocks *out);

/** The events as rows of a table, 10,000 a transaction: what we would do without chunks. */
struct ingest_result ingest_rows(const struct ingest_blocks *in, const char *path,
				 uint64_t max_events);

/** Reads a trace back: chunks to blocks to events. */
struct ingest_result ingest_read(const char *path);

/** Decodes the blocks and applies them to a live model, with snapshots. */
struct ingest_result ingest_model(const struct ingest_blocks *in);

/** Finds all events of one address. bytes: parts in a million of the chunks that were opened. */
struct ingest_result ingest_history(const char *path, uint64_t address);

#endif
