/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * paced EVENTS RATE SIZE [hold]: so many calls of malloc and free in all, RATE a second, blocks of SIZE
 * bytes. Then "ALLOCS FREES" on stdout. With "hold" it says "half" in the middle and waits for a line,
 * and keeps one block of each half for ever.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
	TICK_NS = 10000000, /* the rate holds over so long */
	SECOND_NS = 1000000000,
};

static uint64_t allocs, frees;
static void *volatile kept;

static void pairs(uint64_t n, size_t size)
{
	for (uint64_t i = 0; i < n; i++) {
		char *volatile p = malloc(size);

		p[0] = 1;
		allocs++;
		free(p);
		frees++;
	}
}

static void paced(uint64_t events, uint64_t rate, size_t size)
{
	uint64_t each = rate / (SECOND_NS / TICK_NS) / 2;
	uint64_t left = events / 2;
	struct timespec next;

	clock_gettime(CLOCK_MONOTONIC, &next);
	while (left) {
		uint64_t n = left < each ? left : each;

		pairs(n, size);
		left -= n;
		next.tv_nsec += TICK_NS;
		if (next.tv_nsec >= SECOND_NS) {
			next.tv_nsec -= SECOND_NS;
			next.tv_sec++;
		}
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, NULL);
	}
}

static void keep_one(size_t size)
{
	kept = malloc(size);
	allocs++;
}

static int say(const char *text)
{
	size_t n = strlen(text);

	return write(STDOUT_FILENO, text, n) == (ssize_t)n;
}

int main(int argc, char **argv)
{
	uint64_t events = argc > 3 ? strtoull(argv[1], NULL, 0) : 0;
	uint64_t rate = argc > 3 ? strtoull(argv[2], NULL, 0) : 1;
	size_t size = argc > 3 ? strtoull(argv[3], NULL, 0) : 1;
	char line[64], byte = 0;

	paced(events / 2, rate, size);
	if (argc > 4) {
		keep_one(size);
		if (!say("half\n"))
			return 1;
		while (byte != '\n') {
			if (read(STDIN_FILENO, &byte, 1) != 1)
				return 1;
		}
		keep_one(size);
	}
	paced(events - events / 2, rate, size);
	snprintf(line, sizeof(line), "%llu %llu\n", (unsigned long long)allocs,
		 (unsigned long long)frees);
	return !say(line);
}
