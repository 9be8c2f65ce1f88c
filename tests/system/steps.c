/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * steps: does what it is told, line by line on stdin, and answers each with a line.
 *
 *	alloc N BYTES     N blocks, kept           free N      the oldest N of them
 *	leak N BYTES      N blocks, forgotten       large N     one block of N bytes, kept
 *	fork              a child that goes on reading our lines; we wait for it
 *	threads N PAIRS   N threads, each so many pairs of malloc and free; answers when they are done
 *	load N PAIRS      the same at some 50 pairs a millisecond and thread; SIGUSR1 ends it early
 *	touch             an allocation and its free
 *	hide              as set-id programs are: nobody may look into it
 *	quit
 *
 * Answers "STEP live BLOCKS BYTES pid PID": what is kept.
 */
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
	MAX_KEPT = 1 << 21,
	MAX_THREADS = 64,
	WINDOW = 64,
};

static struct {
	void *block;
	size_t bytes;
} kept[MAX_KEPT];

static size_t first, end, live_bytes;

/* Not through stdio, which allocates. */
static bool read_line(char *line, size_t room)
{
	size_t n = 0;

	while (n + 1 < room && read(STDIN_FILENO, line + n, 1) == 1) {
		if (line[n] == '\n')
			break;
		n++;
	}
	line[n] = '\0';
	return n > 0;
}

static void answer(const char *step)
{
	char text[128];
	int n = snprintf(text, sizeof(text), "%s live %zu %zu pid %d\n", step, end - first,
			 live_bytes, (int)getpid());

	if (write(STDOUT_FILENO, text, (size_t)n) != n)
		_exit(1);
}

static void keep(size_t bytes)
{
	char *p = malloc(bytes);

	if (!p || end == MAX_KEPT)
		_exit(2);
	p[0] = 1;
	kept[end].block = p;
	kept[end++].bytes = bytes;
	live_bytes += bytes;
}

static void give_back(size_t n)
{
	for (; n && first < end; n--) {
		free(kept[first].block);
		live_bytes -= kept[first++].bytes;
	}
}

__attribute__((noinline)) static void lose(size_t n, size_t bytes)
{
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): that is what it is for */
	for (; n; n--) {
		char *volatile p = malloc(bytes); /* line: leak */

		p[0] = 1;
	}
}

static uint64_t pairs_each;
static bool pairs_slow;
static volatile sig_atomic_t stop;

static void stop_pairs(int signal)
{
	(void)signal;
	stop = 1;
}

static void *pairs(void *arg)
{
	void *window[WINDOW] = {NULL};
	uint64_t state = (uintptr_t)arg;

	for (uint64_t i = 0; i < pairs_each && !stop; i++) {
		size_t at;

		state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
		at = state >> 40 & (WINDOW - 1);
		free(window[at]);
		window[at] = malloc(1 + (state >> 50) % 300);
		if (pairs_slow && i % 50 == 0)
			usleep(1000);
	}
	for (int i = 0; i < WINDOW; i++)
		free(window[i]);
	return NULL;
}

static void run_threads(unsigned n)
{
	pthread_t thread[MAX_THREADS];

	for (unsigned i = 0; i < n && i < MAX_THREADS; i++)
		/* NOLINTNEXTLINE(performance-no-int-to-ptr): a number for the thread */
		if (pthread_create(&thread[i], NULL, pairs, (void *)(uintptr_t)(i + 1)))
			_exit(3);
	for (unsigned i = 0; i < n && i < MAX_THREADS; i++)
		(void)pthread_join(thread[i], NULL);
}

/* The child goes on in our place. */
static void split(void)
{
	pid_t child = fork();
	int status = 1;

	if (child > 0) {
		(void)waitpid(child, &status, 0);
		_exit(WEXITSTATUS(status));
	}
}

static bool step(const char *line)
{
	unsigned long a = 0, b = 0;
	char what[16] = "";

	/* NOLINTNEXTLINE(cert-err34-c): lines of our own test */
	if (sscanf(line, "%15s %lu %lu", what, &a, &b) < 1)
		return false;
	if (!strcmp(what, "alloc"))
		for (; a; a--)
			keep(b);
	else if (!strcmp(what, "large"))
		keep(a);
	else if (!strcmp(what, "free"))
		give_back(a);
	else if (!strcmp(what, "leak"))
		lose(a, b);
	else if (!strcmp(what, "touch"))
		free(malloc(1));
	else if (!strcmp(what, "hide"))
		(void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
	else if (!strcmp(what, "fork"))
		split();
	else if (!strcmp(what, "threads") || !strcmp(what, "load")) {
		pairs_slow = what[0] == 'l';
		stop = 0;
		pairs_each = b;
		run_threads((unsigned)a);
	} else
		return false;
	answer(what);
	return true;
}

int main(void)
{
	char line[64];

	(void)signal(SIGUSR1, stop_pairs);
	answer("start");
	while (read_line(line, sizeof(line)) && step(line))
		;
	return 0;
}
