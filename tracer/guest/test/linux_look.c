/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Looks at a Linux guest for a test: linux_look [-o] TARGET [CACHE-FOLDER], a target as for `attach`:
 * qemu:pid:N, ram:FILE, ... With -o events begin with the oldest in the ring. Reads words from stdin,
 * answers each with lines and a line "==".
 *
 *	about                   release, build id, what it has
 *	caches                  the columns of /proc/slabinfo, separated by blanks
 *	sites N                 refreshes, then the N first: bytes objects growth cache handle function
 *	stack HANDLE            functions
 *	events                  sums of all events so far
 *	kfence                  sums
 *	time caches|events N    ns of N refreshes, by this process's CPU time and by the clock
 */
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "tracer/guest/guest.h"
#include "tracer/guest/linux.h"

struct look {
	struct kms_guest *guest;
	struct kms_linux *kernel;
	uint64_t open_ns;
};

static uint64_t now_ns(clockid_t clock)
{
	struct timespec now;

	(void)clock_gettime(clock, &now); /* cannot fail for these */
	return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

static int open_memory(struct look *look, const char *name, struct kms_err *err)
{
	struct kms_guest_target target;
	int rc = kms_guest_target_parse(name, &target, err);

	if (!rc)
		rc = kms_guest_open(&target, KMS_GUEST_NO_QMP, &look->guest, err);
	return rc;
}

static int show_about(struct look *look, const char *argument, struct kms_err *err)
{
	struct kms_linux_about about;

	(void)argument;
	(void)err;
	kms_linux_about(look->kernel, &about);
	printf("release %s\nbuild_id %s\nkaslr %" PRIx64 "\nlevels %d\ncached %d\nsymbols %u\n"
	       "depot %d\nevents %d\nkfence %d\nopen_ns %" PRIu64 "\n",
	       about.release, about.build_id, about.kaslr_offset, about.is_5_level ? 5 : 4,
	       about.was_cached, about.symbols, about.has_depot, about.has_events, about.has_kfence,
	       look->open_ns);
	return 0;
}

static int show_caches(struct look *look, const char *argument, struct kms_err *err)
{
	const struct kms_linux_cache *cache;
	size_t n;
	int rc = kms_linux_refresh_caches(look->kernel, err);

	(void)argument;
	if (rc)
		return rc;
	cache = kms_linux_caches(look->kernel, &n);
	for (size_t i = 0; i < n; i++)
		printf("%s %" PRIu64 " %" PRIu64 " %u %u %u %" PRIu64 " %d\n", cache[i].name,
		       cache[i].active, cache[i].objects, cache[i].size_bytes,
		       cache[i].objects_per_slab, cache[i].pages_per_slab, cache[i].slabs,
		       cache[i].is_approximate);
	return 0;
}

static const char *name_of(struct look *look, uint64_t address)
{
	const char *name, *module;
	uint64_t offset;

	return kms_linux_name(look->kernel, address, &name, &offset, &module) ? "?" : name;
}

static int show_sites(struct look *look, const char *argument, struct kms_err *err)
{
	unsigned long most = strtoul(argument, NULL, 10);
	const struct kms_linux_cache *cache;
	const struct kms_linux_site *site;
	struct kms_linux_site_stats stats;
	size_t caches, n;
	int rc = kms_linux_refresh_caches(look->kernel, err);

	if (!rc)
		rc = kms_linux_refresh_sites(look->kernel, now_ns(CLOCK_MONOTONIC), err);
	if (rc)
		return rc;
	cache = kms_linux_caches(look->kernel, &caches);
	site = kms_linux_sites(look->kernel, &n);
	for (size_t i = 0; i < n && i < most; i++)
		printf("site %" PRIu64 " %" PRIu64 " %.0f %s %u %s\n", site[i].bytes,
		       site[i].objects, site[i].growth_bytes_per_s, cache[site[i].cache].name,
		       site[i].handle, name_of(look, site[i].call_site));
	kms_linux_site_stats(look->kernel, &stats);
	printf("live %" PRIu64 "\nfree %" PRIu64 "\nslabs %" PRIu64 "\nunread %" PRIu64
	       "\nred_zones %" PRIu64 "\noff %d\n",
	       stats.live, stats.free, stats.slabs, stats.unread, stats.red_zones, stats.is_off);
	return 0;
}

static int show_stack(struct look *look, const char *argument, struct kms_err *err)
{
	uint64_t frame[KMS_LINUX_MAX_FRAMES];
	int n = kms_linux_stack(look->kernel, (uint32_t)strtoul(argument, NULL, 0), frame, err);

	for (int i = 0; i < n; i++)
		printf("%s\n", name_of(look, frame[i]));
	return n < 0 ? n : 0;
}

static int pass(void *arg, const struct kms_linux_event *event)
{
	(void)arg;
	(void)event;
	return 0;
}

static int show_events(struct look *look, const char *argument, struct kms_err *err)
{
	struct kms_linux_event_stats stats;
	int rc = kms_linux_events(look->kernel, pass, NULL, err);

	(void)argument;
	if (rc)
		return rc;
	kms_linux_event_stats(look->kernel, &stats);
	printf("events %" PRIu64 "\nothers %" PRIu64 "\nlost_pages %" PRIu64 "\ndamaged %" PRIu64
	       "\non %d\n",
	       stats.events, stats.others, stats.lost_pages, stats.damaged, stats.is_on);
	return 0;
}

static int show_kfence(struct look *look, const char *argument, struct kms_err *err)
{
	struct kms_linux_kfence state;
	int rc = kms_linux_kfence(look->kernel, &state, NULL, NULL, err);

	(void)argument;
	if (rc)
		return rc;
	printf("on %d\nobjects %u\nlive %u\nfreed %u\ninterval %" PRIu64 "\n", state.is_on,
	       state.objects, state.live, state.freed, state.sample_interval_ms);
	return 0;
}

static int show_time(struct look *look, const char *argument, struct kms_err *err)
{
	bool is_events = !strncmp(argument, "events", 6);
	unsigned long times =
		strtoul(strchr(argument, ' ') ? strchr(argument, ' ') : "1", NULL, 10);
	uint64_t begin = now_ns(CLOCK_PROCESS_CPUTIME_ID), begin_wall = now_ns(CLOCK_MONOTONIC);
	int rc = 0;

	for (unsigned long i = 0; !rc && i < times; i++)
		rc = is_events ? kms_linux_events(look->kernel, pass, NULL, err)
			       : kms_linux_refresh_caches(look->kernel, err);
	printf("cpu_ns %" PRIu64 "\nwall_ns %" PRIu64 "\n",
	       now_ns(CLOCK_PROCESS_CPUTIME_ID) - begin, now_ns(CLOCK_MONOTONIC) - begin_wall);
	return rc;
}

static const struct {
	const char *name;
	int (*show)(struct look *look, const char *argument, struct kms_err *err);
} commands[] = {
	{"about",  show_about },
        {"caches", show_caches},
        {"sites",  show_sites },
	{"stack",  show_stack },
        {"events", show_events},
        {"kfence", show_kfence},
	{"time",   show_time  },
};

static void answer(struct look *look, char *line)
{
	struct kms_err err = KMS_ERR_INIT;
	char *argument = strchr(line, ' ');

	if (argument)
		*argument++ = '\0';
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		if (!strcmp(line, commands[i].name) &&
		    commands[i].show(look, argument ? argument : "", &err))
			printf("error %d %s\n", err.code, err.text);
	printf("==\n");
	(void)fflush(stdout);
}

int main(int argc, char **argv)
{
	bool is_old = argc > 1 && !strcmp(argv[1], "-o");
	struct kms_linux_options options = {.old_events = is_old};
	struct kms_err err = KMS_ERR_INIT;
	struct look look = {0};
	uint64_t begin;
	char line[256];

	argv += is_old;
	argc -= is_old;
	if (argc < 2)
		return 2;
	options.cache_folder = argc > 2 ? argv[2] : NULL;
	if (open_memory(&look, argv[1], &err)) {
		printf("error %d %s\n==\n", err.code, err.text);
		return 1;
	}
	begin = now_ns(CLOCK_MONOTONIC);
	if (kms_linux_open(look.guest->memory, &options, &look.kernel, &err)) {
		printf("error %d %s\n==\n", err.code, err.text);
		kms_guest_close(look.guest);
		return 1;
	}
	look.open_ns = now_ns(CLOCK_MONOTONIC) - begin;
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = '\0';
		answer(&look, line);
	}
	kms_linux_close(look.kernel);
	kms_guest_close(look.guest);
	return 0;
}
