/* SPDX-License-Identifier: BSD-2-Clause */
/* Command line of the emulated kernel. */
#include "allocator/demo/demo.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "allocator/demo/host_posix.h"
#include "allocator/demo/kernel.h"

enum {
	EXIT_USAGE = 2,
	DEFAULT_OPS = 20000,
	DEFAULT_SECONDS = 4,
	MIN_OPS = 1000, /* fewer leave no room for the plan of bugs */
};

static const char usage_text[] =
	"usage: kmemscope demo --kernel-only [--seed N] [--bugs all|none|LIST] [--ops N]\n"
	"           [--seconds N] [--wait] [--forever] [--verbose] [--journal FILE]\n"
	"  --seed N        what is done, and where; same seed, same calls (1)\n"
	"  --bugs LIST     leak, overflow, underflow, double-free, use-after-free, wrong-size,\n"
	"                  context, wrong-cache, use-after-put, umem-overflow, umem-leak,\n"
	"                  pageable; all; none (all)\n"
	"  --ops N         operations of each driver in a round (20000)\n"
	"  --seconds N     spread a round over N seconds; 0: as fast as it goes (4)\n"
	"  --wait          wait at the end until stdin is closed\n"
	"  --forever       round after round, until killed\n"
	"  --verbose       console messages on stdout\n"
	"  --journal FILE  one JSON line for each bug carried out\n";

static const struct option long_options[] = {
	{"seed",    required_argument, NULL, 's'},
        {"bugs",    required_argument, NULL, 'b'},
	{"ops",     required_argument, NULL, 'o'},
        {"seconds", required_argument, NULL, 't'},
	{"wait",    no_argument,       NULL, 'w'},
        {"forever", no_argument,       NULL, 'f'},
	{"verbose", no_argument,       NULL, 'v'},
        {"journal", required_argument, NULL, 'j'},
	{"help",    no_argument,       NULL, 'h'},
        {NULL,      0,                 NULL, 0  },
};

static int parse_number(const char *text, uint64_t minimum, uint64_t *value)
{
	char *end;

	errno = 0;
	*value = strtoull(text, &end, 0);
	if (errno || end == text || *end || *text == '-' || *value < minimum)
		return -EINVAL;
	return 0;
}

static int set_option(struct kms_demo_options *options, int option, const char *argument)
{
	switch (option) {
	case 's':
		return parse_number(argument, 0, &options->seed);
	case 'o':
		return parse_number(argument, MIN_OPS, &options->ops);
	case 't':
		return parse_number(argument, 0, &options->seconds);
	case 'b':
		options->bugs = 0;
		return kms_bugs_parse(argument, &options->bugs);
	case 'j':
		options->journal = argument;
		return 0;
	case 'w':
		options->wait = true;
		return 0;
	case 'f':
		options->forever = true;
		return 0;
	default:
		options->verbose = true;
		return 0;
	}
}

/* 0, or the exit status plus 1. */
static int parse_options(struct kms_demo_options *options, int argc, char **argv)
{
	int option;
	int index = 0;

	optind = 0; /* main may have used getopt before us */
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): before the demo's threads */
	while ((option = getopt_long(argc, argv, "", long_options, &index)) != -1) {
		if (option == 'h') {
			fputs(usage_text, stdout);
			return EXIT_SUCCESS + 1;
		}
		if (option == '?') {
			fputs(usage_text, stderr);
			return EXIT_USAGE + 1;
		}
		if (set_option(options, option, optarg)) {
			fprintf(stderr, "demo: --%s: bad value '%s', see --help\n",
				long_options[index].name, optarg);
			return EXIT_USAGE + 1;
		}
	}
	if (optind < argc) {
		fprintf(stderr, "demo: '%s' is no option, see --help\n", argv[optind]);
		return EXIT_USAGE + 1;
	}
	return 0;
}

int kms_demo_kernel_main(int argc, char **argv)
{
	/* Static, because a kernel's own structures are no heap blocks. */
	static struct kms_kernel kernel;
	static struct kms_host host;
	int rc;

	kernel.host = &host;

	kernel.options = (struct kms_demo_options){
		.seed = 1,
		.ops = DEFAULT_OPS,
		.seconds = DEFAULT_SECONDS,
		.bugs = (1u << KMS_BUGS) - 1,
	};
	rc = parse_options(&kernel.options, argc, argv);
	if (rc)
		return rc - 1;
	if (kernel.options.journal) {
		host.journal = fopen(kernel.options.journal, "we");
		if (!host.journal) {
			/* NOLINTNEXTLINE(concurrency-mt-unsafe): as above */
			fprintf(stderr, "demo: %s: %s\n", kernel.options.journal, strerror(errno));
			return EXIT_FAILURE;
		}
	}
	rc = kms_kernel_run(&kernel);
	if (rc)
		/* NOLINTNEXTLINE(concurrency-mt-unsafe): its threads have ended */
		fprintf(stderr, "demo: cannot run: %s\n", strerror(-rc));
	if (host.journal)
		(void)fclose(host.journal); /* each line was flushed */
	return rc ? EXIT_FAILURE : EXIT_SUCCESS;
}
