/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * obey: does what the lines of stdin say, and answers each with a line.
 *
 *	leak N SIZE    allocates N blocks and keeps them        addresses
 *	drop N         frees the N oldest of those              addresses
 *	pairs N SIZE   allocates and frees, N times             the last address
 *	cycle N SIZE   allocates and frees the same block       its address
 *	fork           a child that keeps 3 blocks and waits    pid, addresses
 *
 * At the end of stdin it leaves without freeing anything, and so does the child.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	KEPT_MAX = 2000000,
	CHILD_BLOCKS = 3,
	CHILD_BYTES = 77,
};

static void *kept[KEPT_MAX];
static size_t first, n_kept;
static int life[2]; /* the child lives until the parent's end of it closes */

/* line: leak */
__attribute__((noinline)) static void *leaky(size_t size)
{
	return malloc(size);
}

static void leak(size_t n, size_t size)
{
	for (size_t i = 0; i < n && n_kept < KEPT_MAX; i++) {
		kept[n_kept] = leaky(size);
		if (n <= 1000)
			printf("%s%p", i ? " " : "", kept[n_kept]);
		n_kept++;
	}
}

__attribute__((noinline)) static void drop(size_t n)
{
	for (size_t i = 0; i < n && first < n_kept; i++) {
		printf("%s%p", i ? " " : "", kept[first]);
		free(kept[first++]);
	}
}

__attribute__((noinline)) static void pairs(size_t n, size_t size)
{
	char *volatile p = NULL;

	for (size_t i = 0; i < n; i++) {
		p = malloc(size);
		p[0] = 1;
		free(p);
	}
	printf("%p", (void *)p);
}

static void child(void)
{
	char byte;

	close(life[1]);
	leak(CHILD_BLOCKS, CHILD_BYTES);
	printf("\n");
	fflush(stdout);
	while (read(life[0], &byte, 1) > 0)
		;
	_exit(0);
}

static void do_fork(void)
{
	pid_t pid;

	if (pipe(life) < 0)
		exit(1);
	fflush(stdout);
	pid = fork();
	if (pid < 0)
		exit(1);
	if (!pid) {
		printf("%d ", (int)getpid());
		child();
	}
	close(life[0]);
}

static void obey(const char *line)
{
	size_t n = 0, size = 0;

	if (sscanf(line, "leak %zu %zu", &n, &size) == 2)
		leak(n, size);
	else if (sscanf(line, "drop %zu", &n) == 1)
		drop(n);
	else if (sscanf(line, "pairs %zu %zu", &n, &size) == 2 ||
		 sscanf(line, "cycle %zu %zu", &n, &size) == 2)
		pairs(n, size);
	else if (strcmp(line, "fork\n") == 0)
		do_fork();
	else
		exit(2);
}

int main(void)
{
	char line[128];

	setvbuf(stdin, NULL, _IONBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		obey(line);
		if (strcmp(line, "fork\n") == 0)
			continue; /* the child answers */
		printf("\n");
		fflush(stdout);
	}
	_exit(0);
}
