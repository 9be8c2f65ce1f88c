/* SPDX-License-Identifier: BSD-2-Clause */
/* Names of the daemon's traces: kmemscope.PROG.PID.kms as `run` has them, and never one that exists. */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "tracer/daemon_impl.h"

enum {
	SAME_NAME = 100000,
};

static bool exists(const char *path)
{
	struct stat st;

	return lstat(path, &st) == 0;
}

/* Length of a path without ".kms". */
static int stem_bytes(const char *path)
{
	size_t n = strlen(path);

	if (n > 4 && strcmp(path + n - 4, ".kms") == 0)
		n -= 4;
	return (int)n;
}

void daemon_name_trace(const struct kms_daemon *daemon, struct daemon_run *run)
{
	const char *slash = strrchr(run->name, '/');
	char stem[PATH_MAX + 256];

	if (run->first[0])
		snprintf(stem, sizeof(stem), "%.*s", stem_bytes(run->first), run->first);
	else
		snprintf(stem, sizeof(stem), "%s/kmemscope.%.128s.%ld", daemon->folder,
			 slash ? slash + 1 : run->name, (long)run->pid);
	if (snprintf(run->output, PATH_MAX, "%.*s.kms", PATH_MAX - 32, stem) >= PATH_MAX - 16)
		return; /* making it will say that it is too long */
	for (int i = 2; i < SAME_NAME && exists(run->output); i++)
		snprintf(run->output, PATH_MAX, "%.*s.%d.kms", PATH_MAX - 32, stem, i);
}
