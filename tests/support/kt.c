/* SPDX-License-Identifier: BSD-2-Clause */
#include "tests/support/kt.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum {
	NS_PER_MS = 1000000,
	NS_PER_S = 1000000000,
};

void kt_fail(const char *file, int line, const char *condition, const char *format, ...)
{
	va_list arguments;

	fprintf(stderr, "%s:%d: not true: %s: ", file, line, condition);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(KT_FAIL);
}

void kt_skip(const char *format, ...)
{
	va_list arguments;

	fputs("skipped: ", stderr);
	va_start(arguments, format);
	vfprintf(stderr, format, arguments);
	va_end(arguments);
	fputc('\n', stderr);
	exit(KT_SKIP);
}

uint64_t kt_seed(const char *text)
{
	const char *from = text ? text : getenv("KT_SEED");
	uint64_t seed = from ? strtoull(from, NULL, 0) : kt_now_ns();

	printf("seed %llu\n", (unsigned long long)seed);
	fflush(stdout);
	return seed;
}

/* Weyl sequence with the mixing of a multiplicative hash. */
uint64_t kt_random(uint64_t *state)
{
	uint64_t x = *state += UINT64_C(0x9e3779b97f4a7c15);

	x = (x ^ x >> 31) * UINT64_C(0x6a09e667f3bcc909);
	x = (x ^ x >> 29) * UINT64_C(0xbb67ae8584caa73b);
	return x ^ x >> 32;
}

uint64_t kt_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * NS_PER_S + (uint64_t)now.tv_nsec;
}

bool kt_wait(bool (*condition)(void *arg), void *arg, unsigned deadline_ms)
{
	uint64_t deadline = kt_now_ns() + (uint64_t)deadline_ms * NS_PER_MS;
	const struct timespec pause = {.tv_nsec = NS_PER_MS};

	while (!condition(arg)) {
		if (kt_now_ns() > deadline)
			return false;
		nanosleep(&pause, NULL);
	}
	return true;
}

/* Reads what the child writes until it closes its end. False: the deadline came first. */
static bool collect_output(struct kt_child *child, int fd, uint64_t deadline_ns)
{
	struct pollfd ready = {.fd = fd, .events = POLLIN};
	char bytes[4096];

	for (;;) {
		uint64_t now = kt_now_ns();
		size_t room = sizeof(child->output) - 1 - child->n_output;
		ssize_t n;

		if (now >= deadline_ns)
			return false;
		if (poll(&ready, 1, (int)((deadline_ns - now) / NS_PER_MS) + 1) <= 0)
			continue;
		n = read(fd, bytes, sizeof(bytes));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return true;
		room = (size_t)n < room ? (size_t)n : room;
		memcpy(child->output + child->n_output, bytes, room);
		child->n_output += room;
	}
}

static _Noreturn void become_child(int out, int (*body)(void *arg), void *arg)
{
	if (dup2(out, STDOUT_FILENO) < 0 || dup2(out, STDERR_FILENO) < 0)
		_exit(KT_FAIL);
	close(out);
	exit(body(arg));
}

void kt_run(struct kt_child *child, int (*body)(void *arg), void *arg, unsigned deadline_ms)
{
	uint64_t begin = kt_now_ns();
	bool ended;
	pid_t pid;
	int ends[2];

	*child = (struct kt_child){0};
	fflush(NULL);
	KT_CHECK(pipe(ends) == 0, "%s", strerror(errno));
	pid = fork();
	KT_CHECK(pid >= 0, "%s", strerror(errno));
	if (pid == 0) {
		close(ends[0]);
		become_child(ends[1], body, arg);
	}
	close(ends[1]);
	ended = collect_output(child, ends[0], begin + (uint64_t)deadline_ms * NS_PER_MS);
	if (!ended)
		kill(pid, SIGKILL);
	close(ends[0]);
	KT_CHECK(waitpid(pid, &child->wait_status, 0) == pid, "%s", strerror(errno));
	if (!ended)
		child->wait_status = -1;
	child->took_ns = kt_now_ns() - begin;
}
