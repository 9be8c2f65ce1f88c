/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * many LIVE CHURN: holds LIVE blocks, replaces CHURN of them, says "held", waits for stdin's end.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	DEPTHS = 7, /* as many stacks */
	SIZES = 200,
};

/* NOLINTNEXTLINE(misc-no-recursion): that makes the stacks */
static __attribute__((noinline)) void *get(unsigned depth, size_t bytes)
{
	void *volatile p;

	if (depth == 0)
		return malloc(bytes);
	p = get(depth - 1, bytes);
	return p;
}

int main(int argc, char **argv)
{
	size_t live = argc == 3 ? strtoull(argv[1], NULL, 0) : 0;
	uint64_t churn = argc == 3 ? strtoull(argv[2], NULL, 0) : 0;
	uint64_t state = 1;
	void **block = calloc(live ? live : 1, sizeof(*block));
	char byte;

	if (!block || !live)
		return 1;
	for (size_t i = 0; i < live; i++)
		block[i] = get(i % DEPTHS, 1 + i % SIZES);
	for (uint64_t i = 0; i < churn; i++) {
		size_t at;

		state = state * UINT64_C(6364136223846793005) + 1442695040888963407u;
		at = (size_t)(state >> 20) % live;
		free(block[at]);
		block[at] = get((unsigned)(state >> 60) % DEPTHS, 1 + (state >> 50) % SIZES);
	}
	if (write(STDOUT_FILENO, "held\n", 5) != 5)
		return 1;
	while (read(STDIN_FILENO, &byte, 1) > 0)
		;
	return 0;
}
