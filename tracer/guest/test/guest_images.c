/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Reads the saved memory of a real guest, damaged in COUNT different ways:
 *
 *	guest_images linux|ours RAM-FILE COUNT [FIRST]
 *
 * Each image is damaged in one of six ways, by its number, read by all ways that there are, and made
 * whole again. Any answer is right; none within the deadline, a crash or a sanitizer's word is not. An
 * image that is read alone (COUNT 1) is damaged just as in a longer run.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#include "tracer/guest/test/images.h"
#include "tracer/symbols.h"

enum {
	CPU_DEADLINE_S = 20,   /* of one image, with a sanitizer */
	WALL_DEADLINE_S = 300, /* a busy machine may be many times slower than a quiet one */
	LINE_BYTES = 160,
};

/* Of one kind of damage. */
struct row {
	uint64_t images, opened, whole; /* found at all; with as much in it as the undamaged one */
	uint64_t cpu_ns, slowest_ns, slowest;
};

static char now_reading[LINE_BYTES]; /* for the handler: it must not format anything */

static void say_which(int signal)
{
	(void)signal;
	if (write(STDOUT_FILENO, now_reading, strlen(now_reading)) < 0)
		_exit(4);
}

static void too_late(int signal)
{
	static const char text[] = "no end: ";

	/* nothing can be done about a failing write, and we end anyway */
	if (write(STDOUT_FILENO, text, sizeof(text) - 1) < 0)
		_exit(4);
	say_which(signal);
	_exit(3);
}

static void set_deadline(const struct images_kernel *kernel, const char *path, uint64_t number)
{
	const struct itimerval cpu = {.it_value = {.tv_sec = CPU_DEADLINE_S}};

	(void)snprintf(now_reading, sizeof(now_reading), "it is guest_images %s %.80s 1 %llu\n",
		       kernel->name, path, (unsigned long long)number);
	(void)setitimer(ITIMER_PROF, &cpu, NULL); /* both cannot fail */
	(void)alarm(WALL_DEADLINE_S);
}

static uint64_t cpu_ns(void)
{
	struct timespec now;

	(void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static void damage(const struct images_kernel *kernel, struct watched *watched,
		   const struct damage_places places[DAMAGE_KINDS], uint64_t number)
{
	enum damage_kind kind = (enum damage_kind)(number % DAMAGE_KINDS);
	struct rng rng;

	rng_init(&rng, number + 1);
	if (kind == DAMAGE_LOOPS)
		damage_loops(watched, &places[kind], kernel->word, &rng);
	else
		damage_bits(watched, &places[kind], &rng);
}

static void read_image(const struct images_kernel *kernel, struct watched *watched,
		       const char *scratch, uint64_t number, const struct images_seen *whole,
		       struct row *row)
{
	struct images_seen seen = {0};
	uint64_t begin = cpu_ns(), took;

	kernel->read(watched, scratch, number, &seen);
	watched_undo(watched);
	took = cpu_ns() - begin;
	row->images++;
	row->opened += seen.opened;
	row->whole += seen.opened && seen.events == whole->events && seen.objects == whole->objects;
	row->cpu_ns += took;
	if (took > row->slowest_ns) {
		row->slowest_ns = took;
		row->slowest = number;
	}
}

static void show(const struct row *row)
{
	printf("%-14s %7s %7s %7s %8s %8s  %s\n", "damage", "images", "opened", "whole", "ms each",
	       "slowest", "which");
	for (int kind = 0; kind < DAMAGE_KINDS; kind++, row++)
		if (row->images)
			printf("%-14s %7llu %7llu %7llu %8.1f %8.1f  %llu\n", damage_names[kind],
			       (unsigned long long)row->images, (unsigned long long)row->opened,
			       (unsigned long long)row->whole,
			       (double)row->cpu_ns / 1e6 / (double)row->images,
			       (double)row->slowest_ns / 1e6, (unsigned long long)row->slowest);
}

/* The undamaged one: it has to have all that is damaged later. */
static bool read_whole(const struct images_kernel *kernel, struct watched *watched,
		       const char *scratch, struct damage_places places[DAMAGE_KINDS],
		       struct images_seen *whole)
{
	watched->is_recording = true;
	kernel->read(watched, scratch, 0, whole);
	watched_undo(watched);
	if (!whole->opened || !whole->events || !whole->objects) {
		printf("the undamaged memory: opened %d, %llu events, %llu objects\n",
		       whole->opened, (unsigned long long)whole->events,
		       (unsigned long long)whole->objects);
		return false;
	}
	kernel->find_places(watched, places);
	for (int kind = 0; kind < DAMAGE_KINDS; kind++) {
		if (!places[kind].n) {
			printf("nothing to damage: %s\n", damage_names[kind]);
			return false;
		}
	}
	printf("undamaged: %llu events, %llu live objects\n", (unsigned long long)whole->events,
	       (unsigned long long)whole->objects);
	return true;
}

static int run(const struct images_kernel *kernel, const char *path, uint64_t count, uint64_t first,
	       const char *scratch)
{
	struct damage_places places[DAMAGE_KINDS] = {0};
	struct row row[DAMAGE_KINDS] = {0};
	struct images_seen whole = {0}, again = {0};
	struct watched watched;
	bool good;

	watched_open(&watched, path);
	set_deadline(kernel, path, UINT64_MAX);
	good = read_whole(kernel, &watched, scratch, places, &whole);
	for (uint64_t i = first; good && i < first + count; i++) {
		set_deadline(kernel, path, i);
		damage(kernel, &watched, places, i);
		read_image(kernel, &watched, scratch, i, &whole, &row[i % DAMAGE_KINDS]);
	}
	if (good) {
		/* all damage was undone, and none has got into what is kept */
		kernel->read(&watched, scratch, 0, &again);
		good = again.opened && again.events == whole.events &&
		       again.objects == whole.objects;
		show(row);
	}
	for (int kind = 0; kind < DAMAGE_KINDS; kind++)
		damage_drop(&places[kind]);
	watched_close(&watched);
	return good ? 0 : 1;
}

/* A folder for what is written on the way, with one in it that a run may have. */
static bool make_scratch(char *scratch)
{
	char folder[LINE_BYTES];

	if (!mkdtemp(scratch))
		return false;
	(void)snprintf(folder, sizeof(folder), "%s/run", scratch);
	return mkdir(folder, S_IRWXU) == 0;
}

int main(int argc, char **argv)
{
	static const struct images_kernel *const kernels[] = {&images_linux, &images_ours};
	char scratch[] = "/dev/shm/kms-test-guest-images-XXXXXX";
	int status = 2;

	if (kms_symbols_is_helper(argc, argv))
		return kms_symbols_helper_main(argc,
					       argv); /* the tracer starts us again for that */
	if (argc < 4)
		return status;
	(void)signal(SIGPROF, too_late); /* all three cannot fail */
	(void)signal(SIGALRM, too_late);
	(void)signal(SIGABRT, say_which);
	if (!make_scratch(scratch))
		return status;
	for (size_t i = 0; i < sizeof(kernels) / sizeof(kernels[0]); i++)
		if (!strcmp(argv[1], kernels[i]->name))
			status = run(kernels[i], argv[2], strtoull(argv[3], NULL, 0),
				     argc > 4 ? strtoull(argv[4], NULL, 0) : 0, scratch);
	printf("scratch %s\n", scratch); /* whoever started us removes it */
	return status;
}
