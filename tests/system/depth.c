/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * A program that waits in the middle: what the guard depth was when a block was freed decides whether its use is
 * caught. It does what it is told by lines on stdin, and answers "done" to each:
 *
 *	churn N   allocates and frees N blocks
 *	plant     allocates and frees the block that will be used
 *	use       reads the block that was planted: the bug
 *	break     writes a byte behind a block that stays
 *
 * Ends at the end of stdin.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static volatile char *planted;

static void churn(long n)
{
	for (long i = 0; i < n; i++)
		free(malloc(24 + i % 16));
}

static char *make_block(void)
{
	return malloc(40); /* line: alloc */
}

static void drop_block(volatile char *block)
{
	free((void *)block); /* line: free */
}

static int use_block(void)
{
	return planted[5]; /* line: use */
}

static void break_block(volatile char *block)
{
	block[40] = 1;
}

static int obey(const char *line)
{
	int seen = 0;

	if (strncmp(line, "churn ", 6) == 0) {
		churn(atol(line + 6));
	} else if (strcmp(line, "plant\n") == 0) {
		planted = make_block();
		drop_block(planted);
	} else if (strcmp(line, "use\n") == 0) {
		seen = use_block();
	} else if (strcmp(line, "break\n") == 0) {
		break_block(malloc(40));
	}
	return seen;
}

int main(void)
{
	char line[64];
	int seen = 0;

	setvbuf(stdin, NULL, _IONBF, 0);
	setvbuf(stdout, NULL, _IONBF, 0); /* the counts of frees are the churn's alone */
	printf("ready\n");
	while (fgets(line, sizeof(line), stdin)) {
		seen += obey(line);
		printf("done\n");
	}
	return seen == -1;
}
