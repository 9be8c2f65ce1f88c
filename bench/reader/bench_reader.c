/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How fast the reader takes events out of shared memory: programs that do nothing but fill rings,
 * waiting for room, and a reader thread whose batches nobody looks at.
 *
 *	bench_reader [WORKLOAD [SECONDS [PROGRAMS]]]
 *
 * Prints events a second, the CPU time of the reader's process for each event, and how often the
 * programs had to wait. Blocks are made beforehand (tracer/test/workload.h) and copied into the ring,
 * so that a producer costs next to nothing and the reader is the bottleneck.
 */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "tracer/images.h"
#include "tracer/process.h"
#include "tracer/reader.h"
#include "tracer/test/synth.h"
#include "tracer/test/workload.h"

enum {
	N_BLOCKS = 512,
	N_NODES = 1 << 16,
	RING_BLOCKS = 128, /* 512 KiB, the default */
};

/* What arrived. One thread writes, the main one reads at the end. */
struct sum {
	uint64_t events, blocks, batches;
};

static int take(void *arg, struct kms_batch *batch)
{
	struct sum *sum = arg;

	sum->batches++;
	sum->blocks += batch->n_blocks;
	for (size_t i = 0; i < batch->n_blocks; i++)
		sum->events += batch->block[i].summary.events;
	return 0;
}

/* A block made beforehand. */
struct ready {
	struct kms_block block;
	uint32_t events;
};

static struct ready *make_blocks(const char *name)
{
	struct ready *block = calloc(N_BLOCKS, sizeof(*block));
	struct workload *w = workload_create(name, 1);

	if (!block || !w) {
		fprintf(stderr, "bench_reader: no workload %s\n", name);
		exit(1);
	}
	for (size_t i = 0; i < N_BLOCKS; i++) {
		struct kms_block_summary summary;

		workload_block(w, &block[i].block);
		(void)kms_block_walk(&block[i].block, 0, &summary, NULL, NULL); /* made by us */
		block[i].events = summary.events;
	}
	workload_destroy(w);
	return block;
}

static volatile sig_atomic_t stopped;

static void stop(int number)
{
	(void)number;
	stopped = 1;
}

/* A program that fills one ring until it is told to stop. */
static _Noreturn void produce(const char *dir, int nr, const struct ready *block)
{
	struct synth_ring ring;
	struct synth s;
	char path[128];

	signal(SIGTERM, stop);
	snprintf(path, sizeof(path), "%s/img-%d", dir, nr);
	synth_create(&s, path,
		     &(struct synth_config){.blocks_per_ring = RING_BLOCKS,
					    .nodes = N_NODES,
					    .unpublished = true});
	for (uint32_t i = 1; i < N_NODES; i++)
		synth_node(&s, i - 1, i);
	synth_slot(&s, 0, (uint32_t)getpid(), KMS_NO_INDEX);
	synth_publish(&s);
	synth_ring_claim(&ring, &s, 0, 0);
	for (size_t i = 0; !stopped; i = (i + 1) % N_BLOCKS)
		synth_ring_put_bytes(&ring, block[i].block.record, block[i].block.fill,
				     block[i].events);
	synth_ring_close(&ring);
	printf("  program %d waited %llu times\n", nr, (unsigned long long)ring.waits);
	(void)fflush(stdout); /* _exit does not */
	_exit(0);
}

static double cpu_s(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
	       (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

static void wait_until_over(struct kms_images *images)
{
	struct kms_images_state state;

	do {
		usleep(10000);
		kms_images_state(images, &state);
	} while (state.open || state.unfinished);
}

int main(int argc, char **argv)
{
	const char *name = argc > 1 ? argv[1] : "python";
	double seconds = argc > 2 ? atof(argv[2]) : 3;
	int programs = argc > 3 ? atoi(argv[3]) : 1;
	struct ready *block = make_blocks(name);
	char dir[] = "/dev/shm/kms-bench-reader-XXXXXX";
	struct kms_images_config images_config = {.dir = dir};
	struct kms_reader_config reader_config = {.emit = take};
	struct sum sum = {0};
	struct kms_err err = KMS_ERR_INIT;
	struct kms_reader *reader;
	uint64_t start_ns;
	double used_s;
	pid_t pid[64];

	if (!mkdtemp(dir) || programs < 1 || programs > 64)
		return 1;
	images_config.dir = dir;
	reader_config.images = kms_images_create(&images_config, &err);
	reader_config.emit_arg = &sum;
	printf("%s, %d program%s, %.1f s\n", name, programs, programs > 1 ? "s" : "", seconds);
	(void)fflush(stdout); /* or the programs print it again */
	start_ns = kms_mono_ns();
	used_s = cpu_s();
	reader = reader_config.images ? kms_reader_start(&reader_config, &err) : NULL;
	if (!reader) {
		fprintf(stderr, "bench_reader: %s\n", err.text);
		return 1;
	}
	for (int i = 0; i < programs; i++) {
		pid[i] = fork();
		if (pid[i] == 0)
			produce(dir, i, block);
	}
	while ((double)(kms_mono_ns() - start_ns) < seconds * 1e9)
		usleep(10000);
	for (int i = 0; i < programs; i++)
		kill(pid[i], SIGTERM);
	while (wait(NULL) > 0)
		;
	wait_until_over(reader_config.images);
	kms_reader_end(reader);
	kms_reader_free(reader);
	used_s = cpu_s() - used_s;
	printf("  %.1f M events/s, %.1f ns of reader CPU an event, %.0f events a block, "
	       "%llu batches\n",
	       (double)sum.events / ((double)(kms_mono_ns() - start_ns) * 1e-3),
	       used_s * 1e9 / (double)sum.events, (double)sum.events / (double)sum.blocks,
	       (unsigned long long)sum.batches);
	kms_images_destroy(reader_config.images);
	rmdir(dir);
	free(block);
	return 0;
}
