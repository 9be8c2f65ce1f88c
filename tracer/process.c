/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Processes by pid: see process.h.
 */
#include "tracer/process.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/io.h"

enum {
	STAT_BYTES = 1024,
	ENVIRONMENT_BYTES = 4 << 20,
	FIELD_PARENT = 4,
	FIELD_START = 22, /* in clock ticks since boot; see proc(5) */
	FIELD_ENV_END = 51,
	/* start times are cut to a tick, and the two clocks are read one after the other */
	SLACK_NS = 30 * 1000 * 1000,
};

static uint64_t clock_ns(clockid_t id)
{
	struct timespec ts;

	(void)clock_gettime(id, &ts); /* these clocks exist */
	return (uint64_t)ts.tv_sec * 1000000000u + (uint64_t)ts.tv_nsec;
}

uint64_t kms_mono_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

uint64_t kms_wall_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

/* A number of /proc/PID/stat; fields count from 1. -ESRCH if the process is gone. */
static int stat_field(pid_t pid, int field, uint64_t *value)
{
	char path[64];
	char text[STAT_BYTES];
	KMS_AUTO_CLOSE int fd = -1;
	const char *at;
	ssize_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid); /* fits */
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -ESRCH;
	n = kms_read_full(fd, text, sizeof(text) - 1);
	if (n <= 0)
		return -ESRCH;
	text[n] = '\0';
	at = strrchr(text, ')'); /* the name before it may hold anything */
	if (!at)
		return -ESRCH;
	for (int i = 2; i < field; i++) {
		at = strchr(at + 1, ' ');
		if (!at)
			return -ESRCH;
	}
	*value = strtoull(at, NULL, 10);
	return 0;
}

bool kms_process_has_ended(int pidfd)
{
	struct pollfd ended = {.fd = pidfd, .events = POLLIN};

	return poll(&ended, 1, 0) > 0;
}

const char *kms_process_yama(void)
{
	static const char *const by_scope[] = {
		NULL,
		"kernel.yama.ptrace_scope is 1; set it to 0, or give kmemscope CAP_SYS_PTRACE",
		"kernel.yama.ptrace_scope is 2; set it to 0, or give kmemscope CAP_SYS_PTRACE",
		"kernel.yama.ptrace_scope is 3: nobody may, until the next boot",
	};
	KMS_AUTO_CLOSE int fd = open("/proc/sys/kernel/yama/ptrace_scope", O_RDONLY | O_CLOEXEC);
	char text = '0';
	size_t scope;

	if (fd < 0 || read(fd, &text, 1) != 1)
		text = '0'; /* a kernel without Yama */
	scope = (size_t)(text - '0');
	return scope < sizeof(by_scope) / sizeof(by_scope[0]) ? by_scope[scope] : NULL;
}

pid_t kms_process_parent(pid_t pid)
{
	uint64_t parent = 0;

	return stat_field(pid, FIELD_PARENT, &parent) ? 0 : (pid_t)parent;
}

/* Whether a process that has the pid now can be the one that lived then. */
static int check_start(pid_t pid, uint64_t lived_mono_ns)
{
	uint64_t ticks;
	uint64_t start_ns;
	uint64_t lived_boot_ns = lived_mono_ns + clock_ns(CLOCK_BOOTTIME) - kms_mono_ns();
	int result = stat_field(pid, FIELD_START, &ticks);

	if (result)
		return result;
	start_ns = ticks * (1000000000u / (uint64_t)sysconf(_SC_CLK_TCK));
	return start_ns <= lived_boot_ns + SLACK_NS ? 0 : -ESRCH;
}

int kms_process_watch(pid_t pid, uint64_t lived_mono_ns)
{
	int fd;
	int result;

	if (pid <= 0)
		return -ESRCH;
	fd = (int)syscall(SYS_pidfd_open, pid, 0);
	if (fd < 0)
		return -errno;
	/* asked after the descriptor was there: the pid cannot change hands any more */
	result = lived_mono_ns ? check_start(pid, lived_mono_ns) : 0;
	if (result) {
		(void)close(fd); /* nothing was written */
		return result;
	}
	return fd;
}

bool kms_environment_has(const char *block, size_t n, const char *entry)
{
	size_t bytes = strlen(entry) + 1;
	size_t at = 0;

	while (at < n && n - at >= bytes) {
		const char *end = memchr(block + at, '\0', n - at);

		if (memcmp(block + at, entry, bytes) == 0)
			return true;
		if (!end)
			return false;
		at = (size_t)(end - block) + 1;
	}
	return false;
}

/* In the middle of execve(): the new program's memory is there, its environment is not yet. */
static bool is_between_programs(pid_t pid)
{
	char path[64], program[2];
	uint64_t end;

	(void)snprintf(path, sizeof(path), "/proc/%d/exe", (int)pid); /* fits */
	/* zombies and threads of the kernel have no program */
	return readlink(path, program, sizeof(program)) > 0 &&
	       stat_field(pid, FIELD_ENV_END, &end) == 0 && end == 0;
}

static bool is_with(pid_t pid, const char *entry, unsigned *unsure)
{
	KMS_AUTO_FREE char *block = NULL;
	char path[64];
	size_t n;

	(void)snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid); /* fits */
	/* one that is another user's, or gone, cannot be read; a zombie's is empty */
	if (kms_read_file(path, ENVIRONMENT_BYTES, &block, &n, NULL) < 0)
		return false;
	if (n == 0 && is_between_programs(pid))
		(*unsure)++;
	return kms_environment_has(block, n, entry);
}

unsigned kms_process_each_with(const char *entry, void (*fn)(void *arg, pid_t pid), void *arg)
{
	KMS_AUTO_CLOSEDIR DIR *dir = opendir("/proc");
	const struct dirent *item;
	unsigned unsure = 0;

	/* NOLINTNEXTLINE(concurrency-mt-unsafe): a stream of our own */
	while (dir && (item = readdir(dir)) != NULL) {
		char *end;
		long pid = strtol(item->d_name, &end, 10);

		if (pid > 0 && !*end && pid != getpid() && is_with((pid_t)pid, entry, &unsure))
			fn(arg, (pid_t)pid);
	}
	return unsure;
}
