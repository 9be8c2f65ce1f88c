/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A program to look at: loses blocks, writes behind one, then does as it is told on its input:
 *	lose N    loses N blocks more
 *	mixed N   loses N blocks more of each of two sizes, by one call
 *	pairs N   allocates and frees N times
 *	quit
 * Answers each line with "done".
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	LEAKS = 300,
	LEAK_BYTES = 48,
	VICTIM_BYTES = 24,
	PAIR_BYTES = 100,
	SMALL_BYTES = 200,
	BIG_BYTES = 3000,
};

static void *volatile kept;

__attribute__((noinline)) static void lose_block(void)
{
	kept = malloc(LEAK_BYTES); /* line: lose */
}

__attribute__((noinline)) static void lose_mixed(void)
{
	static size_t bytes = BIG_BYTES;

	bytes = SMALL_BYTES + BIG_BYTES - bytes;
	kept = malloc(bytes);
}

__attribute__((noinline)) static void write_behind(void)
{
	volatile char *block = malloc(VICTIM_BYTES);

	block[VICTIM_BYTES] = 1;
	free((void *)block); /* line: overflow */
}

__attribute__((noinline)) static void pair(void)
{
	kept = malloc(PAIR_BYTES);
	free(kept);
}

static void times(unsigned long n, void (*what)(void))
{
	while (n--)
		what();
}

static int obey(const char *line)
{
	if (strncmp(line, "lose ", 5) == 0)
		times(strtoul(line + 5, NULL, 10), lose_block);
	else if (strncmp(line, "mixed ", 6) == 0)
		times(2 * strtoul(line + 6, NULL, 10), lose_mixed);
	else if (strncmp(line, "pairs ", 6) == 0)
		times(strtoul(line + 6, NULL, 10), pair);
	else
		return -1;
	puts("done");
	return fflush(stdout);
}

int main(void)
{
	char line[64];

	times(LEAKS, lose_block);
	write_behind();
	puts("ready");
	fflush(stdout);
	while (fgets(line, sizeof(line), stdin) && obey(line) == 0)
		;
	return 0;
}
