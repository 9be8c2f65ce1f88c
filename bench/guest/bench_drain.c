/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * How fast the rings of a guest that stands still are read:
 *
 *	bench_drain TARGET
 *
 * TARGET as for `kmemscope attach`. Reads them twice: by the reader alone, whose batches nobody looks at
 * (copied out of the guest and checked), and by the whole tracer (stored in a trace and in the live
 * picture). Nothing is written to the guest. Prints events, and for both the time until the last of
 * them was there, with the CPU time of all threads, ns.
 */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "tracer/batch_build.h"
#include "tracer/guest/link.h"
#include "tracer/guest/opened.h"
#include "tracer/images.h"
#include "tracer/process.h"
#include "tracer/tracer.h"

enum {
	BATCH_BYTES = 8 << 20, /* as the reader's, tracer/reader.c */
	DEADLINE_S = 60,
};

struct drained {
	uint64_t events, wall_ns, cpu_ns;
};

static void require(bool is_true, const char *what)
{
	if (is_true)
		return;
	(void)fprintf(stderr, "bench_drain: %s\n", what);
	_exit(1);
}

static uint64_t cpu_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

/* The guest's kernel, found; none of its history is read yet. */
static struct kms_guest_link *find(struct kms_guest_opened *opened, const char *target)
{
	struct kms_guest_link_config config = {.program = "", .command = ""};
	struct kms_guest_link *link = NULL;
	int result;

	require(!kms_guest_opened_open(target, opened, NULL), "no such guest");
	kms_guest_opened_describe(opened, &config);
	config.is_saved = true;
	config.emulator_fd = -1; /* its end is not waited for */
	require(!kms_guest_link_create(&config, &link, NULL), "no memory");
	do
		result = kms_guest_link_search(link, NULL);
	while (!result);
	require(result == 1, "no kernel in the guest");
	return link;
}

static void by_reader(struct kms_guest_link *link, const char *folder, struct drained *out)
{
	const struct kms_images_config config = {.dir = folder, .guest = link};
	struct kms_images *images = kms_images_create(&config, NULL);
	struct kms_batch *batch = kms_batch_create();
	struct kms_images_news news = {0};

	require(images && batch, "no memory");
	while (!kms_guest_link_is_gone(link) || news.more) {
		const struct kms_images_ask ask = {.now_ns = kms_mono_ns(),
						   .batch_bytes = BATCH_BYTES};
		uint64_t begin = kms_mono_ns(), begin_cpu = cpu_ns();

		kms_batch_reset(batch);
		require(!kms_images_poll(images, &ask, batch, &news), "cannot read");
		for (size_t i = 0; i < batch->n_blocks; i++)
			out->events += batch->block[i].summary.events;
		if (batch->n_blocks) { /* the rounds that find the begin or the end do not count */
			out->wall_ns += kms_mono_ns() - begin;
			out->cpu_ns += cpu_ns() - begin_cpu;
		}
	}
	kms_batch_put(batch);
	kms_images_destroy(images);
}

static void by_tracer(struct kms_guest_link *link, const char *folder, uint64_t events,
		      struct drained *out)
{
	char path[128];
	struct kms_tracer_config config = {
		.run_dir = folder, .output = path, .command = "", .guest = link};
	uint64_t begin = kms_mono_ns(), begin_cpu = cpu_ns();
	struct kms_tracer *tracer;
	struct kms_view view;

	(void)snprintf(path, sizeof(path), "%s/drain.kms", folder); /* fits */
	tracer = kms_tracer_start(&config, NULL);
	require(tracer, "the tracer does not start");
	view = kms_tracer_view(tracer);
	while (out->events < events) {
		const struct kms_snapshot *snapshot = view.ops->acquire(view.ctx);

		out->events = snapshot->stats.stored;
		out->wall_ns = kms_mono_ns() - begin;
		out->cpu_ns = cpu_ns() - begin_cpu;
		view.ops->release(view.ctx, snapshot);
		require(out->wall_ns / 1000000000 < DEADLINE_S, "not all events come");
		(void)poll(NULL, 0, 1); /* the pace of looking, small against what is measured */
	}
	(void)kms_tracer_stop(tracer, NULL); /* the trace is of no further use */
	(void)unlink(path);
}

static void show(const char *how, const struct drained *drained)
{
	printf("%s %" PRIu64 " %" PRIu64 " %" PRIu64 "\n", how, drained->events, drained->wall_ns,
	       drained->cpu_ns);
}

int main(int argc, char **argv)
{
	char folder[] = "/dev/shm/kms-bench-drain-XXXXXX";
	struct kms_guest_opened opened = {0};
	struct drained reader = {0}, tracer = {0};
	struct kms_guest_link *link;

	if (kms_symbols_is_helper(argc, argv))
		return kms_symbols_helper_main(argc,
					       argv); /* the tracer starts us again for that */
	require(argc == 2 && mkdtemp(folder), "bench_drain TARGET");
	link = find(&opened, argv[1]);
	by_reader(link, folder, &reader);
	kms_guest_link_destroy(link);
	kms_guest_opened_close(&opened);
	link = find(&opened, argv[1]);
	by_tracer(link, folder, reader.events, &tracer);
	kms_guest_link_destroy(link);
	kms_guest_opened_close(&opened);
	(void)rmdir(folder);
	show("reader", &reader);
	show("tracer", &tracer);
	return 0;
}
