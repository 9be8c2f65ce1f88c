/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Ingest on one core: blocks lie in a ring, are copied, walked, taken apart, compressed and stored in
 * a trace until it is closed and checkpointed; then the trace is read back to events. Beside it, in
 * the same round: the blocks into the live model, and the same events as rows of an SQLite table.
 *
 *	bench_ingest [-n BLOCKS] [-r ROUNDS] [-d FOLDER] [-f TRACE.kms] [WORKLOAD...]
 *
 * Without a name all workloads run; -f takes the blocks of a trace that a real program left. The
 * model's figure counts with real ones only: made-up workloads tell of no slabs, for which it waits.
 * Medians of the rounds are printed. Rates are of CPU time, so that a busy machine does not count; the
 * wall time of the disk stands beside them. The last columns are the history of one address:
 * milliseconds from opening the file to the last event, and the part of the chunks that had to be
 * opened.
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench/ingest/ingest.h"
#include "tracer/batch_build.h"
#include "tracer/block.h"
#include "tracer/store.h"
#include "tracer/test/workload.h"

enum {
	BATCH_BLOCKS = 64, /* copied in one poll */
	ROUNDS_MAX = 15,
	ROWS_EVENTS = 400000,
};

struct options {
	size_t blocks;
	unsigned rounds;
	const char *folder;
};

/* What one round of a workload measured. */
struct round {
	double store_ns, decode_ns, model_ns, rows_ns; /* CPU, an event */
	double store_wall_ns;
	double store_bytes, rows_bytes; /* an event */
	double history_ms, history_part;
};

static struct kms_batch *first_batch(void)
{
	struct kms_batch *batch = kms_batch_create();
	struct kms_batch_target *target = batch ? kms_batch_add_target(batch) : NULL;

	if (!target)
		ingest_fail("batch", "out of memory");
	target->id = target->image = 1;
	target->state = KMS_STATE_RUNNING;
	return batch;
}

/* What the reader does: a private copy of each block, and the walk. */
static void copy_blocks(struct kms_batch *batch, const struct kms_block *from, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		struct kms_batch_block *b = kms_batch_add_block(batch);

		if (!b)
			ingest_fail("batch", "out of memory");
		b->image = b->target = 1;
		b->complete = true;
		memcpy(&b->block, &from[i], sizeof(b->block));
		if (kms_block_walk(&b->block, 0, &b->summary, NULL, NULL) < 0)
			ingest_fail("batch", "a block is malformed");
	}
}

static void store_all(struct kms_store *store, const struct ingest_blocks *in)
{
	struct kms_batch *batch = first_batch();
	struct kms_err err = KMS_ERR_INIT;

	for (size_t i = 0; i < in->n; i += BATCH_BLOCKS) {
		copy_blocks(batch, in->block + i,
			    in->n - i < BATCH_BLOCKS ? in->n - i : BATCH_BLOCKS);
		if (kms_store_add(store, batch, &err) < 0)
			ingest_fail("store", err.text);
		kms_batch_reset(batch);
	}
	kms_batch_put(batch);
}

static struct ingest_result ingest_store(const struct ingest_blocks *in, const char *path)
{
	struct kms_store_config config = {.path = path};
	struct kms_err err = KMS_ERR_INIT;
	struct ingest_time begin = ingest_now(), end;
	struct ingest_result r = {.events = in->events};
	struct kms_store *store;
	struct stat st;

	if (kms_store_create(&config, &store, &err) < 0)
		ingest_fail(path, err.text);
	store_all(store, in);
	if (kms_store_close(store, &err) < 0)
		ingest_fail(path, err.text);
	end = ingest_now();
	r.cpu_s = end.cpu_s - begin.cpu_s;
	r.wall_s = end.wall_s - begin.wall_s;
	if (stat(path, &st) == 0)
		r.bytes = (uint64_t)st.st_size;
	return r;
}

static double each(double total, uint64_t events)
{
	return events ? total / (double)events : 0;
}

/* The address of an event in the middle of the run. */
static uint64_t some_address(const struct ingest_blocks *in)
{
	struct kms_event *event = malloc(KMS_SEQ_PER_BLOCK * sizeof(*event));
	uint64_t address = 0;
	size_t n;

	if (!event || kms_block_decode(&in->block[in->n / 2], event, KMS_SEQ_PER_BLOCK, &n) < 0)
		ingest_fail(in->name, "cannot decode");
	for (size_t i = 0; i < n && !address; i++)
		address = event[i].kind <= KMS_EVENT_FREE ? event[i].address : 0;
	free(event);
	return address;
}

static struct round run_round(const struct ingest_blocks *in, const char *folder)
{
	char path[4096], rows[4096];
	struct ingest_result stored, read, row, history, model;

	(void)snprintf(path, sizeof(path), "%s/bench_ingest.kms", folder); /* open says if cut */
	(void)snprintf(rows, sizeof(rows), "%s/bench_ingest.db", folder);
	(void)unlink(path);
	stored = ingest_store(in, path);
	read = ingest_read(path);
	history = ingest_history(path, some_address(in));
	model = ingest_model(in);
	row = ingest_rows(in, rows, ROWS_EVENTS);
	(void)unlink(path);
	if (read.events != in->events)
		ingest_fail(in->name, "the trace does not have all events");
	return (struct round){
		.store_ns = each(stored.cpu_s * 1e9, stored.events),
		.store_wall_ns = each(stored.wall_s * 1e9, stored.events),
		.store_bytes = each((double)stored.bytes, stored.events),
		.decode_ns = each(read.cpu_s * 1e9, read.events),
		.model_ns = each(model.cpu_s * 1e9, model.events),
		.rows_ns = each(row.cpu_s * 1e9, row.events),
		.rows_bytes = each((double)row.bytes, row.events),
		.history_ms = history.wall_s * 1e3,
		.history_part = (double)history.bytes / 1e6,
	};
}

static int by_value(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return x < y ? -1 : x > y;
}

/* Median of one member over the rounds. */
static double median(const struct round *round, unsigned n, size_t member)
{
	double value[ROUNDS_MAX];

	for (unsigned i = 0; i < n; i++)
		memcpy(&value[i], (const char *)&round[i] + member, sizeof(value[i]));
	qsort(value, n, sizeof(value[0]), by_value);
	return value[n / 2];
}

static void run_blocks(const struct ingest_blocks *in, const struct options *o)
{
	struct round round[ROUNDS_MAX];

	for (unsigned i = 0; i < o->rounds; i++)
		round[i] = run_round(in, o->folder);
#define MEDIAN(member) median(round, o->rounds, offsetof(struct round, member))
	printf("%-10.10s %8.2f M %6.2f %9.2f %8.1f %8.1f %9.1f %8.1f %8.2f %8.1f %7.1f %9.1f "
	       "%6.3f\n",
	       in->name, (double)in->events / 1e6, each((double)in->record_bytes, in->events),
	       MEDIAN(store_bytes), 1e3 / MEDIAN(store_ns), 1e3 / MEDIAN(store_wall_ns),
	       1e3 / MEDIAN(decode_ns), 1e3 / MEDIAN(model_ns), 1e3 / MEDIAN(rows_ns),
	       MEDIAN(rows_bytes), MEDIAN(rows_ns) / MEDIAN(store_ns), MEDIAN(history_ms),
	       MEDIAN(history_part));
#undef MEDIAN
	(void)fflush(stdout);
}

static void usage(void)
{
	(void)fprintf(stderr, "usage: bench_ingest [-n BLOCKS] [-r ROUNDS] [-d FOLDER] "
			      "[-f TRACE.kms] [WORKLOAD...]\n");
	exit(2);
}

static void run_name(const char *name, const struct options *o)
{
	struct ingest_blocks in;

	if (ingest_make(name, o->blocks, 1, &in) < 0)
		ingest_fail(name, "no such workload");
	run_blocks(&in, o);
	free(in.block);
}

static void run_file(const char *path, const struct options *o)
{
	struct ingest_blocks in;

	ingest_load(path, o->blocks, &in);
	run_blocks(&in, o);
	free(in.block);
}

static void print_head(void)
{
	printf("%-10s %10s %6s %9s %8s %8s %9s %8s %8s %8s %7s %9s %6s\n", "", "", "ring", "trace",
	       "store", "store", "decode", "model", "rows", "rows", "store", "history", "of");
	printf("%-10s %10s %6s %9s %8s %8s %9s %8s %8s %8s %7s %9s %6s\n", "workload", "events",
	       "B/ev", "B/ev", "M/s cpu", "M/s wall", "M/s", "M/s", "M/s", "B/ev", "/ rows", "ms",
	       "chunks");
}

int main(int argc, char **argv)
{
	struct options o = {.blocks = 8192, .rounds = 5, .folder = "."};
	const char *file = NULL;
	int option;

	while ((option = getopt(argc, argv, "n:r:d:f:")) != -1) {
		switch (option) {
		case 'n':
			o.blocks = strtoul(optarg, NULL, 10);
			break;
		case 'r':
			o.rounds = (unsigned)strtoul(optarg, NULL, 10);
			break;
		case 'd':
			o.folder = optarg;
			break;
		case 'f':
			file = optarg;
			break;
		default:
			usage();
		}
	}
	if (!o.blocks || !o.rounds || o.rounds > ROUNDS_MAX)
		usage();
	print_head();
	if (file)
		run_file(file, &o);
	for (int i = optind; i < argc; i++)
		run_name(argv[i], &o);
	for (const char *const *name = workload_names; !file && optind == argc && *name; name++)
		run_name(*name, &o);
	return 0;
}
