/* SPDX-License-Identifier: BSD-2-Clause */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/ingest/ingest.h"
#include "tracer/block.h"
#include "tracer/file.h"
#include "tracer/test/workload.h"

static double seconds(clockid_t clock)
{
	struct timespec t;

	(void)clock_gettime(clock, &t); /* cannot fail */
	return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

struct ingest_time ingest_now(void)
{
	return (struct ingest_time){
		.cpu_s = seconds(CLOCK_PROCESS_CPUTIME_ID),
		.wall_s = seconds(CLOCK_MONOTONIC),
	};
}

void ingest_fail(const char *what, const char *why)
{
	(void)fprintf(stderr, "bench_ingest: %s: %s\n", what, why);
	exit(1);
}

static void reserve(struct ingest_blocks *out, const char *name, size_t n)
{
	memset(out, 0, sizeof(*out));
	out->name = name;
	out->block = malloc(n * sizeof(*out->block));
	if (!out->block)
		ingest_fail(name, "out of memory");
	/* touched, so that the first to read them does not pay */
	memset(out->block, 1, n * sizeof(*out->block));
}

static void count(struct ingest_blocks *out, const struct kms_block *block)
{
	struct kms_block_summary sum;

	if (kms_block_walk(block, 0, &sum, NULL, NULL) < 0)
		ingest_fail(out->name, "a block is malformed");
	out->events += sum.events;
	out->record_bytes += block->fill;
}

int ingest_make(const char *name, size_t n, uint64_t seed, struct ingest_blocks *out)
{
	struct workload *w = workload_create(name, seed);

	if (!w)
		return -1;
	reserve(out, name, n);
	for (; out->n < n; out->n++) {
		workload_block(w, &out->block[out->n]);
		count(out, &out->block[out->n]);
	}
	workload_destroy(w);
	return 0;
}

/* Whole blocks only: a replay may give out one in pieces. */
struct load {
	struct ingest_blocks *out;
	size_t max;
};

static int take_batch(void *arg, const struct kms_batch *batch)
{
	struct load *load = arg;

	for (size_t i = 0; i < batch->n_blocks; i++) {
		struct kms_block *to = &load->out->block[load->out->n];

		if (!batch->block[i].complete || load->out->n == load->max)
			continue;
		memcpy(to, &batch->block[i].block, sizeof(*to));
		to->ring = 0; /* one ring, one after the other */
		to->slot = 0;
		to->number = ++load->out->n;
		count(load->out, to);
	}
	return 0;
}

void ingest_load(const char *path, size_t n, struct ingest_blocks *out)
{
	struct load load = {out, n};
	struct kms_err err = KMS_ERR_INIT;
	struct kms_file *file;

	reserve(out, path, n);
	if (kms_file_open(path, &file, &err) < 0 ||
	    kms_file_replay(file, take_batch, &load, &err) < 0)
		ingest_fail(path, err.text);
	kms_file_close(file);
}
