/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * stander COUNTERS THREADS BUG: so many threads count in a shared file, every other one of them also
 * allocates; meanwhile the main thread makes BUG (overflow, uaf, none), frees what it has, ends the
 * threads and says "done N", N the sum of what they counted, on stdout. It makes the bug and goes on
 * when it reads a line each. "churn N" as BUG: use after N other frees, then after a line each.
 *
 * "steps": makes and drops N blocks for each line N that it reads, says "ok", ends with a line 0.
 *
 * COUNTERS: a file of one 64-bit counter a thread, so that somebody else sees whether they move.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	MAX_THREADS = 64,
};

struct worker {
	pthread_t thread;
	_Atomic uint64_t *counter;
	int allocates;
};

static atomic_int stop;
static volatile sig_atomic_t signals;

static void on_signal(int sig)
{
	(void)sig;
	signals++;
}

static void *work(void *arg)
{
	struct worker *w = arg;

	while (!atomic_load(&stop)) {
		void *volatile p = w->allocates ? malloc(1 + *w->counter % 3000) : NULL;

		atomic_fetch_add(w->counter, 1);
		free(p);
	}
	return NULL;
}

/* In three functions of their own, so that three stacks tell them apart. */
static __attribute__((noinline)) char *make(size_t bytes)
{
	char *p = malloc(bytes); /* line: make */

	__asm__ volatile("" : "+r"(p));
	return p;
}

static __attribute__((noinline)) void drop(char *p)
{
	free(p); /* line: drop */
	__asm__ volatile("");
}

static __attribute__((noinline)) int use(const volatile char *p)
{
	unsigned char c = (unsigned char)p[3]; /* line: use */

	__asm__ volatile("" : "+r"(c));
	return c;
}

static void read_line(void)
{
	char c = 0;

	while (c != '\n' && read(STDIN_FILENO, &c, 1) == 1)
		;
}

static void say(const char *text)
{
	puts(text);
	fflush(stdout);
}

static void churn(long n)
{
	for (long i = 0; i < n; i++)
		drop(make(40));
}

static void overflow(void)
{
	char *volatile p = make(40);

	p[40] = 1; /* line: overflow */
	drop(p);
}

static void use_after(long n)
{
	char *p = make(40);

	drop(p);
	churn(n);
	use(p);
}

/* So many blocks made and dropped for each line with a number, until one of 0. */
static void steps(void)
{
	char line[32];
	size_t n;

	do {
		for (n = 0; n < sizeof(line) - 1 && read(STDIN_FILENO, &line[n], 1) == 1; n++)
			if (line[n] == '\n')
				break;
		line[n] = '\0';
		churn(strtol(line, NULL, 10));
		say("ok");
	} while (line[0] != '0' && n > 0);
}

static void make_bug(int argc, char **argv)
{
	const char *bug = argc > 3 ? argv[3] : "none";

	if (!strcmp(bug, "overflow"))
		overflow();
	else if (!strcmp(bug, "uaf"))
		use_after(0);
	else if (!strcmp(bug, "steps"))
		steps();
	else if (!strcmp(bug, "churn"))
		use_after(argc > 4 ? strtol(argv[4], NULL, 10) : 0);
}

int main(int argc, char **argv)
{
	int n = argc > 2 ? atoi(argv[2]) : 0, fd = argc > 1 ? open(argv[1], O_RDWR) : -1;
	struct worker worker[MAX_THREADS] = {0};
	_Atomic uint64_t *counter;
	uint64_t sum = 0;

	if (n < 0 || n > MAX_THREADS || fd < 0)
		return 2;
	counter = mmap(NULL, sizeof(*counter) * MAX_THREADS, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
		       0);
	if (counter == MAP_FAILED || signal(SIGUSR1, on_signal) == SIG_ERR)
		return 2;
	for (int i = 0; i < n; i++) {
		worker[i].counter = &counter[i];
		worker[i].allocates = i & 1;
		if (pthread_create(&worker[i].thread, NULL, work, &worker[i]))
			return 2;
	}
	say("ready");
	read_line();
	make_bug(argc, argv);
	say("after");
	read_line();
	atomic_store(&stop, 1);
	for (int i = 0; i < n; i++) {
		pthread_join(worker[i].thread, NULL);
		sum += counter[i];
	}
	printf("done %d %d\n", sum > 0 || !n, (int)signals);
	return 7;
}
